"""Messages: created for channels, listed, sent again, and forgotten after a while."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session
from ulid import ULID

from offtake.access import audit
from offtake.alerts import visibility
from offtake.alerts.visibility import Restrictions, restrictions_of
from offtake.contract import problems
from offtake.contract.caller import ALL, MANAGE_DESTINATIONS, VIEW_DESTINATIONS, Caller
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.store.tables import AlertChannel, AlertMessage, AlertRule

RESOURCE: Final = "alertMessages"
WAITING: Final = "waiting"
SENT: Final = "sent"
DEAD: Final = "dead"
STATES: Final = (WAITING, SENT, DEAD)
_MOST_WAITING: Final = 10_000
_KEPT_MS: Final = 30 * 86_400_000
_PAGE: Final = 500
_RANDOM_BYTES: Final = 6
_HIDDEN: Final = "This message is about dataflows or datasets that you may not see."
_WITHDRAWN: Final = "It was not sent: the channel was changed by someone who may not see all that it reports."


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


class Outbox:
    """The messages that a transaction creates, at `now_ms`; `store` writes them together."""

    def __init__(self, session: Session, now_ms: int) -> None:
        self._session, self._now_ms = session, now_ms
        self._channels: dict[str, Sequence[str]] = {}
        self._waiting: dict[str, int] = {}
        self._rows: list[Json] = []
        self.count = 0

    def add(self, rule: AlertRule, document: Json) -> None:
        """Create a message with that notice for each of the rule's channels.

        When a channel has too many waiting messages, it is created as a dead one.
        """
        for channel_id in self._channels_of(rule):
            if channel_id not in self._waiting:
                self._waiting[channel_id] = _count_waiting(self._session, channel_id)
            is_full = self._waiting[channel_id] >= _MOST_WAITING
            self._waiting[channel_id] += not is_full
            self.count += 1
            refusal = f"It was not tried: the channel has {_MOST_WAITING} waiting messages."
            self._rows.append(
                {
                    "id": _next_id(self._now_ms, self.count),
                    "org_id": rule.org_id,
                    "sandbox_id": rule.sandbox_id,
                    "channel_id": channel_id,
                    "rule_id": rule.id,
                    "document": document,
                    "state": DEAD if is_full else WAITING,
                    "attempts": 0,
                    "created_at": self._now_ms,
                    "updated_at": self._now_ms,
                    "tried_since": self._now_ms,
                    "next_at": self._now_ms,
                    "answer": refusal if is_full else None,
                }
            )

    def store(self) -> None:
        """Write the messages."""
        if self._rows:
            self._session.execute(insert(AlertMessage), self._rows)
            self._rows = []

    def _channels_of(self, rule: AlertRule) -> Sequence[str]:
        if rule.id not in self._channels:
            known = select(AlertChannel.id).where(
                AlertChannel.id.in_(rule.channel_ids), AlertChannel.sandbox_id == rule.sandbox_id
            )
            self._channels[rule.id] = self._session.scalars(known.order_by(AlertChannel.id)).all()
        return self._channels[rule.id]


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
    restrictions = _restrictions(session, caller, [row for row, _ in rows])
    return [_view(row, name, caller, restrictions) for row, name in rows]


def get(session: Session, caller: Caller, message_id: str) -> MessageView:
    """The message with that id; raises 1439."""
    caller.require(VIEW_DESTINATIONS)
    row = _find(session, caller, message_id)
    channel = session.get_one(AlertChannel, row.channel_id)
    return _view(row, channel.name, caller, _restrictions(session, caller, [row]))


def retry(session: Session, caller: Caller, message_id: str, now_ms: int) -> None:
    """Send a dead message again, or a waiting one now.

    Raises 1439, 2120 for a message of which the caller may not see all, and 3409 for one that was sent.
    """
    caller.require(MANAGE_DESTINATIONS)
    row = _find(session, caller, message_id, lock=True)
    if not _sees_all(caller, row, _restrictions(session, caller, [row])):
        raise Problem(problems.FORBIDDEN, f"{_HIDDEN} Only who may see them can send it again.", RESOURCE, row.id)
    if row.state == SENT:
        raise Problem(problems.CONFLICT, f"Message {row.id} was sent already.", RESOURCE, row.id)
    row.state, row.attempts, row.tried_since, row.next_at, row.updated_at = WAITING, 0, now_ms, now_ms, now_ms
    channel = session.get_one(AlertChannel, row.channel_id, with_for_update=True)
    channel.not_before = None
    audit.record(session, caller, now_ms, "run", (RESOURCE, row.id), name=str(row.document["title"])[:200])


def withdraw_hidden(session: Session, caller: Caller, channel_id: str, now_ms: int) -> None:
    """Make waiting messages of a channel dead of which the caller, who redirects it, may not see all."""
    if ALL in caller.grants.labels:
        return
    waiting = select(AlertMessage).where(AlertMessage.channel_id == channel_id, AlertMessage.state == WAITING)
    for rows in session.scalars(waiting.execution_options(yield_per=_PAGE)).partitions():
        restrictions = _restrictions(session, caller, rows)
        for row in rows:
            if not _sees_all(caller, row, restrictions):
                row.state, row.updated_at, row.answer = DEAD, now_ms, _WITHDRAWN


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


def _next_id(now_ms: int, number: int) -> str:
    """A ULID, which sorts by time; of two messages that a transaction creates at a time, the first sorts first."""
    random = secrets.token_bytes(_RANDOM_BYTES)
    return str(ULID.from_bytes(now_ms.to_bytes(6, "big") + number.to_bytes(4, "big") + random))


def _find(session: Session, caller: Caller, message_id: str, *, lock: bool = False) -> AlertMessage:
    row = session.get(AlertMessage, message_id, with_for_update=lock or None)
    if row is None or row.sandbox_id != caller.sandbox_id:
        raise problems.not_found(RESOURCE, message_id)
    return row


def _view(row: AlertMessage, channel: str, caller: Caller, restrictions: Restrictions) -> MessageView:
    notice = row.document
    events = _visible(row, caller.grants.labels, restrictions)
    return MessageView(
        id=row.id,
        state=row.state,
        title=notice["title"] if len(events) == len(notice["events"]) else _HIDDEN,
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
        events=events,
    )


def _sees_all(caller: Caller, row: AlertMessage, restrictions: Restrictions) -> bool:
    whole: list[Json] = row.document["events"]
    return _visible(row, caller.grants.labels, restrictions) == whole


def _visible(row: AlertMessage, granted: Collection[str], restrictions: Restrictions) -> list[Json]:
    found = (restrictions.shown(granted, row.sandbox_id, event) for event in row.document["events"])
    return [one for one in found if one is not None]


def _restrictions(session: Session, caller: Caller, rows: Sequence[AlertMessage]) -> Restrictions:
    if ALL in caller.grants.labels:
        return visibility.NONE
    return restrictions_of(session, ((row.sandbox_id, event) for row in rows for event in row.document["events"]))


def _count_waiting(session: Session, channel_id: str) -> int:
    query = select(func.count()).where(AlertMessage.channel_id == channel_id, AlertMessage.state == WAITING)
    return session.scalar(query) or 0
