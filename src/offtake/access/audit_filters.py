"""Filters and orders of audit events: the vendor's properties, and two extensions."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, SQLColumnExpression, case, false, func, or_, true
from ulid import ULID

from offtake.access.audit_events import ASSET_TYPES, FAILED, FAILURE, SUCCESS, WORDS
from offtake.contract import filters, problems
from offtake.contract.filters import Field, Fields
from offtake.contract.problems import Problem
from offtake.store.tables import AuditEvent

_RANDOM: Final = 16
"""The length of the random part of an id, which follows its timestamp."""
LATEST_MS: Final = 2**48 - 1
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_DAY_MS: Final = 86_400_000
_ASSET_TYPE: Final = case(ASSET_TYPES, value=AuditEvent.resource_type, else_=AuditEvent.resource_type)
_STORED_TYPES: Final = {
    **{stored.lower(): stored for stored in ASSET_TYPES},
    **{shown.lower(): stored for stored, shown in ASSET_TYPES.items()},
    **{word: stored for stored, word in WORDS.items()},
}
# A plus sign in a query arrives as a space.
_ZONE: Final = re.compile(r"(T.*) (\d\d:?\d\d)$")

ORDERS: Final[Fields] = {
    "timestamp": Field(AuditEvent.id, "id", sortable=True),
    "action": Field(AuditEvent.action, sortable=True),
    "user": Field(AuditEvent.account_id, sortable=True),
    "assetType": Field(_ASSET_TYPE, sortable=True),
    "assetId": Field(AuditEvent.resource_id, sortable=True),
    "assetName": Field(func.coalesce(AuditEvent.resource_name, ""), sortable=True),
    "requestId": Field(AuditEvent.request_id, sortable=True),
}


def condition(text: str) -> ColumnElement[bool]:
    """The SQL condition of a `property` such as action==create,update; raises 1440, 1443, 1448 to 1450, 1452, 1453."""
    (expression,) = filters.parse_all((text,))
    path, operator = expression.path, expression.operator
    if path == "timestamp":
        return _in_time(operator, expression.values)
    if path not in _EQUAL:
        allowed = ", ".join(sorted((*_EQUAL, "timestamp")))
        raise Problem(problems.FILTER_FIELD, f"The field {path} cannot be filtered by. Allowed: {allowed}.")
    if operator not in ("==", "!="):
        raise Problem(problems.FILTER_KIND, f"{path} cannot be compared by {operator}, which is for timestamp.")
    same = or_(*map(_EQUAL[path], expression.values))
    return same if operator == "==" else ~same


def about(resource: str) -> ColumnElement[bool]:
    """The condition that an event is about a resource with this id, name or type."""
    same_type = AuditEvent.resource_type == _STORED_TYPES.get(resource.lower(), resource)
    return or_(AuditEvent.resource_id == resource, func.coalesce(AuditEvent.resource_name, "") == resource, same_type)


def since(epoch_ms: int) -> ColumnElement[bool]:
    """The condition that an event happened at this instant or later; uses the indexed id, which starts with a time."""
    return AuditEvent.id >= _first_id(epoch_ms)


def before(epoch_ms: int) -> ColumnElement[bool]:
    """The condition that an event happened before this instant."""
    return AuditEvent.id < _first_id(epoch_ms)


def whole_instant(path: str, text: str) -> int:
    """Parse an instant to whole milliseconds, rounded up; raises 1452."""
    return math.ceil(instant(path, text))


def end_of(path: str, text: str) -> int:
    """The end of a period in epoch milliseconds: of the day for a date, else the instant itself; raises 1452."""
    start = whole_instant(path, text)
    return start + _DAY_MS if _DATE.fullmatch(text.strip()) else start


def instant(path: str, text: str) -> float:
    """Parse epoch milliseconds, or a date such as 2026-03-01 or 2026-03-01T12:00:00Z; raises 1452."""
    value = _ZONE.sub(r"\1+\2", text.strip())
    if value.isascii() and value.isdecimal():
        return float(min(int(value[:18]), LATEST_MS))
    try:
        date = datetime.fromisoformat(value)
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)
        # Microseconds are added separately, so that whole milliseconds stay exact.
        seconds = round(aware.replace(microsecond=0).timestamp())
        return min(max(0.0, seconds * 1000 + aware.microsecond / 1000), LATEST_MS)
    except (ValueError, OverflowError):
        raise problems.of_field(path, "must be epoch milliseconds, or a date such as 2026-03-01T12:00:00Z") from None


def _equals(column: SQLColumnExpression[Any]) -> Callable[[str], ColumnElement[bool]]:
    return lambda value: column == value


def _equals_ignoring_case(column: SQLColumnExpression[Any]) -> Callable[[str], ColumnElement[bool]]:
    # The database lowers both sides, as in `filters`.
    return lambda value: func.lower(column) == func.lower(value)


def _has_status(value: str) -> ColumnElement[bool]:
    known = {SUCCESS.lower(): AuditEvent.action != FAILED, FAILURE.lower(): AuditEvent.action == FAILED}
    return known.get(value.lower(), false())


_EQUAL: Final[Mapping[str, Callable[[str], ColumnElement[bool]]]] = {
    # Every event is a core event in the vendor's terms; there are no enhanced events.
    "type": lambda value: true() if value.lower() == "core" else false(),
    "status": _has_status,
    "action": lambda value: AuditEvent.action == value.lower(),
    "user": _equals_ignoring_case(AuditEvent.account_id),
    "assetType": lambda value: AuditEvent.resource_type == _STORED_TYPES.get(value.lower(), value),
    "assetId": _equals(AuditEvent.resource_id),
    # A null name would be neither equal nor unequal.
    "assetName": _equals_ignoring_case(func.coalesce(AuditEvent.resource_name, "")),
    "requestId": _equals(AuditEvent.request_id),
    "clientId": _equals(AuditEvent.client_id),
    "sandboxName": _equals(func.coalesce(AuditEvent.sandbox_name, "")),
    "asset": about,
}
"""The condition for a value of each property; `clientId`, `sandboxName` and `asset` are extensions."""


def _in_time(operator: str, values: Sequence[str]) -> ColumnElement[bool]:
    instants = [instant("/property", value) for value in values]
    at = instants[0]
    if operator in ("<", ">="):
        edge = _first_id(math.ceil(at))
        return AuditEvent.id < edge if operator == "<" else AuditEvent.id >= edge
    if operator in ("<=", ">"):
        edge = _first_id(math.floor(at) + 1)
        return AuditEvent.id < edge if operator == "<=" else AuditEvent.id >= edge
    same = AuditEvent.at.in_([value for value in instants if value.is_integer()])
    return same if operator == "==" else ~same


def _first_id(epoch_ms: int) -> str:
    text = str(ULID.from_timestamp(min(epoch_ms, LATEST_MS) / 1000))
    return text[:-_RANDOM] + "0" * _RANDOM
