"""All kinds of events and their fields: what each means. docs/logging.md is generated from here."""

from dataclasses import dataclass
from typing import Final, Literal

from offtake.store.events import EventKind

Level = Literal["debug", "info", "warning", "error"]

CONTEXT: Final[dict[str, str]] = {
    "sandbox": "id of the sandbox; absent for events of the whole deployment",
    "flow": "name of the flow",
    "flow_id": "id of the flow",
    "run": "id of the run",
    "batch": "id of the batch",
    "dataset": "name of the dataset; of several, a list",
    "destination": "type of the destination, such as `sftp`",
    "connection": "name of the base connection",
    "connection_id": "id of the base connection",
    "request": "id of the API request that caused it, as in its `x-request-id`",
}
"""Fields that each event has if they apply, and what they mean."""

FIELDS: Final[dict[str, str]] = {
    "action": "what is done: `import` or `revert`",
    "address": "address of the destination, as `host:port`; the connection's id if its type has no server",
    "attempt": "how often the run was claimed, counted from 1",
    "bytes": "bytes delivered or stored",
    "bytes_per_second": "bytes delivered per second",
    "client": "id of the client that made the change",
    "code": "code of the error",
    "connections": "number of connections of the sandbox with that address",
    "days": "days until the end",
    "disabled": "whether the flow was disabled because of it",
    "failures": "number of consecutive failures",
    "file": "name of the file at the destination",
    "files": "number of files",
    "flows": "number of flows",
    "limit": "the quota's limit of a month",
    "measure": "what the quota limits: `rows`, `bytes`, `files` or `computeSeconds`",
    "message": "what happened, and what to do about it if that is not in `remedy`",
    "parts": "number of files that are done since the last line about it",
    "reason": "why, as a fixed word",
    "remedy": "what to do about it",
    "repeated": "number of events of the same cause since the last line about it",
    "result": "whether it succeeded",
    "rows": "rows delivered or imported",
    "runs": "number of runs",
    "seconds": "seconds that it took or lasted",
    "since": "when it began",
    "slot": "scheduled time of the run",
    "status": "status of the batch or of the flow",
    "target_seconds": "the flow's freshness target in seconds; absent without one",
    "trigger": "what created the run, such as `schedule`",
    "until": "when it is tried again, when the flow ends, or when the quota renews",
    "used": "how much of the quota is used; absent for a quota that was removed",
    "warnings": "number of warnings of the run",
}
"""Fields of single kinds, and what they mean. Fields of other branches of the code may be added; none is renamed."""

TIMES: Final = frozenset({"since", "slot", "until"})
"""Fields that are instants: epoch milliseconds in events, ISO 8601 (UTC) in the log."""


@dataclass(frozen=True)
class KindOfEvent:
    """A kind: the level of its log line, what it means, and its fields apart from those in `CONTEXT`."""

    level: Level
    meaning: str
    fields: tuple[str, ...] = ()


_ERROR: Final = ("code", "message", "remedy")
_DELIVERED: Final = ("trigger", "rows", "bytes", "files", "seconds", "bytes_per_second", "warnings")

KINDS: Final[dict[EventKind, KindOfEvent]] = {
    "run.started": KindOfEvent("info", "A worker starts a run.", ("trigger", "slot")),
    "run.part_done": KindOfEvent(
        "debug",
        "A file of a run is complete. The log has such a line at level info at most once per minute and run, with the "
        "number of `parts` since the last one; all others are at level debug.",
        ("file", "rows", "bytes", "parts"),
    ),
    "run.waiting": KindOfEvent(
        "warning",
        "A run returns to the queue to wait. Further waits for the same cause are counted in `repeated`, and reported "
        "once per hour.",
        ("address", *_ERROR, "until", "repeated"),
    ),
    "run.waiting_long": KindOfEvent(
        "warning", "A run has waited for longer than `OFFTAKE_RETRY_ALERT_SECONDS`.", ("address", *_ERROR, "seconds")
    ),
    "run.delivered": KindOfEvent("info", "A run has delivered its rows.", _DELIVERED),
    "run.nothing_new": KindOfEvent("info", "A run found no rows to deliver.", ("trigger", "seconds", "warnings")),
    "run.failed": KindOfEvent(
        "error",
        "A run has failed. If it delivered some of its datasets, it also has what it delivered.",
        (*_DELIVERED, *_ERROR, "failures"),
    ),
    "run.cancelled": KindOfEvent("info", "A run was cancelled.", ("trigger", "seconds")),
    "run.taken_over": KindOfEvent(
        "warning", "A worker continues a run whose worker died or lost its lease.", ("attempt",)
    ),
    "run.files_owed": KindOfEvent(
        "warning",
        "Files of a failed or cancelled run stay at the destination: `kept` because the consumer has collected some or "
        "they cannot be removed, `unreachable` until the removal succeeds, `deleted` because the connection is gone.",
        ("reason", "files", "rows", *_ERROR),
    ),
    "flow.late": KindOfEvent(
        "warning",
        "A flow's delivery is late: `since` then, its data is older than its target or its slot's tolerance allows.",
        ("since", "target_seconds", "reason", *_ERROR),
    ),
    "flow.recovered": KindOfEvent("info", "A late flow has delivered again.", ("since", "seconds")),
    "flow.failing": KindOfEvent(
        "error", "A flow has failed several times in a row.", ("failures", "disabled", *_ERROR)
    ),
    "flow.disabled": KindOfEvent("warning", "A flow was disabled.", ("reason", "client")),
    "flow.ending_soon": KindOfEvent("warning", "A flow ends soon.", ("days", "until", "remedy")),
    "flow.ended": KindOfEvent("warning", "A flow has ended: it delivers nothing more.", ("until", "remedy")),
    "schedule.skipped": KindOfEvent(
        "warning", "A slot was skipped, because the flow's last run is still live.", ("slot",)
    ),
    "schedule.reset": KindOfEvent(
        "warning",
        "Flows were scheduled too far ahead, because the clock was set back: they are due at their next slot.",
        ("flows",),
    ),
    "batch.started": KindOfEvent("info", "The import or revert of a batch starts.", ("action",)),
    "batch.imported": KindOfEvent("info", "A batch is imported.", ("rows", "bytes", "seconds")),
    "batch.failed": KindOfEvent("error", "A batch has failed, or cannot be reverted.", ("code", "message", "seconds")),
    "batch.cancelled": KindOfEvent(
        "info",
        "A batch was aborted, was abandoned because nothing was uploaded for seven days, or was reverted.",
        ("status",),
    ),
    "batch.taken_over": KindOfEvent(
        "warning", "An ingestor continues a batch whose ingestor died or lost its lease.", ("attempt",)
    ),
    "connection.unavailable": KindOfEvent(
        "warning",
        "A destination does not answer. One run probes it; the others wait without lines of their own.",
        ("address", "connections", *_ERROR, "until"),
    ),
    "connection.available": KindOfEvent(
        "info", "A destination answers again.", ("address", "connections", "since", "seconds")
    ),
    "connection.created": KindOfEvent("info", "A base connection was created.", ("client",)),
    "connection.changed": KindOfEvent("info", "A base connection was changed.", ("client",)),
    "connection.deleted": KindOfEvent("info", "A base connection was deleted.", ("client",)),
    "connection.tested": KindOfEvent("info", "A base connection was tested.", ("client", "result", *_ERROR)),
    "workers.missing": KindOfEvent(
        "error",
        "Runs wait in the queue, and no worker has claimed or executed one for two minutes.",
        ("runs", "since", "remedy"),
    ),
    "workers.back": KindOfEvent(
        "info", "Runs are executed again, or none waits in the queue any more.", ("since", "seconds")
    ),
    "quota.reached": KindOfEvent(
        "warning", "A quota is used up: new runs are held.", ("measure", "limit", "used", "until", "code", "remedy")
    ),
    "quota.free": KindOfEvent(
        "info", "A quota was raised, removed or renewed: held runs start.", ("measure", "limit", "used")
    ),
}


def known_fields(kind: EventKind) -> frozenset[str]:
    """The names that `Event.fields` may have for that kind."""
    return frozenset(KINDS[kind].fields)
