"""Wakes the polling threads of this process when there is new work, so that they need not wait for the next poll."""

import threading


class WakeUp:
    """A condition variable with a counter: a notification that comes while a thread is still polling is not lost."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self.generation = 0

    def notify(self) -> None:
        """Wake all waiting threads."""
        with self._condition:
            self.generation += 1
            self._condition.notify_all()

    def wait(self, since: int, seconds: float) -> None:
        """Wait until `generation` differs from `since`, for so many seconds at most.

        Notifications of other processes do not arrive, so callers poll after the timeout.
        """
        with self._condition:
            self._condition.wait_for(lambda: self.generation != since, seconds)
