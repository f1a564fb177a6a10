"""Counts events: an observer of the database, which receives them after their transaction is committed."""

from typing import Final, get_args

from offtake.destinations.registry import DESTINATIONS
from offtake.metrics.store_state import known_code
from offtake.store.events import Event, EventKind, FieldValue
from offtake.telemetry import definitions as metrics
from offtake.telemetry.counts import COUNTS
from offtake.telemetry.definitions import NONE, OTHER, Metric

_KINDS: Final = frozenset(get_args(EventKind))
_TYPES: Final = {one.connection_spec_id: one.name.lower().replace(" ", "_") for one in DESTINATIONS}
_FORMATS: Final = {"JSON": "json", "PARQUET": "parquet"}
_ENDS: Final = {
    "run.delivered": "delivered",
    "run.nothing_new": "nothing_new",
    "run.failed": "failed",
    "run.cancelled": "cancelled",
}
_BATCH_ENDS: Final = {"batch.imported": "imported", "batch.failed": "failed", "batch.cancelled": "cancelled"}


def count(event: Event) -> None:
    """Count an event of this process."""
    COUNTS.add(metrics.EVENTS, event.kind if event.kind in _KINDS else OTHER)
    if event.kind in _ENDS:
        _count_end(event, _ENDS[event.kind])
    elif event.kind in _BATCH_ENDS:
        _count_batch(event, _BATCH_ENDS[event.kind])
    elif event.kind == "run.started":
        COUNTS.add(metrics.RUNS_STARTED, _type(event), _format(event), event.sandbox_id)
    elif event.kind == "run.part_done":
        COUNTS.add(metrics.PARTS, event.sandbox_id)
    elif event.kind == "run.waiting":
        # Some waits for the same reason are reported by one event.
        by = 1 + (_number(event.fields.get("repeated")) or 0)
        COUNTS.add(metrics.WAITS, known_code(_text(event.fields.get("code"))), by=by)
    elif event.kind in ("run.taken_over", "batch.taken_over"):
        COUNTS.add(metrics.TAKEN_OVER, event.kind.partition(".")[0])


def _count_end(event: Event, state: str) -> None:
    kind, form, sandbox = _type(event), _format(event), event.sandbox_id
    code = known_code(_text(event.fields.get("code"))) if state in ("failed", "cancelled") else NONE
    COUNTS.add(metrics.RUNS_ENDED, kind, state, form, code, sandbox)
    _observe(metrics.RUN_SECONDS, event, kind, state)
    for metric, name in ((metrics.ROWS, "rows"), (metrics.BYTES, "bytes"), (metrics.FILES, "files")):
        # A run that failed may have delivered some of its datasets.
        number = _number(event.fields.get(name))
        if number is not None:
            COUNTS.add(metric, kind, form, sandbox, by=number)


def _count_batch(event: Event, state: str) -> None:
    COUNTS.add(metrics.BATCHES_ENDED, state, event.sandbox_id)
    _observe(metrics.BATCH_SECONDS, event, state)
    if state == "imported":
        COUNTS.add(metrics.IMPORTED_ROWS, event.sandbox_id, by=_number(event.fields.get("rows")) or 0)
        COUNTS.add(metrics.IMPORTED_BYTES, event.sandbox_id, by=_number(event.fields.get("bytes")) or 0)


def _observe(metric: Metric, event: Event, *labels: str) -> None:
    seconds = _number(event.fields.get("seconds"))
    if seconds is not None:
        COUNTS.observe(metric, *labels, value=seconds)


def _type(event: Event) -> str:
    return _TYPES.get(event.connection_spec_id or "", OTHER)


def _format(event: Event) -> str:
    return _FORMATS.get(event.file_type or "", OTHER)


def _text(value: FieldValue) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: FieldValue) -> float | None:
    """A value that may be counted: clocks that were set back make negative times."""
    return max(0, value) if isinstance(value, (int, float)) else None
