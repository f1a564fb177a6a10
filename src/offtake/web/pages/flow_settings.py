"""The settings of a dataflow: one form, refused when what it changes was changed meanwhile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from offtake.access import access, client_names
from offtake.catalog import dataset_lists, datasets
from offtake.catalog.dataset_lists import DatasetLine
from offtake.contract import problems
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS
from offtake.contract.json_patch import Operation
from offtake.contract.problems import Problem
from offtake.documents import ColumnChoiceDocument
from offtake.flows import flow_changes, flow_creation, flow_views, target_connections
from offtake.web import column_form, export_form, export_state, forms, freshness_form, schedule_form
from offtake.web.export_state import Place, Preview
from offtake.web.form_body import Form, text
from offtake.web.person import Person, PersonOf
from offtake.web.places import place_of
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute
from offtake.web.settings_form import SettingsForm

router = APIRouter(route_class=PageRoute)

_SHOWN: Final = 50
_LABELS: Final = {
    "name": "Name",
    "description": "Description",
    "labels": "Labels",
    "template": "Folder template",
    "every": "How often",
    "hours": "Hours between runs",
    "start_date": "First run, date",
    "end_date": "Ends on",
    freshness_form.NAME: freshness_form.LABEL,
}
_PLACES: Final = {
    "/name": "name",
    "/description": "description",
    "/labels": "labels",
    "/params/": export_form.PREFIX,
    freshness_form.PATH: freshness_form.NAME,
    "/scheduleParams/foldernameTemplate": "template",
}


@dataclass(frozen=True)
class _Outcome:
    """Why a form was not stored. `changed_by`: who changed the dataflow meanwhile."""

    problems: dict[str, str] = field(default_factory=dict)
    refused: str = ""
    changed_by: str = ""


@router.get("/ui/{sandbox}/flows/{flow_id}/settings")
def settings(request: Request, person: PersonOf, flow_id: str) -> Response:
    """The settings as they are stored."""
    person.caller.require(EXPORT_DATASETS)
    return _show(request, person, _load(person, flow_id, None))


@router.post("/ui/{sandbox}/flows/{flow_id}/settings")
def save(request: Request, person: PersonOf, flow_id: str, sent: Form) -> Response:
    """Store everything that was changed, or nothing; `do` `search` only shows other datasets to choose from."""
    person.caller.require(EXPORT_DATASETS)
    form = _load(person, flow_id, sent)
    if text(sent, "do") == "search":
        return _show(request, person, form)
    columns, unknown = form.choose_columns()
    wrong = form.problems(person.backend.schedule_rules) | unknown
    if wrong:
        return _show(request, person, form, 422, _Outcome(wrong))
    try:
        _store(person, form, sent, columns)
    except Problem as problem:
        if problem.code == problems.OTHER_VERSION:
            fresh = _load(person, flow_id, sent)
            return _show(request, person, fresh, 409, _Outcome(changed_by=_changed_by(person, fresh)))
        if problem.code == problems.FORBIDDEN:
            raise
        found = forms.problems_by_name(problem.fields, _PLACES)
        by_field = {name: message for name, message in found.items() if name}
        return _show(request, person, form, 422, _Outcome(by_field, "" if by_field else str(problem)))
    return RedirectResponse(person.url(f"flows/{flow_id}/settings") + "?saved=all", 303)


@router.post("/ui/{sandbox}/flows/{flow_id}/settings/preview")
def preview(request: Request, person: PersonOf, flow_id: str, sent: Form) -> Response:
    """The paths and the next runs that the form would give."""
    person.caller.require(EXPORT_DATASETS)
    form = _load(person, flow_id, sent)
    return page(request, person, "export-preview.html", preview=_preview(person, form))


def _load(person: Person, flow_id: str, sent: FormData | None) -> SettingsForm:
    with person.backend.database.reading() as session:
        view = flow_views.find_flow(session, person.caller, flow_id, person.now_ms)
        names = dict(datasets.names_of(session, person.caller, view.source.dataset_ids))
        hidden = datasets.existing(session, person.caller, view.source.dataset_ids) - set(names)
    return SettingsForm(person, view, names, sent, sorted(hidden))


def _store(person: Person, form: SettingsForm, sent: FormData, columns: Mapping[str, ColumnChoiceDocument]) -> None:
    """Store the changes in one transaction, each only if what it changes has the version that the form showed."""
    backend, caller, flow = person.backend, person.caller, form.view.flow
    operations, of_target = form.flow_operations(), form.target_operations()
    with backend.database.writing() as session:
        if form.changes_source():
            source = flow_creation.create_source(
                session, caller, form.name, form.dataset_ids, person.now_ms, form.view.source.refs, columns
            )
            session.flush()
            operations.append(Operation("replace", "/sourceConnectionIds", [source.id]))
        if operations:
            version, rules = text(sent, "version"), backend.schedule_rules
            flow_changes.update(session, caller, flow.id, operations, version, person.now_ms, rules)
        if of_target:
            version = text(sent, "target_version")
            target_connections.update(session, caller, form.view.target.id, of_target, version, person.now_ms)


def _changed_by(person: Person, form: SettingsForm) -> str:
    """The name of the client that changed the dataflow or its target last."""
    flow, target = form.view.flow, form.view.target
    client = flow.updated_client if flow.updated_at >= target.updated_at else target.updated_client
    with person.backend.database.reading() as session:
        return client_names.name_of(session, client, client)


def _preview(person: Person, form: SettingsForm) -> Preview:
    view = form.view
    with person.backend.database.reading() as session:
        chosen = datasets.names_of(session, person.caller, form.dataset_ids)
        organisation = access.organisation_name(session, person.caller)
    place = Place(
        destination=form.destination.name if form.destination else "",
        flow_name=form.name or "Dataflow",
        flow_id=view.flow.id,
        root=place_of(view.target.connection_spec_id, form.params),
        datasets=chosen,
        organisation=organisation,
    )
    return export_state.preview(person, place, form.schedule, form.template, view.flow.created_at // 1000)


def _show(
    request: Request, person: Person, form: SettingsForm, status: int = 200, outcome: _Outcome | None = None
) -> Response:
    view, url, refusal = form.view, ListUrl(request), outcome or _Outcome()
    search = url.text("q") if form.sent is None else text(form.sent, "q")
    found: Sequence[DatasetLine] = ()
    with person.backend.database.reading() as session:
        if person.may("view-datasets", "manage-datasets"):
            found = dataset_lists.page(session, person.caller, search, "name", 0, _SHOWN + 1)
        chosen = datasets.names_of(session, person.caller, form.dataset_ids)
    schedule, rules = form.schedule, person.backend.schedule_rules
    fields = form.fields(refusal.problems)
    columns = column_form.fields(chosen, form.columns, refusal.problems)
    return page(
        request,
        person,
        "flow-settings.html",
        status,
        view=view,
        form=form,
        outcome=refusal,
        differences=form.differences() if refusal.changed_by else (),
        saved=status < 400 and form.sent is None and url.text("saved") == "all",  # noqa: PLR2004 - an HTTP status
        schedule=schedule,
        fields=fields,
        column_fields=columns,
        datasets=found[:_SHOWN],
        more_datasets=len(found) > _SHOWN,
        search=search,
        chosen=chosen,
        chosen_ids=[one for one, _ in chosen],
        intervals=[(str(hours), f"{hours} h") for hours in sorted(rules.hour_intervals)],
        may_set_freshness=person.may(MANAGE_DESTINATIONS),
        default_freshness=freshness_form.default_in_words(view.schedule),
        zones=schedule_form.zones(person.zone, schedule.zone),
        preview=_preview(person, form),
        summary=forms.summary(refusal.problems, _LABELS | forms.labels_of(*fields, *columns), inline=True),
    )
