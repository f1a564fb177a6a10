"""Turns of the threads of one process that write to a SQLite database, which takes one writer at a time."""

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
"""How long this context waits for other writers, in seconds. Requests set it lower: somebody waits for an answer."""

_STUCK_SECONDS: Final = 1.0
_MOST_WHILE_STUCK: Final = 8
_LOOK_SECONDS: Final = 0.1


class NoTurnError(Exception):
    """The turn did not come in time."""


@dataclass
class WriteTurns:
    """A lock that is given in the order it was asked for.

    Threads that wait hold no connection. When no turn has ended for a second, so that the database is held by another
    process or by long work, few impatient threads go on waiting: the others are needed to answer requests that read.
    """

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _waiting: deque[threading.Event] = field(default_factory=deque)
    _taken: bool = False
    _moved: float = 0.0

    @contextmanager
    def turn(self) -> Iterator[float]:
        """Hold the lock during the block, which gets the seconds that are left to wait; raises `NoTurnError`."""
        patience = lock_wait.get()
        until = time.monotonic() + patience
        self._take(until, impatient=patience < LONGEST_WAIT)
        try:
            yield max(0.0, until - time.monotonic())
        finally:
            self._pass_on()

    def _take(self, until: float, *, impatient: bool) -> None:
        mine = threading.Event()
        with self._lock:
            if not self._taken:
                self._taken, self._moved = True, time.monotonic()
                return
            self._waiting.append(mine)
        while not mine.wait(_LOOK_SECONDS):
            with self._lock:
                late = time.monotonic() >= until or (impatient and self._is_in_the_way(mine))
                # Between the look and now, the turn may have come.
                if late and not mine.is_set():
                    self._waiting.remove(mine)
                    raise NoTurnError

    def _is_in_the_way(self, mine: threading.Event) -> bool:
        stuck = time.monotonic() - self._moved > _STUCK_SECONDS
        return stuck and mine not in list(self._waiting)[:_MOST_WHILE_STUCK]

    def _pass_on(self) -> None:
        with self._lock:
            self._moved = time.monotonic()
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False
