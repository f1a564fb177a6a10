"""Names of deleted flows, from the audit log: their runs stay in the history."""

from collections.abc import Collection, Iterable

from sqlalchemy import ColumnElement, literal_column, select
from sqlalchemy.orm import Session
from ulid import ULID

from offtake.contract.caller import ALL, VIEW_DESTINATIONS, Caller
from offtake.store.tables import AuditEvent


def names_of(session: Session, caller: Caller, flow_ids: Collection[str]) -> dict[str, str]:
    """The names of those of the flows that were deleted, by id, without flows whose labels the caller lacks."""
    caller.require(VIEW_DESTINATIONS)
    deleted = AuditEvent.resource_id.in_(flow_ids)
    events = session.scalars(select(AuditEvent).where(deleted, *_deletions(caller)))
    return _names(caller, events)


def list_deleted(session: Session, caller: Caller, since_ms: int, most: int) -> dict[str, str]:
    """The names of the flows that were deleted since then, newest first, by id: at most `most`."""
    caller.require(VIEW_DESTINATIONS)
    since = AuditEvent.id >= str(ULID.from_timestamp(since_ms / 1000))[:10]
    query = select(AuditEvent).where(since, *_deletions(caller))
    return _names(caller, session.scalars(query.order_by(AuditEvent.id.desc()).limit(most)))


def _deletions(caller: Caller) -> tuple[ColumnElement[bool], ...]:
    # As the index has it: databases do not use a partial index for values that are bound.
    is_deletion = (
        AuditEvent.resource_type == literal_column("'flows'"),
        AuditEvent.action == literal_column("'delete'"),
    )
    return (AuditEvent.org_id == caller.org_id, AuditEvent.sandbox_name == caller.sandbox_name, *is_deletion)


def _names(caller: Caller, events: Iterable[AuditEvent]) -> dict[str, str]:
    return {one.resource_id: one.resource_name or "" for one in events if _may_see(caller, one)}


def _may_see(caller: Caller, event: AuditEvent) -> bool:
    labels = (event.before or {}).get("labels", [])
    return ALL in caller.grants.labels or set(labels) <= caller.grants.labels
