"""Monitoring: a sandbox's runs by day, and the freshness of its datasets."""

import threading
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter, Request, Response

from offtake.flows import monitoring
from offtake.flows.monitoring import DAY_MS, Day
from offtake.web import charts
from offtake.web.person import Person, PersonOf
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)

_RANGES: Final = ("7", "14", "30")
_MOST_FRESHNESS: Final = 20
_MOST_DAYS: Final = 4096
_SETTLED_MS: Final = 3_600_000


class PastDays:
    """The totals of days that are over, which do not change any more. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._days: OrderedDict[tuple[str, frozenset[str], int], Day] = OrderedDict()

    def read(self, person: Person, starts: list[int]) -> list[Day]:
        """The days that start then; those that are not known are read from the store."""
        found = []
        with person.backend.database.reading() as session:
            for start in starts:
                key = (person.caller.sandbox_id, person.caller.grants.labels, start)
                day = self._days.get(key)
                if day is None:
                    day = monitoring.day_of(session, person.caller, start)
                    if start + DAY_MS + _SETTLED_MS < person.now_ms:
                        self._remember(key, day)
                found.append(day)
        return found

    def _remember(self, key: tuple[str, frozenset[str], int], day: Day) -> None:
        with self._lock:
            self._days[key] = day
            if len(self._days) > _MOST_DAYS:
                self._days.popitem(last=False)


@router.get("/ui/{sandbox}/monitoring")
def overview(request: Request, person: PersonOf) -> Response:
    """Runs, rows, bytes and durations by day."""
    person.caller.require("view-destinations")
    url = ListUrl(request)
    count = int(url.choice("days", _RANGES) or "7")
    today = person.now_ms // DAY_MS * DAY_MS
    past: PastDays = request.app.state.past_days
    days = past.read(person, [today - number * DAY_MS for number in range(count - 1, -1, -1)])
    with person.backend.database.reading() as session:
        fresh = monitoring.freshness(session, person.caller, _MOST_FRESHNESS)
    return page(
        request,
        person,
        "monitoring.html",
        url=url,
        ranges=_RANGES,
        count=count,
        days=[(day, f"{datetime.fromtimestamp(day.start_ms / 1000, UTC):%b %d}") for day in days],
        runs=charts.stacks([(day.delivered, day.empty, day.failed) for day in days]),
        rows=charts.columns([day.rows for day in days]),
        sizes=charts.columns([day.bytes for day in days]),
        times=charts.columns([day.run_ms // day.ended if day.ended else 0 for day in days]),
        fresh=fresh,
    )
