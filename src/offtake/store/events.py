"""Events: what happened to a run, a flow, a batch or a connection, stored in the transaction of the change itself.

After that transaction is committed, `Database` passes its events to the observers of this process, such as the log.
Events of a transaction that is rolled back are neither stored nor passed on.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from sqlalchemy import delete, insert, or_, select
from sqlalchemy.orm import Session
from ulid import ULID

from offtake import logs
from offtake.store.tables import EventRow

EventKind = Literal[
    "run.started",
    "run.part_done",
    "run.waiting",
    "run.waiting_long",
    "run.delivered",
    "run.nothing_new",
    "run.failed",
    "run.cancelled",
    "run.taken_over",
    "run.files_owed",
    "flow.late",
    "flow.recovered",
    "flow.failing",
    "flow.disabled",
    "flow.ending_soon",
    "flow.ended",
    "schedule.skipped",
    "schedule.reset",
    "batch.started",
    "batch.imported",
    "batch.failed",
    "batch.cancelled",
    "batch.taken_over",
    "connection.unavailable",
    "connection.available",
    "connection.created",
    "connection.changed",
    "connection.deleted",
    "connection.tested",
    "workers.missing",
    "workers.back",
    "quota.reached",
    "quota.free",
]
FieldValue = str | int | float | bool | None | Sequence[str]

DEPLOYMENT: Final = ""
"""The sandbox id of events of the whole deployment."""
_PENDING: Final = "offtake_events"
_RANDOM_BYTES: Final = 10
_UNHANDLED_MS: Final = 90 * 86_400_000
_INSERT: Final = insert(EventRow.__table__)  # type: ignore[arg-type] # a table


@dataclass(frozen=True)
class Event:
    """An event. `at_ms`: epoch milliseconds. `sandbox_id`: `DEPLOYMENT` for events of the whole deployment.

    `connection_id`, `connection_name`, `connection_spec_id`: the base connection that it is about or delivers to; the
    spec identifies the type of destination. `datasets`: names. `file_type`: of the files, such as `JSON`; not stored.
    `request_id`: of the request that caused it; None for the one that is being served now, if any. `fields`: further
    values, by names that all kinds share (`store.event_kinds`); None values are left out.
    """

    kind: EventKind
    sandbox_id: str
    at_ms: int
    flow_id: str | None = None
    flow_name: str | None = None
    run_id: str | None = None
    batch_id: str | None = None
    connection_id: str | None = None
    connection_name: str | None = None
    connection_spec_id: str | None = None
    datasets: Sequence[str] = ()
    file_type: str | None = None
    request_id: str | None = None
    fields: Mapping[str, FieldValue] = field(default_factory=dict)


Observer = Callable[[Event], None]
"""Receives each event after its transaction is committed, in the thread that committed it; must return quickly."""


def record(session: Session, event: Event) -> None:
    """Store the event in this transaction; observers receive it when the transaction is committed."""
    event = _with_request(event)
    values = {
        "id": _next_id(session, event.at_ms),
        "kind": event.kind,
        "at": event.at_ms,
        "sandbox_id": event.sandbox_id,
        "flow_id": event.flow_id,
        "flow_name": event.flow_name,
        "run_id": event.run_id,
        "batch_id": event.batch_id,
        "connection_id": event.connection_id,
        "connection_name": event.connection_name,
        "connection_spec_id": event.connection_spec_id,
        "datasets": list(event.datasets),
        "request_id": event.request_id,
        "fields": {key: value for key, value in event.fields.items() if value is not None},
        "handled_at": None,
    }
    # On the connection, which costs a fraction of the session's: nothing refers to the row.
    session.connection().execute(_INSERT, values)
    _pending(session).append(event)


def log_only(session: Session, event: Event) -> None:
    """Pass the event to the observers when this transaction is committed, without storing it."""
    _pending(session).append(_with_request(event))


def take(session: Session) -> list[Event]:
    """The events of the session's transaction, oldest first; the session forgets them."""
    taken: list[Event] = session.info.pop(_PENDING, [])
    return taken


def delete_old(session: Session, before_ms: int, most: int) -> int:
    """Delete at most `most` events from before `before_ms`; returns how many.

    Events that alerts have not handled, because no server ran, stay for 90 more days.
    """
    is_handled, is_very_old = EventRow.handled_at.is_not(None), EventRow.id < _first_id(before_ms - _UNHANDLED_MS)
    old = select(EventRow.id).where(EventRow.id < _first_id(before_ms), or_(is_handled, is_very_old))
    ids = session.scalars(old.order_by(EventRow.id).limit(most)).all()
    session.execute(delete(EventRow).where(EventRow.id.in_(ids)))
    return len(ids)


def _with_request(event: Event) -> Event:
    return event if event.request_id is not None else replace(event, request_id=logs.current_request())


def _pending(session: Session) -> list[Event]:
    pending: list[Event] = session.info.setdefault(_PENDING, [])
    return pending


def _next_id(session: Session, at_ms: int) -> str:
    """A ULID, which sorts by time; of two events of a transaction with the same time, the first sorts first."""
    number = len(_pending(session)).to_bytes(2, "big")
    return str(ULID.from_bytes(_time_bytes(at_ms) + number + secrets.token_bytes(_RANDOM_BYTES - len(number))))


def _first_id(at_ms: int) -> str:
    return str(ULID.from_bytes(_time_bytes(at_ms) + bytes(_RANDOM_BYTES)))


def _time_bytes(ms: int) -> bytes:
    return max(0, ms).to_bytes(6, "big")
