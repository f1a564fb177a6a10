"""Credentials with which consumers read a sandbox's landing zone (contract, section 21).

Local folder: a signature that this server creates and verifies. Azure: a shared access signature of the storage
account. S3: temporary credentials of a role.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from offtake.contract import problems
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DATASETS, VIEW_DESTINATIONS, Caller
from offtake.contract.problems import Problem
from offtake.destinations.landing_zone import azure
from offtake.destinations.landing_zone.azure import AzureZone, AzureZones
from offtake.destinations.landing_zone.s3 import S3Zones, TemporaryCredentials
from offtake.destinations.zones import CONTAINERS, ZoneType
from offtake.errors import DeliveryError
from offtake.landing_zone import keys
from offtake.landing_zone.keys import Credentials
from offtake.store.database import Database
from offtake.store.tables import Sandbox
from offtake.store.vault import Vault


@dataclass(frozen=True)
class BucketFolder:
    """The location of a zone in S3: a folder of a bucket."""

    bucket: str
    folder: str


@dataclass(frozen=True)
class S3Credentials:
    """Temporary credentials for one folder of a bucket; `endpoint`: URL of the object store."""

    place: BucketFolder
    endpoint: str
    session: TemporaryCredentials


class CredentialIssuer(Protocol):
    """Issues credentials for landing zones in one kind of storage."""

    def place(self, caller: Caller, kind: ZoneType) -> str | BucketFolder:
        """The location of the caller's zone: the container's name, or bucket and folder."""
        ...

    def issue(self, caller: Caller, kind: ZoneType, now_ms: int, *, renews: bool) -> Credentials | S3Credentials:
        """Issue credentials to the caller; `renews` revokes earlier ones. Raises `DeliveryError`."""
        ...

    def end_unknown(self, sandbox: Sandbox, kind: ZoneType) -> None:
        """Revoke credentials at the storage that are not in the database. Raises `DeliveryError`."""
        ...


def issue(issuer: CredentialIssuer, caller: Caller, kind: ZoneType, now_ms: int) -> Credentials | S3Credentials:
    """Issue credentials to the caller. In local folders, a signature is reused for half of its lifetime.

    Raises 2120, and 3502 when the zone's storage refuses or does not answer.
    """
    _require_reading(caller)
    return _issue(issuer, caller, kind, now_ms, renews=False)


def refresh(issuer: CredentialIssuer, caller: Caller, kind: ZoneType, now_ms: int) -> Credentials | S3Credentials:
    """Issue new credentials and revoke the caller's earlier ones; if it may manage destinations, those of all clients.

    Credentials that a store cannot revoke expire after one hour at most: S3 sessions, and one client's signatures in
    Azure. Raises as `issue` does.
    """
    caller.require(EXPORT_DATASETS, MANAGE_DESTINATIONS)
    _require_reading(caller)
    return _issue(issuer, caller, kind, now_ms, renews=True)


def address_of(issued: Credentials, origin: str) -> str:
    """The URL of the container with its signature. `origin`: of this server, as the caller reaches it.

    For an IP address, clients expect the account in the path too.
    """
    host = urlsplit(origin).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        folder = issued.container
    else:
        folder = f"{issued.account}/{issued.container}"
    return f"{issued.address or f'{origin}/{folder}'}?{issued.query}"


def _issue(
    issuer: CredentialIssuer, caller: Caller, kind: ZoneType, now_ms: int, *, renews: bool
) -> Credentials | S3Credentials:
    try:
        return issuer.issue(caller, kind, now_ms, renews=renews)
    except DeliveryError as error:
        raise Problem(problems.STORAGE_AWAY, str(error)) from None


def _require_reading(caller: Caller) -> None:
    """Raise 2120 unless the caller may view destinations and datasets: credentials give access to datasets' rows."""
    caller.require(VIEW_DESTINATIONS)
    caller.require(VIEW_DATASETS)


@dataclass(frozen=True)
class FolderSignatures:
    """Signatures of this server, for zones in local folders; they expire after `lifetime_ms`."""

    database: Database
    vault: Vault
    lifetime_ms: int

    def place(self, caller: Caller, kind: ZoneType) -> str:
        """The container's name; it is the same in all sandboxes."""
        del caller
        return CONTAINERS[kind]

    def issue(self, caller: Caller, kind: ZoneType, now_ms: int, *, renews: bool) -> Credentials:
        """Issue a signature by the client's key."""
        choose = keys.renewed_key if renews else keys.current_key
        with self.database.writing() as session:
            key = choose(session, caller, self.vault, kind, now_ms, self.lifetime_ms)
            keys.record(session, caller, kind, key.id, key.expires_at or 0, now_ms, renews=renews)
            sandbox = session.get_one(Sandbox, caller.sandbox_id)
            return keys.sign(self.vault, key, sandbox, deletes=keys.may_delete(caller))

    def end_unknown(self, sandbox: Sandbox, kind: ZoneType) -> None:
        """No-op: this server accepts only signatures by keys of the database."""


@dataclass(frozen=True)
class AzureSignatures:
    """Shared access signatures of the storage account; they expire after `lifetime_ms`, one hour at most."""

    database: Database
    vault: Vault
    zones: AzureZones
    lifetime_ms: int

    def place(self, caller: Caller, kind: ZoneType) -> str:
        """The container's name."""
        return self.zones.zone(caller.org_id, caller.sandbox_name, kind).container

    def issue(self, caller: Caller, kind: ZoneType, now_ms: int, *, renews: bool) -> Credentials:
        """Issue a signature under a stored access policy, named by the key's id: removing the policy revokes it."""
        zone = self.zones.zone(caller.org_id, caller.sandbox_name, kind)
        expires_at = (now_ms + min(self.lifetime_ms, azure.LONGEST * 1000)) // 1000 * 1000
        choose = keys.renewed_policy_key if renews else keys.policy_key
        with self.database.writing() as session:
            key_id = choose(session, caller, self.vault, kind, now_ms).id
            keys.record(session, caller, kind, key_id, expires_at, now_ms, renews=renews)
        # Outside of the transaction, because Azure may be slow.
        zone.create()
        self._apply_policies(zone, caller.sandbox_id, kind)
        query = zone.sign(f"{azure.POLICY}{key_id}", expires_at)
        account = self.zones.account
        return Credentials(account.name, zone.container, query, expires_at, f"{account.endpoint}/{zone.container}")

    def end_unknown(self, sandbox: Sandbox, kind: ZoneType) -> None:
        """Remove stored access policies that are not in the database, for example of earlier versions."""
        self._apply_policies(self.zones.zone(sandbox.org_id, sandbox.name, kind), sandbox.id, kind)

    def _apply_policies(self, zone: AzureZone, sandbox_id: str, kind: ZoneType) -> None:
        def load_policies() -> dict[str, bool]:
            with self.database.reading() as session:
                found = keys.live_policies(session, sandbox_id, kind)
            return {f"{azure.POLICY}{key_id}": deletes for key_id, deletes in found.items()}

        zone.set_policies(load_policies)


@dataclass(frozen=True)
class S3Sessions:
    """Temporary credentials of a role; they expire after `lifetime_ms`, one hour at most."""

    database: Database
    zones: S3Zones
    lifetime_ms: int

    def place(self, caller: Caller, kind: ZoneType) -> BucketFolder:
        """The zone's bucket and folder."""
        return BucketFolder(self.zones.bucket, self.zones.zone(caller.org_id, caller.sandbox_name, kind).folder)

    def issue(self, caller: Caller, kind: ZoneType, now_ms: int, *, renews: bool) -> S3Credentials:
        """Issue temporary credentials that are limited to the caller's zone."""
        zone = self.zones.zone(caller.org_id, caller.sandbox_name, kind)
        name = re.sub(r"[^A-Za-z0-9_=,.@-]", "-", f"offtake-{caller.client_id}")
        temporary = zone.new_session(name, self.lifetime_ms // 1000, deletes=keys.may_delete(caller))
        with self.database.writing() as session:
            expires_at = temporary.expires_at * 1000
            keys.record(session, caller, kind, temporary.access_key_id, expires_at, now_ms, renews=renews)
        return S3Credentials(self.place(caller, kind), self.zones.endpoint_url, temporary)

    def end_unknown(self, sandbox: Sandbox, kind: ZoneType) -> None:
        """No-op: S3 sessions cannot be revoked; they expire."""
