"""Finding entities: one by id, or a page of them by the fields that can be filtered (contract, section 5.4)."""

from typing import Any

from sqlalchemy.orm import InstrumentedAttribute, Session

from offtake.flows import entities, listing
from offtake.flows.access import Caller
from offtake.flows.listing import Columns, ListQuery, Page
from offtake.store.tables import Connection, Entity, Flow, Run, SourceConnection, TargetConnection


def connection(session: Session, caller: Caller, row_id: str) -> Connection:
    """The base connection of that id; raises 1439."""
    return entities.find(session, caller, Connection, "connections", row_id)


def source_connection(session: Session, caller: Caller, row_id: str) -> SourceConnection:
    """The source connection of that id; raises 1439."""
    return entities.find(session, caller, SourceConnection, "sourceConnections", row_id)


def target_connection(session: Session, caller: Caller, row_id: str) -> TargetConnection:
    """The target connection of that id; raises 1439."""
    return entities.find(session, caller, TargetConnection, "targetConnections", row_id)


def flow(session: Session, caller: Caller, row_id: str) -> Flow:
    """The flow of that id; raises 1439."""
    return entities.find(session, caller, Flow, "flows", row_id)


def run(session: Session, caller: Caller, row_id: str) -> Run:
    """The run of that id; raises 1439."""
    return entities.find(session, caller, Run, "runs", row_id)


def connections(session: Session, caller: Caller, query: ListQuery) -> Page[Connection]:
    """A page of base connections."""
    columns = _shared(Connection) | {"connectionSpec.id": Connection.connection_spec_id}
    return listing.page(session, caller, Connection, columns, query)


def source_connections(session: Session, caller: Caller, query: ListQuery) -> Page[SourceConnection]:
    """A page of source connections."""
    spec = {"connectionSpec.id": SourceConnection.connection_spec_id}
    columns = _shared(SourceConnection) | spec | {"baseConnectionId": SourceConnection.base_connection_id}
    return listing.page(session, caller, SourceConnection, columns, query)


def target_connections(session: Session, caller: Caller, query: ListQuery) -> Page[TargetConnection]:
    """A page of target connections."""
    spec = {"connectionSpec.id": TargetConnection.connection_spec_id}
    columns = _shared(TargetConnection) | spec | {"baseConnectionId": TargetConnection.base_connection_id}
    return listing.page(session, caller, TargetConnection, columns, query)


def flows(session: Session, caller: Caller, query: ListQuery) -> Page[Flow]:
    """A page of flows."""
    columns = _shared(Flow) | {
        "flowSpec.id": Flow.flow_spec_id,
        "sourceConnectionIds[]": Flow.source_connection_id,
        "targetConnectionIds[]": Flow.target_connection_id,
    }
    return listing.page(session, caller, Flow, columns, query)


def runs(session: Session, caller: Caller, query: ListQuery) -> Page[Run]:
    """A page of runs."""
    columns: Columns = {"id": Run.id, "flowId": Run.flow_id, "metrics.statusSummary.status": Run.status}
    return listing.page(session, caller, Run, columns, query)


def _shared(table: type[Entity]) -> dict[str, InstrumentedAttribute[Any]]:
    return {"id": table.id, "name": table.name, "state": table.state, "createdBy": table.created_by}
