"""Deliveries: what arrived in 24 hours, what waits, is late or failed, and what comes next."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from offtake.contract.caller import VIEW_DATASETS, VIEW_DESTINATIONS
from offtake.flows import deliveries, eligible_datasets, monitoring, run_views
from offtake.flows.monitoring import HOUR_MS
from offtake.web import charts, navigation
from offtake.web.past_periods import PastPeriods
from offtake.web.person import PersonOf
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)

_NOTHING: Final = "Your roles allow nothing in this sandbox. Ask an administrator for a role."
_MOST_TROUBLES: Final = 8
_MOST_LINES: Final = 20
_MOST_COMING: Final = 6
_MOST_LAST: Final = 12


@router.get("/ui/{sandbox}")
def home(request: Request, person: PersonOf) -> Response:
    """The overview of a sandbox; for people who may not see deliveries, the first page that they may see."""
    if not person.may(VIEW_DESTINATIONS):
        links = navigation.rail(person, request.url.path)
        if links:
            return RedirectResponse(links[0].url, 303)
        return page(request, person, "error.html", 403, title="Nothing to see", message=_NOTHING)
    caller, now = person.caller, person.now_ms
    scale = charts.last_day(now, person.zone)
    past: PastPeriods = request.app.state.past_periods
    hours = past.read(person, scale.start_ms, HOUR_MS, (scale.end_ms - scale.start_ms) // HOUR_MS)
    with person.backend.database.reading() as session:
        running, waiting = monitoring.count_live(session, caller)
        troubles = deliveries.troubles(session, caller, now, _MOST_TROUBLES + 1)
        lines = deliveries.timeline(session, caller, scale.start_ms, _MOST_LINES)
        coming = deliveries.coming(session, caller, now, _MOST_COMING)
        last, more = run_views.list_runs(session, caller, None, None, 0, _MOST_LAST)
        is_empty = not lines and not (person.may(VIEW_DATASETS) and eligible_datasets.has_any(session, caller))
    return page(
        request,
        person,
        "home.html",
        totals=monitoring.add_up(hours),
        running=running,
        waiting=waiting,
        troubles=troubles[:_MOST_TROUBLES],
        more_troubles=len(troubles) > _MOST_TROUBLES,
        scale=scale,
        lines=[(line, charts.bars(scale, line.runs, now)) for line in lines],
        coming=coming,
        last=last,
        more_runs=more,
        is_empty=is_empty,
    )
