"""The settings of a dataflow: each section is a form of its own, refused when the dataflow was changed meanwhile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from offtake.catalog import dataset_lists, datasets
from offtake.catalog.dataset_lists import DatasetLine
from offtake.contract import problems
from offtake.contract.caller import EXPORT_DATASETS
from offtake.contract.json_patch import Operation
from offtake.contract.problems import Problem
from offtake.destinations import registry
from offtake.destinations.base import Destination
from offtake.errors import InvalidInputError
from offtake.flows import flow_changes, flow_creation, flow_views, target_connections
from offtake.flows.flow_views import FlowView
from offtake.web import export_form, forms, schedule_form
from offtake.web.form_body import Form, text, texts
from offtake.web.person import Person, PersonOf
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute
from offtake.web.schedule_form import ScheduleForm

router = APIRouter(route_class=PageRoute)

_SHOWN: Final = 50
_SECTIONS: Final = ("name", "schedule", "files", "datasets", "labels")


@dataclass
class _Settings:
    """The page: what is stored, and what was entered in the section that was refused."""

    view: FlowView
    destination: Destination | None
    section: str = ""
    entered: FormData | None = None
    problems: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""
    conflict: bool = False

    def value(self, name: str, stored: object) -> str:
        """What was entered in the refused section, else what is stored."""
        if self.entered is not None and name in self.entered:
            return text(self.entered, name)
        return "" if stored is None else str(stored)


@router.get("/ui/{sandbox}/flows/{flow_id}/settings")
def settings(request: Request, person: PersonOf, flow_id: str) -> Response:
    """The settings as they are stored."""
    person.caller.require(EXPORT_DATASETS)
    return _show(request, person, _load(person, flow_id))


@router.post("/ui/{sandbox}/flows/{flow_id}/settings/{section}")
def save(request: Request, person: PersonOf, flow_id: str, section: str, form: Form) -> Response:
    """Store one section, unless the dataflow was changed since the page was shown."""
    if section not in _SECTIONS:
        raise problems.not_found("settings", section)
    stored = _load(person, flow_id)
    stored.section, stored.entered = section, form
    try:
        _save(person, stored, section, form)
    except InvalidInputError as error:
        stored.problems = schedule_form.problems_of(error)
    except Problem as problem:
        stored.conflict = problem.code == problems.OTHER_VERSION
        stored.problems = _by_field(problem)
        stored.refused = "" if stored.problems or stored.conflict else str(problem)
        if stored.conflict:
            fresh = _load(person, flow_id)
            stored.view = fresh.view
    else:
        return RedirectResponse(person.url(f"flows/{flow_id}/settings") + f"?saved={section}#{section}", 303)
    return _show(request, person, stored, 409 if stored.conflict else 422)


def _load(person: Person, flow_id: str) -> _Settings:
    with person.backend.database.reading() as session:
        view = flow_views.find_flow(session, person.caller, flow_id, person.now_ms)
    return _Settings(view, registry.by_connection_spec_id(view.target.connection_spec_id))


def _save(person: Person, stored: _Settings, section: str, form: FormData) -> None:
    if section == "files":
        _save_files(person, stored, form)
        return
    version = text(form, "version")
    with person.backend.database.writing() as session:
        operations = _operations(person, stored, section, form)
        if section == "datasets":
            name, chosen = stored.view.flow.name, texts(form, "dataset")
            source = flow_creation.create_source(session, person.caller, name, chosen, person.now_ms)
            session.flush()
            operations = [Operation("replace", "/sourceConnectionIds", [source.id])]
        rules = person.backend.schedule_rules
        flow_changes.update(session, person.caller, stored.view.flow.id, operations, version, person.now_ms, rules)


def _operations(person: Person, stored: _Settings, section: str, form: FormData) -> list[Operation]:
    if section == "name":
        described = text(form, "description")
        change = Operation("replace", "/description", described or None)
        return [Operation("replace", "/name", text(form, "name")), change]
    if section == "labels":
        return [
            Operation("replace", "/labels", [one.strip() for one in text(form, "labels").split("\n") if one.strip()])
        ]
    if section == "schedule":
        return _schedule_operations(person, stored, form)
    return []


def _schedule_operations(person: Person, stored: _Settings, form: FormData) -> list[Operation]:
    entered = _entered_schedule(form, person.now_ms)
    template = text(form, "template")
    schedule_form.check(entered, template or None, stored.view.flow.created_at // 1000, person.backend.schedule_rules)
    # Only what was changed: the form knows minutes, and a default end must stay one.
    before, after = schedule_form.of_schedule(stored.view.schedule).params(), entered.params()
    changed = {key: value for key, value in after.items() if before.get(key) != value}
    found = [Operation("replace", f"/scheduleParams/{key}", value) for key, value in changed.items()]
    if not entered.end_date and stored.view.schedule.end_time is not None:
        found.append(Operation("remove", "/scheduleParams/endTime"))
    if template:
        found.append(Operation("add", "/scheduleParams/foldernameTemplate", template))
    elif stored.view.schedule.folder_name_template is not None:
        found.append(Operation("remove", "/scheduleParams/foldernameTemplate"))
    return found


def _save_files(person: Person, stored: _Settings, form: FormData) -> None:
    assert stored.destination is not None  # noqa: S101 - the form is not offered otherwise
    model, target = stored.destination.parameters, stored.view.target
    params = forms.parse(model, form, export_form.PREFIX)
    # A patch merges: what was emptied must be removed.
    emptied = [key for key in export_form.keys_of(model) if key in target.params and key not in params]
    operations = [Operation("replace", "/params", params), *(Operation("remove", f"/params/{key}") for key in emptied)]
    with person.backend.database.writing() as session:
        target_connections.update(session, person.caller, target.id, operations, text(form, "version"), person.now_ms)


def _entered_schedule(form: FormData, now_ms: int) -> ScheduleForm:
    return schedule_form.read({key: value for key, value in form.items() if isinstance(value, str)}, now_ms)


def _by_field(problem: Problem) -> dict[str, str]:
    """The problems of a refused request by the form's fields."""
    places = {"/name": "name", "/description": "description", "/labels": "labels", "/params/": export_form.PREFIX}
    found = forms.problems_by_name(problem.fields, places)
    return {name: message for name, message in found.items() if name}


def _show(request: Request, person: Person, shown: _Settings, status: int = 200) -> Response:
    view, url = shown.view, ListUrl(request)
    search = url.text("q")
    found: Sequence[DatasetLine] = ()
    with person.backend.database.reading() as session:
        if person.may("view-datasets", "manage-datasets"):
            found = dataset_lists.page(session, person.caller, search, "name", 0, _SHOWN + 1)
        chosen = datasets.names_of(session, person.caller, view.source.dataset_ids)
    rules = person.backend.schedule_rules
    entered = shown.entered if shown.section == "schedule" else None
    schedule = (
        schedule_form.of_schedule(view.schedule) if entered is None else _entered_schedule(entered, person.now_ms)
    )
    return page(
        request,
        person,
        "flow-settings.html",
        status,
        view=view,
        shown=shown,
        saved=url.choice("saved", _SECTIONS) if status < 400 else None,  # noqa: PLR2004 - an HTTP status
        schedule=schedule,
        folder_template=shown.value("template", view.schedule.folder_name_template or ""),
        fields=_fields(shown),
        labels=shown.value("labels", "\n".join(view.labels)),
        datasets=found[:_SHOWN],
        more_datasets=len(found) > _SHOWN,
        search=search,
        chosen=chosen,
        chosen_ids=[one for one, _ in chosen],
        intervals=[(str(hours), f"{hours} h") for hours in sorted(rules.hour_intervals)],
        months=0,
        summary=forms.summary(shown.problems, _labels(shown)),
    )


def _fields(shown: _Settings) -> Sequence[forms.Field]:
    if shown.destination is None:
        return ()
    model = shown.destination.parameters
    values: Mapping[str, Any] = shown.view.target.params
    if shown.section == "files" and shown.entered is not None:
        values = forms.sent(model, shown.entered, export_form.PREFIX)
    return forms.fields(model, export_form.PREFIX, values, shown.problems, export_form.keys_of(model))


def _labels(shown: _Settings) -> dict[str, str]:
    return _LABELS | forms.labels_of(*_fields(shown))


_LABELS: Final = {
    "name": "Name",
    "description": "Description",
    "labels": "Labels",
    "template": "Folder template",
    "hours": "Hours between runs",
    "start_date": "First run, date",
    "end_date": "Last day",
}
