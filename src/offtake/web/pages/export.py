"""Export datasets: one page of sections that open in turn; the URL holds everything that was entered."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import ImmutableMultiDict

from offtake.access import access
from offtake.catalog import dataset_lists, datasets
from offtake.catalog.dataset_lists import DatasetLine
from offtake.contract.caller import EXPORT_DATASETS, VIEW_DATASETS, VIEW_DESTINATIONS
from offtake.contract.problems import Problem
from offtake.destinations import registry
from offtake.destinations.base import Destination
from offtake.flows import account_choice, account_lists, adhoc, connection_checks, flow_creation, run_views
from offtake.flows.adhoc import AdhocDestination
from offtake.flows.flow_creation import NewExport
from offtake.store.tables import Connection
from offtake.web import column_form, connection_form, export_form, forms, schedule_form
from offtake.web.export_form import NEW_ACCOUNT, REVIEW, STEPS, ExportForm
from offtake.web.export_state import State, previews
from offtake.web.form_body import Form, Looked
from offtake.web.person import Person, PersonOf
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute
from offtake.web.submissions import id_of, new_key

router = APIRouter(route_class=PageRoute)

_SHOWN: Final = 50
_OF_DESTINATION: Final = STEPS.index("Destination") + 1
_OF_DATASETS: Final = STEPS.index("Datasets") + 1
_LABELS: Final = {
    "name": "Name",
    "template": "Folder template",
    "hours": "Hours between runs",
    "start_date": "First run, date",
    "end_date": "Ends on",
    "every": "How often",
}


@router.get("/ui/{sandbox}/export")
def wizard(request: Request, person: PersonOf) -> Response:
    """The wizard as far as it was filled in: opens the first section that is not complete."""
    person.caller.require(EXPORT_DATASETS)
    form = _read(person, request.query_params)
    if form.step == _OF_DESTINATION and "destination" not in form.sent:
        form = replace(form, destination=_only_destination(person))
    return _show(request, person, _check(person, form))


@router.post("/ui/{sandbox}/export")
def finish(request: Request, person: PersonOf, sent: Form) -> Response:
    """Create the dataflow with everything that it needs, or nothing; `act` `test` only tests the destination."""
    person.caller.require(EXPORT_DATASETS)
    state = _check(person, _read(person, sent))
    if state.first_wrong() < REVIEW:
        return _show(request, person, state, 422)
    testing = sent.get("act") == "test"
    try:
        new = _new_export(state)
        if testing or person.backend.settings.check_connections:
            answer = _test(person, new)
            if testing or not answer["result"]:
                return _show(request, person, state, 200 if testing else 422, tested=answer)
        path = _create(person, new, id_of(request, sent), at_once=state.form.schedule.at_once)
    except Problem as problem:
        return _show(request, person, state, 422, refused=str(problem))
    return RedirectResponse(person.url(path), 303)


@router.post("/ui/{sandbox}/export/preview")
def preview(request: Request, person: PersonOf, sent: Looked) -> Response:
    """The paths and the next runs that the form would give."""
    person.caller.require(EXPORT_DATASETS)
    state = _check(person, _read(person, sent), with_columns=False)
    return page(request, person, "export-preview.html", preview=previews(person, state))


def _read(person: Person, sent: ImmutableMultiDict[str, object]) -> ExportForm:
    return export_form.read(sent, person.now_ms, person.zone, person.backend.schedule_rules.default_schedule_months)


def _check(person: Person, form: ExportForm, *, with_columns: bool = True) -> State:
    """The form's state; `with_columns`: chosen columns are looked up in the tables."""
    state = State(form)
    rules = person.backend.schedule_rules
    with person.backend.database.reading() as session:
        if form.account_id and form.account_id != NEW_ACCOUNT:
            state.account = account_choice.find(session, person.caller, form.account_id)
        state.chosen = datasets.names_of(session, person.caller, form.dataset_ids)
        state.organisation = access.organisation_name(session, person.caller)
    destination = form.destination
    if destination is None:
        state.problems[1] = {"destination": "Choose where the files go."}
    elif state.account is None and not (form.account_id == NEW_ACCOUNT and not destination.auth_methods):
        state.problems[1] = {"account": "Choose an account, or connect one."}
    elif state.account is not None and state.account.connection_spec_id != destination.connection_spec_id:
        state.problems[1] = {"account": "The account belongs to another destination; choose one of this destination."}
    if not state.chosen:
        state.problems[2] = {"dataset": "Choose at least one dataset."}
    if destination is not None:
        state.problems[3] = export_form.place_problems(form)
        if with_columns:
            state.columns, wrong = column_form.choose(person, form.dataset_ids, {}, form.columns)
            state.problems[3] |= wrong
    state.problems[4] = export_form.schedule_problems(form, person.now_ms, rules)
    return state


def _show(request: Request, person: Person, state: State, status: int = 200, **answer: Any) -> Response:  # noqa: ANN401 - values of the template
    form = state.form
    step = min(form.step, state.first_wrong())
    tried = form.step > step
    shown = state.problems.get(step, {}) if tried or status >= 400 else {}  # noqa: PLR2004 - an HTTP status
    rules = person.backend.schedule_rules
    columns = column_form.fields(state.chosen, form.columns, shown)
    return page(
        request,
        person,
        "export.html",
        status,
        form=form,
        state=state,
        step=step,
        fields=form.fields(shown),
        column_fields=columns,
        problems=shown,
        summary=forms.summary(shown, forms.labels_of(*form.fields({}), *columns) | _LABELS, inline=step > _OF_DATASETS),
        intervals=[(str(hours), f"{hours} h") for hours in sorted(rules.hour_intervals)],
        months=rules.default_schedule_months or 0,
        base=person.url("export"),
        tested=answer.get("tested"),
        key=form.key or new_key(),
        refused=answer.get("refused", ""),
        zones=schedule_form.zones(person.zone, form.schedule.zone),
        schedule_names=list(schedule_form.FIELDS),
        preview=previews(person, state),
        **_choices(request, person, state, step),
    )


def _choices(request: Request, person: Person, state: State, step: int) -> dict[str, Any]:
    """What can be chosen in the step: destinations and accounts, or datasets. `empty`: there is no dataset at all."""
    spec, search = state.form.destination, ListUrl(request).text("q")
    accounts: Sequence[Connection] = ()
    found: Sequence[DatasetLine] = ()
    is_empty = False
    with person.backend.database.reading() as session:
        if step == _OF_DESTINATION and spec is not None:
            accounts = account_choice.of_destination(session, person.caller, spec.connection_spec_id, _SHOWN)
        if step == _OF_DATASETS:
            found = dataset_lists.page(session, person.caller, search, "name", 0, _SHOWN + 1)
        if step <= _OF_DATASETS and not state.chosen and person.may("view-datasets", "manage-datasets"):
            is_empty = not dataset_lists.page(session, person.caller, "", "name", 0, 1)
    # A choice of one is made already, and so is one between places that need no credentials.
    only = accounts[0].id if accounts and (len(accounts) == 1 or (spec and not spec.auth_methods)) else ""
    return {
        "destinations": registry.DESTINATIONS,
        "accounts": [(one, connection_form.method_title(spec, one.auth_spec_name)) for one in accounts if spec],
        "account_id": state.form.account_id if state.account else only,
        "local_zone": step == _OF_DESTINATION and _has_local_zone(person),
        "search": search,
        "datasets": found[:_SHOWN],
        "more_datasets": len(found) > _SHOWN,
        "empty": is_empty,
    }


def _has_local_zone(person: Person) -> bool:
    return person.backend.sandbox_location(person.caller).zone("dlz_destination").local_folder is not None


def _new_export(state: State) -> NewExport:
    form = state.form
    assert form.destination is not None  # noqa: S101 - checked before
    schedule = form.schedule.params()
    if form.template:
        schedule["foldernameTemplate"] = form.template
    return NewExport(
        name=form.name,
        destination=form.destination,
        account_id=None if state.account is None else state.account.id,
        dataset_ids=form.dataset_ids,
        params=form.params,
        schedule=schedule,
        endless=form.schedule.endless,
        columns=state.columns,
    )


def _only_destination(person: Person) -> Destination | None:
    """The destination that needs nothing, if there is no account of another one."""
    zone = next((one for one in registry.DESTINATIONS if not one.auth_methods), None)
    if zone is None or not person.may(VIEW_DESTINATIONS):
        return None
    with person.backend.database.reading() as session:
        counts = account_lists.count_by_spec(session, person.caller)
    others = (one.connection_spec_id for one in registry.DESTINATIONS if one is not zone)
    return None if any(counts.get(one) for one in others) else zone


def _create(person: Person, new: NewExport, flow_id: str, *, at_once: bool) -> str:
    """Create the dataflow, and its run if it is due; the path of the page that shows it."""
    backend, rules = person.backend, person.backend.schedule_rules
    sees_runs = all(person.may(one) for one in (VIEW_DATASETS, VIEW_DESTINATIONS))
    with backend.database.writing() as session:
        flow = flow_creation.create(
            session, person.caller, backend.vault, backend.network, new, person.now_ms, rules, flow_id
        )
        session.flush()
        if not at_once or not sees_runs:
            return f"flows/{flow.id}"
        known, _ = run_views.list_runs(session, person.caller, flow.id, None, 0, 1)
        if known:
            return f"runs/{known[0].run_id}"
        order = AdhocDestination.model_validate({"flowId": flow.id})
        return f"runs/{adhoc.run_now(session, person.caller, order, person.now_ms).id}"


def _test(person: Person, new: NewExport) -> Any:  # noqa: ANN401 - the API's document
    backend = person.backend
    location = backend.sandbox_location(person.caller)
    with backend.database.dry_run() as session:
        target = flow_creation.create_target(session, person.caller, backend.vault, backend.network, new, person.now_ms)
        session.flush()
        prepared = connection_checks.prepare_for(session, person.caller, backend.vault, target, location)
    return connection_checks.run_check(prepared, backend.pin_store)
