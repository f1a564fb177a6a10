"""The steps that create, change and delete flows, with the source and target connections behind them."""

from collections.abc import Sequence
from typing import Any, Final

from offtake.client import exports, schedules
from offtake.client.exports import SOURCES, TARGETS
from offtake.client.names import FLOW
from offtake.declarations import destinations
from offtake.declarations.context import Context
from offtake.declarations.kinds.flow_reading import (
    FRESHNESS,
    IGNORED,
    PLACES,
    TEMPLATE,
    WORDS,
    StoredFlow,
    WantedFlow,
    declared_datasets,
)
from offtake.declarations.plan import FieldChange
from offtake.documents import Json

_GRACE_SECONDS: Final = 3600
"""A flow that is declared as disabled is created with a start that leaves time to disable it first."""


def delete(context: Context, flow_id: str) -> None:
    """Delete a flow, and the connections behind it that no other flow uses."""
    flow = context.state.by_id("flow", flow_id)
    context.server.delete(f"{FLOW.path}/{flow_id}")
    if flow is not None:
        _remove_behind(context, flow, flow["sourceConnectionIds"], flow["targetConnectionIds"])


def undo(context: Context, flow_id: str) -> None:
    """Delete a flow that was just created, and the connections behind it that no other flow uses."""
    flow = context.server.get_one(f"{FLOW.path}/{flow_id}")
    context.server.delete(f"{FLOW.path}/{flow_id}")
    _remove_behind(context, flow, flow["sourceConnectionIds"], flow["targetConnectionIds"])


def create(context: Context, one: WantedFlow) -> str:
    """Create the flow with its connections, and return its id."""
    document = one.document
    now = int(context.server.transport.now())
    start = schedules.first_start(one.rhythm, one.start, now)
    disabled = document.state == "disabled"
    schedule = one.rhythm.params | {"startTime": max(start, now + _GRACE_SECONDS) if disabled else start}
    schedule |= {} if one.end is None else {"endTime": one.end}
    schedule |= {} if document.folder is None else {TEMPLATE: document.folder}
    body = {
        "name": document.name,
        "flowSpec": {"id": one.destination.flow_spec_id, "version": destinations.VERSION},
        "sourceConnectionIds": [_source(context, one)],
        "targetConnectionIds": [_target(context, one)],
        "transformations": [],
        "scheduleParams": schedule,
    } | ({} if document.description is None else {"description": document.description})
    body |= {} if one.fresh_within is None else {"extensions": {FRESHNESS: one.fresh_within}}
    made = context.server.post(FLOW.path, body)
    flow_id, operations = str(made["id"]), list[Json]()
    if disabled:
        context.server.post(f"{FLOW.path}/{flow_id}/action", None, (("op", "disable"),))
        if schedule["startTime"] != start:
            operations.append({"op": "replace", "path": "/scheduleParams/startTime", "value": start})
    if one.endless:
        operations.append({"op": "remove", "path": "/scheduleParams/endTime"})
    if document.labels:
        operations.append({"op": "add", "path": "/labels", "value": document.labels})
    if operations:
        found = context.server.get_one(f"{FLOW.path}/{flow_id}")
        if found.get("scheduleParams", {}).get("endTime") is None:
            operations = [found for found in operations if found["op"] != "remove"]
        if operations:
            context.server.patch(f"{FLOW.path}/{flow_id}", operations, found["etag"])
    return flow_id


def _source(context: Context, one: WantedFlow) -> str:
    """The source connection: one that exists with exactly these datasets, or a new one."""
    datasets = declared_datasets(context, one.document)
    known = exports.find_source(context.state.sources, datasets)
    if known is not None:
        return known
    made = exports.create_source(context.server, one.document.name, datasets)
    context.state.sources[made["id"]] = made
    return str(made["id"])


def _target(context: Context, one: WantedFlow) -> str:
    """The target connection: one that an interrupted run has left, or a new one."""
    base_id = context.ids.need("connection", one.document.to)
    for target in context.state.targets.values():
        same = (target["name"], target["baseConnectionId"]) == (one.document.name, base_id)
        if same and target["params"] == one.params and not context.state.users_of("targetConnectionIds", target["id"]):
            return str(target["id"])
    spec_id = one.destination.connection_spec_id
    return str(exports.create_target(context.server, one.document.name, base_id, spec_id, one.params)["id"])


def change(context: Context, one: WantedFlow, stored: StoredFlow, fields: Sequence[FieldChange]) -> str:
    """Make the changes of these fields, and return the flow's id."""
    flow_id, names = stored.flow["id"], {found.field for found in fields}
    operations: list[Json] = []
    old_sources, old_targets = list[str](), list[str]()
    if "name" in names:
        operations.append({"op": "replace", "path": "/name", "value": one.document.name})
    if "description" in names:
        operations.append(_set("/description", one.document.description))
    if "freshWithin" in names:
        operations.append(_set(f"/extensions/{FRESHNESS}", one.fresh_within))
    if "labels" in names:
        operations.append({"op": "replace", "path": "/labels", "value": one.document.labels})
    if "datasets" in names:
        operations.append({"op": "replace", "path": "/sourceConnectionIds", "value": [_source(context, one)]})
        old_sources.append(stored.source["id"])
    if "to" in names or (_changes_target(fields) and _is_shared(context, stored)):
        operations.append({"op": "replace", "path": "/targetConnectionIds", "value": [_target(context, one)]})
        old_targets.append(stored.target["id"])
    elif _changes_target(fields):
        context.server.patch(f"{TARGETS}/{stored.target['id']}", _place_operations(one, stored), stored.target["etag"])
    operations += _reschedule(context, one, stored.flow.get("scheduleParams", {}), names)
    if operations:
        context.server.patch(f"{FLOW.path}/{flow_id}", operations, stored.flow["etag"])
    if "state" in names:
        op = "enable" if one.document.state == "enabled" else "disable"
        context.server.post(f"{FLOW.path}/{flow_id}/action", None, (("op", op),))
    _remove_behind(context, stored.flow, old_sources, old_targets)
    return str(flow_id)


def _place_operations(one: WantedFlow, stored: StoredFlow) -> list[Json]:
    """What changes the target connection's params into the declared ones; those that are not declared are removed."""
    old = stored.target["params"]
    found = [_set(f"/params/{key}", value) for key, value in one.params.items() if old.get(key) != value]
    return found + [_set(f"/params/{key}", None) for key in old if key not in one.params and key != IGNORED]


def _changes_target(fields: Sequence[FieldChange]) -> bool:
    words = {*PLACES, *WORDS.values()}
    return any(found.field in words or found.field.startswith("params.") for found in fields)


def _is_shared(context: Context, stored: StoredFlow) -> bool:
    """Whether other flows deliver through the target connection: a change would move their files, too."""
    return len(context.state.users_of("targetConnectionIds", stored.target["id"])) > 1


def _reschedule(context: Context, one: WantedFlow, old: Json, names: set[str]) -> list[Json]:
    found: list[Json] = []
    if "schedule" in names:
        found += [_set(f"/scheduleParams/{key}", value) for key, value in changed_rhythm(one, old).items()]
    start = old.get("startTime", 0)
    if "start" in names or ("schedule" in names and one.start is not None):
        start = schedules.first_start(one.rhythm, one.start, one.start or 0)
    elif not schedules.has_time_of_day(one.rhythm, start):
        start = schedules.first_start(one.rhythm, None, int(context.server.transport.now()))
    if start != old.get("startTime", 0):
        found.append(_set("/scheduleParams/startTime", start))
    if "end" in names:
        found.append(_set("/scheduleParams/endTime", None if one.endless else one.end))
    if "folder" in names:
        found.append(_set(f"/scheduleParams/{TEMPLATE}", one.document.folder))
    return found


def changed_rhythm(one: WantedFlow, old: Json) -> Json:
    """The keys of `scheduleParams` that change with the rhythm."""
    return {key: value for key, value in one.rhythm.params.items() if old.get(key) != value}


def _set(path: str, value: Any) -> Json:  # noqa: ANN401 - whatever JSON can hold
    return {"op": "remove", "path": path} if value is None else {"op": "add", "path": path, "value": value}


def _remove_behind(context: Context, flow: Json, sources: Sequence[str], targets: Sequence[str]) -> None:
    """Remove connections that only this flow used; those that are still in use stay."""
    state = context.state
    for key, path, known, ids in (
        ("sourceConnectionIds", SOURCES, state.sources, sources),
        ("targetConnectionIds", TARGETS, state.targets, targets),
    ):
        for one in ids:
            alone = all(user["id"] == flow["id"] for user in state.users_of(key, one))
            if alone and exports.remove_unused(context.server, f"{path}/{one}"):
                known.pop(one, None)
