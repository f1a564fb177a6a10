"""Detects expired leases by watching heartbeats, without comparing the clocks of machines."""

import threading
from collections.abc import Callable, Iterable


class LeaseMonitor:
    """One process's view of the leases of others. Thread-safe.

    The holder increments a heartbeat counter. A lease whose counter has not changed for `lease_ms`, by this process's
    monotonic clock, has expired. Wall clocks do not matter.
    """

    def __init__(self, elapsed_ms: Callable[[], int], lease_ms: int) -> None:
        """`elapsed_ms`: a monotonic clock in milliseconds; `lease_ms`: how long a lease lasts without a heartbeat."""
        self._elapsed_ms = elapsed_ms
        self._lease_ms = lease_ms
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._lock = threading.Lock()

    def is_expired(self, held: Iterable[tuple[str, int, int]]) -> dict[str, int]:
        """The expired ones of all held leases, given as (id, fence, counter): counter by id."""
        now = self._elapsed_ms()
        with self._lock:
            before, self._seen = self._seen, {}
            for key, fence, counter in held:
                known = before.get(key)
                since = known[2] if known and known[:2] == (fence, counter) else now
                self._seen[key] = (fence, counter, since)
            return {key: counter for key, (_, counter, since) in self._seen.items() if now - since >= self._lease_ms}
