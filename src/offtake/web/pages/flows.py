"""Dataflows: the list."""

from collections.abc import Mapping
from typing import Final

from fastapi import APIRouter, Request, Response

from offtake.destinations import registry
from offtake.flows import deleted_flows, flow_lists
from offtake.flows.flow_lists import ORDERS, PAGE, STATES, FlowQuery, State
from offtake.web import charts, schedules
from offtake.web.person import PersonOf
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

_STATE_LABELS: Final[Mapping[State, str]] = {
    "enabled": "Enabled",
    "disabled": "Disabled",
    "failed": "Last run failed",
    "running": "Running now",
}
router = APIRouter(route_class=PageRoute)

_SPECS: Final = {one.connection_spec_id: one.name for one in registry.DESTINATIONS}


@router.get("/ui/{sandbox}/flows")
def browse(request: Request, person: PersonOf) -> Response:
    """All dataflows, with search, filters and orders in the URL."""
    url = ListUrl(request)
    order = url.choice("sort", ORDERS) or "last"
    descending = (url.choice("order", ("asc", "desc")) or ("desc" if order in ("last", "created") else "asc")) == "desc"
    query = FlowQuery(
        text=url.text("q"),
        state=url.choice("state", STATES),
        destination_spec_id=url.choice("destination", list(_SPECS)),
        account_id=url.text("account") or None,
        dataset_id=url.text("dataset") or None,
        order=order,
        descending=descending,
        offset=url.number("from"),
    )
    with person.backend.database.reading() as session:
        found = flow_lists.list_flows(session, person.caller, query, person.now_ms)
        deleted_id = url.text("deleted")
        deleted = deleted_flows.names_of(session, person.caller, [deleted_id]) if deleted_id else {}
    current = (order, descending)
    columns = [
        url.sorted_by("Dataflow", "name", current, "wide"),
        {"label": "Destination"},
        {"label": "Schedule"},
        url.sorted_by("Last run", "last", current, "pill", first="desc"),
        {"label": "Rows", "kind": "spark-cell"},
        url.sorted_by("Next run", "next", current, "time"),
    ]
    return page(
        request,
        person,
        "flows.html",
        url=url,
        search=query,
        columns=columns,
        deleted=next(iter(deleted.values()), None),
        flows=[(one, schedules.in_words(one.schedule), charts.spark(one.delivered)) for one in found.flows],
        states=_STATE_LABELS.items(),
        destinations=_SPECS,
        next_url=url.with_(**{"from": query.offset + PAGE}) if found.more else "",
        first_url=url.with_() if query.offset else "",
    )
