"""A fair lock for the writing threads of one process: SQLite has one writer at a time."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

LONGEST_WAIT: Final = 30.0
lock_wait: ContextVar[float] = ContextVar("lock_wait", default=LONGEST_WAIT)
"""How long this context waits for other writers, in seconds. HTTP requests set it lower: their clients wait."""

_STUCK_SECONDS: Final = 1.0
_MAX_WAITING_WHILE_STUCK: Final = 8
_POLL_SECONDS: Final = 0.1


class NoTurnError(Exception):
    """The lock was not available in time."""


@dataclass
class WriteTurns:
    """A first-in, first-out lock.

    Waiting threads hold no connection. When the lock has not changed hands for a second, because another process or a
    long transaction holds the database, only a few threads with a short timeout keep waiting: the others give up, so
    that they can serve requests that read.
    """

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _waiting: deque[threading.Event] = field(default_factory=deque)
    _taken: bool = False
    _last_change: float = 0.0

    @contextmanager
    def turn(self) -> Iterator[float]:
        """Hold the lock during the block; yields the seconds left of the timeout. Raises `NoTurnError`."""
        timeout = lock_wait.get()
        until = time.monotonic() + timeout
        self._take(until, impatient=timeout < LONGEST_WAIT)
        try:
            yield max(0.0, until - time.monotonic())
        finally:
            self._release()

    def _take(self, until: float, *, impatient: bool) -> None:
        turn_event = threading.Event()
        with self._lock:
            if not self._taken:
                self._taken, self._last_change = True, time.monotonic()
                return
            self._waiting.append(turn_event)
        while not turn_event.wait(_POLL_SECONDS):
            with self._lock:
                gives_up = time.monotonic() >= until or (impatient and self._exceeds_queue(turn_event))
                # The lock may have been handed to this thread since the wait timed out.
                if gives_up and not turn_event.is_set():
                    self._waiting.remove(turn_event)
                    raise NoTurnError

    def _exceeds_queue(self, turn_event: threading.Event) -> bool:
        stuck = time.monotonic() - self._last_change > _STUCK_SECONDS
        return stuck and turn_event not in list(self._waiting)[:_MAX_WAITING_WHILE_STUCK]

    def _release(self) -> None:
        with self._lock:
            self._last_change = time.monotonic()
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False
