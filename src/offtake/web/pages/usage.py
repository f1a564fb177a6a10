"""Usage: what the sandbox's runs delivered in a month, and its quotas."""

from typing import Final

from fastapi import APIRouter, Request, Response

from offtake.contract.caller import MANAGE_SANDBOXES
from offtake.store.usage import month_of
from offtake.usage import quotas, reports
from offtake.usage.reports import Dimension
from offtake.web import quota_form
from offtake.web.person import PersonOf
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)

_VIEWS: Final = {
    "destination": "By destination",
    "dataset": "By dataset",
    "flow": "By dataflow",
    "month": "By month",
}
_HEADINGS: Final = {"month": "Month", "dataset": "Dataset", "destination": "Account", "flow": "Dataflow"}
_BY_MONTH: Final[tuple[Dimension, ...]] = ("month",)
_MOST_MONTHS: Final = 24
_MOST_LINES: Final = 500


@router.get("/ui/{sandbox}/usage")
def show(request: Request, person: PersonOf) -> Response:
    """The usage of one month by dataset and account, or as the URL says; all months by month."""
    url = ListUrl(request)
    view = url.choice("by", tuple(_VIEWS)) or ""
    by = reports.parse(None, view)[1]
    with person.backend.database.reading() as session:
        every = reports.report(session, person.caller, person.now_ms, by=_BY_MONTH)
        months = [one.month for one in every.lines if one.month is not None][:_MOST_MONTHS]
        month = url.choice("month", months) or month_of(person.now_ms)
        found = every if view == "month" else reports.report(session, person.caller, person.now_ms, month, by)
        limits = quotas.list_quotas(session, person.caller, person.now_ms)
        held = quotas.count_held(session, person.caller)
    return page(
        request,
        person,
        "usage.html",
        report=found,
        lines=found.lines[:_MOST_LINES],
        left_out=max(0, len(found.lines) - _MOST_LINES),
        headings=[_HEADINGS[one] for one in found.by],
        months=[(one, one) for one in months],
        month=month,
        views=_VIEWS.items(),
        view=view,
        quotas=[(quota_form.LABELS.get(one.measure, one.measure), one) for one in limits],
        held=held,
        may_set=person.may(MANAGE_SANDBOXES),
    )
