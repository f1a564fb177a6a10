"""Creates a flow with its source and target connections in one transaction, as the wizard needs it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy.orm import Session

from offtake.contract.caller import Caller
from offtake.destinations.base import Destination
from offtake.documents import ColumnChoiceDocument, Json
from offtake.flows import connections, flows, source_connections, specs, target_connections
from offtake.flows.schedule import ScheduleRules
from offtake.network.egress import Network
from offtake.store.tables import Flow, SourceConnection, TargetConnection
from offtake.store.vault import Vault


@dataclass(frozen=True)
class NewExport:
    """An export to create. `account_id` None: a base connection is created, for a destination without credentials.

    `params`, `schedule`: of the requests of the contract. `endless`: the export has no end, not even the default one.
    `columns`: the chosen columns by dataset id, already looked up.
    """

    name: str
    destination: Destination
    account_id: str | None
    dataset_ids: Sequence[str]
    params: Json
    schedule: Json
    endless: bool = False
    columns: Mapping[str, ColumnChoiceDocument] = field(default_factory=dict)


def create(
    session: Session,
    caller: Caller,
    vault: Vault,
    network: Network,
    new: NewExport,
    now_ms: int,
    rules: ScheduleRules,
    flow_id: str | None = None,
) -> Flow:
    """Create all that the export needs; raises `Problem`, as the requests of the contract do.

    A dataflow with the id `flow_id` that exists is returned as it is.
    """
    known = session.get(Flow, flow_id) if flow_id else None
    if known is not None:
        return known
    target = create_target(session, caller, vault, network, new, now_ms)
    source = create_source(session, caller, new.name, new.dataset_ids, now_ms, columns=new.columns)
    session.flush()
    return flows.create(
        session,
        caller,
        {
            "name": new.name,
            "flowSpec": {"id": new.destination.flow_spec_id, "version": "1.0"},
            "sourceConnectionIds": [source.id],
            "targetConnectionIds": [target.id],
            "transformations": [],
            "scheduleParams": new.schedule,
        },
        now_ms,
        replace(rules, default_schedule_months=None) if new.endless else rules,
        flow_id,
    )


def create_source(
    session: Session,
    caller: Caller,
    name: str,
    dataset_ids: Sequence[str],
    now_ms: int,
    refs: Mapping[str, str] | None = None,
    columns: Mapping[str, ColumnChoiceDocument] | None = None,
) -> SourceConnection:
    """Create the source connection for these datasets.

    `refs`: branches and tags by dataset id; `columns`: the chosen columns; both are not checked again.
    """
    chosen = refs or {}
    body = {
        "name": name,
        "connectionSpec": {"id": specs.DATA_LAKE, "version": "1.0"},
        "params": {
            "datasets": [{"dataSetId": one} | ({"ref": chosen[one]} if one in chosen else {}) for one in dataset_ids]
        },
    }
    kept = {one: document for one, document in (columns or {}).items() if one in dataset_ids}
    return source_connections.create(session, caller, body, now_ms, kept)


def create_target(
    session: Session, caller: Caller, vault: Vault, network: Network, new: NewExport, now_ms: int
) -> TargetConnection:
    """Create the target connection, and the base connection if it is needed."""
    spec = {"id": new.destination.connection_spec_id, "version": "1.0"}
    account_id = new.account_id
    if account_id is None:
        body = {"name": new.destination.name, "connectionSpec": spec}
        account_id = connections.create(session, caller, vault, network, body, now_ms).id
        session.flush()
    body = {"name": new.name, "baseConnectionId": account_id, "connectionSpec": spec, "params": new.params}
    return target_connections.create(session, caller, body, now_ms)
