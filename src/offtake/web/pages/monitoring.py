"""Monitoring: a sandbox's runs by day, and the freshness of its datasets."""

from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter, Request, Response

from offtake.flows import monitoring, owed
from offtake.flows.monitoring import DAY_MS
from offtake.web import charts
from offtake.web.past_periods import PastPeriods
from offtake.web.person import PersonOf
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)

_RANGES: Final = ("7", "14", "30")
_MOST_FRESHNESS: Final = 20


@router.get("/ui/{sandbox}/monitoring")
def overview(request: Request, person: PersonOf) -> Response:
    """Runs, rows, bytes and durations by day."""
    person.caller.require("view-destinations")
    url = ListUrl(request)
    count = int(url.choice("days", _RANGES) or "7")
    today = person.now_ms // DAY_MS * DAY_MS
    past: PastPeriods = request.app.state.past_periods
    days = past.read(person, today - (count - 1) * DAY_MS, DAY_MS, count)
    names = [f"{datetime.fromtimestamp(day.start_ms / 1000, UTC):%b %d}" for day in days]
    with person.backend.database.reading() as session:
        runs_with_files = owed.count(session, person.caller)
        fresh = monitoring.freshness(session, person.caller, _MOST_FRESHNESS)
    return page(
        request,
        person,
        "monitoring.html",
        url=url,
        ranges=_RANGES,
        count=count,
        days=list(zip(days, names, strict=True)),
        ticks=charts.day_ticks(names),
        runs=charts.stacks([(day.delivered, day.empty, day.failed) for day in days]),
        rows=charts.columns([day.rows for day in days]),
        sizes=charts.columns([day.bytes for day in days]),
        times=charts.columns([day.run_ms // day.ended if day.ended else 0 for day in days]),
        fresh=fresh,
        owed=runs_with_files,
    )
