"""Flows: a source, a target and a schedule (contract, sections 6.5 and 13.4)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.access import audit, labels
from offtake.contract import bodies, entities, problems
from offtake.contract.bodies import Body, NewEntity, Sent, SpecRef
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DATASETS, VIEW_DESTINATIONS, Caller
from offtake.contract.problems import Problem
from offtake.destinations.base import Destination
from offtake.documents import Json
from offtake.errors import InvalidInputError
from offtake.flows import connections, specs
from offtake.flows.schedule import Schedule, ScheduleRules, first_slot, parse_schedule, schedule_params
from offtake.flows.target_connections import OUTPUT
from offtake.settings import HOUR_INTERVALS
from offtake.store.tables import Connection, Flow, Label, SourceConnection, TargetConnection

KIND: Final = "flows"
LEAST_FRESHNESS_S: Final = 60
MOST_FRESHNESS_S: Final = 10 * 366 * 86_400


class FlowExtensions(Body):
    """The extensions of a flow that can be set. `fresh_within_seconds`: the target of its freshness; None for none."""

    fresh_within_seconds: int | None = Field(
        default=None,
        strict=True,
        ge=LEAST_FRESHNESS_S,
        le=MOST_FRESHNESS_S,
        description='The target "delivered up to at most so many seconds ago", after which the flow is late.',
    )


class NewFlow(NewEntity):
    """`POST /flows`."""

    flow_spec: SpecRef
    source_connection_ids: list[str]
    target_connection_ids: list[str]
    schedule_params: dict[str, Any] = Field(
        description="`exportMode`, `timeUnit`, `interval`, `startTime`, `endTime` and `foldernameTemplate`. With "
        "`FIRST_FULL_THEN_INCREMENTAL`, `interval` is 1 with `day`, and one of "
        f"{', '.join(map(str, sorted(HOUR_INTERVALS)))} with `hour` unless the deployment sets others "
        "(`OFFTAKE_HOUR_INTERVALS`; the flow specs list them); with `DAILY_FULL_EXPORT`, 0 with `day`."
    )
    transformations: list[Any] | None = None
    state: Any = None
    extensions: FlowExtensions | None = None


def create(
    session: Session, caller: Caller, body: Sent, now_ms: int, rules: ScheduleRules, row_id: str | None = None
) -> Flow:
    """Store an enabled flow; its first run is due at its first slot."""
    caller.require(EXPORT_DATASETS)
    caller.require(VIEW_DATASETS)
    caller.require(VIEW_DESTINATIONS)
    new = bodies.parse_body(NewFlow, body)
    if new.state is not None:
        raise Problem(problems.STATE_IN_CREATE, "A new flow is always enabled; omit state.")
    destination = specs.destination_of_flow(new.flow_spec.id)
    if new.transformations:
        raise problems.of_field("/transformations", "must be empty: dataset exports do not support transformations")
    source_id = exactly_one(new.source_connection_ids, "/sourceConnectionIds")
    target_id = exactly_one(new.target_connection_ids, "/targetConnectionIds")
    source = entities.find(session, caller, SourceConnection, "sourceConnections", source_id)
    target = entities.find(session, caller, TargetConnection, "targetConnections", target_id)
    check_target(session, destination, target)
    schedule = _schedule(new.schedule_params, now_ms // 1000, rules)
    row = Flow(
        **entities.creation_columns(caller, now_ms, row_id),
        name=new.name,
        description=new.description,
        state=entities.ENABLED,
        flow_spec_id=destination.flow_spec_id,
        source_connection_id=source.id,
        target_connection_id=target.id,
        schedule=asdict(schedule),
        next_run_s=first_slot(schedule, now_ms // 1000),
        last_operation={"started": now_ms, "updated": 0, "operation": "create"},
    )
    if new.extensions is not None and new.extensions.fresh_within_seconds is not None:
        caller.require(MANAGE_DESTINATIONS)
        row.freshness_seconds = new.extensions.fresh_within_seconds
    session.add(row)
    after = render(session, row, caller) | extensions(row)
    audit.record(session, caller, now_ms, "create", (KIND, row.id), name=row.name, after=after)
    return row


def extensions(row: Flow) -> Json:
    """The extensions of the flow that can be set, as a patch and the audit log have them; empty without any."""
    return {} if row.freshness_seconds is None else {"extensions": {"freshWithinSeconds": row.freshness_seconds}}


def find(session: Session, caller: Caller, row_id: str, *, lock: bool = False) -> Flow:
    """Find the caller's flow by id; raises 1439 when it does not exist, or has a label that the caller lacks."""
    row = entities.find(session, caller, Flow, KIND, row_id, lock=lock)
    if not _has_labels_of(session, caller, row):
        raise problems.not_found(KIND, row_id)
    return row


def lock_to_change(session: Session, caller: Caller, row_id: str) -> Flow:
    """Find and lock the flow; raises 1439 when it does not exist, 2120 when it has a label that the caller lacks."""
    row = entities.find(session, caller, Flow, KIND, row_id, lock=True)
    if not _has_labels_of(session, caller, row):
        message = f"Flow {row.id} has a label that none of your roles in sandbox {caller.sandbox_name} grants."
        raise Problem(problems.FORBIDDEN, message, KIND, row.id)
    return row


def _has_labels_of(session: Session, caller: Caller, row: Flow) -> bool:
    return session.scalar(select(Flow.id).where(Flow.id == row.id, labels.visible(Flow.id, caller))) is not None


def set_labels(session: Session, row_id: str, texts: list[str]) -> None:
    """Set exactly these labels on a flow; raises `Problem`."""
    try:
        labels.set_labels(session, row_id, texts)
    except InvalidInputError as error:
        raise problems.of_fields(error) from None


def stored_schedule(row: Flow) -> Schedule:
    """The flow's stored schedule."""
    return Schedule(**row.schedule)


def render(session: Session, row: Flow, caller: Caller) -> Json:
    """Render the flow for the API."""
    return render_all(session, [row], caller)[0]


def render_all(session: Session, rows: Sequence[Flow], caller: Caller) -> list[Json]:
    """Render the flows for the API, with one query per kind of referenced entity."""
    sources = entities.by_id(session, SourceConnection, [row.source_connection_id for row in rows])
    targets = entities.by_id(session, TargetConnection, [row.target_connection_id for row in rows])
    bases = entities.by_id(session, Connection, [target.base_connection_id for target in targets.values()])
    found = session.execute(select(Label.entity_id, Label.label).where(Label.entity_id.in_([row.id for row in rows])))
    labelled = defaultdict[str, list[str]](list)
    for entity_id, text in found:
        labelled[entity_id].append(text)
    return [
        _render(
            row,
            caller,
            sources[row.source_connection_id],
            (target := targets[row.target_connection_id]),
            bases[target.base_connection_id],
        )
        | ({"labels": sorted(labelled[row.id])} if row.id in labelled else {})
        for row in rows
    ]


def _render(row: Flow, caller: Caller, source: SourceConnection, target: TargetConnection, base: Connection) -> Json:
    inherited_target = {
        "id": target.id,
        "connectionSpec": entities.spec_ref(target.connection_spec_id),
        "baseConnection": connections.reference(base),
        "data": OUTPUT,
    }
    return (
        entities.entity_fields(row, caller)
        | {
            "flowSpec": entities.spec_ref(row.flow_spec_id),
            "sourceConnectionIds": [source.id],
            "targetConnectionIds": [target.id],
            "inheritedAttributes": {
                "properties": {"isDestinationFlow": True},
                "sourceConnections": [
                    {"id": source.id, "connectionSpec": entities.spec_ref(source.connection_spec_id)}
                ],
                "targetConnections": [inherited_target],
            },
            "scheduleParams": schedule_params(stored_schedule(row)),
            "transformations": [],
            "runs": f"/runs?property=flowId=={row.id}",
            "lastOperation": row.last_operation,
        }
        | ({"policy": row.policy} if row.policy else {})
        | _last_run(row)
    )


def _last_run(row: Flow) -> Json:
    if row.last_run_id is None:
        return {}
    return {
        "lastRunDetails": {
            "id": row.last_run_id,
            "state": row.last_run_state,
            "startedAtUTC": row.last_run_started_at,
            "completedAtUTC": row.last_run_completed_at,
        }
    }


def exactly_one(ids: list[str], path: str) -> str:
    """The id in a list that must have exactly one; raises `Problem` naming `path`."""
    if len(ids) != 1:
        raise problems.of_field(path, f"must contain exactly one id, not {len(ids)}")
    return ids[0]


def check_target(session: Session, destination: Destination, target: TargetConnection) -> None:
    """Raise 1413 for a target connection to another destination, 1452 for one whose driver is missing."""
    if target.connection_spec_id != destination.connection_spec_id:
        fitting = specs.destination_of_connection(target.connection_spec_id)
        raise Problem(
            problems.UNKNOWN_SPEC,
            f"Target connection {target.id} belongs to {fitting.name}, whose flow spec is {fitting.flow_spec_id}.",
        )
    base = session.get_one(Connection, target.base_connection_id)
    lacking = destination.missing_driver(base.auth_spec_name)
    if lacking is not None:
        raise problems.of_field(
            "/targetConnectionIds", f"require a driver that is not installed. {lacking.install_hint}"
        )


def _schedule(params: dict[str, Any], created_at: int, rules: ScheduleRules) -> Schedule:
    try:
        return parse_schedule(params, created_at=created_at, rules=rules)
    except InvalidInputError as error:
        raise problems.of_fields(error) from None
