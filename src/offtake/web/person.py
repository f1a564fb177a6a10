"""The person who sees a page: the session's client in the sandbox of the URL."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import Depends, Request

from offtake.access import access, web_sessions
from offtake.contract.caller import Caller
from offtake.deployment.backend import Backend
from offtake.errors import OfftakeError
from offtake.sandboxes import sandboxes
from offtake.store.tables import Sandbox
from offtake.web import cookies
from offtake.web.times import zone_of

MOST_SANDBOXES: Final = 20


@dataclass(frozen=True)
class SandboxLink:
    """A sandbox that the person may switch to; `type`: `production` or `development`."""

    name: str
    title: str
    type: str


@dataclass(frozen=True)
class Person:
    """Who is signed in, for one request. `name`: of the client. `csrf`: the token that forms send.

    `sandboxes`: the first that may be entered, and the present one.

    `caller`: in the sandbox of the URL. `member`: without a sandbox, for the organisation's clients, roles and
    sandboxes.
    """

    backend: Backend
    caller: Caller
    member: Caller
    name: str
    sandboxes: Sequence[SandboxLink]
    csrf: str
    zone: tzinfo
    now_ms: int

    @property
    def has_more_sandboxes(self) -> bool:
        """Whether there are sandboxes that `sandboxes` does not name."""
        return len(self.sandboxes) > MOST_SANDBOXES

    @property
    def sandbox(self) -> SandboxLink:
        """The sandbox of the URL."""
        return next(one for one in self.sandboxes if one.name == self.caller.sandbox_name)

    def url(self, path: str = "") -> str:
        """The URL of a page of this sandbox; `path` without a leading slash, and already quoted."""
        return f"/ui/{quote(self.caller.sandbox_name, safe='')}/{path}".rstrip("/")

    def may(self, *alternatives: str) -> bool:
        """Whether one of the permissions is granted in this sandbox."""
        return self.caller.grants.allow(*alternatives)

    def may_everywhere(self, *alternatives: str) -> bool:
        """Whether one of the permissions is granted in every sandbox."""
        return self.caller.grants.allow_everywhere(*alternatives)


class SignedOutError(OfftakeError):
    """There is no session, or it has ended."""


@dataclass
class NoRoleError(OfftakeError):
    """The person is signed in, but has no role in any sandbox. `issuer` and `subject`: None for an API client."""

    client_id: str
    name: str
    issuer: str | None
    subject: str | None
    csrf: str

    def __str__(self) -> str:
        return f"The client {self.client_id} has no role."


async def backend_of(request: Request) -> Backend:
    """The server's backend. A coroutine, because FastAPI runs plain functions in the thread pool."""
    backend: Backend = request.app.state.backend
    return backend


def person_in(request: Request, backend: Annotated[Backend, Depends(backend_of)], sandbox: str) -> Person:
    """The person in the URL's sandbox.

    Raises `SignedOutError`, `NoRoleError`, and 2100 without a role there.
    """
    return find_person(request, backend, sandbox)


def find_person(request: Request, backend: Backend, sandbox_name: str | None) -> Person:
    """The person in that sandbox, else in the default one. Raises `SignedOutError`, `NoRoleError`, 2100 and 2106."""
    value = cookies.read(request)
    now_ms = backend.clock.now_ms()
    if value is None:
        raise SignedOutError("not signed in")
    with backend.database.reading() as session:
        found = web_sessions.find(session, value, now_ms)
        if found is None:
            raise SignedOutError("the session has ended")
        row, client = found
        remote = request.client.host if request.client else ""
        request_id = request.state.request_id
        member = access.caller_of(session, client, None, remote=remote, request_id=request_id)
        if not access.sandboxes_of(session, member):
            raise NoRoleError(client.id, client.name, client.issuer, client.subject, cookies.csrf_token(value))
        found_sandboxes = sandboxes.visible(session, member, MOST_SANDBOXES + 1, active=True)
        entered = [_link(one) for one in found_sandboxes]
        wanted = sandbox_name or _first(entered)
        place = access.find_sandbox(session, client.org_id, wanted, client_id=client.id)
        if all(one.name != place.name for one in entered):
            entered.append(_link(place))
        caller = access.caller_of(session, client, place, remote=remote, request_id=request_id)
        person = Person(
            backend=backend,
            caller=caller,
            member=member,
            name=client.name,
            sandboxes=entered,
            csrf=cookies.csrf_token(value),
            zone=zone_of(cookies.zone_name(request)),
            now_ms=now_ms,
        )
        stale = row.id if web_sessions.needs_note(row, now_ms) else None
    if stale is not None:
        with backend.database.writing() as session:
            web_sessions.note(session, stale, now_ms)
    return person


def _link(sandbox: Sandbox) -> SandboxLink:
    return SandboxLink(sandbox.name, sandbox.title, sandbox.type)


def _first(entered: Sequence[SandboxLink]) -> str | None:
    return entered[0].name if entered else None


PersonOf = Annotated[Person, Depends(person_in)]
