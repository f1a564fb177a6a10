"""The audit log: who changed what, when, and from where; filters are in the URL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from fastapi import APIRouter, Request, Response

from offtake.access import audit, audit_search
from offtake.access.audit_events import WORDS
from offtake.access.audit_search import AuditSearch
from offtake.catalog import batch_names, batches
from offtake.catalog.batch_names import BatchName
from offtake.contract.caller import VIEW_AUDIT
from offtake.contract.problems import Problem
from offtake.store.tables import AuditEvent
from offtake.web import audit_words
from offtake.web.audit_words import Line
from offtake.web.pages.access import PAGE, show
from offtake.web.person import Person, PersonOf
from offtake.web.queries import ListUrl
from offtake.web.rendering import quoted
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)

_ACTIONS: Final[tuple[str, ...]] = tuple(get_args(audit.Action))
_SHORT: Final = {
    "rotate": "replaced a secret",
    "issue": "got credentials",
    "refresh": "replaced the credentials of a landing zone",
    "fail": "reported a failure",
}
_OPTIONS: Final = sorted(
    ((one, _SHORT.get(one) or audit_words.ACTIONS[one]) for one in _ACTIONS), key=lambda option: option[1]
)
_PAGES: Final = {
    "flows": "flows",
    "connections": "accounts",
    "dataSets": "datasets",
    "roles": "access/roles",
    "clients": "access/clients",
    "alertChannels": "alerts/channels",
    "alertRules": "alerts/rules",
    "alertMessages": "alerts/messages",
}


@dataclass(frozen=True)
class _Entry:
    """The events of a request as the page shows them. `urls`: of the pages of its lines' resources, empty without one.

    `others`: the lines after the first one.
    """

    at_ms: int
    line: Line
    others: tuple[Line, ...]
    urls: dict[str, str]
    actor: str
    client_id: str
    account_id: str
    remote: str
    request_id: str
    sandbox: str
    failed: bool


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
            ids = {row.resource_id for row in found if row.resource_type == batches.RESOURCE}
            imports = batch_names.names_of(session, person.caller, ids)
            entries = [_entry(person, rows, names, imports) for rows in audit_words.groups(found[:PAGE])]
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
        actions=_OPTIONS,
        kinds=list(WORDS.values()),
        next_url=url.with_(older=last) if more else "",
        first_url=url.with_(older="") if wanted.older_than else "",
        is_everywhere=person.may_everywhere(VIEW_AUDIT),
    )


def _entry(
    person: Person, rows: Sequence[AuditEvent], names: Mapping[str, str], imports: Mapping[str, BatchName]
) -> _Entry:
    newest = rows[0]
    lines = audit_words.lines(rows, imports)
    gone = {row.resource_id for row in rows if row.action == "delete"}
    is_here = newest.sandbox_name in (None, person.sandbox.name)
    return _Entry(
        at_ms=newest.at,
        line=lines[0],
        others=tuple(lines[1:]),
        urls={one.resource_id: _url(person, one) for one in lines if is_here and one.resource_id not in gone},
        actor=names.get(newest.client_id, newest.account_id),
        client_id=newest.client_id,
        account_id=newest.account_id,
        remote=newest.remote,
        request_id=newest.request_id,
        sandbox=newest.sandbox_name or "",
        failed=audit_words.is_failure(rows),
    )


def _url(person: Person, line: Line) -> str:
    if line.dataset_id:
        return person.url(f"datasets/{line.dataset_id}/batches/{quoted(line.resource_id)}")
    section = _PAGES.get(line.resource_type, "")
    return person.url(f"{section}/{quoted(line.resource_id)}") if section else ""
