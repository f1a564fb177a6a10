"""The documents of existing flows."""

from typing import Any

from offtake.client import durations, exports, schedules
from offtake.client.exports import ExportedDataset
from offtake.client.schedules import NEVER
from offtake.declarations import destinations
from offtake.declarations.context import Context
from offtake.declarations.kinds.flow_reading import FRESHNESS, IGNORED, PLACES, TEMPLATE, find_stored
from offtake.destinations.base import Destination
from offtake.documents import Json


def export(context: Context, flow: Json) -> Json:
    """The document of a flow."""
    stored = find_stored(context, flow)
    spec = destinations.of_connection_spec(stored.target["connectionSpec"]["id"])
    chosen = [choice_of(context, one) for one in exports.datasets_of(stored.source)]
    params = {key: value for key, value in stored.target["params"].items() if key != IGNORED}
    schedule, more = flow.get("scheduleParams", {}), flow.get("extensions", {})
    end = schedule.get("endTime")
    document: Json = {"kind": "flow", "name": flow["name"]}
    document |= {"description": flow["description"]} if flow.get("description") else {}
    if len(chosen) == 1:
        only = {"name": chosen[0]} if isinstance(chosen[0], str) else chosen[0]
        document |= {"dataset": only["name"]} | {key: value for key, value in only.items() if key != "name"}
    else:
        document["datasets"] = chosen
    document["to"] = context.state.reference_to("connection", stored.target["baseConnectionId"])
    document |= _place(params, spec)
    document |= schedules.describe(schedule)
    document |= {"start": schedules.format_instant(schedule["startTime"])} if "startTime" in schedule else {}
    if end is None and schedule.get("interval") != 0:
        document["end"] = NEVER
    elif end is not None and not more.get("endTimeDefaulted"):
        document["end"] = schedules.format_instant(end)
    document |= {"folder": schedule[TEMPLATE]} if schedule.get(TEMPLATE) else {}
    target = more.get(FRESHNESS)
    document |= {"freshWithin": durations.describe(target)} if target and target % 60 == 0 else {}
    document |= {"state": flow["state"]} if flow.get("state") in ("enabled", "disabled") else {}
    return document | ({"labels": flow["labels"]} if flow.get("labels") else {})


def choice_of(context: Context, one: ExportedDataset) -> Any:  # noqa: ANN401 - a name, or an object
    """A dataset of a flow, as documents have it."""
    name = context.state.reference_to("dataset", one.id)
    if one.columns is None and one.ref is None:
        return name
    columns = {} if one.columns is None else {"columns": list(one.columns)}
    return {"name": name} | columns | ({"ref": one.ref} if one.ref else {})


def _place(params: Json, spec: Destination | None) -> Json:
    known = dict(params)
    found: Json = {}
    for word, keys in PLACES.items():
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
