"""Clients: the list, a client, and its secret, which is shown once."""

import secrets
from dataclasses import dataclass, field, replace
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from offtake.access import client_list, clients, role_list, role_patches, roles
from offtake.access.client_list import ClientSummary
from offtake.access.clients import Registration
from offtake.contract import problems
from offtake.contract.bodies import check_text
from offtake.contract.caller import MANAGE_ACCESS, Kind
from offtake.contract.problems import Problem
from offtake.deployment import admin_file
from offtake.errors import OfftakeError
from offtake.web.form_body import Form, text, texts
from offtake.web.pages.access import PAGE, show
from offtake.web.person import Person, PersonOf
from offtake.web.queries import ListUrl
from offtake.web.rendering import quoted
from offtake.web.routes import PageRoute
from offtake.web.typed_names import wrong_name

router = APIRouter(route_class=PageRoute)

_MOST_ROLES: Final = 200
_EXTERNAL: Final = "external"
_STATES: Final[tuple[client_list.State, ...]] = ("active", "revoked")


@dataclass(frozen=True)
class _New:
    """The form of a new client. `client_id` makes it take effect once, however often it is sent."""

    client_id: str
    name: str = ""
    kind: str = "user"
    external_id: str = ""
    roles: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> list[tuple[str, str, str]]:
        """The problems, for the top of the page."""
        labels = {"name": "Name", "external_id": "Id at the issuer", "roles": "Roles"}
        return [(name, labels.get(name, ""), problem) for name, problem in self.problems.items()]


@router.get("/ui/{sandbox}/access/clients")
def list_clients(request: Request, person: PersonOf) -> Response:
    """All clients, newest first; search and state are in the URL."""
    url = ListUrl(request)
    wanted, state, start = url.text("q"), url.choice("state", _STATES) or "", url.number("from")
    with person.backend.database.reading() as session:
        found = client_list.page(session, person.member, wanted, state, start, PAGE + 1)
    return show(
        request,
        person,
        "clients.html",
        clients=found[:PAGE],
        search=wanted,
        state=state,
        is_external_possible=person.backend.issuer is not None,
        next_url=url.with_(**{"from": start + PAGE}) if len(found) > PAGE else "",
        first_url=url.with_() if start else "",
    )


@router.get("/ui/{sandbox}/access/new-client")
def new_client(request: Request, person: PersonOf) -> Response:
    """The form of a new client."""
    person.member.require_everywhere(MANAGE_ACCESS)
    return _form(request, person, _New(secrets.token_hex(16)))


@router.post("/ui/{sandbox}/access/new-client")
def create(request: Request, person: PersonOf, form: Form) -> Response:
    """Create the client; the answer shows its secret, which is not stored and never shown again."""
    new = _New(
        text(form, "client_id"), text(form, "name"), text(form, "kind"), text(form, "external_id"), texts(form, "roles")
    )
    try:
        summary, secret = _register(person, new)
    except OfftakeError as error:
        return _form(request, person, replace(new, problems=_problems(new, error)), 422)
    return _secret(request, person, summary, secret, "The client is created.")


@router.get("/ui/{sandbox}/access/clients/{client_id:path}")
def client_page(request: Request, person: PersonOf, client_id: str) -> Response:
    """A client, its roles, and its actions."""
    return _client(request, person, client_id)


@router.post("/ui/{sandbox}/access/clients/{client_id:path}")
def act(request: Request, person: PersonOf, client_id: str, form: Form) -> Response:
    """Change a client: rotate its secret, revoke it, grant it a role or take one away."""
    actions = {"rotate": _rotate, "revoke": _revoke, "grant": _grant, "ungrant": _ungrant}
    action = actions.get(text(form, "action"))
    if action is None:
        raise problems.of_field("action", f"must be one of {', '.join(actions)}")
    return action(request, person, client_id, form)


def _register(person: Person, new: _New) -> tuple[ClientSummary | None, str | None]:
    for one in new.roles:
        check_text(one, "/roles")
    is_external = new.kind == _EXTERNAL and person.backend.issuer is not None
    client_id = new.external_id if is_external else new.client_id
    kind: Kind = "service" if new.kind == "service" else "user"
    wanted = Registration(new.name, kind, tuple(new.roles), client_id, is_external)
    with person.backend.database.writing() as session:
        client, secret = clients.register(session, person.member, wanted, person.now_ms)
        return client_list.find(session, person.member, client.id), secret


def _problems(new: _New, error: OfftakeError) -> dict[str, str]:
    of_id = "external_id" if new.kind == _EXTERNAL else ""
    if not isinstance(error, Problem) or error.code == problems.CONFLICT:
        return {of_id: str(error)}
    if error.code == problems.FORBIDDEN:
        raise error
    if any(one.path == "/id" for one in error.fields):
        return {of_id: f"The id {error.fields[0].message}."}
    fields = {one.path.removeprefix("/").partition("/")[0]: one.message for one in error.fields}
    return fields or {"roles": str(error)}


def _rotate(request: Request, person: Person, client_id: str, form: Form) -> Response:
    with person.backend.database.writing() as session:
        before = client_list.find(session, person.member, client_id)
        if before is not None and str(before.rotated_ms or "") != text(form, "rotated"):
            problem = "The secret was rotated since this page was loaded. Nothing was changed now."
        else:
            secret = clients.rotate(session, person.member, client_id, person.now_ms)
            after = client_list.find(session, person.member, client_id)
            problem = ""
    if problem:
        return _client(request, person, client_id, problem, 409)
    admin_file.follow_rotation(person.backend.settings, client_id, secret)
    return _secret(request, person, after, secret, "The secret is rotated. The one before no longer works.")


def _revoke(request: Request, person: Person, client_id: str, form: Form) -> Response:
    with person.backend.database.reading() as session:
        summary = _found(client_list.find(session, person.member, client_id), client_id)
    wrong = wrong_name(form, summary.name, client_id)
    if wrong:
        return _client(request, person, client_id, wrong, 422)
    try:
        with person.backend.database.writing() as session:
            clients.revoke(session, person.member, client_id, person.now_ms)
    except OfftakeError as error:
        return _client(request, person, client_id, str(error), 422)
    return RedirectResponse(_url(person, client_id), 303)


def _grant(request: Request, person: Person, client_id: str, form: Form) -> Response:
    role = text(form, "role")
    if not role:
        return _client(request, person, client_id, "Choose a role.", 422)
    return _change_roles(request, person, client_id, role, is_granted=True)


def _ungrant(request: Request, person: Person, client_id: str, form: Form) -> Response:
    return _change_roles(request, person, client_id, text(form, "role"), is_granted=False)


def _change_roles(request: Request, person: Person, client_id: str, role: str, *, is_granted: bool) -> Response:
    try:
        with person.backend.database.writing() as session:
            person.member.require_everywhere(MANAGE_ACCESS)
            row = roles.find_by_name(session, person.member, role)
            client = clients.find(session, person.member, client_id)
            if client is None:
                raise problems.not_found("clients", client_id[:200])
            change = role_patches.grant if is_granted else role_patches.revoke
            change(session, person.member, row, client, person.now_ms)
    except Problem as problem:
        if problem.code != problems.NOT_UPDATABLE:
            raise
        return _client(request, person, client_id, str(problem), 422)
    return RedirectResponse(_url(person, client_id), 303)


def _form(request: Request, person: Person, new: _New, status: int = 200) -> Response:
    with person.backend.database.reading() as session:
        offered = role_list.names(session, person.member, _MOST_ROLES)
    is_external = person.backend.issuer is not None
    return show(request, person, "new-client.html", status, new=new, offered=offered, is_external_possible=is_external)


def _client(request: Request, person: Person, client_id: str, problem: str = "", status: int = 200) -> Response:
    with person.backend.database.reading() as session:
        summary = _found(client_list.find(session, person.member, client_id), client_id)
        offered = role_list.names(session, person.member, _MOST_ROLES)
    held = {one.name for one in summary.roles}
    return show(
        request,
        person,
        "client.html",
        status,
        client=summary,
        problem=problem,
        offered=[name for name in offered if name not in held],
        is_own=summary.id == person.caller.client_id,
        action=_url(person, client_id),
    )


def _secret(
    request: Request, person: Person, summary: ClientSummary | None, secret: str | None, title: str
) -> Response:
    assert summary is not None  # noqa: S101 - it was just created or found
    return show(request, person, "client-secret.html", client=summary, secret=secret, title=title)


def _found(summary: ClientSummary | None, client_id: str) -> ClientSummary:
    if summary is None:
        raise problems.not_found("clients", client_id[:200])
    return summary


def _url(person: Person, client_id: str) -> str:
    return person.url(f"access/clients/{quoted(client_id)}")
