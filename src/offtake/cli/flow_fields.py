"""The fields of a flow as people read them, and what an edit has changed: each field before and after."""

from collections.abc import Mapping
from typing import Final

from offtake.cli import output
from offtake.cli.flows import describe_end
from offtake.client import durations, schedules
from offtake.client.names import CONNECTION, SOURCE, TARGET
from offtake.client.server import Server
from offtake.documents import Json

_WORDS: Final = {
    "path": "path",
    "remotePath": "path",
    "bucketName": "bucket",
    "container": "container",
    "datasetFileType": "format",
    "includeFileManifest": "manifest",
}
"""By param of a target connection, what people call it; others have their own names."""
_NOTHING: Final = "none"


def fields_of(server: Server, flow: Json) -> dict[str, str]:
    """The flow's fields: those of its own, of its datasets, and of its place."""
    found = {"name": str(flow.get("name")), "description": flow.get("description") or _NOTHING}
    found["datasets"] = _datasets(server.get_one(f"{SOURCE.path}/{flow['sourceConnectionIds'][0]}"))
    found |= _of_target(server, server.get_one(f"{TARGET.path}/{flow['targetConnectionIds'][0]}"))
    params = flow.get("scheduleParams", {})
    start, template = params.get("startTime"), params.get("foldernameTemplate")
    fresh = flow.get("extensions", {}).get("freshWithinSeconds")
    return found | {
        "schedule": _schedule(params),
        "start": output.instant(start * 1000) if start else _NOTHING,
        "end": describe_end(flow) or schedules.NEVER,
        "folder": template or "the default",
        "late when older than": durations.describe(fresh) if fresh else "the default",
    }


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """A line for each field that differs."""
    names = dict.fromkeys((*before, *after))
    pairs = [(name, before.get(name, _NOTHING), after.get(name, _NOTHING)) for name in names]
    return [f"{name}: {old} → {new}" for name, old, new in pairs if old != new]


def _datasets(source: Json) -> str:
    """The datasets by name, each with its columns if only some are delivered."""
    params = source["params"]
    chosen = params.get("columns") or {}
    named = [(one["dataSetId"], str(one.get("name") or one["dataSetId"])) for one in params["datasets"]]
    return ", ".join(sorted(f"{name} ({', '.join(chosen[one])})" if one in chosen else name for one, name in named))


def _of_target(server: Server, target: Json) -> dict[str, str]:
    connection = server.get_one(f"{CONNECTION.path}/{target['baseConnectionId']}")
    found = {"to": str(connection.get("name"))}
    for key, value in target.get("params", {}).items():
        shown = ("yes" if value else "no") if isinstance(value, bool) else str(value)
        found[_WORDS.get(key, key)] = shown
    return found


def _schedule(params: Json) -> str:
    """The schedule as the options of commands have it, such as `every 3h`."""
    words = schedules.describe(params)
    return " ".join(key if value is True else f"{key} {value}" for key, value in words.items())
