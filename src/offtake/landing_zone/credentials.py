"""Credentials that open a sandbox's landing zone to consumers (contract, section 21).

Folders: a signature that this server makes and checks. Azure: a signature of the storage account. S3: a session of a
role.
"""

import re
from dataclasses import dataclass
from typing import Protocol

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
    """Where a zone is, for consumers: a folder of a bucket."""

    bucket: str
    folder: str


@dataclass(frozen=True)
class S3Credentials:
    """A session that reads one folder of a bucket; `endpoint` is the store's URL."""

    place: BucketFolder
    endpoint: str
    session: TemporaryCredentials


class CredentialIssuer(Protocol):
    """Issues credentials for one kind of landing zones."""

    def place(self, caller: Caller, kind: ZoneType) -> str | BucketFolder:
        """Where the caller's zone is: the container's name, or bucket and folder."""
        ...

    def issue(self, caller: Caller, kind: ZoneType, now_ms: int, *, renews: bool) -> Credentials | S3Credentials:
        """The caller's credentials; `renews`: new ones, and earlier ones end. Raises `DeliveryError`."""
        ...

    def end_unknown(self, sandbox: Sandbox, kind: ZoneType) -> None:
        """End credentials at the storage that the database does not know. Raises `DeliveryError`."""
        ...


def issue(issuer: CredentialIssuer, caller: Caller, kind: ZoneType, now_ms: int) -> Credentials | S3Credentials:
    """The caller's credentials. In folders, the same signature again while it lives long enough.

    Raises 2120, and 3502 when the zone's storage refuses or does not answer.
    """
    _require_reading(caller)
    return _issue(issuer, caller, kind, now_ms, renews=False)


def refresh(issuer: CredentialIssuer, caller: Caller, kind: ZoneType, now_ms: int) -> Credentials | S3Credentials:
    """New credentials. The caller's earlier signatures end; if it may manage destinations, those of all clients end.

    Credentials that a store cannot end early last for an hour at most: sessions of S3, and one client's signatures at
    Azure. Raises as `issue` does.
    """
    caller.require(EXPORT_DATASETS, MANAGE_DESTINATIONS)
    _require_reading(caller)
    return _issue(issuer, caller, kind, now_ms, renews=True)


def _issue(
    issuer: CredentialIssuer, caller: Caller, kind: ZoneType, now_ms: int, *, renews: bool
) -> Credentials | S3Credentials:
    try:
        return issuer.issue(caller, kind, now_ms, renews=renews)
    except DeliveryError as error:
        raise Problem(problems.STORAGE_AWAY, str(error)) from None


def _require_reading(caller: Caller) -> None:
    """Raise 2120 unless the caller may see destinations and datasets: credentials give access to datasets' rows."""
    caller.require(VIEW_DESTINATIONS)
    caller.require(VIEW_DATASETS)


@dataclass(frozen=True)
class FolderSignatures:
    """Signatures of this server, for zones in folders; they last for `lifetime_ms`."""

    database: Database
    vault: Vault
    lifetime_ms: int

    def place(self, caller: Caller, kind: ZoneType) -> str:
        """The container's name, which is the same in all sandboxes."""
        del caller
        return CONTAINERS[kind]

    def issue(self, caller: Caller, kind: ZoneType, now_ms: int, *, renews: bool) -> Credentials:
        """A signature by the client's key."""
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
    """Signatures of the storage account; they last for `lifetime_ms`, an hour at most."""

    database: Database
    vault: Vault
    zones: AzureZones
    lifetime_ms: int

    def place(self, caller: Caller, kind: ZoneType) -> str:
        """The container's name."""
        return self.zones.zone(caller.org_id, caller.sandbox_name, kind).container

    def issue(self, caller: Caller, kind: ZoneType, now_ms: int, *, renews: bool) -> Credentials:
        """A signature that names a stored access policy by the key's id: removing the policy ends its signatures."""
        zone = self.zones.zone(caller.org_id, caller.sandbox_name, kind)
        expires_at = (now_ms + min(self.lifetime_ms, azure.LONGEST * 1000)) // 1000 * 1000
        choose = keys.renewed_policy_key if renews else keys.policy_key
        with self.database.writing() as session:
            key_id = choose(session, caller, self.vault, kind, now_ms).id
            keys.record(session, caller, kind, key_id, expires_at, now_ms, renews=renews)
        # Outside of the transaction: Azure may take long to answer.
        zone.create()
        self._apply_policies(zone, caller.sandbox_id, kind)
        query = zone.sign(f"{azure.POLICY}{key_id}", expires_at)
        account = self.zones.account
        return Credentials(account.name, zone.container, query, expires_at, f"{account.endpoint}/{zone.container}")

    def end_unknown(self, sandbox: Sandbox, kind: ZoneType) -> None:
        """Remove stored access policies that the database does not know, of earlier versions for example."""
        self._apply_policies(self.zones.zone(sandbox.org_id, sandbox.name, kind), sandbox.id, kind)

    def _apply_policies(self, zone: AzureZone, sandbox_id: str, kind: ZoneType) -> None:
        def wanted() -> dict[str, bool]:
            with self.database.reading() as session:
                found = keys.live_policies(session, sandbox_id, kind)
            return {f"{azure.POLICY}{key_id}": deletes for key_id, deletes in found.items()}

        zone.set_policies(wanted)


@dataclass(frozen=True)
class S3Sessions:
    """Sessions of a role; they last for `lifetime_ms`, an hour at most."""

    database: Database
    zones: S3Zones
    lifetime_ms: int

    def place(self, caller: Caller, kind: ZoneType) -> BucketFolder:
        """Bucket and folder."""
        return BucketFolder(self.zones.bucket, self.zones.zone(caller.org_id, caller.sandbox_name, kind).folder)

    def issue(self, caller: Caller, kind: ZoneType, now_ms: int, *, renews: bool) -> S3Credentials:
        """A session that is limited to the caller's zone."""
        zone = self.zones.zone(caller.org_id, caller.sandbox_name, kind)
        name = re.sub(r"[^A-Za-z0-9_=,.@-]", "-", f"offtake-{caller.client_id}")
        given = zone.new_session(name, self.lifetime_ms // 1000, deletes=keys.may_delete(caller))
        with self.database.writing() as session:
            expires_at = given.expires_at * 1000
            keys.record(session, caller, kind, given.access_key_id, expires_at, now_ms, renews=renews)
        return S3Credentials(self.place(caller, kind), self.zones.endpoint_url, given)

    def end_unknown(self, sandbox: Sandbox, kind: ZoneType) -> None:
        """No-op: sessions end by themselves."""
