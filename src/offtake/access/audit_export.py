"""Exports audit events as CSV, by a link that works for a short time without a token."""

from dataclasses import asdict, dataclass
from typing import Final

from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from offtake.access import access, audit_events, audit_log
from offtake.access.audit_log import AuditQuery
from offtake.contract import opaque_tokens, problems
from offtake.contract.caller import Caller
from offtake.contract.problems import Problem
from offtake.store.tables import Client, Sandbox
from offtake.store.vault import Vault, VaultError

LIFETIME_MS: Final = 15 * 60_000
_SEALED_AS: Final = "audit export"


@dataclass(frozen=True)
class _Link:
    """The content of a link: one frozen query, as one client in one sandbox. `expires_at` in epoch milliseconds."""

    client_id: str
    sandbox_id: str
    query: AuditQuery
    expires_at: int


_LINK: Final = TypeAdapter(_Link)


def seal_link(session: Session, vault: Vault, caller: Caller, query: AuditQuery, now_ms: int) -> str | None:
    """The secret of a link to the events of a query; None when there are none. Raises as `audit_log.page` does."""
    page = audit_log.page(session, caller, query, 0, 1)
    if not page.total:
        return None
    link = _Link(caller.client_id, caller.sandbox_id, page.query, now_ms + LIFETIME_MS)
    return opaque_tokens.encode_bytes(vault.encrypt(_SEALED_AS, asdict(link)))


def csv_file(session: Session, vault: Vault, secret: str, now_ms: int) -> str:
    """The CSV file of a link: the first 10,000 events of its query.

    The client's current permissions are checked. Raises 1439 when the link is invalid or has expired.
    """
    link = _open(vault, secret)
    client = session.get(Client, link.client_id)
    sandbox = session.get(Sandbox, link.sandbox_id)
    if link.expires_at <= now_ms or client is None or client.revoked_at is not None or sandbox is None:
        raise _invalid_link()
    caller = access.caller_of(session, client, sandbox, remote="", request_id="")
    return audit_events.to_csv(audit_log.page(session, caller, link.query, 0, audit_log.MOST_EXPORTED).rows)


def _open(vault: Vault, secret: str) -> _Link:
    try:
        return _LINK.validate_python(vault.decrypt(_SEALED_AS, opaque_tokens.decode_bytes(secret)))
    except (ValueError, VaultError):
        raise _invalid_link() from None


def _invalid_link() -> Problem:
    message = "The link to the exported audit events is not valid or has expired. Request the export again."
    return Problem(problems.NOT_FOUND, message)
