"""The audit log: who changed what, when, and from where; filters are in the URL."""

from dataclasses import dataclass
from itertools import islice
from typing import Final, get_args

from fastapi import APIRouter, Request, Response

from offtake.access import audit, audit_changes, audit_events, audit_search
from offtake.access.audit_search import AuditSearch
from offtake.contract.caller import VIEW_AUDIT
from offtake.contract.problems import Problem
from offtake.store.tables import AuditEvent
from offtake.web.pages.access import PAGE, show
from offtake.web.person import Person, PersonOf
from offtake.web.queries import ListUrl
from offtake.web.rendering import quoted
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)

_ACTIONS: Final[tuple[str, ...]] = tuple(sorted(get_args(audit.Action)))
_WORDS: Final = {
    "create": "created",
    "update": "changed",
    "delete": "deleted",
    "enable": "enabled",
    "disable": "disabled",
    "run": "ran",
    "cancel": "cancelled",
    "complete": "completed",
    "abort": "aborted",
    "revert": "reverted",
    "grant": "granted",
    "revoke": "revoked",
    "rotate": "rotated the secret of",
    "issue": "issued",
    "refresh": "refreshed",
    "reset": "reset",
    "fail": "reported the failure of",
}
_MOST_CHANGES: Final = 40
_LONGEST_VALUE: Final = 400
_PAGES: Final = {
    "flows": "flows",
    "connections": "accounts",
    "dataSets": "datasets",
    "roles": "access/roles",
    "clients": "access/clients",
}


@dataclass(frozen=True)
class _Change:
    """A changed field with its values, shortened; None: absent."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class _Entry:
    """An event as the page shows it. `more`: how many changed fields are not shown."""

    at_ms: int
    words: str
    kind: str
    resource_id: str
    name: str
    url: str
    actor: str
    client_id: str
    account_id: str
    remote: str
    request_id: str
    sandbox: str
    failed: bool
    changes: tuple[_Change, ...]
    more: int


@router.get("/ui/{sandbox}/access/audit")
def log(request: Request, person: PersonOf) -> Response:
    """The newest changes that match, a page at a time."""
    person.caller.require(VIEW_AUDIT)
    url = ListUrl(request)
    wanted = AuditSearch(
        actor=url.text("actor"),
        action=url.choice("action", _ACTIONS) or "",
        resource=url.text("resource"),
        since=url.text("since"),
        until=url.text("until"),
        older_than=url.text("older"),
    )
    problem, entries, more, last = "", [], False, ""
    try:
        with person.backend.database.reading() as session:
            found = audit_search.search(session, person.caller, wanted, PAGE + 1)
            names = audit_search.actor_names(session, found)
            entries = [_entry(person, row, names) for row in found[:PAGE]]
            more, last = len(found) > PAGE, found[:PAGE][-1].id if found else ""
    except Problem as error:
        if not error.fields:
            raise
        problem = error.fields[0].message
    return show(
        request,
        person,
        "audit.html",
        422 if problem else 200,
        entries=entries,
        search=wanted,
        problem=problem,
        actions=[(one, one) for one in _ACTIONS],
        kinds=list(audit_events.ASSET_TYPES.values()),
        next_url=url.with_(older=last) if more else "",
        first_url=url.with_(older="") if wanted.older_than else "",
        is_everywhere=person.may_everywhere(VIEW_AUDIT),
    )


def _entry(person: Person, row: AuditEvent, names: dict[str, str]) -> _Entry:
    kind = audit_events.ASSET_TYPES.get(row.resource_type, row.resource_type)
    changes = audit_changes.changes(row.before, row.after)
    shown = tuple(_Change(one.name, _short(one.before), _short(one.after)) for one in islice(changes, _MOST_CHANGES))
    section = _PAGES.get(row.resource_type, "")
    is_here = row.sandbox_name in (None, person.sandbox.name) and row.action != "delete"
    return _Entry(
        at_ms=row.at,
        words=_WORDS.get(row.action, row.action),
        kind=kind,
        resource_id=row.resource_id,
        name=row.resource_name or "",
        url=person.url(f"{section}/{quoted(row.resource_id)}") if section and is_here else "",
        actor=names.get(row.client_id, row.account_id),
        client_id=row.client_id,
        account_id=row.account_id,
        remote=row.remote,
        request_id=row.request_id,
        sandbox=row.sandbox_name or "",
        failed=row.action == audit_events.FAILED,
        changes=shown,
        more=sum(1 for _ in changes),
    )


def _short(value: str | None) -> str | None:
    return value if value is None or len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}…"
