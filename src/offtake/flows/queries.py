"""Finds entities by id, or a page of them by filters (contract, section 5.4)."""

from sqlalchemy import ColumnElement, case, exists, false, literal, select, true
from sqlalchemy.orm import Session

from offtake.access import labels
from offtake.contract import entities, listing
from offtake.contract.caller import Caller
from offtake.contract.filters import Field
from offtake.contract.listing import ListQuery, Page
from offtake.flows import specs
from offtake.store import json_queries, run_states
from offtake.store.tables import (
    Connection,
    Entity,
    Flow,
    Run,
    RunDataset,
    SourceConnection,
    Stamp,
    TargetConnection,
)

OUTPUT = "DATASET_EXPORT"


def connection(session: Session, caller: Caller, row_id: str) -> Connection:
    """The base connection of that id; raises 1439."""
    return entities.find(session, caller, Connection, "connections", row_id)


def source_connection(session: Session, caller: Caller, row_id: str) -> SourceConnection:
    """The source connection of that id; raises 1439."""
    return entities.find(session, caller, SourceConnection, "sourceConnections", row_id)


def target_connection(session: Session, caller: Caller, row_id: str) -> TargetConnection:
    """The target connection of that id; raises 1439."""
    return entities.find(session, caller, TargetConnection, "targetConnections", row_id)


def connections(session: Session, caller: Caller, query: ListQuery) -> Page[Connection]:
    """A page of base connections."""
    fields = _common_filters(Connection) | {"connectionSpec.id": Field(Connection.connection_spec_id, "id")}
    return listing.page(session, caller, Connection, fields, query)


def source_connections(session: Session, caller: Caller, query: ListQuery) -> Page[SourceConnection]:
    """A page of source connections."""
    fields = _common_filters(SourceConnection) | {
        "connectionSpec.id": Field(SourceConnection.connection_spec_id, "id"),
        "baseConnectionId": Field(SourceConnection.base_connection_id, "id"),
    }
    return listing.page(session, caller, SourceConnection, fields, query)


def target_connections(session: Session, caller: Caller, query: ListQuery) -> Page[TargetConnection]:
    """A page of target connections."""
    fields = _common_filters(TargetConnection) | {
        "connectionSpec.id": Field(TargetConnection.connection_spec_id, "id"),
        "baseConnectionId": Field(TargetConnection.base_connection_id, "id"),
        "data.outputType": Field(literal(OUTPUT)),
    }
    return listing.page(session, caller, TargetConnection, fields, query)


def flows(session: Session, caller: Caller, query: ListQuery) -> Page[Flow]:
    """A page of flows."""
    target_spec = select(TargetConnection.connection_spec_id).where(TargetConnection.id == Flow.target_connection_id)
    target_base = select(TargetConnection.base_connection_id).where(TargetConnection.id == Flow.target_connection_id)
    inherited = "inheritedAttributes"
    fields = _common_filters(Flow) | {
        "flowSpec.id": Field(Flow.flow_spec_id, "id"),
        "sourceConnectionIds[]": Field(Flow.source_connection_id, "id"),
        "targetConnectionIds[]": Field(Flow.target_connection_id, "id"),
        f"{inherited}.properties.isDestinationFlow": Field(true(), "boolean"),
        f"{inherited}.properties.isSourceFlow": Field(false(), "boolean"),
        f"{inherited}.sourceConnections[].id": Field(Flow.source_connection_id, "id"),
        f"{inherited}.sourceConnections[].connectionSpec.id": Field(literal(specs.DATA_LAKE), "id"),
        f"{inherited}.targetConnections[].id": Field(Flow.target_connection_id, "id"),
        f"{inherited}.targetConnections[].connectionSpec.id": Field(target_spec.scalar_subquery(), "id"),
        f"{inherited}.targetConnections[].baseConnection.id": Field(target_base.scalar_subquery(), "id"),
        f"{inherited}.targetConnections[].data.outputType": Field(literal(OUTPUT)),
        **_schedule_fields(),
        "lastRunDetails.id": Field(Flow.last_run_id, "id"),
        "lastRunDetails.state": Field(Flow.last_run_state),
        "lastRunDetails.startedAtUTC": Field(Flow.last_run_started_at, "number", sortable=True),
        "lastRunDetails.completedAtUTC": Field(Flow.last_run_completed_at, "number", sortable=True),
    }
    return listing.page(session, caller, Flow, fields, query, labels.visible(Flow.id, caller))


def runs(session: Session, caller: Caller, query: ListQuery) -> Page[Run]:
    """A page of runs."""
    records, duration = "metrics.recordSummary", "metrics.durationSummary"
    entity = literal("dataset:") + RunDataset.dataset_id
    fields = _with_dates(Run) | {
        "flowId": Field(Run.flow_id, "id", sortable=True),
        "flowSpec.id": Field(Run.flow_spec_id, "id"),
        "parentFlowRunId": Field(Run.parent_run_id, "id"),
        # The vendor's documentation has this alias for a run that has not ended.
        "state": Field(
            case((Run.status.in_((run_states.WAITING, run_states.PROCESSING)), "inProgress"), else_=Run.status)
        ),
        "metrics.statusSummary.status": Field(Run.status),
        f"{duration}.startedAtUTC": Field(Run.started_at, "number", sortable=True),
        # Clients use the flows' name for a run's start; for a run, it is its own start.
        "lastRunDetails.startedAtUTC": Field(Run.started_at, "number", sortable=True),
        f"{duration}.completedAtUTC": Field(Run.completed_at, "number", sortable=True),
        f"{records}.sourceSummaries[].id": Field(Run.source_connection_id, "id"),
        f"{records}.targetSummaries[].id": Field(Run.target_connection_id, "id"),
        f"{records}.targetSummaries[].entitySummaries[].id": Field(entity, "id", among=_of_run),
    }
    return listing.page(session, caller, Run, fields, query, labels.visible(Run.flow_id, caller))


def _schedule_fields() -> dict[str, Field]:
    """The fields of `scheduleParams`; an omitted end has its default."""
    numbers = {"interval": "interval", "startTime": "start_time", "endTime": "end_time"}
    texts = {"exportMode": "export_mode", "timeUnit": "time_unit", "foldernameTemplate": "folder_name_template"}
    return {
        f"scheduleParams.{name}": Field(json_queries.read_number(Flow.schedule, key), "number", sortable=True)
        for name, key in numbers.items()
    } | {
        f"scheduleParams.{name}": Field(json_queries.read_text(Flow.schedule, key), sortable=True)
        for name, key in texts.items()
    }


def _of_run(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(RunDataset.run_id == Run.id, condition)


def _common_filters(table: type[Entity]) -> dict[str, Field]:
    return _with_dates(table) | {
        "name": Field(table.name, sortable=True),
        "description": Field(table.description, sortable=True),
        "state": Field(table.state, sortable=True),
    }


def _with_dates(table: type[Stamp]) -> dict[str, Field]:
    return {
        "id": Field(table.id, "id", sortable=True),
        "createdAt": Field(table.created_at, "number", sortable=True),
        "updatedAt": Field(table.updated_at, "number", sortable=True),
        "createdBy": Field(table.created_by, sortable=True),
        "updatedBy": Field(table.updated_by, sortable=True),
        "createdClient": Field(table.created_client, sortable=True),
        "updatedClient": Field(table.updated_client, sortable=True),
    }
