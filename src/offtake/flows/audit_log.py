"""Reading the audit log, the latest first."""

import base64
import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter
from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session
from ulid import ULID

from offtake.flows import problems
from offtake.flows.access import VIEW_AUDIT, Caller
from offtake.flows.entities import Json
from offtake.store.tables import AuditEvent, Sandbox

MOST: Final = 1000
_RANDOM: Final = 16
"""Characters of an id after those that hold its time."""
_LATEST_MS: Final = 2**48 - 1
_DEFAULT_LIMIT: Final = 100
Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
Instant = Annotated[int, Field(ge=0, le=_LATEST_MS)]


@dataclass(frozen=True)
class AuditQuery:
    """What to look for; None means any. Instants in epoch milliseconds, `until` excluded.

    `resource` is an id, a name or a type. `before` is the id that the page before ended with.
    """

    limit: Annotated[int, Field(ge=1, le=MOST)]
    resource_type: Text | None = None
    resource_id: Text | None = None
    resource: Text | None = None
    action: Text | None = None
    client_id: Text | None = None
    sandbox: Text | None = None
    since: Instant | None = None
    until: Instant | None = None
    before: Text | None = None


_TOKEN: Final = TypeAdapter(AuditQuery)
"""Tokens are the callers' to alter, so that what they hold is checked like anything sent."""


def events(session: Session, caller: Caller, query: AuditQuery) -> tuple[list[AuditEvent], bool]:
    """A page of events that the caller may see, and whether there are more.

    Who may read the log of one sandbox sees what happened in it since it was made; who may read it everywhere sees all
    of the organisation's.
    """
    caller.require(VIEW_AUDIT)
    wanted = [AuditEvent.org_id == caller.org_id, *_seen(session, caller, query.sandbox), *_matching(query)]
    found = select(AuditEvent).where(and_(*wanted)).order_by(AuditEvent.id.desc()).limit(query.limit + 1)
    rows = list(session.scalars(found))
    return rows[: query.limit], len(rows) > query.limit


def render(row: AuditEvent) -> Json:
    """The event as the API and the command show it."""
    return {
        "id": row.id,
        "at": row.at,
        "action": row.action,
        "resourceType": row.resource_type,
        "resourceId": row.resource_id,
        "resourceName": row.resource_name,
        "imsOrgId": row.org_id,
        "sandboxName": row.sandbox_name,
        "accountId": row.account_id,
        "clientId": row.client_id,
        "remote": row.remote,
        "requestId": row.request_id,
        "before": row.before,
        "after": row.after,
    }


def instant(path: str, text: str | None) -> int | None:
    """Epoch milliseconds from a number, or from a date such as 2026-03-01 or 2026-03-01T12:00:00Z; raises 1452."""
    given = (text or "").strip()
    if not given:
        return None
    if given.isascii() and given.isdecimal():
        return min(int(given[:18]), _LATEST_MS)
    try:
        date = datetime.fromisoformat(given)
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0, round(aware.timestamp() * 1000))
    except (ValueError, OverflowError):
        raise problems.of_field(path, "must be epoch milliseconds, or a date such as 2026-03-01T12:00:00Z") from None


def limit(text: str | None) -> int:
    """How many events a page holds; raises 1452."""
    digits = (text or str(_DEFAULT_LIMIT)).strip()
    if not digits.isascii() or not digits.isdecimal() or not int(digits[:10]):
        raise problems.of_field("/limit", f"must be a whole number from 1 to {MOST}")
    return min(int(digits[:10]), MOST)


def token(query: AuditQuery, last_id: str) -> str:
    """What leads on after that event: the query itself, without any `=`."""
    document = {name: value for name, value in asdict(replace(query, before=last_id)).items() if value is not None}
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def read_token(text: str) -> AuditQuery:
    """The query that a token carries; raises 1452."""
    try:
        return _TOKEN.validate_json(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        raise problems.of_field("/continuationToken", "is not a token that this server gave out") from None


def _seen(session: Session, caller: Caller, sandbox: str | None) -> list[ColumnElement[bool]]:
    if caller.grants.allow_everywhere(VIEW_AUDIT):
        return [AuditEvent.sandbox_name == sandbox] if sandbox else []
    if sandbox not in (None, caller.sandbox_name):
        caller.require_everywhere(VIEW_AUDIT)
    # An earlier sandbox may have had the name.
    made_at = session.get_one(Sandbox, caller.sandbox_id).created_at
    return [AuditEvent.sandbox_name == caller.sandbox_name, AuditEvent.at >= made_at]


def _matching(query: AuditQuery) -> list[ColumnElement[bool]]:
    columns: list[tuple[Any, str | None]] = [
        (AuditEvent.resource_type, query.resource_type),
        (AuditEvent.resource_id, query.resource_id),
        (AuditEvent.action, query.action),
        (AuditEvent.client_id, query.client_id),
    ]
    found: list[ColumnElement[bool]] = [column == value for column, value in columns if value]
    if query.resource:
        named = (AuditEvent.resource_type, AuditEvent.resource_id, AuditEvent.resource_name)
        found.append(or_(*(column == query.resource for column in named)))
    # Ids begin with their time, and have the index.
    if query.since is not None:
        found.append(AuditEvent.id >= _first_id(query.since))
    if query.until is not None:
        found.append(AuditEvent.id < _first_id(query.until))
    if query.before is not None:
        found.append(AuditEvent.id < query.before)
    return found


def _first_id(epoch_ms: int) -> str:
    text = str(ULID.from_timestamp(min(epoch_ms, _LATEST_MS) / 1000))
    return text[:-_RANDOM] + "0" * _RANDOM
