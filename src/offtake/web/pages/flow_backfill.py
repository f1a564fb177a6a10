"""Backfill: delivers the rows of a run or of a period again, into a folder of its own."""

from datetime import UTC, datetime, timedelta
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from offtake.contract import problems
from offtake.contract.caller import EXPORT_DATASETS
from offtake.errors import OfftakeError
from offtake.flows import backfill, flow_views, flows, runs
from offtake.flows.backfill import Tables
from offtake.web.form_body import Form, text, texts
from offtake.web.person import Person, PersonOf
from offtake.web.places import place_of
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute
from offtake.web.times import instant_of

router = APIRouter(route_class=PageRoute)

_DATE: Final = "%Y-%m-%d"


@router.get("/ui/{sandbox}/flows/{flow_id}/backfill")
def form(request: Request, person: PersonOf, flow_id: str) -> Response:
    """The form: from a day to a day, everything, or the rows of the run with the id `run` in the URL."""
    person.caller.require(EXPORT_DATASETS)
    run_id = ListUrl(request).text("run")
    return _show(request, person, flow_id, values={"what": "run", "run": run_id} if run_id else None)


@router.post("/ui/{sandbox}/flows/{flow_id}/backfill")
def start(request: Request, person: PersonOf, flow_id: str, sent: Form) -> Response:
    """Start the backfill; shows its run."""
    values = {key: text(sent, key) for key in ("what", "from_date", "to_date", "run")}
    wrong: dict[str, str] = {}
    of_run = values["what"] == "run"
    since = _day(values["from_date"], "from_date", wrong) if values["what"] == "range" else None
    to = 0 if of_run else _day(values["to_date"], "to_date", wrong, days=1)
    if since is not None and to is not None and since >= to:
        wrong["to_date"] = "must not be before the first day"
    if wrong or to is None:
        return _show(request, person, flow_id, 422, values=values, wrong=wrong)
    database = person.backend.database
    tables = Tables(database, person.backend.lake, person.caller)
    try:
        with database.reading() as session:
            row = flows.find(session, person.caller, flow_id)
            repeated = runs.find(session, person.caller, values["run"]) if of_run else None
        if repeated is not None:
            found = backfill.of_run(tables, row, repeated)
        else:
            found = backfill.of_dates(tables, row, since, to - 1, texts(sent, "dataset"))
        with database.writing() as session:
            run = backfill.request(session, person.caller, row.id, found, person.now_ms)
    except OfftakeError as error:
        return _show(request, person, flow_id, 422, values=values, refused=str(error))
    return RedirectResponse(person.url(f"runs/{run.id}"), 303)


def _show(
    request: Request,
    person: Person,
    flow_id: str,
    status: int = 200,
    *,
    values: dict[str, str] | None = None,
    wrong: dict[str, str] | None = None,
    refused: str = "",
) -> Response:
    with person.backend.database.reading() as session:
        view = flow_views.find_flow(session, person.caller, flow_id, person.now_ms)
        wanted = (values or {}).get("run")
        repeated = runs.find(session, person.caller, wanted) if wanted else None
        if repeated is not None and repeated.flow_id != view.flow.id:
            raise problems.not_found(runs.KIND, repeated.id)
        rows = backfill.count_rows(session, repeated) if repeated is not None else None
    today = datetime.fromtimestamp(person.now_ms / 1000, UTC)
    default = {"what": "range", "from_date": f"{today - timedelta(days=7):{_DATE}}", "to_date": f"{today:{_DATE}}"}
    shown = default | (values or {})
    return page(
        request,
        person,
        "flow-backfill.html",
        status,
        view=view,
        values=shown,
        problems=wrong or {},
        repeated=repeated,
        repeated_rows=rows,
        refused=refused,
        place=place_of(view.target.connection_spec_id, view.target.params),
    )


def _day(sent: str, name: str, wrong: dict[str, str], days: int = 0) -> int | None:
    """The start of a day in UTC, `days` later, in epoch milliseconds."""
    try:
        day = instant_of(sent, "00:00", UTC)
    except ValueError:
        wrong[name] = "must be a date"
        return None
    return int((day + timedelta(days=days)).timestamp()) * 1000
