"""Flows, with the source and target connections behind them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from offtake.client import exports, schedules
from offtake.client.exports import SOURCES, TARGETS, ExportedDataset
from offtake.client.names import FLOW
from offtake.client.schedules import NEVER, Rhythm
from offtake.contract.folder_templates import check_template
from offtake.declarations import destinations
from offtake.declarations.context import Context
from offtake.declarations.models import FlowDocument
from offtake.declarations.parsing import Declared
from offtake.declarations.plan import LOST, UNKNOWN_ID, Change, FieldChange, compare
from offtake.declarations.problems import nearest
from offtake.destinations import schema
from offtake.destinations.base import Destination
from offtake.documents import Json
from offtake.errors import InvalidInputError, OfftakeError

_PLACES: Final = {"path": ("path", "remotePath"), "bucket": ("bucketName",), "container": ("container",)}
"""By field of a document, the params that it can stand for."""
_WORDS: Final = {"datasetFileType": "format", "compression": "compression", "includeFileManifest": "manifest"}
_IGNORED: Final = "mode"
_TEMPLATE: Final = "foldernameTemplate"
_GRACE_SECONDS: Final = 3600
"""A flow that is declared as disabled is created with a start that leaves time to disable it first."""


@dataclass(frozen=True)
class _Wanted:
    """A validated document. `start` and `end`: epoch seconds; `endless`: without an end."""

    declared: Declared
    document: FlowDocument
    destination: Destination
    params: Json
    rhythm: Rhythm
    start: int | None
    end: int | None
    existing: Json | None

    @property
    def endless(self) -> bool:
        """Whether the flow is to have no end."""
        return self.document.end == NEVER and self.rhythm.interval != 0


@dataclass(frozen=True)
class _Stored:
    """A flow on the server with its connections."""

    flow: Json
    source: Json
    target: Json


def plan_all(context: Context) -> list[Change]:
    """The changes of all flows."""
    found = []
    for index, declared in context.of_kind("flow"):
        count = len(context.problems)
        wanted = _read(context, declared, context.existing.get(index))
        if wanted is not None and len(context.problems) == count:
            found.append(_plan(context, wanted))
    return found


def export(context: Context, flow: Json) -> Json:
    """The document of a flow."""
    stored = _stored(context, flow)
    connection = context.state.by_id("connection", stored.target["baseConnectionId"])
    spec = destinations.of_connection_spec(stored.target["connectionSpec"]["id"])
    chosen = [_choice(context, one) for one in exports.datasets_of(stored.source)]
    params = {key: value for key, value in stored.target["params"].items() if key != _IGNORED}
    schedule, more = flow.get("scheduleParams", {}), flow.get("extensions", {})
    end = schedule.get("endTime")
    document: Json = {"kind": "flow", "name": flow["name"]}
    document |= {"description": flow["description"]} if flow.get("description") else {}
    if len(chosen) == 1:
        only = {"name": chosen[0]} if isinstance(chosen[0], str) else chosen[0]
        document |= {"dataset": only["name"]} | {key: value for key, value in only.items() if key != "name"}
    else:
        document["datasets"] = chosen
    document["to"] = _reference(context, "connection", connection) if connection else stored.target["baseConnectionId"]
    document |= _place(params, spec)
    document |= schedules.describe(schedule)
    document |= {"start": schedules.format_instant(schedule["startTime"])} if "startTime" in schedule else {}
    if end is None and schedule.get("interval") != 0:
        document["end"] = NEVER
    elif end is not None and not more.get("endTimeDefaulted"):
        document["end"] = schedules.format_instant(end)
    document |= {"folder": schedule[_TEMPLATE]} if schedule.get(_TEMPLATE) else {}
    document |= {"state": flow["state"]} if flow.get("state") in ("enabled", "disabled") else {}
    return document | ({"labels": flow["labels"]} if flow.get("labels") else {})


def delete(context: Context, flow_id: str) -> None:
    """Delete a flow, and the connections behind it that no other flow uses."""
    flow = context.state.by_id("flow", flow_id)
    context.server.delete(f"{FLOW.path}/{flow_id}")
    if flow is not None:
        _remove_behind(context, flow, flow["sourceConnectionIds"], flow["targetConnectionIds"])


def _choice(context: Context, one: ExportedDataset) -> Any:  # noqa: ANN401 - a name, or an object
    dataset = context.state.by_id("dataset", one.id)
    name = _reference(context, "dataset", dataset) if dataset else one.id
    if one.columns is None and one.ref is None:
        return name
    columns = {} if one.columns is None else {"columns": list(one.columns)}
    return {"name": name} | columns | ({"ref": one.ref} if one.ref else {})


def _reference(context: Context, kind: Any, entity: Json) -> str:  # noqa: ANN401 - a kind
    """The name by which a document refers to an entity; its id if the name is ambiguous."""
    name = str(entity["name"])
    return name if len(context.state.by_name(kind, name)) == 1 else str(entity["id"])


def _place(params: Json, spec: Destination | None) -> Json:
    known = dict(params)
    found: Json = {}
    for word, keys in _PLACES.items():
        key = next((one for one in keys if one in known), None)
        if key is not None:
            found[word] = known.pop(key)
    found["format"] = str(known.pop("datasetFileType", "")).lower()
    found["compression"] = str(known.pop("compression", "gzip")).lower()
    if known.pop("includeFileManifest", False):
        found["manifest"] = True
    defaults = {} if spec is None else destinations.defaults_of(spec.parameters)
    rest = {key: value for key, value in known.items() if value != defaults.get(key)}
    return found | ({"params": rest} if rest else {})


def _read(context: Context, declared: Declared, existing: Json | None) -> _Wanted | None:
    document = declared.document
    assert isinstance(document, FlowDocument)  # noqa: S101 - of this kind
    destination = _destination(context, document)
    if destination is None:
        # The problem of the connection is reported already.
        return None
    rhythm, start, end = Rhythm("day", 1), None, None
    with context.collecting(declared, ("every" if document.every else "daily",)):
        rhythm = _rhythm(document)
    with context.collecting(declared, ("start",)):
        start = None if document.start is None else schedules.parse_instant(document.start)
    with context.collecting(declared, ("end",)):
        end = None if document.end in (None, NEVER) else schedules.parse_instant(document.end or "")
        if start is not None and end is not None and end <= start:
            raise OfftakeError("must be later than start")
    for problem in check_template(document.folder) if document.folder is not None else ():
        context.problems.append(declared.problem(("folder",), problem))
    allowed = context.state.intervals.get(destination.flow_spec_id)
    if context.state.intervals and allowed is None:
        context.problems.append(declared.problem(("to",), f"the server has no destination {destination.name}"))
    if allowed and rhythm.interval not in allowed and rhythm.unit == "hour":
        choices = ", ".join(f"{one}h" for one in allowed if one > 1)
        context.problems.append(declared.problem(("every",), f"is not a period of this server; it has {choices}"))
    params = _params(context, declared, document, destination)
    return _Wanted(declared, document, destination, params, rhythm, start, end, existing)


def _destination(context: Context, document: FlowDocument) -> Destination | None:
    for _, one in context.of_kind("connection"):
        if document.to in (one.name, one.document.id):
            try:
                return destinations.find(getattr(one.document, "destination", ""))
            except OfftakeError:
                return None
    connection_id = context.ids.get("connection", document.to)
    entity = context.state.by_id("connection", connection_id) if connection_id else None
    return destinations.of_connection_spec(entity["connectionSpec"]["id"]) if entity else None


def _rhythm(document: FlowDocument) -> Rhythm:
    if document.once:
        return schedules.ONCE
    if document.every is not None:
        found = schedules.parse_every(document.every)
    else:
        found = schedules.parse_daily(document.daily or "")
    if document.full and found.unit != "day":
        raise OfftakeError("full is for daily exports")
    return Rhythm(found.unit, found.interval, found.time_of_day, document.full)


def _params(context: Context, declared: Declared, document: FlowDocument, destination: Destination) -> Json:
    """The params of the target connection, validated by the destination's declaration."""
    known = [one for one in destinations.keys_of(destination.parameters) if one != _IGNORED]
    words = dict[str, str]()
    params: Json = {}
    for word, keys in _PLACES.items():
        value = getattr(document, word)
        key = next((one for one in keys if one in known), None)
        if value is not None and key is None:
            where = destinations.word_of(destination)
            context.problems.append(declared.problem((word,), f"is not for {where}"))
        elif value is not None and key is not None:
            params[key], words[key] = value, word
    params |= {"datasetFileType": document.format.upper(), "compression": document.compression.upper()}
    params |= {"includeFileManifest": True} if document.manifest else {}
    for key, value in document.params.items():
        if key not in known:
            context.problems.append(declared.problem(("params", key), f"is unknown; {nearest(key, known)}"))
        elif key in params or key in _WORDS:
            word = words.get(key) or _WORDS.get(key, key)
            context.problems.append(declared.problem(("params", key), f"is the field {word}; give it once, there"))
        else:
            params[key] = value
    try:
        parsed = schema.parse_target_params(destination, {key: one for key, one in params.items() if key in known})
    except InvalidInputError as error:
        for problem in error.problems:
            key = problem.path.removeprefix("/params/")
            named = next((word for word, keys in _PLACES.items() if key in keys), None)
            path = (words.get(key) or _WORDS.get(key) or named,) if key not in document.params else ("params", key)
            context.problems.append(declared.problem(tuple(map(str, path)), problem.message))
        return params
    return schema.redact(parsed)


def _stored(context: Context, flow: Json) -> _Stored:
    source = context.state.sources.get(flow["sourceConnectionIds"][0])
    target = context.state.targets.get(flow["targetConnectionIds"][0])
    if source is None or target is None:
        raise OfftakeError(f"The connections of flow {flow['name']} ({flow['id']}) are not in the server's lists.")
    return _Stored(flow, source, target)


def _plan(context: Context, one: _Wanted) -> Change:
    document = one.document
    if one.existing is None:
        fields = [FieldChange(name, None, value) for name, value in _shown(one).items()]
        return Change("flow", document.name, "create", fields=fields, step=lambda: _create(context, one))
    stored = _stored(context, one.existing)
    flow_id = one.existing["id"]
    if one.existing["flowSpec"]["id"] != one.destination.flow_spec_id:
        old = destinations.of_connection_spec(stored.target["connectionSpec"]["id"])
        fields = [
            FieldChange(
                "to",
                f"{_base_name(context, stored)} ({old.name if old else '?'})",
                f"{document.to} ({one.destination.name})",
            )
        ]
        return Change(
            "flow",
            document.name,
            "replace",
            flow_id,
            fields,
            [LOST],
            loses_position=True,
            first=lambda: delete(context, flow_id),
            step=lambda: _create(context, one),
        )
    fields = [
        *_compare_entity(one, one.existing),
        *_compare_datasets(context, one, stored),
        *_compare_target(context, one, stored),
        *_compare_schedule(one, one.existing.get("scheduleParams", {})),
    ]
    if document.state is not None and document.state != one.existing.get("state"):
        fields.append(FieldChange("state", one.existing.get("state"), document.state))
    if not fields:
        return Change("flow", document.name, "nothing", flow_id)
    lost = "exportMode" in _changed_rhythm(one, one.existing.get("scheduleParams", {}))
    step = lambda: _change(context, one, stored, fields)  # noqa: E731 - a step of the plan
    return Change(
        "flow", document.name, "replace" if lost else "change", flow_id, fields, [LOST] if lost else (), lost, step
    )


def _shown(one: _Wanted) -> Json:
    """The fields of a new flow, for the plan."""
    document = one.document
    names = ", ".join(found.name for found in document.choices)
    given = document.model_dump(include={"path", "bucket", "container", "folder", "state"}, exclude_none=True)
    return {"datasets": names, "to": document.to, "format": document.format.lower()} | given | _schedule_of(one)


def _schedule_of(one: _Wanted) -> Json:
    return {"schedule": _words(_described(one))}


def _base_name(context: Context, stored: _Stored) -> str:
    base = context.state.by_id("connection", stored.target["baseConnectionId"])
    return str(base["name"]) if base else str(stored.target["baseConnectionId"])


def _compare_entity(one: _Wanted, existing: Json) -> list[FieldChange]:
    document = one.document
    pairs: list[tuple[str, Any, Any]] = [("name", existing["name"], document.name)]
    if "description" in document.model_fields_set:
        pairs.append(("description", existing.get("description"), document.description))
    if document.labels is not None:
        pairs.append(("labels", sorted(existing.get("labels", ())), sorted(set(document.labels))))
    return compare(pairs)


def _datasets(context: Context, document: FlowDocument) -> list[ExportedDataset]:
    """The datasets with their ids; those that are created by this plan have ids only after that."""
    return [
        ExportedDataset(
            context.ids.get("dataset", one.name) or f"{UNKNOWN_ID} {one.name}",
            None if one.columns is None else tuple(one.columns),
            None if one.ref in (None, "main") else one.ref,
        )
        for one in document.choices
    ]


def _compare_datasets(context: Context, one: _Wanted, stored: _Stored) -> list[FieldChange]:
    old, new = exports.datasets_of(stored.source), _datasets(context, one.document)
    if set(old) == set(new):
        return []
    return [
        FieldChange(
            "datasets",
            [_choice(context, found) for found in old],
            [
                found.name if found.columns is None and found.ref is None else found.model_dump(exclude_none=True)
                for found in one.document.choices
            ],
        )
    ]


def _compare_target(context: Context, one: _Wanted, stored: _Stored) -> list[FieldChange]:
    fields = []
    base_id = context.ids.get("connection", one.document.to)
    if base_id != stored.target["baseConnectionId"]:
        fields.append(FieldChange("to", _base_name(context, stored), one.document.to))
    defaults = destinations.defaults_of(one.destination.parameters)
    for key in destinations.keys_of(one.destination.parameters):
        old = stored.target["params"].get(key, defaults.get(key))
        new = one.params.get(key, defaults.get(key))
        if key != _IGNORED and old != new:
            word = _WORDS.get(key) or next((word for word, keys in _PLACES.items() if key in keys), f"params.{key}")
            fields.append(FieldChange(word, old, new))
    return fields


def _compare_schedule(one: _Wanted, old: Json) -> list[FieldChange]:
    document, start = one.document, old.get("startTime", 0)
    fields = []
    if _changed_rhythm(one, old) or not schedules.has_time_of_day(one.rhythm, start):
        fields.append(FieldChange("schedule", _words(schedules.describe(old)), _words(_described(one))))
    elif one.start is not None and start != schedules.first_start(one.rhythm, one.start, one.start):
        fields.append(FieldChange("start", schedules.format_instant(start), document.start))
    if one.rhythm.interval != 0 and document.end is not None and old.get("endTime") != one.end:
        end = old.get("endTime")
        fields.append(FieldChange("end", NEVER if end is None else schedules.format_instant(end), document.end))
    if old.get(_TEMPLATE) != document.folder:
        fields.append(FieldChange("folder", old.get(_TEMPLATE), document.folder))
    return fields


def _changed_rhythm(one: _Wanted, old: Json) -> Json:
    """The keys of `scheduleParams` that change with the rhythm."""
    return {key: value for key, value in one.rhythm.params.items() if old.get(key) != value}


def _described(one: _Wanted) -> Json:
    return one.document.model_dump(include={"every", "daily", "once", "full"}, exclude_none=True, exclude_defaults=True)


def _words(schedule: Json) -> str:
    return " ".join(key if value is True else f"{key} {value}" for key, value in schedule.items())


def _create(context: Context, one: _Wanted) -> str:
    document = one.document
    now = int(context.server.transport.now())
    start = schedules.first_start(one.rhythm, one.start, now)
    disabled = document.state == "disabled"
    schedule = one.rhythm.params | {"startTime": max(start, now + _GRACE_SECONDS) if disabled else start}
    schedule |= {} if one.end is None else {"endTime": one.end}
    schedule |= {} if document.folder is None else {_TEMPLATE: document.folder}
    body = {
        "name": document.name,
        "flowSpec": {"id": one.destination.flow_spec_id, "version": destinations.VERSION},
        "sourceConnectionIds": [_source(context, one)],
        "targetConnectionIds": [_target(context, one)],
        "transformations": [],
        "scheduleParams": schedule,
    } | ({} if document.description is None else {"description": document.description})
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


def _source(context: Context, one: _Wanted) -> str:
    """The source connection: one that exists with exactly these datasets, or a new one."""
    datasets = _datasets(context, one.document)
    known = exports.find_source(context.state.sources, datasets)
    if known is not None:
        return known
    made = exports.create_source(context.server, one.document.name, datasets)
    context.state.sources[made["id"]] = made
    return str(made["id"])


def _target(context: Context, one: _Wanted) -> str:
    """The target connection: one that an interrupted run has left, or a new one."""
    base_id = context.ids.need("connection", one.document.to)
    for target in context.state.targets.values():
        same = (target["name"], target["baseConnectionId"]) == (one.document.name, base_id)
        if same and target["params"] == one.params and not context.state.users_of("targetConnectionIds", target["id"]):
            return str(target["id"])
    spec_id = one.destination.connection_spec_id
    return str(exports.create_target(context.server, one.document.name, base_id, spec_id, one.params)["id"])


def _change(context: Context, one: _Wanted, stored: _Stored, fields: Sequence[FieldChange]) -> str:
    flow_id, names = stored.flow["id"], {found.field for found in fields}
    operations: list[Json] = []
    old_sources, old_targets = list[str](), list[str]()
    if "name" in names:
        operations.append({"op": "replace", "path": "/name", "value": one.document.name})
    if "description" in names:
        operations.append(_set("/description", one.document.description))
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


def _place_operations(one: _Wanted, stored: _Stored) -> list[Json]:
    """What changes the target connection's params into the declared ones; those that are not declared are removed."""
    old = stored.target["params"]
    found = [_set(f"/params/{key}", value) for key, value in one.params.items() if old.get(key) != value]
    return found + [_set(f"/params/{key}", None) for key in old if key not in one.params and key != _IGNORED]


def _changes_target(fields: Sequence[FieldChange]) -> bool:
    words = {*_PLACES, *_WORDS.values()}
    return any(found.field in words or found.field.startswith("params.") for found in fields)


def _is_shared(context: Context, stored: _Stored) -> bool:
    """Whether other flows deliver through the target connection: a change would move their files, too."""
    return len(context.state.users_of("targetConnectionIds", stored.target["id"])) > 1


def _reschedule(context: Context, one: _Wanted, old: Json, names: set[str]) -> list[Json]:
    found: list[Json] = []
    if "schedule" in names:
        found += [_set(f"/scheduleParams/{key}", value) for key, value in _changed_rhythm(one, old).items()]
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
        found.append(_set(f"/scheduleParams/{_TEMPLATE}", one.document.folder))
    return found


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
