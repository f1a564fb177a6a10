"""A bell: who makes work rings it, so that who looks for work in the same process need not wait for the next look."""

import threading


class WakeUp:
    """Rings are counted, so that one that comes while its hearer is still looking is not missed."""

    def __init__(self) -> None:
        self._rung = threading.Condition()
        self.rings = 0

    def notify(self) -> None:
        """Wake whoever waits."""
        with self._rung:
            self.rings += 1
            self._rung.notify_all()

    def wait(self, since: int, seconds: float) -> None:
        """Wait until `rings` is another number than `since`, for so many seconds at most.

        At most, because other processes are not heard.
        """
        with self._rung:
            self._rung.wait_for(lambda: self.rings != since, seconds)
