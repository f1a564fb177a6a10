"""Searches the audit log as a person does: by actor, action, resource and time, newest first, page by page."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from offtake.access import audit_filters, audit_log, client_names
from offtake.contract.caller import Caller
from offtake.store.tables import AuditEvent, Client


@dataclass(frozen=True)
class AuditSearch:
    """What to look for; empty fields match everything.

    `actor`: a client's id or name, or an account id. `resource`: an id, a name or a type. `since` and `until`: dates or
    instants; a date as `until` includes its day. `older_than`: the id of the last event of the previous page.
    """

    actor: str = ""
    action: str = ""
    resource: str = ""
    since: str = ""
    until: str = ""
    older_than: str = ""


def search(session: Session, caller: Caller, wanted: AuditSearch, limit: int) -> Sequence[AuditEvent]:
    """The newest matching events that the caller may see; raises 1452 for a malformed time."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.actor:
        conditions.append(_by(caller, wanted.actor))
    if wanted.action:
        conditions.append(AuditEvent.action == wanted.action)
    if wanted.resource:
        conditions.append(audit_filters.about(wanted.resource))
    if wanted.since:
        conditions.append(audit_filters.since(audit_filters.whole_instant("since", wanted.since)))
    if wanted.until:
        conditions.append(audit_filters.before(audit_filters.end_of("until", wanted.until)))
    if wanted.older_than:
        conditions.append(AuditEvent.id < wanted.older_than)
    return audit_log.latest(session, caller, audit_log.new_query((), None), limit, conditions)


def actor_names(session: Session, events: Sequence[AuditEvent]) -> dict[str, str]:
    """The names of the clients that acted, by client id."""
    return client_names.names_of(session, {event.client_id for event in events})


def _by(caller: Caller, actor: str) -> ColumnElement[bool]:
    own = client_names.built_in(actor)
    if own is not None:
        return AuditEvent.client_id == own
    named = select(Client.id).where(Client.org_id == caller.org_id, func.lower(Client.name) == func.lower(actor))
    same_account = func.lower(AuditEvent.account_id) == func.lower(actor)
    return or_(AuditEvent.client_id == actor, same_account, AuditEvent.client_id.in_(named))
