"""Documents of flows, validated, and the stored flows that they are compared with."""

from dataclasses import dataclass
from typing import Final

from offtake.client import durations, schedules
from offtake.client.exports import ExportedDataset
from offtake.client.schedules import NEVER, Rhythm
from offtake.contract.folder_templates import check_template
from offtake.declarations import destinations
from offtake.declarations.context import Context
from offtake.declarations.models import FlowDocument
from offtake.declarations.parsing import Declared
from offtake.declarations.plan import UNKNOWN_ID
from offtake.declarations.problems import nearest
from offtake.destinations import schema
from offtake.destinations.base import Destination
from offtake.documents import Json
from offtake.errors import InvalidInputError, OfftakeError

PLACES: Final = {"path": ("path", "remotePath"), "bucket": ("bucketName",), "container": ("container",)}
"""By field of a document, the params that it can stand for."""
WORDS: Final = {"datasetFileType": "format", "compression": "compression", "includeFileManifest": "manifest"}
"""By param, the field of a document that stands for it."""
IGNORED: Final = "mode"
"""A param that has no effect."""
TEMPLATE: Final = "foldernameTemplate"
FRESHNESS: Final = "freshWithinSeconds"
"""The extension of a flow that a document calls freshWithin."""


@dataclass(frozen=True)
class WantedFlow:
    """A validated document. `start` and `end`: epoch seconds; `endless`: without an end."""

    declared: Declared
    document: FlowDocument
    destination: Destination
    params: Json
    rhythm: Rhythm
    start: int | None
    end: int | None
    existing: Json | None
    fresh_within: int | None = None

    @property
    def endless(self) -> bool:
        """Whether the flow is to have no end."""
        return self.document.end == NEVER and self.rhythm.interval != 0


@dataclass(frozen=True)
class StoredFlow:
    """A flow on the server with its connections."""

    flow: Json
    source: Json
    target: Json


def read_flow(context: Context, declared: Declared, existing: Json | None) -> WantedFlow | None:
    """The validated document; None, or with problems in the context, when it cannot be applied."""
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
    fresh_within = None
    with context.collecting(declared, ("freshWithin",)):
        fresh_within = durations.parse(document.fresh_within or durations.NONE)
    for problem in check_template(document.folder) if document.folder is not None else ():
        context.problems.append(declared.problem(("folder",), problem))
    allowed = context.state.intervals.get(destination.flow_spec_id)
    if context.state.intervals and allowed is None:
        context.problems.append(declared.problem(("to",), f"the server has no destination {destination.name}"))
    if allowed and rhythm.interval not in allowed and rhythm.unit == "hour":
        choices = ", ".join(f"{one}h" for one in allowed if one > 1)
        context.problems.append(declared.problem(("every",), f"is not a period of this server; it has {choices}"))
    params = _params(context, declared, document, destination)
    return WantedFlow(declared, document, destination, params, rhythm, start, end, existing, fresh_within)


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
    known = [one for one in destinations.keys_of(destination.parameters) if one != IGNORED]
    words = dict[str, str]()
    params: Json = {}
    for word, keys in PLACES.items():
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
        elif key in params or key in WORDS:
            word = words.get(key) or WORDS.get(key, key)
            context.problems.append(declared.problem(("params", key), f"is the field {word}; give it once, there"))
        else:
            params[key] = value
    try:
        parsed = schema.parse_target_params(destination, {key: one for key, one in params.items() if key in known})
    except InvalidInputError as error:
        for problem in error.problems:
            key = problem.path.removeprefix("/params/")
            named = next((word for word, keys in PLACES.items() if key in keys), None)
            path = (words.get(key) or WORDS.get(key) or named,) if key not in document.params else ("params", key)
            context.problems.append(declared.problem(tuple(map(str, path)), problem.message))
        return params
    return schema.redact(parsed)


def find_stored(context: Context, flow: Json) -> StoredFlow:
    """The flow with its connections. Raises `OfftakeError` when the server does not list them."""
    source = context.state.sources.get(flow["sourceConnectionIds"][0])
    target = context.state.targets.get(flow["targetConnectionIds"][0])
    if source is None or target is None:
        raise OfftakeError(f"The connections of flow {flow['name']} ({flow['id']}) are not in the server's lists.")
    return StoredFlow(flow, source, target)


def declared_datasets(context: Context, document: FlowDocument) -> list[ExportedDataset]:
    """The datasets with their ids; those that are created by this plan have ids only after that."""
    return [
        ExportedDataset(
            context.ids.get("dataset", one.name) or f"{UNKNOWN_ID} {one.name}",
            None if one.columns is None else tuple(one.columns),
            None if one.ref in (None, "main") else one.ref,
        )
        for one in document.choices
    ]
