"""A cache of this process that is limited by bytes."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class BoundedCache(Generic[Value]):
    """Values by key, up to a number of bytes; the least recently used are dropped first. Thread-safe.

    A value of more than `largest` bytes is not kept. `bytes`: of all kept values.
    """

    def __init__(self, most: int, largest: int) -> None:
        self._most, self._largest = most, largest
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self.bytes = 0

    def get(self, key: Hashable) -> Value | None:
        """The value, or None."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: Value, size: int) -> None:
        """Keep the value of so many bytes."""
        if size > self._largest:
            return
        with self._lock:
            known = self._kept.pop(key, None)
            self._kept[key] = value, size
            self.bytes += size - (known[1] if known else 0)
            while self.bytes > self._most:
                _, (_, dropped) = self._kept.popitem(last=False)
                self.bytes -= dropped

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self.bytes = 0
