"""Sends messages: each is claimed, sent and recorded; what is not sent is retried with exponential backoff.

One message of a channel is sent at a time. The claim is stored before the message is sent, and the result after it; if
the process dies in between, the claim expires and the message is sent again with the same id (at-least-once delivery).
"""

import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from random import random
from typing import Final

from sqlalchemy import ColumnElement, Select, and_, or_, select, update

from offtake.alerts import stored_channels
from offtake.alerts.channels.base import SendContext
from offtake.alerts.channels.registry import KINDS
from offtake.alerts.limits import CLOCKS_DIFFER_MS
from offtake.alerts.messages import DEAD, SENT, WAITING
from offtake.alerts.notices import Notice
from offtake.documents import Json
from offtake.errors import DeliveryError
from offtake.failpoints import failpoint
from offtake.store.database import Database
from offtake.store.tables import AlertChannel, AlertMessage
from offtake.store.vault import Vault, VaultError

CLAIM_MS: Final = 60_000
"""A process that has not recorded a result for so long has died, or its result is ignored."""
RETRY_LIMIT_MS: Final = 86_400_000
"""For so long, a message is retried."""
_LEAST_ATTEMPTS: Final = 8
"""A message is retried at least so often, also when the clock was set forward."""
_FIRST_PAUSE_MS: Final = 10_000
_LONGEST_PAUSE_MS: Final = 3_600_000
_CHANNEL_PAUSE_MS: Final = 5_000
_LONGEST_CHANNEL_PAUSE_MS: Final = 300_000
_DEAD_AT_ONCE: Final = 500


@dataclass(frozen=True)
class Claim:
    """A message that this process may send now. `claim`: the random text in its channel's row."""

    message_id: str
    channel_id: str
    claim: str
    failed_before: bool


@dataclass(frozen=True)
class Result:
    """The result of an attempt. `retry_ms`: the pause that the receiver asks for, at most an hour."""

    is_sent: bool
    answer: str
    is_permanent: bool = False
    retry_ms: int = 0


def has_work(database: Database, now_ms: int) -> bool:
    """Whether a message may be sent now; cheap."""
    return database.finds(_due(now_ms, (), only_healthy=False))


def claim_next(
    database: Database,
    now_ms: int,
    busy: Collection[str] = (),
    *,
    only_healthy: bool = False,
    channel_id: str | None = None,
) -> Claim | None:
    """Claim a message of a channel that is not in `busy`, or of that channel.

    `only_healthy`: only of channels whose last attempt succeeded.
    """
    query = _due(now_ms, busy, only_healthy=only_healthy)
    if channel_id is not None:
        query = query.where(AlertChannel.id == channel_id)
    if not database.finds(query):
        return None
    with database.writing() as session:
        found = session.execute(query.limit(1).with_for_update(of=AlertChannel, skip_locked=True)).first()
        if found is None:
            return None
        message_id, channel_id = found[0], found[1]
        # PostgreSQL locks the newest row of the channel, but finds the message as it was when the query began.
        if session.scalar(select(AlertMessage.state).where(AlertMessage.id == message_id)) != WAITING:
            return None
        channel = session.get_one(AlertChannel, channel_id)
        channel.claim, channel.claimed_until = secrets.token_hex(16), now_ms + CLAIM_MS
        return Claim(message_id, channel_id, channel.claim, failed_before=channel.failures > 0)


def release(database: Database, claim: Claim) -> None:
    """Give a claim back without an attempt."""
    with database.writing() as session:
        mine = update(AlertChannel).where(AlertChannel.id == claim.channel_id, AlertChannel.claim == claim.claim)
        session.execute(mine.values(claim=None, claimed_until=None))


def send(database: Database, vault: Vault, claim: Claim, context: SendContext) -> Result:
    """Send a claimed message, without an open transaction. Never raises errors of receivers."""
    with database.reading() as session:
        message = session.get(AlertMessage, claim.message_id)
        channel = session.get(AlertChannel, claim.channel_id)
        if message is None or channel is None:
            return Result(False, "deleted", is_permanent=True)
        notice = Notice.of_document(message.id, message.document)
        try:
            settings = stored_channels.settings_of(channel, vault)
        except VaultError as error:
            return Result(False, str(error))
        except ValueError:
            return Result(False, "The channel's settings are not valid. Change them.")
        kind = KINDS[channel.kind]
    try:
        answer = kind.send(settings, notice, context)
    except DeliveryError as error:
        # A receiver may ask for more than any number holds.
        pause_ms = min(_LONGEST_PAUSE_MS, 1000 * (error.retry_after or 0))
        return Result(False, str(error), not error.transient, round(pause_ms))
    except Exception as error:  # noqa: BLE001 - a message that cannot be composed must not stop the others
        return Result(False, f"The message could not be sent ({type(error).__name__}).")
    failpoint("alert_sent")
    return Result(True, answer)


def record(database: Database, claim: Claim, result: Result, now_ms: int, jitter: Callable[[], float] = random) -> None:
    """Record the result of an attempt and release the channel; no-op if the claim has passed to another process."""
    with database.writing() as session:
        channel = session.get(AlertChannel, claim.channel_id, with_for_update=True)
        if channel is None or channel.claim != claim.claim:
            return
        channel.claim = channel.claimed_until = None
        message = session.get(AlertMessage, claim.message_id, with_for_update=True)
        channel_works = result.is_sent or result.is_permanent
        channel.failures = 0 if channel_works else channel.failures + 1
        channel.not_before = None
        if not channel_works:
            pause = _pause(_CHANNEL_PAUSE_MS, channel.failures, _LONGEST_CHANNEL_PAUSE_MS, jitter)
            channel.not_before = now_ms + max(pause, result.retry_ms)
        if message is None or message.state != WAITING:
            return
        message.attempts += 1
        message.tried_since = min(message.tried_since, now_ms)
        message.answer, message.updated_at = result.answer, now_ms
        if result.is_sent:
            message.state = SENT
        elif result.is_permanent or _is_dead(message, channel, now_ms):
            message.state = DEAD
        else:
            pause = _pause(_FIRST_PAUSE_MS, message.attempts, _LONGEST_PAUSE_MS, jitter)
            message.next_at = now_ms + max(pause, result.retry_ms)
        if message.state == DEAD and channel.failures >= _LEAST_ATTEMPTS:
            # The others of a channel that has not answered for so long would each need an attempt of their own.
            old = select(AlertMessage.id).where(
                AlertMessage.channel_id == channel.id,
                AlertMessage.state == WAITING,
                AlertMessage.tried_since <= now_ms - RETRY_LIMIT_MS,
            )
            ids = session.scalars(old.limit(_DEAD_AT_ONCE)).all()
            values: Json = {"state": DEAD, "answer": result.answer, "updated_at": now_ms}
            session.execute(update(AlertMessage).where(AlertMessage.id.in_(ids)).values(values))


def _is_dead(message: AlertMessage, channel: AlertChannel, now_ms: int) -> bool:
    is_old = now_ms - message.tried_since >= RETRY_LIMIT_MS
    return is_old and max(message.attempts, channel.failures) >= _LEAST_ATTEMPTS


def _pause(first_ms: int, attempts: int, longest_ms: int, jitter: Callable[[], float]) -> int:
    """Exponential backoff, of which a random half is taken off."""
    whole: int = min(longest_ms, first_ms * 2 ** min(attempts - 1, 20))
    return round(whole * (1 - jitter() / 2))


def _due(now_ms: int, busy: Collection[str], *, only_healthy: bool) -> Select[str, str]:
    """The messages that may be sent now, the one that has waited longest first.

    Times that are too far ahead are from before the clock was set back.
    """
    is_free: ColumnElement[bool] = or_(
        AlertChannel.claimed_until.is_(None),
        AlertChannel.claimed_until <= now_ms,
        AlertChannel.claimed_until > now_ms + CLAIM_MS + CLOCKS_DIFFER_MS,
    )
    may_be_tried = or_(
        AlertChannel.not_before.is_(None),
        AlertChannel.not_before <= now_ms,
        AlertChannel.not_before > now_ms + _LONGEST_PAUSE_MS,
    )
    is_due = or_(AlertMessage.next_at <= now_ms, AlertMessage.next_at > now_ms + _LONGEST_PAUSE_MS)
    query = select(AlertMessage.id, AlertMessage.channel_id).join(
        AlertChannel, AlertChannel.id == AlertMessage.channel_id
    )
    query = query.where(and_(AlertMessage.state == WAITING, is_due, is_free, may_be_tried))
    if only_healthy:
        query = query.where(AlertChannel.failures == 0)
    if busy:
        query = query.where(AlertChannel.id.not_in(sorted(busy)))
    return query.order_by(AlertMessage.next_at, AlertMessage.id)
