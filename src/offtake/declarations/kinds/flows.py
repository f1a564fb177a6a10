"""Flows: the plan of each document against what exists."""

from typing import Any

from offtake.client import durations, exports, schedules
from offtake.client.schedules import NEVER
from offtake.declarations import destinations
from offtake.declarations.context import Context
from offtake.declarations.kinds import flow_steps
from offtake.declarations.kinds.flow_export import choice_of
from offtake.declarations.kinds.flow_reading import (
    FRESHNESS,
    IGNORED,
    PLACES,
    TEMPLATE,
    WORDS,
    StoredFlow,
    WantedFlow,
    declared_datasets,
    find_stored,
    read_flow,
)
from offtake.declarations.plan import LOST, Change, FieldChange, compare
from offtake.documents import Json


def plan_all(context: Context) -> list[Change]:
    """The changes of all flows."""
    found = []
    for index, declared in context.of_kind("flow"):
        count = len(context.problems)
        wanted = read_flow(context, declared, context.existing.get(index))
        if wanted is not None and len(context.problems) == count:
            found.append(_plan(context, wanted))
    return found


def _plan(context: Context, one: WantedFlow) -> Change:
    document = one.document
    if one.existing is None:
        fields = [FieldChange(name, None, value) for name, value in _shown(one).items()]
        return Change("flow", document.name, "create", fields=fields, step=lambda: flow_steps.create(context, one))
    stored = find_stored(context, one.existing)
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
        context.recreated.add(flow_id)
        return Change(
            "flow",
            document.name,
            "replace",
            flow_id,
            fields,
            [LOST],
            loses_position=True,
            first=lambda: flow_steps.delete(context, flow_id),
            step=lambda: flow_steps.create(context, one),
        )
    fields = [
        *_compare_entity(one, one.existing),
        *_compare_datasets(context, one, stored),
        *_compare_target(context, one, stored),
        *_compare_schedule(one, one.existing.get("scheduleParams", {})),
    ]
    if document.fresh_within is not None:
        old = one.existing.get("extensions", {}).get(FRESHNESS)
        fields += compare([("freshWithin", durations.describe(old), durations.describe(one.fresh_within))])
    if document.state is not None and document.state != one.existing.get("state"):
        fields.append(FieldChange("state", one.existing.get("state"), document.state))
    if not fields:
        return Change("flow", document.name, "nothing", flow_id)
    lost = "exportMode" in flow_steps.changed_rhythm(one, one.existing.get("scheduleParams", {}))
    step = lambda: flow_steps.change(context, one, stored, fields)  # noqa: E731 - a step of the plan
    notes = [*([LOST] if lost else ()), *_widened(context, one, stored)]
    return Change("flow", document.name, "replace" if lost else "change", flow_id, fields, notes, lost, step)


def _widened(context: Context, one: WantedFlow, stored: StoredFlow) -> list[str]:
    """Remarks on datasets of which only some columns were delivered, and all are from now on."""
    chosen = {found.id for found in exports.datasets_of(stored.source) if found.columns is not None}
    whole = [found.id for found in declared_datasets(context, one.document) if found.columns is None]
    known = [context.state.by_id("dataset", one_id) for one_id in whole if one_id in chosen]
    return [f"all columns of {dataset['name']} are delivered" for dataset in known if dataset is not None]


def _shown(one: WantedFlow) -> Json:
    """The fields of a new flow, for the plan."""
    document = one.document
    names = ", ".join(found.name for found in document.choices)
    given = document.model_dump(include={"path", "bucket", "container", "folder", "state"}, exclude_none=True)
    return {"datasets": names, "to": document.to, "format": document.format.lower()} | given | _schedule_of(one)


def _schedule_of(one: WantedFlow) -> Json:
    return {"schedule": _words(_described(one))}


def _base_name(context: Context, stored: StoredFlow) -> str:
    base = context.state.by_id("connection", stored.target["baseConnectionId"])
    return str(base["name"]) if base else str(stored.target["baseConnectionId"])


def _compare_entity(one: WantedFlow, existing: Json) -> list[FieldChange]:
    document = one.document
    pairs: list[tuple[str, Any, Any]] = [("name", existing["name"], document.name)]
    if "description" in document.model_fields_set:
        pairs.append(("description", existing.get("description"), document.description))
    if document.labels is not None:
        pairs.append(("labels", sorted(existing.get("labels", ())), sorted(set(document.labels))))
    return compare(pairs)


def _compare_datasets(context: Context, one: WantedFlow, stored: StoredFlow) -> list[FieldChange]:
    old, new = exports.datasets_of(stored.source), declared_datasets(context, one.document)
    if set(old) == set(new):
        return []
    return [
        FieldChange(
            "datasets",
            [choice_of(context, found) for found in old],
            [
                found.name if found.columns is None and found.ref is None else found.model_dump(exclude_none=True)
                for found in one.document.choices
            ],
        )
    ]


def _compare_target(context: Context, one: WantedFlow, stored: StoredFlow) -> list[FieldChange]:
    fields = []
    base_id = context.ids.get("connection", one.document.to)
    if base_id != stored.target["baseConnectionId"]:
        fields.append(FieldChange("to", _base_name(context, stored), one.document.to))
    defaults = destinations.defaults_of(one.destination.parameters)
    for key in destinations.keys_of(one.destination.parameters):
        old = stored.target["params"].get(key, defaults.get(key))
        new = one.params.get(key, defaults.get(key))
        if key != IGNORED and old != new:
            word = WORDS.get(key) or next((word for word, keys in PLACES.items() if key in keys), f"params.{key}")
            fields.append(FieldChange(word, old, new))
    return fields


def _compare_schedule(one: WantedFlow, old: Json) -> list[FieldChange]:
    document, start = one.document, old.get("startTime", 0)
    fields = []
    if flow_steps.changed_rhythm(one, old) or not schedules.has_time_of_day(one.rhythm, start):
        fields.append(FieldChange("schedule", _words(schedules.describe(old)), _words(_described(one))))
    elif one.start is not None and start != schedules.first_start(one.rhythm, one.start, one.start):
        fields.append(FieldChange("start", schedules.format_instant(start), document.start))
    if one.rhythm.interval != 0 and document.end is not None and old.get("endTime") != one.end:
        end = old.get("endTime")
        fields.append(FieldChange("end", NEVER if end is None else schedules.format_instant(end), document.end))
    if old.get(TEMPLATE) != document.folder:
        fields.append(FieldChange("folder", old.get(TEMPLATE), document.folder))
    return fields


def _described(one: WantedFlow) -> Json:
    return one.document.model_dump(include={"every", "daily", "once", "full"}, exclude_none=True, exclude_defaults=True)


def _words(schedule: Json) -> str:
    return " ".join(key if value is True else f"{key} {value}" for key, value in schedule.items())
