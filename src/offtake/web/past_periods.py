"""Keeps the totals of hours and days that are over, because adding up a large deployment's runs takes long."""

import threading
from collections import OrderedDict
from typing import Final

from offtake.flows import monitoring
from offtake.flows.monitoring import Period
from offtake.web.person import Person

_MOST: Final = 8192
_SETTLED_MS: Final = 3_600_000
"""Clocks of several servers may differ: totals are kept from so long after a period's end."""


class PastPeriods:
    """The totals of past periods, by sandbox and labels of who sees them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._periods: OrderedDict[tuple[str, frozenset[str], int, int], Period] = OrderedDict()

    def read(self, person: Person, first_ms: int, length_ms: int, count: int) -> list[Period]:
        """`count` consecutive periods from `first_ms` on; those that are not known are read from the store."""
        found = []
        with person.backend.database.reading() as session:
            for start in range(first_ms, first_ms + count * length_ms, length_ms):
                key = (person.caller.sandbox_id, person.caller.grants.labels, start, length_ms)
                period = self._periods.get(key)
                if period is None:
                    period = monitoring.ended_in(session, person.caller, start, length_ms)
                    if period.complete and start + length_ms + _SETTLED_MS < person.now_ms:
                        self._keep(key, period)
                found.append(period)
        return found

    def _keep(self, key: tuple[str, frozenset[str], int, int], period: Period) -> None:
        with self._lock:
            self._periods[key] = period
            if len(self._periods) > _MOST:
                self._periods.popitem(last=False)
