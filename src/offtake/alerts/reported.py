"""How notices show an event: its cause, a document, and a sentence."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic.alias_generators import to_camel

from offtake.alerts import topics
from offtake.alerts.notices import one_line
from offtake.documents import Json
from offtake.errors import DESTINATION_UNAVAILABLE
from offtake.store.quotas import MEASURES
from offtake.store.tables import EventRow

_OF_CONNECTION: Final = "EXPORT-200"
"""The start of the codes of errors that a connection causes: credentials, rights, places, keys."""
_LONGEST: Final = 1000
_MOST_NAMES: Final = 20
_UNITS: Final = (("rows", "row"), ("files", "file"))


def cause_of(row: EventRow, address: str | None) -> str:
    """What groups the event with others: the destination that does not answer, else connection and code, or kind.

    It is part of a key, whose length databases limit.
    """
    return one_line(_cause_of(row, address))


def _cause_of(row: EventRow, address: str | None) -> str:
    code = row.fields.get("code")
    if row.kind in topics.ENDS:
        return topics.ENDS[row.kind]
    if address is not None and (row.kind.startswith("connection.") or code == DESTINATION_UNAVAILABLE.code):
        return f"destination {address}"
    if isinstance(code, str) and code.startswith(_OF_CONNECTION) and row.connection_id is not None:
        return f"connection {row.connection_name or row.connection_id}: {code}"
    return code if isinstance(code, str) and code else row.kind


def event_document(row: EventRow, address: str | None, dataset_id: str | None = None) -> Json:
    """The event as messages have it; text is limited in length. `dataset_id`: of the import that it is about."""
    known: Json = {
        "id": row.id,
        "kind": row.kind,
        "at": row.at,
        "flowId": row.flow_id,
        "flowName": row.flow_name,
        "runId": row.run_id,
        "batchId": row.batch_id,
        "datasetId": dataset_id,
        "connectionId": row.connection_id,
        "connectionName": row.connection_name,
        "datasets": list(row.datasets[:_MOST_NAMES]) or None,
        "address": address,
    }
    fields = {to_camel(key): value for key, value in row.fields.items()}
    found = fields | {key: value for key, value in known.items() if value is not None}
    return {key: _limited(value) for key, value in found.items()} | {"text": one_line(_text(row, address), _LONGEST)}


def title_of(cause: str, severity: str, kinds: Mapping[str, int], events: Sequence[Json], flows: int) -> str:
    """One line about all events of a message."""
    if len(events) == 1 and sum(kinds.values()) == 1:
        return str(events[0]["text"])
    counted = ", ".join(f"{number} {topics.phrase(kind)}" for kind, number in kinds.items())
    concerned = f"{flows} flow{'s' if flows != 1 else ''}" if flows else ""
    if cause.startswith("destination "):
        state = "answers again" if severity == "recovery" else "does not answer"
        return f"D{cause[1:]} {state}" + (f"; {concerned} affected" if concerned else "")
    names = {str(one["flowName"]) for one in events if one.get("flowName")}
    if flows == 1 and len(names) == 1:
        concerned = f"Flow {names.pop()}"
    subject = f"C{cause[1:]}: " if cause.startswith("connection ") else ""
    return subject + (f"{concerned}: {counted}" if concerned else counted)


def _text(row: EventRow, address: str | None) -> str:
    values = {
        "flow": f"flow {row.flow_name or row.flow_id}",
        "datasets": ", ".join(row.datasets[:_MOST_NAMES]) or "a dataset",
        "destination": f"destination {row.connection_name or address}"
        + (f" ({address})" if row.connection_name and address else ""),
        "delivered": _delivered(row),
        "waiting": _waiting(row),
        "quota": _quota(row),
        "failures": row.fields.get("failures", "several"),
    }
    sentence = topics.sentence(row.kind, values)
    sentence = sentence[0].upper() + sentence[1:]
    message = row.fields.get("message")
    return f"{sentence.removesuffix('.')}: {message}" if message else sentence


def _waiting(row: EventRow) -> str:
    number = row.fields.get("runs")
    return f"; waiting: {number:,}" if isinstance(number, int) else ""


def _quota(row: EventRow) -> str:
    limit, measure = row.fields.get("limit"), str(row.fields.get("measure"))
    return f" of {limit:,} {MEASURES.get(measure, measure)}" if isinstance(limit, int) else ""


def _delivered(row: EventRow) -> str:
    counts = [f"{number} {unit}{'s' if number != 1 else ''}" for number, unit in _numbers(row)]
    return f" {' in '.join(counts)}" if counts else ""


def _numbers(row: EventRow) -> Iterator[tuple[int, str]]:
    for key, unit in _UNITS:
        number = row.fields.get(key)
        if isinstance(number, int):
            yield number, unit


def _limited(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    return value[:_LONGEST] if isinstance(value, str) else value
