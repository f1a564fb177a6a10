"""Writes the audit log: every change, in the change's own transaction."""

from collections.abc import Sequence
from typing import Final, Literal

from sqlalchemy.orm import Session
from ulid import ULID

from offtake.contract.caller import Caller
from offtake.documents import Json
from offtake.store.tables import AuditEvent

Action = Literal[
    "create", "update", "delete", "enable", "disable", "run", "cancel", "complete", "abort", "revert",
    "grant", "revoke", "rotate", "issue", "refresh", "reset", "fail",
]  # fmt: skip
SECRETS_REPLACED: Final = "secretsReplaced"
"""In an event's `after`: the keys of secrets that have new values, because the masks are equal."""


def record(
    session: Session,
    caller: Caller,
    now_ms: int,
    action: Action,
    resource: tuple[str, str],
    *,
    name: str | None = None,
    before: Json | None = None,
    after: Json | None = None,
) -> None:
    """Record a change of `resource`, (type, id); `before` and `after`: as the API shows it, with secrets masked.

    When both are given, only the keys that differ are stored.
    """
    if before is not None and after is not None:
        changed = {key for key in before | after if before.get(key) != after.get(key)}
        before = {key: value for key, value in before.items() if key in changed}
        after = {key: value for key, value in after.items() if key in changed}
    session.add(
        AuditEvent(
            id=str(ULID.from_timestamp(now_ms / 1000)),
            org_id=caller.org_id,
            sandbox_name=caller.sandbox_name or None,
            at=now_ms,
            account_id=caller.account_id,
            client_id=caller.client_id,
            remote=caller.remote,
            request_id=caller.request_id,
            action=action,
            resource_type=resource[0],
            resource_id=resource[1],
            resource_name=name,
            before=before,
            after=after,
        )
    )


def record_update(
    session: Session,
    caller: Caller,
    now_ms: int,
    resource: tuple[str, str],
    name: str,
    change: tuple[Json, Json],
    replaced: Sequence[str],
) -> None:
    """Record an update of `resource`, (type, id), or the rotation of its secrets.

    `change`: before and after, as the API shows it. `replaced`: the keys of secrets that have new values.
    """
    before, after = change
    if replaced:
        record(
            session,
            caller,
            now_ms,
            "rotate",
            resource,
            name=name,
            before=before,
            after=after | {SECRETS_REPLACED: list(replaced)},
        )
    else:
        record(session, caller, now_ms, "update", resource, name=name, before=before, after=after)
