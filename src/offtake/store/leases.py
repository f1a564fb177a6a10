"""Which holders of leases have fallen silent, judged by watching them, not by comparing clocks."""

import threading
from collections.abc import Callable, Iterable


class LeaseMonitor:
    """What one process sees of the others' leases.

    A holder counts its beat up while it lives. One whose beat has not moved for as long as a lease lasts is silent.
    Only time that passes here counts: clocks that differ between machines or are set do not matter.
    """

    def __init__(self, elapsed_ms: Callable[[], int], lease_ms: int) -> None:
        """`elapsed_ms`: milliseconds of a clock that is never set; `lease_ms`: how long a lease lasts."""
        self._elapsed_ms = elapsed_ms
        self._lease_ms = lease_ms
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._lock = threading.Lock()

    def is_expired(self, held: Iterable[tuple[str, int, int]]) -> dict[str, int]:
        """Of all that is held, as (id, fence, beat): what has been held in silence for a lease, with the beat."""
        now = self._elapsed_ms()
        with self._lock:
            before, self._seen = self._seen, {}
            for key, fence, beat in held:
                known = before.get(key)
                since = known[2] if known and known[:2] == (fence, beat) else now
                self._seen[key] = (fence, beat, since)
            return {key: beat for key, (_, beat, since) in self._seen.items() if now - since >= self._lease_ms}
