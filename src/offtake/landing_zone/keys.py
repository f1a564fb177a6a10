"""Keys of landing zones (one zone per sandbox and type), and signatures for local zones (contract, section 21)."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal
from uuid import uuid4

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from offtake.access import audit
from offtake.access.access import caller_of
from offtake.contract import problems
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DATASETS, VIEW_DESTINATIONS, Caller
from offtake.destinations.base import LandingZones, SandboxLocation
from offtake.destinations.zones import CONTAINERS, TYPES, ZoneType
from offtake.errors import OfftakeError
from offtake.store.sandbox_states import ACTIVE
from offtake.store.tables import Client, LandingZoneKey, Organisation, Sandbox
from offtake.store.vault import Vault

_VERSION: Final = "2022-11-02"
_POLICY: Final = "dlz-"
_ACCOUNT_DIGITS: Final = 20


class BadSignatureError(OfftakeError):
    """The shared access signature is malformed, expired, revoked, or not from this server."""


@dataclass(frozen=True)
class Credentials:
    """A shared access signature of one container, as a query string; `expires_at` in epoch milliseconds.

    `address`: URL of the container; None for a container of this server.
    """

    account: str
    container: str
    query: str
    expires_at: int
    address: str | None = None


@dataclass(frozen=True)
class Zone:
    """What a signature gives access to: a container, the folder with its files, and whether they may be deleted.

    `client`: the caller that the signature was issued to.
    """

    account: str
    container: str
    folder: Path
    deletes: bool
    kind: ZoneType
    client: Caller


def zone_type(text: str | None) -> ZoneType:
    """Parse a request's zone type, case-insensitively; the default is the drop zone. Raises 1452."""
    name = (text or "user_drop_zone").strip().lower()
    for known in TYPES:
        if name == known:
            return known
    raise problems.of_field("/type", f"must be one of {', '.join(TYPES)}")


def of_organisation(session: Session, zones: LandingZones, org_id: str) -> LandingZones:
    """An organisation's landing zones."""
    first = session.scalar(select(Organisation.id).order_by(Organisation.created_at, Organisation.id).limit(1))
    return zones.of_organisation(org_id, is_first=first == org_id)


def sandbox_location(session: Session, zones: LandingZones, sandbox: Sandbox) -> SandboxLocation:
    """The location of a sandbox's zones."""
    return SandboxLocation(sandbox.name, of_organisation(session, zones, sandbox.org_id), organisation=sandbox.org_id)


def may_delete(caller: Caller) -> bool:
    """Whether the caller may delete files: a deleted file counts as collected by all consumers (V13)."""
    return caller.grants.allow(MANAGE_DESTINATIONS, EXPORT_DATASETS)


def current_key(
    session: Session, caller: Caller, vault: Vault, kind: ZoneType, now_ms: int, lifetime_ms: int
) -> LandingZoneKey:
    """The caller's key with at least half of `lifetime_ms` left; the existing one, else a new one."""
    sandbox = session.get_one(Sandbox, caller.sandbox_id, with_for_update=True)
    of_client = LandingZoneKey.client_id == caller.client_id, LandingZoneKey.created_at > _rotated_at(session, caller)
    live = _of_zone(sandbox, kind), LandingZoneKey.revoked_at.is_(None), *of_client
    newest = select(LandingZoneKey).where(*live).order_by(LandingZoneKey.created_at.desc()).limit(1)
    key = session.scalar(newest)
    if key is None or (key.expires_at or 0) < now_ms + lifetime_ms / 2:
        key = _new_key(session, caller, vault, sandbox, kind, now_ms, lifetime_ms)
    return key


def renewed_key(
    session: Session, caller: Caller, vault: Vault, kind: ZoneType, now_ms: int, lifetime_ms: int
) -> LandingZoneKey:
    """Create a key of the caller and revoke earlier ones: the caller's own, or all if it may manage destinations."""
    sandbox = session.get_one(Sandbox, caller.sandbox_id, with_for_update=True)
    _revoke_keys(session, caller, sandbox, kind, now_ms)
    return _new_key(session, caller, vault, sandbox, kind, now_ms, lifetime_ms)


def policy_key(session: Session, caller: Caller, vault: Vault, kind: ZoneType, now_ms: int) -> LandingZoneKey:
    """The key that names the stored access policy in Azure of all clients with the caller's right to delete."""
    sandbox = session.get_one(Sandbox, caller.sandbox_id, with_for_update=True)
    deletes = may_delete(caller)
    newest = select(LandingZoneKey).where(*_policies(sandbox.id, kind), LandingZoneKey.deletes.is_(deletes))
    key = session.scalar(newest.limit(1))
    if key is None:
        key = _new_key(session, None, vault, sandbox, kind, now_ms, None)
        key.deletes = deletes
    return key


def renewed_policy_key(session: Session, caller: Caller, vault: Vault, kind: ZoneType, now_ms: int) -> LandingZoneKey:
    """Like `policy_key`, after a refresh: a new policy, if the caller may manage destinations, revokes all signatures.

    Azure cannot revoke one client's signatures; they expire after one hour at most.
    """
    sandbox = session.get_one(Sandbox, caller.sandbox_id, with_for_update=True)
    _revoke_keys(session, caller, sandbox, kind, now_ms)
    return policy_key(session, caller, vault, kind, now_ms)


def live_policies(session: Session, sandbox_id: str, kind: ZoneType) -> dict[str, bool]:
    """The zone's stored access policies in Azure: whether deletion is permitted, by key id. Two at most."""
    found = session.scalars(select(LandingZoneKey).where(*_policies(sandbox_id, kind)))
    return {key.id: bool(key.deletes) for key in found}


def record(
    session: Session, caller: Caller, kind: ZoneType, key_id: str, expires_at: int, now_ms: int, *, renews: bool
) -> None:
    """Record issued credentials in the audit log. `expires_at` in epoch milliseconds."""
    after = {"type": kind, "expiresAt": expires_at, "deletes": may_delete(caller)}
    action: Literal["refresh", "issue"] = "refresh" if renews else "issue"
    audit.record(session, caller, now_ms, action, ("landingZoneCredentials", key_id), name=kind, after=after)


def verify_signature(
    session: Session, vault: Vault, zones: LandingZones, container: str, sent: Mapping[str, str], now_ms: int
) -> Zone:
    """Verify a signature and return its zone; raises `BadSignatureError`. `sent`: the request's query parameters.

    A signature has the current permissions of its client, and is invalid when the client is revoked or its secret
    rotated.
    """
    key = session.get(LandingZoneKey, sent.get("si", "").removeprefix(_POLICY)) if _is_printable(sent) else None
    sandbox = session.get(Sandbox, key.sandbox_id) if key is not None else None
    if key is None or sandbox is None or key.client_id is None:
        raise BadSignatureError("The signature was not issued by this server.")
    kind = zone_type(key.type)
    expected = _signature(_signing_key(vault, key), _account(sandbox), CONTAINERS[kind], sent)
    if not hmac.compare_digest(expected.encode(), sent.get("sig", "").encode()) or container != CONTAINERS[kind]:
        raise BadSignatureError("The signature does not match the request.")
    if key.revoked_at is not None or (key.expires_at or 0) <= now_ms or sandbox.state != ACTIVE:
        raise BadSignatureError("The signature has expired, or was revoked by a refresh. Request new credentials.")
    client = session.get(Client, key.client_id)
    if client is None or client.revoked_at is not None or key.created_at <= (client.rotated_at or 0):
        raise BadSignatureError("The signature's client was revoked, or its secret has changed.")
    caller = caller_of(session, client, sandbox, remote="", request_id="")
    if not (caller.grants.allow(VIEW_DESTINATIONS) and caller.grants.allow(VIEW_DATASETS)):
        raise BadSignatureError("The signature's client may no longer read this landing zone.")
    folder = sandbox_location(session, zones, sandbox).zone(kind).local_folder
    if folder is None:
        raise BadSignatureError("The signature was not issued by this server.")
    deletes = "d" in sent.get("sp", "") and may_delete(caller)
    return Zone(_account(sandbox), container, folder, deletes, kind, caller)


def record_deletion(session: Session, zone: Zone, name: str, size: int, now_ms: int) -> None:
    """Record in the audit log that a client deletes a file."""
    before = {"type": zone.kind, "size": size}
    audit.record(session, zone.client, now_ms, "delete", ("landingZoneFiles", name), name=name, before=before)


def _policies(sandbox_id: str, kind: ZoneType) -> tuple[Any, ...]:
    of_zone = LandingZoneKey.sandbox_id == sandbox_id, LandingZoneKey.type == kind
    return *of_zone, LandingZoneKey.client_id.is_(None), LandingZoneKey.revoked_at.is_(None)


def _revoke_keys(session: Session, caller: Caller, sandbox: Sandbox, kind: ZoneType, now_ms: int) -> None:
    statement = update(LandingZoneKey).where(_of_zone(sandbox, kind))
    if not caller.grants.allow(MANAGE_DESTINATIONS):
        statement = statement.where(LandingZoneKey.client_id == caller.client_id)
    session.execute(statement.values(revoked_at=now_ms))


def _rotated_at(session: Session, caller: Caller) -> int:
    client = session.get(Client, caller.client_id)
    return (client.rotated_at or 0) if client is not None else 0


def _of_zone(sandbox: Sandbox, kind: ZoneType) -> Any:  # noqa: ANN401 - a SQLAlchemy condition
    return (LandingZoneKey.sandbox_id == sandbox.id) & (LandingZoneKey.type == kind)


def _new_key(
    session: Session,
    caller: Caller | None,
    vault: Vault,
    sandbox: Sandbox,
    kind: ZoneType,
    now_ms: int,
    lifetime_ms: int | None,
) -> LandingZoneKey:
    """Create a key of the caller, or without a caller, of the zone. Expired and earlier revoked keys are deleted."""
    ended = or_(LandingZoneKey.expires_at <= now_ms, LandingZoneKey.revoked_at < now_ms)
    session.execute(delete(LandingZoneKey).where(_of_zone(sandbox, kind), ended))
    key = LandingZoneKey(
        id=str(uuid4()),
        sandbox_id=sandbox.id,
        type=kind,
        # Strictly later than the rotation of the client's secret, which invalidates earlier keys.
        created_at=max(now_ms, _rotated_at(session, caller) + 1) if caller else now_ms,
        # Expiry times in signatures are whole seconds.
        expires_at=None if lifetime_ms is None else (now_ms + lifetime_ms) // 1000 * 1000,
        client_id=caller.client_id if caller else None,
    )
    key.sealed = vault.encrypt(key.id, {"key": secrets.token_urlsafe(32)})
    session.add(key)
    return key


def sign(vault: Vault, key: LandingZoneKey, sandbox: Sandbox, *, deletes: bool) -> Credentials:
    """Create a signature for a local zone: it permits reading, listing and, with `deletes`, deleting."""
    kind = zone_type(key.type)
    account, container, expires_at = _account(sandbox), CONTAINERS[kind], key.expires_at or 0
    end = datetime.fromtimestamp(expires_at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    signed = {"sv": _VERSION, "si": f"{_POLICY}{key.id}", "sr": "c", "sp": "rdl" if deletes else "rl", "se": end}
    signature = _signature(_signing_key(vault, key), account, container, signed)
    query = "&".join(f"{name}={value.replace(':', '%3A')}" for name, value in (signed | {"sig": signature}).items())
    return Credentials(account, container, query, expires_at)


def _signature(secret: bytes, account: str, container: str, signed: Mapping[str, str]) -> str:
    """The HMAC-SHA256 over container, permissions and expiry, in URL-safe Base64, which needs no escaping."""
    fields = [f"/blob/{account}/{container}", *(signed.get(name, "") for name in ("sv", "si", "sr", "sp", "se"))]
    digest = hmac.digest(secret, "\n".join(fields).encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _signing_key(vault: Vault, key: LandingZoneKey) -> bytes:
    text: str = vault.decrypt(key.id, key.sealed)["key"]
    return text.encode()


def _account(sandbox: Sandbox) -> str:
    """The sandbox's storage account name: at most 24 letters and digits."""
    return f"dlz{sandbox.id.replace('-', '')[:_ACCOUNT_DIGITS]}"


def _is_printable(sent: Mapping[str, str]) -> bool:
    return all(one.isascii() and one.isprintable() for one in (*sent.keys(), *sent.values()))
