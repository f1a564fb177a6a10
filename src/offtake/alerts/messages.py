"""Messages: created for channels, listed, sent again, and forgotten after a while."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session
from ulid import ULID

from offtake.access import audit, labels
from offtake.contract import problems
from offtake.contract.caller import ALL, MANAGE_DESTINATIONS, VIEW_DESTINATIONS, Caller
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.store.tables import AlertChannel, AlertMessage, AlertRule, Flow

RESOURCE: Final = "alertMessages"
WAITING: Final = "waiting"
SENT: Final = "sent"
DEAD: Final = "dead"
STATES: Final = (WAITING, SENT, DEAD)
_MOST_WAITING: Final = 10_000
_KEPT_MS: Final = 30 * 86_400_000
_PAGE: Final = 500
_CREATED: Final = "offtake_alert_messages"
_RANDOM_BYTES: Final = 6
_HIDDEN: Final = "This message is about dataflows that you may not see."


@dataclass(frozen=True)
class MessageView:
    """A message for people. `channel`: its name. `answer`: the receiver's last one, or why it could not be sent.

    `next_ms`: when a waiting message is tried next. `updated_ms`: the last attempt. `events`: those that the caller may
    see.
    """

    id: str
    state: str
    title: str
    severity: str
    channel_id: str
    channel: str
    rule_id: str
    rule: str
    cause: str
    count: int
    attempts: int
    created_ms: int
    updated_ms: int
    next_ms: int | None
    answer: str | None
    events: Sequence[Json]


def create(session: Session, rule: AlertRule, document: Json, now_ms: int) -> None:
    """Create a message with that notice for each of the rule's channels.

    When a channel has too many waiting messages, it is created as a dead one.
    """
    known = select(AlertChannel.id).where(
        AlertChannel.id.in_(rule.channel_ids), AlertChannel.sandbox_id == rule.sandbox_id
    )
    for channel_id in session.scalars(known.order_by(AlertChannel.id)):
        is_full = _count_waiting(session, channel_id) >= _MOST_WAITING
        session.add(
            AlertMessage(
                id=_next_id(session, now_ms),
                org_id=rule.org_id,
                sandbox_id=rule.sandbox_id,
                channel_id=channel_id,
                rule_id=rule.id,
                document=document,
                state=DEAD if is_full else WAITING,
                attempts=0,
                created_at=now_ms,
                updated_at=now_ms,
                tried_since=now_ms,
                next_at=now_ms,
                answer=f"It was not tried: the channel has {_MOST_WAITING} waiting messages." if is_full else None,
            )
        )


def search(
    session: Session,
    caller: Caller,
    most: int,
    *,
    state: str | None = None,
    channel_id: str | None = None,
    rule_id: str | None = None,
    before: str | None = None,
) -> list[MessageView]:
    """The messages of the sandbox, newest first, with ids lower than `before`: at most `most`."""
    caller.require(VIEW_DESTINATIONS)
    query = select(AlertMessage, AlertChannel.name).join(AlertChannel, AlertChannel.id == AlertMessage.channel_id)
    query = query.where(AlertMessage.sandbox_id == caller.sandbox_id)
    if state is not None:
        query = query.where(AlertMessage.state == state)
    if channel_id is not None:
        query = query.where(AlertMessage.channel_id == channel_id)
    if rule_id is not None:
        query = query.where(AlertMessage.rule_id == rule_id)
    if before is not None:
        query = query.where(AlertMessage.id < before)
    rows = session.execute(query.order_by(AlertMessage.id.desc()).limit(most)).all()
    hidden = _hidden_flows(session, caller, [row.document for row, _ in rows])
    return [_view(row, name, hidden) for row, name in rows]


def get(session: Session, caller: Caller, message_id: str) -> MessageView:
    """The message with that id; raises 1439."""
    caller.require(VIEW_DESTINATIONS)
    row = _find(session, caller, message_id)
    channel = session.get_one(AlertChannel, row.channel_id)
    return _view(row, channel.name, _hidden_flows(session, caller, [row.document]))


def retry(session: Session, caller: Caller, message_id: str, now_ms: int) -> None:
    """Send a dead message again, or a waiting one now. Raises 1439, and 3409 for a message that was sent."""
    caller.require(MANAGE_DESTINATIONS)
    row = _find(session, caller, message_id, lock=True)
    if row.state == SENT:
        raise Problem(problems.CONFLICT, f"Message {row.id} was sent already.", RESOURCE, row.id)
    row.state, row.attempts, row.tried_since, row.next_at, row.updated_at = WAITING, 0, now_ms, now_ms, now_ms
    channel = session.get_one(AlertChannel, row.channel_id, with_for_update=True)
    channel.not_before = None
    audit.record(session, caller, now_ms, "run", (RESOURCE, row.id), name=str(row.document["title"])[:200])


def count(session: Session, caller: Caller) -> dict[str, int]:
    """The number of messages by state."""
    caller.require(VIEW_DESTINATIONS)
    query = select(AlertMessage.state, func.count()).where(AlertMessage.sandbox_id == caller.sandbox_id)
    found = {row[0]: row[1] for row in session.execute(query.group_by(AlertMessage.state))}
    return {state: found.get(state, 0) for state in STATES}


def delete_old(session: Session, now_ms: int) -> int:
    """Delete some of the messages that were sent, or became dead letters, 30 days ago; returns how many."""
    before = str(ULID.from_timestamp(max(0, now_ms - _KEPT_MS) / 1000))
    old = select(AlertMessage.id).where(AlertMessage.id < before, AlertMessage.state != WAITING)
    ids = session.scalars(old.order_by(AlertMessage.id).limit(_PAGE)).all()
    session.execute(delete(AlertMessage).where(AlertMessage.id.in_(ids)))
    return len(ids)


def document(view: MessageView) -> Json:
    """The message as the API shows it."""
    return {
        "id": view.id,
        "state": view.state,
        "title": view.title,
        "severity": view.severity,
        "channelId": view.channel_id,
        "channelName": view.channel,
        "ruleName": view.rule,
        "cause": view.cause,
        "eventCount": view.count,
        "attempts": view.attempts,
        "createdAt": view.created_ms,
        "updatedAt": view.updated_ms,
        "nextTryAtUTC": view.next_ms,
        "answer": view.answer,
        "events": list(view.events),
    }


def _next_id(session: Session, now_ms: int) -> str:
    """A ULID, which sorts by time; of two messages that a transaction creates at a time, the first sorts first."""
    number = session.info[_CREATED] = session.info.get(_CREATED, 0) + 1
    random = secrets.token_bytes(_RANDOM_BYTES)
    return str(ULID.from_bytes(now_ms.to_bytes(6, "big") + number.to_bytes(4, "big") + random))


def _find(session: Session, caller: Caller, message_id: str, *, lock: bool = False) -> AlertMessage:
    row = session.get(AlertMessage, message_id, with_for_update=lock or None)
    if row is None or row.sandbox_id != caller.sandbox_id:
        raise problems.not_found(RESOURCE, message_id)
    return row


def _view(row: AlertMessage, channel: str, hidden: frozenset[str]) -> MessageView:
    notice = row.document
    is_hidden = any(event.get("flowId") in hidden for event in notice["events"])
    return MessageView(
        id=row.id,
        state=row.state,
        title=_HIDDEN if is_hidden else notice["title"],
        severity=notice["severity"],
        channel_id=row.channel_id,
        channel=channel,
        rule_id=row.rule_id,
        rule=notice["rule"],
        cause=notice["cause"],
        count=notice["count"],
        attempts=row.attempts,
        created_ms=row.created_at,
        updated_ms=row.updated_at,
        next_ms=row.next_at if row.state == WAITING else None,
        answer=row.answer,
        events=[event for event in notice["events"] if event.get("flowId") not in hidden],
    )


def _hidden_flows(session: Session, caller: Caller, documents: Sequence[Json]) -> frozenset[str]:
    """The flows of these notices whose labels the caller lacks."""
    if ALL in caller.grants.labels:
        return frozenset()
    ids = {event["flowId"] for one in documents for event in one["events"] if event.get("flowId")}
    found = session.scalars(select(Flow.id).where(Flow.id.in_(ids), ~labels.visible(Flow.id, caller)))
    return frozenset(found)


def _count_waiting(session: Session, channel_id: str) -> int:
    query = select(func.count()).where(AlertMessage.channel_id == channel_id, AlertMessage.state == WAITING)
    return session.scalar(query) or 0
