"""Opens the services of an Offtake process from its settings."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TextIO
from uuid import uuid4

from offtake.access.oidc_issuer import ExternalIssuer
from offtake.access.oidc_sign_in import IssuerSignIn
from offtake.clock import Clock
from offtake.contract.caller import Caller
from offtake.deployment import issuer_settings
from offtake.deployment.file_modes import guard_files
from offtake.deployment.lake_services import LakeServices, closed_folders, parser_pool
from offtake.deployment.landing_zone_settings import credential_issuer, zones_of
from offtake.deployment.mail_settings import mail_of
from offtake.deployment.network_settings import network_of
from offtake.deployment.readiness import Readiness
from offtake.deployment.storage_settings import uploads_access, warehouse_access
from offtake.destinations.base import LandingZones, SandboxLocation
from offtake.errors import OfftakeError
from offtake.failpoints import failpoint
from offtake.flows.schedule import ScheduleRules
from offtake.lake.upload_folder import FolderUploads
from offtake.lake.upload_store import StoreUploads
from offtake.lake.uploads import Uploads
from offtake.landing_zone import keys
from offtake.landing_zone.credentials import CredentialIssuer
from offtake.network.egress import Network
from offtake.settings import Settings
from offtake.store.database import Database
from offtake.store.reencryption import key_ids_in_use, reencrypt_all
from offtake.store.revisions import StoreVersionError, check_known, known_revisions
from offtake.store.vault import Vault, key_id
from offtake.store.vault_keys import KEY_FILE, KeyFile, configured_keys

if TYPE_CHECKING:
    from offtake.deployment.lake_services import ParsersOf
    from offtake.flows.host_key_pinning import PinStore
    from offtake.lake.catalog import Lake
    from offtake.lake.parsers import Parsers
    from offtake.lake.registered import RegisteredTables

_log = logging.getLogger(__name__)

UNFINISHED: Final = "restore.unfinished"
"""Marker file in the data directory while a restore is in progress."""


@dataclass(frozen=True)
class Backend:
    """The services of a deployment: store, vault, lake, parsers, landing zones, and the injected clock."""

    settings: Settings
    clock: Clock
    database: Database
    vault: Vault
    lake_services: LakeServices
    zones: LandingZones
    readiness: Readiness
    issuer: ExternalIssuer | None = None
    issuer_sign_in: IssuerSignIn | None = None

    @property
    def lake(self) -> "Lake":
        """The tables of the deployment."""
        return self.lake_services.lake

    @property
    def registered(self) -> "RegisteredTables":
        """The tables of other catalogs."""
        return self.lake_services.registered

    @property
    def parsers(self) -> "Parsers":
        """The processes that parse users' files."""
        return self.lake_services.parsers

    @property
    def schedule_rules(self) -> ScheduleRules:
        """The schedules that this deployment allows."""
        return ScheduleRules(
            hour_intervals=self.settings.hour_intervals,
            default_schedule_months=self.settings.default_schedule_months,
            allow_daily_full_export=self.settings.allow_daily_full_export,
        )

    @property
    def network(self) -> Network:
        """The egress rules of connections."""
        return network_of(self.settings)

    @property
    def pin_store(self) -> "PinStore":
        """Stores what is found at the first connection to a destination, such as host keys."""
        from offtake.flows.host_key_pinning import PinStore  # noqa: PLC0415 - most commands do not need it

        return PinStore(self.database, self.vault, self.clock)

    @property
    def zone_credentials(self) -> CredentialIssuer:
        """The issuer of credentials for landing zones."""
        return credential_issuer(self.settings, self.zones, self.database, self.vault)

    @property
    def uploads(self) -> Uploads:
        """The uploaded files of batches."""
        access = uploads_access(self.settings, self.network)
        return FolderUploads(self.settings.uploads_root) if access is None else StoreUploads(access)

    @property
    def closed_folders(self) -> tuple[str, ...]:
        """The folders of the deployment, which no registered table may name."""
        return closed_folders(self.settings)

    def sandbox_location(self, caller: Caller) -> SandboxLocation:
        """The context in which destinations are opened for the caller's sandbox."""
        with self.database.reading() as session:
            zones = keys.of_organisation(session, self.zones, caller.org_id)
        return SandboxLocation(caller.sandbox_name, zones, organisation=caller.org_id, network=self.network)

    def close(self) -> None:
        """Close the databases and end the parser processes."""
        self.readiness.close()
        self.lake_services.close()
        self.database.close()


def open_backend(
    settings: Settings,
    clock: Clock,
    parsers_of: "ParsersOf" = parser_pool,
    *,
    lazily: bool = False,
    upgrade: bool | None = None,
) -> Backend:
    """Open the store, the vault and the lake; creates them at first use.

    `lazily`: the lake and the parsers are opened when they are used. `upgrade`: as for `prepare_tables`. Raises
    `OfftakeError` for inconsistent settings, for tables of another version, and after an interrupted restore.
    """
    if (settings.data_dir / UNFINISHED).exists():
        raise OfftakeError(f"A restore into {settings.data_dir} was interrupted. Run offtake restore again.")
    return open_restored(settings, clock, parsers_of, lazily=lazily, upgrade=upgrade)


def open_restored(
    settings: Settings,
    clock: Clock,
    parsers_of: "ParsersOf" = parser_pool,
    *,
    lazily: bool = False,
    upgrade: bool | None = None,
) -> Backend:
    """Like `open_backend`, for use during a restore."""
    landing_zones = zones_of(settings, network_of(settings))
    warehouse_access(settings, network_of(settings))  # refused now, not when the lake is opened
    uploads_access(settings, network_of(settings))  # refused now, not with the first upload
    mail_of(settings)  # refused now, not with the first e-mail
    issuer = issuer_settings.issuer_of(settings, network_of(settings))
    guard_files(settings)
    database = Database(settings.store_url)
    prepare_tables(settings, database, upgrade=upgrade)
    vault = open_vault(settings)
    services = LakeServices(settings, database, vault, network_of(settings), parsers_of)
    if not lazily:
        services.open()
    return Backend(
        settings,
        clock,
        database,
        vault,
        services,
        landing_zones,
        Readiness(settings, clock, network_of(settings)),
        issuer,
        issuer_settings.sign_in_of(settings, issuer, network_of(settings)),
    )


def prepare_tables(settings: Settings, database: Database, *, upgrade: bool | None = None) -> None:
    """Create the tables in an empty database, and migrate those of an earlier version.

    `upgrade`: whether tables of an earlier version are migrated; None: if `auto_upgrade` is set, else they are refused;
    False: they stay, for a caller that can read them. Raises `StoreVersionError` for tables of a later version.
    """
    revision, newest = database.revision(), known_revisions()[-1]
    check_known(revision)
    if revision == newest or (revision is not None and upgrade is False):
        return
    if revision is not None:
        if not (settings.auto_upgrade if upgrade is None else upgrade):
            raise StoreVersionError(
                f"The tables are of an earlier version of Offtake: their revision is {revision}, this version needs "
                f"{newest}. Make a backup (offtake backup FILE), then run offtake init; OFFTAKE_AUTO_UPGRADE is false."
            )
        _log.warning(
            "the tables are migrated from revision %s to %s; earlier versions of Offtake cannot start with them",
            revision,
            newest,
        )
    database.migrate()


def open_vault(settings: Settings) -> Vault:
    """The vault with the configured keys, or else with the key file; raises `VaultError` for unusable keys."""
    if settings.vault_key is not None:
        keys = configured_keys(settings.vault_key, settings.vault_old_keys)
        return Vault(lambda: keys)
    file = key_file(settings)
    file.keys()
    return Vault(file.keys)


def key_file(settings: Settings) -> KeyFile:
    """The deployment's key file, which is used if no key is configured."""
    return KeyFile(settings.data_dir / KEY_FILE)


def rotate_vault(backend: Backend) -> int:
    """Re-encrypt all secrets with a new master key, or the newest configured one; returns the number of secrets.

    A key file keeps the previous key, for servers that encrypted with it meanwhile; older unused keys are removed.
    """
    if backend.settings.vault_key is not None:
        return reencrypt_all(backend.database, backend.vault)
    file = key_file(backend.settings)
    file.add()
    failpoint("vault_key_added")
    moved = reencrypt_all(backend.database, backend.vault)
    failpoint("vault_rewrapped")
    needed = key_ids_in_use(backend.database)
    keys = file.keys()
    file.replace([*keys[:2], *(key for key in keys[2:] if key_id(key) in needed)])
    return moved


@contextmanager
def sole_server(settings: Settings) -> Iterator[str]:
    """Lock the data directory for this server; yields the owner name of its leases.

    Raises `OfftakeError` when another server holds the lock. The owner name is stored: the next server with this
    directory uses the same name, and knows that the earlier process is dead.
    """
    guard_files(settings, starts=True)
    with (settings.data_dir / "server.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OfftakeError(
                f"Another Offtake server is using {settings.data_dir}. Stop it, or choose another --data-dir."
            ) from None
        yield _owner(file)


def _owner(file: TextIO) -> str:
    file.seek(0)
    owner = file.read().strip()
    if not owner:
        owner = f"server-{uuid4()}"
        file.write(owner)
        file.flush()
        os.fsync(file.fileno())
    return owner
