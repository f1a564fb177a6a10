"""The audit log in words: verbs, resources and fields, and the events of one request as one entry."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from offtake.access import audit, audit_changes, audit_events
from offtake.access.audit_events import WORDS
from offtake.catalog.batch_names import BatchName
from offtake.destinations.schema import MASK
from offtake.store.tables import AuditEvent
from offtake.web.forms import sentence
from offtake.web.rendering import iso

ACTIONS: Final[Mapping[str, str]] = {
    "create": "created",
    "update": "changed",
    "delete": "deleted",
    "enable": "enabled",
    "disable": "disabled",
    "run": "ran",
    "cancel": "cancelled",
    "complete": "completed",
    "abort": "aborted",
    "retry": "retried",
    "backfill": "backfilled",
    "discard": "discarded",
    "revert": "reverted",
    "grant": "granted",
    "revoke": "revoked",
    "rotate": "replaced the secret of",
    "issue": "got",
    "refresh": "replaced",
    "reset": "reset",
    "fail": "reported the failure of",
}
_MOST_CHANGES: Final = 40
_LONGEST_VALUE: Final = 400
_MS_DIGITS: Final = 13
_SECOND_DIGITS: Final = 10
_WORDS: Final[Mapping[str, str]] = {
    "true": "yes",
    "false": "no",
    "FIRST_FULL_THEN_INCREMENTAL": "first everything, then what was added",
    "DAILY_FULL_EXPORT": "everything each time",
}
_INSTANTS: Final = ("At", "UTC", "Time")
_ZONES: Final[Mapping[str, str]] = {"dlz_destination": "of deliveries", "user_drop_zone": "of uploads"}
_NOT_SHOWN: Final = "secret, not shown"
_REPLACED: Final = "secret replaced"
_PREFIXES: Final = ("auth.params.", "scheduleParams.", "params.", "subjectAttributes.", "encryption.params.")
_FIELDS: Final[Mapping[str, str]] = {
    "permissionSets": "Permissions",
    "connectionSpec.id": "Destination's spec id",
    "flowSpec.id": "Flow spec id",
    "sourceConnectionIds": "Source connection",
    "targetConnectionIds": "Target connection",
    "datasets": "Datasets",
    "dataset": "Dataset id",
    "runId": "Run id",
    "repeatedRunId": "Repeated run",
    "foldernameTemplate": "Folder template",
    "exportMode": "Content",
    "timeUnit": "Unit of time",
    "auth.specName": "Authentication",
    "data.outputType": "Output",
}


@dataclass(frozen=True)
class Change:
    """A changed field with its values, shortened; None: absent. `key`: its path in the API's documents."""

    key: str
    label: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Line:
    """What was done to one resource. `dataset_id`: of a batch. `more`: how many changed fields are not shown."""

    words: str
    kind: str
    resource_type: str
    resource_id: str
    name: str
    dataset_id: str
    changes: tuple[Change, ...]
    more: int

    @property
    def is_new(self) -> bool:
        """Whether all fields are new, as those of a created resource."""
        return all(one.before is None and one.after != _REPLACED for one in self.changes)


def groups(rows: Sequence[AuditEvent]) -> list[list[AuditEvent]]:
    """Neighbouring events of one request, or of one import by one client, newest first."""
    found: list[list[AuditEvent]] = []
    for row in rows:
        if found and _belongs(found[-1], row):
            found[-1].append(row)
        else:
            found.append([row])
    return found


def lines(rows: Sequence[AuditEvent], imports: Mapping[str, BatchName]) -> list[Line]:
    """What the events of a group did, one line for each resource, the most telling first. `imports`: names by batch."""
    of_resource: dict[tuple[str, str], list[AuditEvent]] = {}
    for row in rows:
        of_resource.setdefault((row.resource_type, row.resource_id), []).append(row)
    order = list(WORDS)
    ranked = sorted(of_resource, key=lambda one: order.index(one[0]) if one[0] in order else len(order))
    return [_line(of_resource[key][::-1], imports) for key in ranked]


def _belongs(group: Sequence[AuditEvent], older: AuditEvent) -> bool:
    newer = group[-1]
    if newer.client_id != older.client_id or newer.sandbox_name != older.sandbox_name:
        return False
    is_one_request = bool(newer.request_id) and newer.request_id == older.request_id
    is_import = older.resource_type == "batches"
    return is_one_request or (is_import and any(row.resource_id == older.resource_id for row in group))


def _line(rows: Sequence[AuditEvent], imports: Mapping[str, BatchName]) -> Line:
    """`rows`: of one resource, oldest first."""
    first = rows[0]
    actions = list(dict.fromkeys(_action(row) for row in rows))
    if len(actions) > 1 and "update" in actions:
        actions.remove("update")  # it is part of what else was done
    verbs = [_verb(action, first.resource_type) for action in actions]
    words = " and ".join([", ".join(verbs[:-1]), verbs[-1]] if verbs[1:] else verbs)
    found = [change for row in rows for change in _changes(row)]
    batch = imports.get(first.resource_id)
    is_zone = first.resource_type == "landingZoneCredentials"
    name = batch.text if batch else next((row.resource_name for row in rows if row.resource_name), "")
    return Line(
        words=words,
        kind=WORDS.get(first.resource_type, first.resource_type),
        resource_type=first.resource_type,
        resource_id=first.resource_id,
        name=_ZONES.get(name or "", name or "") if is_zone else name or "",
        dataset_id=batch.dataset_id if batch else "",
        changes=tuple(islice(found, _MOST_CHANGES)),
        more=max(0, len(found) - _MOST_CHANGES),
    )


def _action(row: AuditEvent) -> str:
    """The action in more detail than it is recorded."""
    after = row.after or {}
    if row.action == "run":
        return "backfill" if "backfill" in after else "retry" if "repeatedRunId" in after else "run"
    return "discard" if row.action == "abort" and row.resource_type == "batches" else row.action


def _verb(action: str, resource_type: str) -> str:
    if resource_type == "connections" and action == "rotate":
        return "replaced the credentials of"
    if resource_type == "batches" and action == "create":
        return "started"
    return ACTIONS.get(action, action)


def _changes(row: AuditEvent) -> list[Change]:
    after = dict(row.after or {})
    replaced = after.pop(audit.SECRETS_REPLACED, [])
    secrets = [Change(key, sentence(key), None, _REPLACED) for key in replaced if isinstance(key, str)]
    return secrets + [
        Change(one.name, _label(one.name), _value(one.name, one.before), _value(one.name, one.after))
        for one in audit_changes.changes(row.before, after)
    ]


def _label(name: str) -> str:
    if name in _FIELDS:
        return _FIELDS[name]
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return _FIELDS.get(name) or ", ".join(sentence(one) or one for one in name.split("."))


def _value(name: str, value: str | None) -> str | None:
    """The value as people read it: instants as dates, yes and no."""
    if value == MASK:
        return _NOT_SHOWN
    last = name.rpartition(".")[2]
    if value is not None and value.isdecimal() and len(value) == _MS_DIGITS and last.endswith(_INSTANTS):
        return iso(int(value))
    if value is not None and value.isdecimal() and len(value) == _SECOND_DIGITS and last in ("startTime", "endTime"):
        return iso(int(value) * 1000)
    if value is not None and value in _WORDS:
        return _WORDS[value]
    if value is not None and value.startswith("[") and (texts := _texts(value)) is not None:
        value = ", ".join(texts)
    return value if value is None or len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}…"


def _texts(value: str) -> list[str] | None:
    """The texts of a JSON list; None for another value."""
    try:
        found = json.loads(value)
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(one, str) for one in found) else None


def is_failure(rows: Sequence[AuditEvent]) -> bool:
    """Whether one of the events reports a failure."""
    return any(row.action == audit_events.FAILED for row in rows)
