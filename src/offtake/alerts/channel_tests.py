"""Limits of tests of channels: few at once, so that receivers that hang do not keep the threads of requests."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from offtake.contract import problems
from offtake.contract.problems import Problem

_AT_ONCE: Final = 6
_AT_ONCE_OF_ONE: Final = 2
_lock: Final = threading.Lock()
_running: Final[Counter[str]] = Counter()


@contextmanager
def place(client_id: str) -> Iterator[None]:
    """A place for one test until the block ends. Raises 3503 when too many tests are running."""
    with _lock:
        if _running.total() >= _AT_ONCE or _running[client_id] >= _AT_ONCE_OF_ONE:
            raise Problem(problems.BUSY, "Too many tests of alert channels are running. Retry when one has ended.")
        _running[client_id] += 1
    try:
        yield
    finally:
        with _lock:
            _running[client_id] -= 1
