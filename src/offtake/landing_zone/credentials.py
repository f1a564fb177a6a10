"""What opens a sandbox's landing zone to whoever collects from it, wherever the zone is (contract, section 21)."""

import re
from dataclasses import dataclass

from offtake.contract import problems
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DATASETS, VIEW_DESTINATIONS, Caller
from offtake.contract.problems import Problem
from offtake.destinations.landing_zone import azure, s3
from offtake.destinations.zones import AzureZones, S3Zones, Zones, ZoneType
from offtake.errors import DeliveryError
from offtake.landing_zone import keys
from offtake.landing_zone.keys import Credentials
from offtake.store.database import Database
from offtake.store.tables import Sandbox
from offtake.store.vault import Vault


@dataclass(frozen=True)
class S3Credentials:
    """A session that collects from one folder of a bucket; `endpoint` is the store's URL."""

    bucket: str
    folder: str
    endpoint: str
    session: s3.TemporaryCredentials


@dataclass(frozen=True)
class CredentialIssuer:
    """What giving credentials needs of a deployment.

    `lifetime_ms`: of signatures for folders; signatures of Azure and sessions of S3 last an hour at most.
    """

    database: Database
    vault: Vault
    zones: Zones
    lifetime_ms: int

    def issue(self, caller: Caller, kind: ZoneType, now_ms: int) -> Credentials | S3Credentials:
        """The caller's credentials: in folders a signature that was given before while it lives long enough.

        Raises 2120, and 3502 when the zone's storage refuses or does not answer.
        """
        _require_reading(caller)
        return self._issue(caller, kind, now_ms, renews=False)

    def refresh(self, caller: Caller, kind: ZoneType, now_ms: int) -> Credentials | S3Credentials:
        """New credentials. The caller's signatures from before end; by one that may manage destinations, all do.

        What a store cannot end early lasts for an hour at most: sessions of S3, and one client's signatures at Azure.
        Raises as `issue` does.
        """
        caller.require(EXPORT_DATASETS, MANAGE_DESTINATIONS)
        _require_reading(caller)
        return self._issue(caller, kind, now_ms, renews=True)

    def _issue(self, caller: Caller, kind: ZoneType, now_ms: int, *, renews: bool) -> Credentials | S3Credentials:
        try:
            if isinstance(self.zones, S3Zones):
                return self._session(self.zones, caller, kind, now_ms, renews=renews)
            if isinstance(self.zones, AzureZones):
                return self._signature(self.zones, caller, kind, now_ms, renews=renews)
        except DeliveryError as error:
            raise Problem(problems.STORAGE_AWAY, str(error)) from None
        choose = keys.renewed_key if renews else keys.current_key
        with self.database.writing() as session:
            key = choose(session, caller, self.vault, kind, now_ms, self.lifetime_ms)
            keys.record(session, caller, kind, key.id, key.expires_at or 0, now_ms, renews=renews)
            sandbox = session.get_one(Sandbox, caller.sandbox_id)
            return keys.sign(self.vault, key, sandbox, deletes=keys.may_delete(caller))

    def _signature(
        self, zones: AzureZones, caller: Caller, kind: ZoneType, now_ms: int, *, renews: bool
    ) -> Credentials:
        """The key's id names a stored access policy of the zone; taking the policy away ends all signatures."""
        container = zones.container(caller.org_id, caller.sandbox_name, kind)
        expires_at = (now_ms + min(self.lifetime_ms, azure.LONGEST * 1000)) // 1000 * 1000
        choose = keys.renewed_policy_key if renews else keys.policy_key
        with self.database.writing() as session:
            key = choose(session, caller, self.vault, kind, now_ms)
            key_id = key.id
            keys.record(session, caller, kind, key_id, expires_at, now_ms, renews=renews)
        # Azure is asked once the database is let go: it may take its time.
        azure.make_container(zones, container)
        keep_policies(self.database, zones, container, caller.sandbox_id, kind)
        account = azure.account(zones)
        query = azure.signature(zones, container, f"{azure.POLICY}{key_id}", expires_at)
        return Credentials(account.name, container, query, expires_at, f"{account.endpoint}/{container}")

    def _session(self, zones: S3Zones, caller: Caller, kind: ZoneType, now_ms: int, *, renews: bool) -> S3Credentials:
        folder = zones.folder(caller.org_id, caller.sandbox_name, kind)
        name = re.sub(r"[^A-Za-z0-9_=,.@-]", "-", f"offtake-{caller.client_id}")
        seconds, deletes = self.lifetime_ms // 1000, keys.may_delete(caller)
        given = s3.session_for(zones, folder, name, seconds, deletes=deletes)
        with self.database.writing() as session:
            expires_at = given.expires_at * 1000
            keys.record(session, caller, kind, given.access_key_id, expires_at, now_ms, renews=renews)
        return S3Credentials(zones.bucket, folder, zones.url, given)


def keep_policies(database: Database, zones: AzureZones, container: str, sandbox_id: str, kind: ZoneType) -> None:
    """Make the zone's policies the container's only ones of ours, so that signatures of others end.

    Raises `DeliveryError`.
    """

    def wanted() -> dict[str, bool]:
        with database.reading() as session:
            found = keys.live_policies(session, sandbox_id, kind)
        return {f"{azure.POLICY}{key_id}": deletes for key_id, deletes in found.items()}

    azure.keep_policies(zones, container, wanted)


def _require_reading(caller: Caller) -> None:
    """Raise 2120 unless the caller may see destinations and datasets: credentials open what datasets hold."""
    caller.require(VIEW_DESTINATIONS)
    caller.require(VIEW_DATASETS)
