"""Roles: the list, and a role with its permissions, sandboxes, labels and subjects."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from dataclasses import replace as replace_values
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from offtake.access import client_list, permissions, role_list, role_patches, roles
from offtake.access.client_list import ClientSummary
from offtake.contract import problems
from offtake.contract.caller import (
    ALL,
    EXPORT_DATASETS,
    MANAGE_ACCESS,
    MANAGE_DATASETS,
    MANAGE_DESTINATIONS,
    VIEW_DATASETS,
    VIEW_DESTINATIONS,
)
from offtake.contract.json_patch import Operation
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import OfftakeError
from offtake.sandboxes import sandboxes
from offtake.web.form_body import Form, require, text, texts
from offtake.web.pages.access import PAGE, show
from offtake.web.person import Person, PersonOf
from offtake.web.queries import ListUrl
from offtake.web.routes import PageRoute
from offtake.web.typed_names import wrong_name

router = APIRouter(route_class=PageRoute)

_MOST_SUBJECTS: Final = 50
_OK: Final = 200
_STALE: Final = 409
_MOST_OFFERED: Final = 200
_LABELS: Final = {
    "name": "Name",
    "description": "Description",
    "permissionSets": "Permissions",
    "sandboxes": "Sandboxes",
    "labels": "Labels",
}
_NAMES: Final = {"subjectAttributes": "labels"}


@dataclass(frozen=True)
class _Form:
    """The fields of a role as a form shows them. `version`: when the role was changed last; empty for a new one."""

    name: str = ""
    description: str = ""
    permissions: tuple[str, ...] = ()
    sandboxes: tuple[str, ...] = ()
    labels: str = ""
    version: str = ""
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> list[tuple[str, str, str]]:
        """The problems, for the top of the page."""
        return [(name, _LABELS.get(name, ""), problem) for name, problem in self.problems.items()]


_TEMPLATES: Final = {
    "viewer": _Form(
        name="Viewer",
        description="Sees datasets, dataflows and deliveries; changes nothing.",
        permissions=(VIEW_DESTINATIONS, VIEW_DATASETS),
    ),
    "exporter": _Form(
        name="Exporter",
        description="Exports datasets, and manages accounts.",
        permissions=(VIEW_DESTINATIONS, MANAGE_DESTINATIONS, EXPORT_DATASETS, VIEW_DATASETS),
    ),
    "data-steward": _Form(
        name="Data steward",
        description="Imports files and manages datasets.",
        permissions=(VIEW_DATASETS, MANAGE_DATASETS),
    ),
}
"""Starting points for a new role, by the value of `template` in the URL."""


@router.get("/ui/{sandbox}/access/roles")
def list_roles(request: Request, person: PersonOf) -> Response:
    """All roles by name; the search is in the URL."""
    url = ListUrl(request)
    wanted, start = url.text("q"), url.number("from")
    with person.backend.database.reading() as session:
        found = role_list.page(session, person.member, wanted, start, PAGE + 1)
    return show(
        request,
        person,
        "roles.html",
        roles=found[:PAGE],
        search=wanted,
        titles=permissions.TITLES,
        next_url=url.with_(**{"from": start + PAGE}) if len(found) > PAGE else "",
        first_url=url.with_() if start else "",
    )


@router.get("/ui/{sandbox}/access/new-role")
def new_role(request: Request, person: PersonOf) -> Response:
    """The form of a new role."""
    person.member.require_everywhere(MANAGE_ACCESS)
    template = _TEMPLATES.get(ListUrl(request).text("template"))
    return _edit(request, person, replace_values(template or _Form(), sandboxes=(person.sandbox.name,)))


@router.post("/ui/{sandbox}/access/new-role")
def create(request: Request, person: PersonOf, form: Form) -> Response:
    """Create a role without subjects."""
    person.member.require_everywhere(MANAGE_ACCESS)
    try:
        with person.backend.database.writing() as session:
            row_id = roles.create(session, person.member, _body(form), person.now_ms).id
    except Problem as problem:
        return _edit(request, person, _sent(form, _by_field(problem)), 422)
    return RedirectResponse(f"{person.url(f'access/roles/{row_id}')}?saved=1", 303)


@router.get("/ui/{sandbox}/access/roles/{role_id}")
def role_page(request: Request, person: PersonOf, role_id: str) -> Response:
    """A role: what it grants where, and to whom."""
    return _role(request, person, role_id)


@router.post("/ui/{sandbox}/access/roles/{role_id}")
def replace(request: Request, person: PersonOf, role_id: str, form: Form) -> Response:
    """Change the role, unless another person has changed it since the form was loaded."""
    person.member.require_everywhere(MANAGE_ACCESS)
    try:
        with person.backend.database.writing() as session:
            row = roles.find(session, person.member, role_id)
            is_stale = str(row.updated_at) != text(form, "version")
            if not is_stale:
                body = _body(form) | {"roleType": roles.render(row)["roleType"]}
                roles.replace(session, person.member, role_id, body, person.now_ms)
    except Problem as problem:
        return _role(request, person, role_id, _sent(form, _by_field(problem)), 422)
    if is_stale:
        return _role(request, person, role_id, _sent(form, {}), _STALE)
    return RedirectResponse(f"{person.url(f'access/roles/{role_id}')}?saved=1", 303)


@router.post("/ui/{sandbox}/access/roles/{role_id}/subjects")
def change_subjects(request: Request, person: PersonOf, role_id: str, form: Form) -> Response:
    """Grant the role to a client, or revoke it."""
    person.member.require_everywhere(MANAGE_ACCESS)
    require(form, "op", "client")
    op = "remove" if text(form, "op") == "remove" else "add"
    try:
        with person.backend.database.writing() as session:
            operation = Operation(op, "/user", text(form, "client"))
            role_patches.patch_subjects(session, person.member, role_id, [operation], person.now_ms)
    except Problem as problem:
        if problem.code in (problems.FORBIDDEN, problems.NOT_FOUND):
            raise
        message = problem.fields[0].message if problem.fields else str(problem)
        return _role(
            request,
            person,
            role_id,
            status=422,
            subject_problem=message,
            subject=text(form, "client") if op == "add" else "",
        )
    return RedirectResponse(f"{person.url(f'access/roles/{role_id}')}#subjects", 303)


@router.post("/ui/{sandbox}/access/roles/{role_id}/delete")
def delete(request: Request, person: PersonOf, role_id: str, form: Form) -> Response:
    """Delete the role, after its name was typed."""
    with person.backend.database.reading() as session:
        name = roles.find(session, person.member, role_id).name
    wrong = wrong_name(form, name, role_id)
    if wrong:
        return _role(request, person, role_id, status=422, problem=wrong)
    try:
        with person.backend.database.writing() as session:
            roles.remove(session, person.member, role_id, person.now_ms)
    except OfftakeError as error:
        return _role(request, person, role_id, status=422, problem=str(error))
    return RedirectResponse(person.url("access/roles"), 303)


def _body(form: FormData) -> Json:
    require(form, "name", "description", "labels", "boxes")
    return {
        "name": text(form, "name"),
        "description": text(form, "description"),
        "roleType": "user-defined",
        "permissionSets": texts(form, "permissions"),
        "sandboxes": texts(form, "sandboxes"),
        "subjectAttributes": {"labels": _lines(text(form, "labels"))},
    }


def _lines(sent: str) -> list[str]:
    return [line.strip() for line in sent.splitlines() if line.strip()]


def _sent(form: FormData, found: dict[str, str]) -> _Form:
    return _Form(
        name=text(form, "name"),
        description=text(form, "description"),
        permissions=tuple(texts(form, "permissions")),
        sandboxes=tuple(texts(form, "sandboxes")),
        labels=text(form, "labels"),
        version=text(form, "version"),
        problems=found,
    )


def _stored(row: Json) -> _Form:
    return _Form(
        name=row["name"],
        description=row["description"],
        permissions=tuple(row["permissionSets"]),
        sandboxes=tuple(row["sandboxes"]),
        labels="\n".join(row["subjectAttributes"]["labels"]),
        version=str(row["modifiedAt"]),
    )


def _by_field(problem: Problem) -> dict[str, str]:
    """The problems by field; those of no field have the name ""."""
    if problem.code in (problems.FORBIDDEN, problems.NOT_FOUND):
        raise problem
    if problem.code == problems.CONFLICT:
        return {"name": str(problem)}
    found: dict[str, str] = {}
    for one in problem.fields:
        name = one.path.removeprefix("/").partition("/")[0]
        found.setdefault(_NAMES.get(name, name), one.message)
    return found or {"": str(problem)}


def _edit(request: Request, person: Person, sent: _Form, status: int = 200) -> Response:
    templates = [(value, one.name) for value, one in _TEMPLATES.items()]
    choices = _choices(person, sent.sandboxes)
    return show(request, person, "new-role.html", status, form=sent, choices=choices, templates=templates)


def _role(
    request: Request,
    person: Person,
    role_id: str,
    sent: _Form | None = None,
    status: int = 200,
    **values: str,
) -> Response:
    start = ListUrl(request).number("from")
    with person.backend.database.reading() as session:
        row = roles.render(roles.find(session, person.member, role_id))
        subjects = client_list.subjects(session, person.member, role_id, start, _MOST_SUBJECTS + 1)
        offered = client_list.page(session, person.member, "", "active", 0, _MOST_OFFERED + 1)
    stored = _stored(row)
    url = ListUrl(request)
    return show(
        request,
        person,
        "role.html",
        status,
        role=row,
        form=sent or stored,
        stored=stored,
        is_stale=status == _STALE,
        subjects=subjects[:_MOST_SUBJECTS],
        offered=offered[:_MOST_OFFERED],
        more_offered=len(offered) > _MOST_OFFERED,
        choices_of=_options(offered, role_id),
        is_saved=url.text("saved") == "1" and sent is None and status == _OK,
        unmet=permissions.unmet_needs(stored.permissions, stored.sandboxes),
        choices=_choices(person, (sent or stored).sandboxes),
        next_url=url.with_(**{"from": start + _MOST_SUBJECTS}) if len(subjects) > _MOST_SUBJECTS else "",
        first_url=url.with_() if start else "",
        **{"problem": "", "subject_problem": "", "subject": "", **values},
    )


def _options(offered: Iterable[ClientSummary], role_id: str) -> list[tuple[str, str]]:
    """The clients without the role, as options; equal names are followed by their ids."""
    without = [one for one in offered if role_id not in {role.id for role in one.roles}]
    names = Counter(one.name for one in without)
    options = sorted((one.name if names[one.name] == 1 else f"{one.name} ({one.id[:12]})", one.id) for one in without)
    return [("", "Choose a client"), *((value, label) for label, value in options)]


@dataclass(frozen=True)
class _Choices:
    """What a role's form offers: permissions by category with what they allow, and sandboxes."""

    categories: Iterable[tuple[str, list[tuple[str, str, str]]]]
    sandboxes: list[tuple[str, str]]
    everything: str = ALL


def _meaning(name: str) -> str:
    needed = [f"“{permissions.TITLES[one]}”" for one in permissions.NEEDS.get(name, ())]
    needs = f" Needs {' and '.join(needed)}." if needed else ""
    return f"{permissions.MEANINGS[name]}{needs} ({name})"


def _choices(person: Person, chosen: Iterable[str]) -> _Choices:
    with person.backend.database.reading() as session:
        visible = [(one.name, one.title) for one in sandboxes.visible(session, person.member)[:_MOST_OFFERED]]
    known = {name for name, _ in visible}
    others = [(name, name) for name in chosen if name not in known and name != ALL]
    return _Choices(
        categories=[
            (category, [(name, permissions.TITLES[name], _meaning(name)) for name in names])
            for category, names in permissions.CATEGORIES.items()
        ],
        sandboxes=[*visible, *others],
    )
