"""Writes events to the log: one line each, as text or JSON like all other lines."""

import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from offtake import logs
from offtake.destinations import registry
from offtake.store.event_kinds import KINDS, TIMES
from offtake.store.events import Event, FieldValue

_log = logging.getLogger("offtake.events")

_PART_MS: Final = 60_000
_MOST_RUNS: Final = 1000
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


@dataclass
class _Progress:
    """When the log last had a line about the run (epoch milliseconds), and the parts that were done since."""

    at_ms: int
    parts: int = 0


@dataclass
class EventLog:
    """An observer of events. The lines of a run's parts are at level info once per minute and run, else at debug."""

    _runs: "OrderedDict[str, _Progress]" = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, event: Event) -> None:
        """Write the event's line."""
        level = _LEVELS[KINDS[event.kind].level]
        parts = self._count(event)
        if parts is not None and parts:
            level = logging.INFO
        if not _log.isEnabledFor(level):
            return
        fields = line_fields(event) | ({"parts": parts} if parts else {})
        extra = logs.event_line(event.kind, fields, event.request_id)
        record = _log.makeRecord(_log.name, level, "", 0, event.kind, (), None, extra=extra)
        record.created, record.msecs = event.at_ms / 1000, event.at_ms % 1000
        _log.handle(record)

    def _count(self, event: Event) -> int | None:
        """The parts since the run's last line, for a part whose line is due; 0 for one that is not; else None."""
        if event.run_id is None:
            return None
        with self._lock:
            progress = self._runs.get(event.run_id)
            if event.kind != "run.part_done":
                self._runs.pop(event.run_id, None)
                if event.kind in ("run.started", "run.taken_over"):
                    self._runs[event.run_id] = _Progress(event.at_ms)
                return None
            if progress is None:
                progress = self._runs[event.run_id] = _Progress(event.at_ms)
                while len(self._runs) > _MOST_RUNS:
                    self._runs.popitem(last=False)
            progress.parts += 1
            if 0 <= event.at_ms - progress.at_ms < _PART_MS:
                return 0
            parts = progress.parts
            self._runs[event.run_id] = _Progress(event.at_ms)
            return parts


def line_fields(event: Event) -> dict[str, FieldValue]:
    """The fields of an event's line (`event_kinds`), without those that do not apply."""
    destination = registry.by_connection_spec_id(event.connection_spec_id) if event.connection_spec_id else None
    datasets = list(event.datasets)
    context: dict[str, FieldValue] = {
        "flow": event.flow_name,
        "dataset": datasets[0] if len(datasets) == 1 else datasets or None,
        "destination": None if destination is None else destination.name,
        "connection": event.connection_name,
        "run": event.run_id,
        "batch": event.batch_id,
    }
    details = {key: _instant(value) if key in TIMES else value for key, value in event.fields.items()}
    ids = {"flow_id": event.flow_id, "connection_id": event.connection_id, "sandbox": event.sandbox_id or None}
    return {key: value for key, value in {**context, **details, **ids}.items() if value is not None}


def _instant(value: FieldValue) -> FieldValue:
    if not isinstance(value, int):
        return value
    return datetime.fromtimestamp(value / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
