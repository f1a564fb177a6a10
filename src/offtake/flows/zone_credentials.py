"""What opens a sandbox's landing zone to whoever collects from it, wherever the zone is (contract, section 21)."""

import re
from dataclasses import dataclass

from sqlalchemy.orm import Session

from offtake.destinations import azure_zone, s3_zone
from offtake.destinations.landing_zones import AzureZones, LocalZones, S3Zones, Zones, ZoneType
from offtake.errors import DeliveryError
from offtake.flows import problems, zones
from offtake.flows.access import EXPORT_DATASETS, VIEW_DATASETS, VIEW_DESTINATIONS, Caller
from offtake.flows.problems import Problem
from offtake.flows.zones import Credentials
from offtake.store.database import Database
from offtake.store.tables import LandingZoneKey, Sandbox
from offtake.store.vault import Vault


@dataclass(frozen=True)
class S3Credentials:
    """A session that reads, lists and deletes in one folder of a bucket; `endpoint` is the store's URL."""

    bucket: str
    folder: str
    endpoint: str
    session: s3_zone.Session


@dataclass(frozen=True)
class Doorman:
    """What giving credentials needs of a deployment. `lifetime_ms`: of signatures; sessions last an hour at most."""

    database: Database
    vault: Vault
    zones: Zones
    lifetime_ms: int

    def give(self, caller: Caller, kind: ZoneType, now_ms: int) -> Credentials | S3Credentials:
        """Credentials: a signature that was given before while it lives long enough, and always a new session.

        Raises 2120, and 3502 when the zone's storage refuses or does not answer.
        """
        _require_reading(caller)
        return self._give(caller, kind, now_ms, renews=False)

    def refresh(self, caller: Caller, kind: ZoneType, now_ms: int) -> Credentials | S3Credentials:
        """New credentials. Signatures from before end; sessions cannot be ended early. Raises as `give` does."""
        caller.require(EXPORT_DATASETS)
        _require_reading(caller)
        return self._give(caller, kind, now_ms, renews=True)

    def _give(self, caller: Caller, kind: ZoneType, now_ms: int, *, renews: bool) -> Credentials | S3Credentials:
        try:
            if isinstance(self.zones, S3Zones):
                return self._session(self.zones, caller, kind, now_ms, renews=renews)
            with self.database.writing() as session:
                key = self._key(session, caller, kind, now_ms, renews=renews)
                if isinstance(self.zones, LocalZones):
                    return zones.sign(self.vault, key, session.get_one(Sandbox, caller.sandbox_id))
            # Azure is asked once the database is let go: it may take its time.
            return self._signature(self.zones, caller, kind, now_ms, key)
        except DeliveryError as error:
            raise Problem(problems.STORAGE_AWAY, str(error)) from None

    def _key(self, session: Session, caller: Caller, kind: ZoneType, now_ms: int, *, renews: bool) -> LandingZoneKey:
        choose = zones.renewed_key if renews else zones.current_key
        return choose(session, caller, self.vault, kind, now_ms, self.lifetime_ms)

    def _signature(
        self, azure: AzureZones, caller: Caller, kind: ZoneType, now_ms: int, key: LandingZoneKey
    ) -> Credentials:
        """The key's id names a stored access policy; taking the policy away ends the signature."""
        container = azure.container(caller.org_id, caller.sandbox_name, kind)

        def live() -> dict[str, int]:
            with self.database.reading() as session:
                found = zones.live_keys(session, caller.sandbox_id, kind, now_ms)
            return {f"{azure_zone.POLICY}{key_id}": end for key_id, end in found.items()}

        azure_zone.make_container(azure, container)
        azure_zone.keep_policies(azure, container, live)
        account = azure_zone.account(azure)
        query = azure_zone.signature(azure, container, f"{azure_zone.POLICY}{key.id}")
        return Credentials(account.name, container, query, key.expires_at or 0, f"{account.endpoint}/{container}")

    def _session(self, s3: S3Zones, caller: Caller, kind: ZoneType, now_ms: int, *, renews: bool) -> S3Credentials:
        folder = s3.folder(caller.org_id, caller.sandbox_name, kind)
        name = re.sub(r"[^A-Za-z0-9_=,.@-]", "-", f"offtake-{caller.client_id}")
        given = s3_zone.session_for(s3, folder, name, self.lifetime_ms // 1000)
        if renews:
            with self.database.writing() as session:
                zones.record_refresh(session, caller, kind, given.access_key_id, given.expires_at * 1000, now_ms)
        return S3Credentials(s3.bucket, folder, s3.url, given)


def _require_reading(caller: Caller) -> None:
    """Raise 2120 unless the caller may see destinations and datasets: credentials open what datasets hold."""
    caller.require(VIEW_DESTINATIONS)
    caller.require(VIEW_DATASETS)
