"""A dataflow: its overview, its runs, and its actions."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from offtake.alerts import rules as alert_rules
from offtake.contract import problems
from offtake.contract.problems import Problem
from offtake.destinations import registry
from offtake.flows import (
    adhoc,
    connection_removal,
    deliveries,
    flow_changes,
    flow_views,
    pending_rows,
    run_views,
    undelivered,
)
from offtake.flows.adhoc import AdhocDestination, AdhocRefusedError
from offtake.web import charts, freshness_form, schedules
from offtake.web.form_body import Form, text
from offtake.web.pages.runs import STATUSES
from offtake.web.person import Person, PersonOf
from offtake.web.places import place_of
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute
from offtake.web.typed_names import wrong_name

router = APIRouter(route_class=PageRoute)

_SPECS: Final = {one.connection_spec_id: one.name for one in registry.DESTINATIONS}
_SHOWN_RUNS: Final = 8
_SHOWN_DATASETS: Final = 20
_SHOWN_BARS: Final = 60
_MONTH_MS: Final = 30 * 86_400_000


@router.get("/ui/{sandbox}/flows/{flow_id}")
def overview(request: Request, person: PersonOf, flow_id: str) -> Response:
    """What the dataflow exports where, how far it is, and its last runs."""
    return _overview(request, person, flow_id)


def _overview(
    request: Request, person: Person, flow_id: str, status: int = 200, delete_problem: str = "", typed: str = ""
) -> Response:
    with person.backend.database.reading() as session:
        view = flow_views.find_flow(session, person.caller, flow_id, person.now_ms)
        recent, _ = run_views.list_runs(session, person.caller, view.flow.id, None, 0)
        since = person.now_ms - _MONTH_MS
        bars = deliveries.runs_of(session, person.caller, [view.flow.id], since).get(view.flow.id, [])
        shown = view.datasets[:_SHOWN_DATASETS]
        owed = undelivered.still_owed(session, view.last, view.owed) if view.last is not None else ()
        rules = alert_rules.concerning(session, person.caller, view.flow.id)
    pending = pending_rows.count_pending(person.backend.database, person.backend.lake, person.caller, shown)
    ended = [bar for bar in bars if bar.ended_ms is not None][-_SHOWN_BARS:]
    is_over = view.last is not None and view.schedule.one_time and view.next_ms is None
    return page(
        request,
        person,
        "flow.html",
        status,
        view=view,
        delete_problem=delete_problem,
        typed=typed,
        shown=shown,
        pending=pending,
        is_over=is_over,
        destination=_SPECS.get(view.target.connection_spec_id, ""),
        place=place_of(view.target.connection_spec_id, view.target.params),
        words=schedules.in_words(view.schedule),
        content=schedules.content(view.schedule),
        freshness=freshness_form.in_words(view.flow.freshness_seconds, view.schedule),
        runs=recent[:_SHOWN_RUNS],
        rules=rules,
        columns=charts.run_columns(ended),
        owed=[undelivered.sentence(one, view.last, view.flow, retries=True) for one in owed if view.last],
    )


@router.get("/ui/{sandbox}/flows/{flow_id}/runs")
def history(request: Request, person: PersonOf, flow_id: str) -> Response:
    """All runs of the dataflow, newest first."""
    url = ListUrl(request)
    first, status = url.number("from"), url.choice("status", STATUSES)
    with person.backend.database.reading() as session:
        view = flow_views.find_flow(session, person.caller, flow_id, person.now_ms)
        found, more = run_views.list_runs(session, person.caller, view.flow.id, status, first)
    return page(
        request,
        person,
        "flow-runs.html",
        view=view,
        runs=found,
        url=url,
        chosen=status,
        next_url=url.with_(**{"from": first + run_views.PAGE}) if more else "",
        first_url=url.with_() if first else "",
    )


@router.post("/ui/{sandbox}/flows/{flow_id}/run")
def run_now(person: PersonOf, flow_id: str, form: Form) -> Response:
    """Start a run outside the schedule; leads to the run that is going on already, as after a double click."""
    order = AdhocDestination.model_validate({"flowId": flow_id, "fullExport": text(form, "full") == "true"})
    try:
        with person.backend.database.writing() as session:
            run_id = adhoc.run_now(session, person.caller, order, person.now_ms).id
    except AdhocRefusedError as refused:
        if refused.live_id is None:
            raise
        run_id = refused.live_id
    return RedirectResponse(person.url(f"runs/{run_id}"), 303)


@router.post("/ui/{sandbox}/flows/{flow_id}/state")
def set_state(person: PersonOf, flow_id: str, form: Form) -> Response:
    """Enable or disable the dataflow; no-op when it is so already."""
    wanted = text(form, "op")
    try:
        with person.backend.database.writing() as session:
            flow_changes.act(session, person.caller, flow_id, wanted, None, None, person.now_ms)
    except Problem as problem:
        if problem.code != problems.WRONG_ACTION:
            raise
    return _back(person, flow_id)


@router.post("/ui/{sandbox}/flows/{flow_id}/delete")
def delete(request: Request, person: PersonOf, flow_id: str, form: Form) -> Response:
    """Delete the dataflow, after its name was typed; the list of dataflows confirms it."""
    person.caller.require(*_EXPORT)
    with person.backend.database.reading() as session:
        view = flow_views.find_flow(session, person.caller, flow_id, person.now_ms)
    wrong = wrong_name(form, view.flow.name, flow_id)
    if wrong:
        return _overview(request, person, flow_id, 422, wrong, text(form, "typed"))
    with person.backend.database.writing() as session:
        connection_removal.delete_flow(session, person.caller, flow_id, person.now_ms)
    return RedirectResponse(f"{person.url('flows')}?deleted={view.flow.id}", 303)


_EXPORT: Final = ("manage-and-activate-dataset-destinations",)


def _back(person: Person, flow_id: str) -> Response:
    return RedirectResponse(person.url(f"flows/{flow_id}"), 303)
