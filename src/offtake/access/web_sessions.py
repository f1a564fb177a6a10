"""Sessions of the pages: rows that end at once when their client is revoked or its secret is rotated.

The cookie's value is random; the database has its hash only.
"""

import hashlib
import secrets
from collections.abc import Collection
from typing import Final

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from offtake.store.tables import Client, WebSession

LONGEST_MS: Final = 12 * 3_600_000
IDLE_MS: Final = 30 * 60_000
_MOST_OF_A_CLIENT: Final = 50
_NOTED_MS: Final = 60_000
"""The last request is recorded to this precision, so that not every request writes."""


def start(session: Session, client: Client, now_ms: int) -> str:
    """Start a session; returns the cookie's value. The client's oldest sessions end when it has too many."""
    value = secrets.token_urlsafe(32)
    newest = select(WebSession.id).filter_by(client_id=client.id).order_by(WebSession.created_at.desc())
    older = session.scalars(newest.offset(_MOST_OF_A_CLIENT - 1)).all()
    session.execute(delete(WebSession).where(WebSession.id.in_(older)))
    session.add(WebSession(id=key_of(value), client_id=client.id, created_at=now_ms, seen_at=now_ms))
    return value


def replace(session: Session, previous: str | None, client: Client, now_ms: int) -> str:
    """Start a session, and end the one with the browser's previous cookie; returns the new cookie's value."""
    if previous is not None:
        end(session, previous)
    return start(session, client, now_ms)


def find(session: Session, value: str, now_ms: int) -> tuple[WebSession, Client] | None:
    """The session with that cookie's value, and its client; None when it has ended or the client is revoked."""
    row = session.get(WebSession, key_of(value))
    client = None if row is None else session.get(Client, row.client_id)
    return (row, client) if row is not None and client is not None and _is_alive(row, client, now_ms) else None


def alive(session: Session, keys: Collection[str], now_ms: int) -> set[str]:
    """Those of the rows' ids whose sessions have not ended, as `find` decides."""
    query = select(WebSession, Client).join(Client, Client.id == WebSession.client_id).where(WebSession.id.in_(keys))
    return {row.id for row, client in session.execute(query) if _is_alive(row, client, now_ms)}


def needs_note(row: WebSession, now_ms: int) -> bool:
    """Whether `note` is to be called for a request at `now_ms`."""
    return now_ms - row.seen_at >= _NOTED_MS


def note(session: Session, row_id: str, now_ms: int) -> None:
    """Record that a request was made."""
    row = session.get(WebSession, row_id, with_for_update=True)
    if row is not None:
        row.seen_at = now_ms


def end(session: Session, value: str) -> None:
    """End a session; no-op when there is none."""
    session.execute(delete(WebSession).where(WebSession.id == key_of(value)))


def end_all_of(session: Session, client_id: str) -> None:
    """End all sessions of a client."""
    session.execute(delete(WebSession).where(WebSession.client_id == client_id))


def end_all(session: Session) -> None:
    """End all sessions, for example those of a restored database: some were ended after its backup."""
    session.execute(delete(WebSession))


def remove_expired(session: Session, now_ms: int) -> None:
    """Remove the rows of sessions that are over."""
    over = or_(WebSession.seen_at < now_ms - IDLE_MS, WebSession.created_at < now_ms - LONGEST_MS)
    session.execute(delete(WebSession).where(over))


def key_of(value: str) -> str:
    """The id of the row of a cookie's value."""
    return hashlib.sha256(value.encode(errors="surrogatepass")).hexdigest()


def _is_alive(row: WebSession, client: Client, now_ms: int) -> bool:
    if client.revoked_at is not None or (client.rotated_at or 0) > row.created_at:
        return False
    # A clock that was set back must not extend a session.
    return -_NOTED_MS <= now_ms - row.seen_at < IDLE_MS and now_ms - row.created_at < LONGEST_MS
