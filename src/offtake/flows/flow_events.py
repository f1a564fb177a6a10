"""Events of flows and of base connections."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.contract.caller import Caller
from offtake.store import events
from offtake.store.events import Event, EventKind, FieldValue
from offtake.store.tables import Connection, Flow, TargetConnection


def record_flow(session: Session, kind: EventKind, flow: Flow, now_ms: int, **fields: FieldValue) -> None:
    """Record an event of the flow, with the connection that it delivers to."""
    of_flow = TargetConnection.id == flow.target_connection_id
    query = select(Connection).join(TargetConnection, TargetConnection.base_connection_id == Connection.id)
    connection = session.scalar(query.where(of_flow))
    happened = Event(
        kind,
        flow.sandbox_id,
        now_ms,
        flow_id=flow.id,
        flow_name=flow.name,
        connection_id=None if connection is None else connection.id,
        connection_name=None if connection is None else connection.name,
        connection_spec_id=None if connection is None else connection.connection_spec_id,
        fields=fields,
    )
    events.record(session, happened)


def record_connection(
    session: Session, kind: EventKind, row: Connection, caller: Caller, now_ms: int, **fields: FieldValue
) -> None:
    """Record what the caller did with a base connection."""
    happened = Event(
        kind,
        row.sandbox_id,
        now_ms,
        connection_id=row.id,
        connection_name=row.name,
        connection_spec_id=row.connection_spec_id,
        request_id=caller.request_id or None,
        fields={"client": caller.client_id, **fields},
    )
    events.record(session, happened)
