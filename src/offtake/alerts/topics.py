"""What rules can be about: topics, the kinds of events of each, and how serious an event is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from offtake.alerts.notices import Severity
from offtake.store.events import EventKind


@dataclass(frozen=True)
class Topic:
    """A topic of rules. `severity`: of its events."""

    kinds: tuple[EventKind, ...]
    severity: Severity
    meaning: str


TOPICS: Final[Mapping[str, Topic]] = {
    "started": Topic(("run.started",), "information", "a run starts"),
    "delivered": Topic(("run.delivered",), "information", "a run has delivered its rows"),
    "nothing-new": Topic(("run.nothing_new",), "information", "a run found nothing new to deliver"),
    "failed": Topic(("run.failed", "flow.failing"), "problem", "a run has failed"),
    "waiting": Topic(
        ("run.waiting_long", "connection.unavailable"),
        "problem",
        "a destination does not answer, or a run has waited for long",
    ),
    "late": Topic(("flow.late",), "problem", "a delivery is late, also when no run could start"),
    "recovered": Topic(
        ("flow.recovered", "connection.available", "workers.back", "quota.free"),
        "recovery",
        "a late flow has delivered, a destination answers again, workers are back, or a quota is free again",
    ),
    "ending": Topic(("flow.ending_soon", "flow.ended"), "problem", "a flow ends soon, or has ended"),
    "disabled": Topic(("flow.disabled",), "problem", "a flow was disabled"),
    "owed-files": Topic(("run.files_owed",), "problem", "files of a failed run stay at the destination"),
    "import-failed": Topic(("batch.failed",), "problem", "an import has failed"),
    "capacity": Topic(
        ("workers.missing", "quota.reached"), "problem", "no worker executes runs, or a quota is used up"
    ),
}
"""The topics by name."""
DEFAULT: Final = tuple(name for name, one in TOPICS.items() if one.severity != "information")
"""The topics of a rule that names none: all about problems and recoveries."""
TOPIC_OF: Final[Mapping[str, str]] = {kind: name for name, one in TOPICS.items() for kind in one.kinds}
"""The topic of each kind of event that rules can be about."""
ENDS: Final[Mapping[str, str]] = {"workers.back": "workers.missing", "quota.free": "quota.reached"}
"""Kinds that report the end of a problem, and the cause under which that problem was grouped."""

_PHRASES: Final[Mapping[str, str]] = {
    "run.started": "started",
    "run.delivered": "delivered",
    "run.nothing_new": "found nothing new",
    "run.failed": "failed",
    "flow.failing": "failed several times in a row",
    "run.waiting_long": "wait for long",
    "flow.late": "late",
    "flow.recovered": "delivered again after being late",
    "flow.ending_soon": "end soon",
    "flow.ended": "ended",
    "flow.disabled": "disabled",
    "run.files_owed": "left files at the destination",
    "batch.failed": "imports failed",
    "connection.unavailable": "destination does not answer",
    "connection.available": "destination answers again",
    "workers.missing": "no worker executes runs",
    "workers.back": "runs are executed again",
    "quota.reached": "a quota is used up",
    "quota.free": "a quota is free again",
}
"""What titles call several events of a kind."""
_SENTENCES: Final[Mapping[str, str]] = {
    "run.started": "A run of {flow} has started.",
    "run.delivered": "{flow} has delivered{delivered}.",
    "run.nothing_new": "{flow} found nothing new to deliver.",
    "run.failed": "A run of {flow} has failed.",
    "flow.failing": "{flow} has failed {failures} times in a row.",
    "run.waiting_long": "A run of {flow} has waited for long.",
    "flow.late": "The delivery of {flow} is late.",
    "flow.recovered": "{flow} has delivered again after it was late.",
    "flow.ending_soon": "{flow} ends soon.",
    "flow.ended": "{flow} has ended: it delivers nothing more.",
    "flow.disabled": "{flow} was disabled.",
    "run.files_owed": "Files of a run of {flow} stay at the destination.",
    "batch.failed": "An import into {datasets} has failed.",
    "connection.unavailable": "{destination} does not answer.",
    "connection.available": "{destination} answers again.",
    "workers.missing": "No worker executes runs{waiting}.",
    "workers.back": "Workers execute runs again.",
    "quota.reached": "The monthly quota{quota} is used up: new runs are held.",
    "quota.free": "A quota was raised or renewed: held runs continue.",
}


def severity_of(kind: str) -> Severity:
    """How serious an event of the kind is."""
    return TOPICS[TOPIC_OF[kind]].severity


def phrase(kind: str) -> str:
    """What titles call several events of the kind."""
    return _PHRASES[kind]


def sentence(kind: str, values: Mapping[str, object]) -> str:
    """A sentence about one event.

    `values`: `flow`, `datasets`, `destination`, `delivered`, `failures`, `waiting`, `quota`.
    """
    return _SENTENCES[kind].format_map(values)
