"""Restores a backup into an empty deployment.

Nothing is written before the whole archive is verified. A marker file is in the data directory from before the first
write until after the last: while it exists, nothing starts there, and a restore starts over.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from pydantic import TypeAdapter
from sqlalchemy import func, literal, select, update

from offtake.access import access, clients, web_sessions
from offtake.backup import archive
from offtake.backup.archive import ArchiveError
from offtake.backup.backup import (
    ABOUT,
    ADMIN,
    CATALOG,
    FORMAT,
    KEYS,
    METADATA,
    ROWS,
    STORE,
    UPLOADS,
    BackupHeader,
    metadata_member,
    stored_uploads,
    zone_folder,
)
from offtake.clock import Clock
from offtake.contract import entities
from offtake.deployment import admin_file
from offtake.deployment.backend import UNFINISHED, Backend, key_file, open_restored, sole_server
from offtake.deployment.network_settings import network_of
from offtake.deployment.storage_settings import uploads_folder, warehouse_access
from offtake.errors import OfftakeError
from offtake.failpoints import failpoint
from offtake.flows import flow_changes
from offtake.lake import ingest, parts, table_files
from offtake.lake.catalog import CATALOG_TABLES, Lake
from offtake.lake.locations import is_local, local_path
from offtake.lake.relocation import Move, check_inside, relocate_tables
from offtake.lake.table_names import TableName
from offtake.lake.upload_folder import sync_file, sync_folder
from offtake.lake.warehouse import Warehouse, open_warehouse
from offtake.settings import Settings
from offtake.store import backup as copies
from offtake.store import batches
from offtake.store.conditions import LIVE_RUN, LOADING_BATCH
from offtake.store.database import Database
from offtake.store.tables import Batch, Client, Dataset, Flow, Run, RunPart, Sandbox
from offtake.store.vault import key_id
from offtake.store.vault_keys import configured_keys, parse_keys

_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True)
class Restored:
    """The result: the backup's header, the numbers of flows, of flows that were disabled, and of live runs."""

    about: BackupHeader
    flows: int
    disabled: int
    live_runs: int


def restore(settings: Settings, clock: Clock, file: Path, *, disable_flows: bool = False) -> Restored:
    """Restore the backup, while no server runs; `disable_flows` disables all flows before anything starts.

    Raises `OfftakeError`, with nothing changed, when the archive is damaged or does not match the settings, or when the
    target is not empty. After an interruption, call it again.
    """
    with sole_server(settings), _staging_folder(settings.data_dir) as work:
        about = _read(file, work)
        _check(settings, about, work, file)
        marker = settings.data_dir / UNFINISHED
        targets = _targets(settings, about)
        again = marker.exists()
        if again:
            _check_same(marker, targets)
        else:
            _check_empty(settings, about)
        _begin(marker, targets)
        _clear(settings, about)
        _restore_files(settings, about, file)
        failpoint("restore_files")
        with nullcontext() if again else _cleaning_up_when_refused(settings, about, marker):
            if _has_moved(settings, about):
                _relocate(Move(about.warehouse, settings.lake_warehouse), work)
            if not about.rows:
                _restore_metadata(settings, file, work)
            if about.rows:
                check_inside(table_files.metadata_locations(work / CATALOG), settings.lake_warehouse)
        failpoint("restore_relocated")
        _restore_keys(settings, about, work)
        _restore_catalog(settings, work)
        failpoint("restore_catalog")
        with closing(Database(settings.store_url)) as database:
            copies.load_store(database, work / STORE, replace=again)
        failpoint("restore_store")
        with closing(open_restored(settings, clock)) as backend:
            _move_delivered(backend, about)
            restored = _finish(backend, about, disable_flows=disable_flows)
            _restore_admin(backend, work)
        failpoint("restore_settled")
        marker.unlink()
        sync_folder(settings.data_dir)
        return restored


@contextmanager
def _staging_folder(data_dir: Path) -> Iterator[Path]:
    """A private temporary folder; also removes those of killed restores."""
    for left in data_dir.glob(".restore.*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".restore.", dir=data_dir) as folder:
        yield Path(folder)


def _read(file: Path, work: Path) -> BackupHeader:
    if not file.is_file():
        raise OfftakeError(f"The backup {file} does not exist.")
    archive.verify(file, {name: work / name for name in (ABOUT, STORE, CATALOG, KEYS, ADMIN)})
    try:
        about = TypeAdapter(BackupHeader).validate_json((work / ABOUT).read_bytes(), strict=True)
    except (OSError, ValueError):
        raise ArchiveError(f"{file} is not a backup of this or an earlier version of Offtake.") from None
    if about.format != FORMAT or not all((work / name).is_file() for name in (STORE, CATALOG)):
        raise ArchiveError(
            f"{file} was written by Offtake {about.offtake}, in a format that this version does not support."
        )
    for name in (STORE, CATALOG):
        if not copies.is_whole(work / name):
            raise ArchiveError(f"{file} is damaged: its {name} cannot be read. Use another backup.")
    return about


def _check(settings: Settings, about: BackupHeader, work: Path, file: Path) -> None:
    """The checks that are possible before anything is written."""
    for name in (STORE, CATALOG):
        copies.check_plain(work / name)
    copies.check_names(work / STORE)
    copies.revision_in(work / STORE)
    if about.rows and about.tables and not is_local(settings.lake_warehouse):
        raise OfftakeError(
            f"The backup contains the tables' files, which can be restored into a folder only, but the warehouse is "
            f"{settings.lake_warehouse}. Set OFFTAKE_WAREHOUSE to a folder, or remove it."
        )
    if about.uploads != stored_uploads(settings) and any(copies.sent_files(work / STORE, batches.OPEN)):
        was = f"{about.uploads}: set OFFTAKE_UPLOAD_DIR to it" if about.uploads else "a folder"
        raise OfftakeError(f"The backup has batches whose uploads are in {was}; they cannot be moved.")
    if not about.rows and _has_moved(settings, about):
        raise OfftakeError(
            f"The backup was taken without rows: the tables' files are still in {about.warehouse}, but the "
            f"warehouse is {settings.lake_warehouse}. Set OFFTAKE_WAREHOUSE to {about.warehouse}."
        )
    if not about.rows:
        warehouse, copies_of = _warehouse(settings), _copied_metadata(file, work)
        for table in table_files.metadata_locations(work / CATALOG):
            if (missing := table_files.missing_file(warehouse, table, copies_of.get(table))) is not None:
                raise OfftakeError(
                    f"The backup was taken without rows, and the warehouse lacks a file that it refers to: {missing}. "
                    "Restore the warehouse's files first, or use a newer backup."
                )
    if not copies.keys_needed(work / STORE) <= {key_id(key) for key in _keys(settings, about, work)}:
        raise OfftakeError(
            "The backup's credentials are encrypted with another key. Set OFFTAKE_VAULT_KEY to that key."
        )


def _warehouse(settings: Settings) -> Warehouse:
    return open_warehouse(settings.lake_warehouse, warehouse_access(settings, network_of(settings)))


def _copied_metadata(file: Path, work: Path) -> dict[str, Path]:
    """The copies of tables' metadata files in a backup without rows, by location; none in older backups."""
    locations = {metadata_member(one): one for one in table_files.metadata_locations(work / CATALOG)}
    found: dict[str, Path] = {}
    for name, content in archive.members(file, lambda name: name.startswith(METADATA)):
        if name in locations:
            found[locations[name]] = path = work / name.replace("/", "-")
            _write(path, content)
    return found


def _restore_metadata(settings: Settings, file: Path, work: Path) -> None:
    """Write the metadata files that upkeep has removed since the backup was taken."""
    warehouse = _warehouse(settings)
    for location, copy in _copied_metadata(file, work).items():
        if warehouse.is_inside(location) and not warehouse.exists(location):
            warehouse.write(location, [copy.read_bytes()])


def _has_moved(settings: Settings, about: BackupHeader) -> bool:
    """Whether there are tables, and the warehouse is another folder than in the backup."""
    old, new = about.warehouse, settings.lake_warehouse
    if not is_local(old) or not is_local(new):
        return about.tables > 0 and old.rstrip("/") != new.rstrip("/")
    return about.tables > 0 and local_path(old) != local_path(new)


def _relocate(move: Move, work: Path) -> None:
    """Rewrite file locations in the tables' files, the catalog's copy and the stored parts to the new warehouse."""
    relocate_tables(table_files.metadata_locations(work / CATALOG), move)
    table_files.set_locations(work / CATALOG, move.new_location)
    copies.change_slices(work / STORE, lambda slices: parts.at_new_locations(slices, move.new_location))


@contextmanager
def _cleaning_up_when_refused(settings: Settings, about: BackupHeader, marker: Path) -> Iterator[None]:
    """Remove the restored files and the marker if the first attempt of a restore is refused.

    A repeated attempt may find databases that the last one has filled, so it keeps the marker: nothing starts.
    """
    try:
        yield
    except OfftakeError:
        _clear(settings, about)
        marker.unlink()
        raise


def _keys(settings: Settings, about: BackupHeader, work: Path) -> tuple[bytes, ...]:
    if settings.vault_key is not None:
        return configured_keys(settings.vault_key, settings.vault_old_keys)
    return _copied_keys(work) if about.keys else ()


def _copied_keys(work: Path) -> tuple[bytes, ...]:
    try:
        return parse_keys((work / KEYS).read_text("ascii"))
    except (OSError, ValueError):
        raise ArchiveError(f"The backup's {KEYS} is missing or cannot be read. Use another backup.") from None


def _check_empty(settings: Settings, about: BackupHeader) -> None:
    occupied = []
    for url, tables, what in (
        (settings.store_url, copies.STORE_TABLES, "the store"),
        (settings.lake_catalog_url, CATALOG_TABLES, "the catalog"),
    ):
        with closing(Database(url)) as database:
            occupied += [what] if copies.has_rows(database, tables) else []
    folders = list(_places(settings, about).values())
    occupied += [str(folder) for folder in folders if folder.is_dir() and any(folder.iterdir())]
    if about.keys and settings.vault_key is None and key_file(settings).path.exists():
        occupied.append(str(key_file(settings).path))
    if occupied:
        raise copies.NotEmptyError(
            f"The target is not empty: {', '.join(occupied)}. Restore into an empty --data-dir and, where these are "
            "set, an empty OFFTAKE_DATABASE_URL, OFFTAKE_CATALOG_URL, OFFTAKE_WAREHOUSE and OFFTAKE_UPLOAD_DIR."
        )


def _check_same(marker: Path, targets: str) -> None:
    """Refuse other targets than those of the interrupted restore, whose files may still be there."""
    before = marker.read_text()
    if before != targets:
        warehouse = before.splitlines()[-1] or "unchanged"
        raise OfftakeError(
            "The interrupted restore had another warehouse, store, catalog or uploads folder; its warehouse: "
            f"{warehouse}. Run it again with those settings, or remove the data that it has written, and then {marker}."
        )


def _targets(settings: Settings, about: BackupHeader) -> str:
    """The content of the marker: the targets, empty at the start, so that a repeated restore may clear them."""
    databases = (hashlib.sha256(url.encode()).hexdigest() for url in (settings.store_url, settings.lake_catalog_url))
    places = [*databases, settings.uploads_location, settings.lake_warehouse if about.rows else ""]
    return "While this file is here, nothing starts: run offtake restore again.\n" + "\n".join(places) + "\n"


def _begin(marker: Path, targets: str) -> None:
    temporary = marker.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(targets.encode())
        sync_file(file)
    temporary.replace(marker)
    sync_folder(marker.parent)
    failpoint("restore_marked")


def _clear(settings: Settings, about: BackupHeader) -> None:
    """Remove the files of an interrupted restore; the folders were empty at its start."""
    for folder in _places(settings, about).values():
        shutil.rmtree(folder, ignore_errors=True)


def _places(settings: Settings, about: BackupHeader) -> dict[str, Path]:
    """The folders that the archive's files are written to, by the names' first step. Stores are not written."""
    places = {}
    if (uploads := uploads_folder(settings)) is not None:
        places[UPLOADS] = uploads
    if about.rows and is_local(settings.lake_warehouse):
        places[ROWS] = local_path(settings.lake_warehouse)
    return places


def _restore_files(settings: Settings, about: BackupHeader, file: Path) -> None:
    places = _places(settings, about)
    for name, content in archive.members(file, lambda name: name.startswith(tuple(places))):
        root, _, rest = name.partition("/")
        place = places[f"{root}/"]
        path = place / rest
        if not path.resolve().is_relative_to(place.resolve()):
            raise ArchiveError(f"{file} is not an Offtake backup: {name!r} leaves the folder.")
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, content)
    for place in places.values():
        for folder in (one for one in (place, *place.rglob("*")) if one.is_dir()):
            sync_folder(folder)


def _write(path: Path, content: IO[bytes]) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(content, file, _CHUNK)
        sync_file(file)


def _restore_keys(settings: Settings, about: BackupHeader, work: Path) -> None:
    if about.keys and settings.vault_key is None:
        key_file(settings).replace(_copied_keys(work))
        sync_folder(settings.data_dir)


def _restore_admin(backend: Backend, work: Path) -> None:
    """Write `admin.json` as in the backup, if its client and its secret are those of the restored store."""
    try:
        content = json.loads((work / ADMIN).read_bytes())
        client_id, secret = str(content["client_id"]), str(content["client_secret"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    with backend.database.reading() as session:
        client = session.get(Client, client_id)
        is_valid = client is not None and client.revoked_at is None
        if is_valid and clients.secret_matches(clients.stored_hash(client), secret):
            admin_file.write(backend.settings, content)


def _restore_catalog(settings: Settings, work: Path) -> None:
    access = warehouse_access(settings, network_of(settings))
    Lake(settings.lake_catalog_url, settings.lake_warehouse, access=access).close()
    with closing(Database(settings.lake_catalog_url)) as database, database.schema_transaction() as connection:
        copies.load(connection, work / CATALOG, CATALOG_TABLES, replace=True)


def _move_delivered(backend: Backend, about: BackupHeader) -> None:
    """Update the addresses of files in landing zones to this deployment's zones, if both are folders."""
    old, new = about.landing_zone, zone_folder(backend.settings)
    if old is None or new is None or old == new:
        return
    inside = f"{old}/"
    moved = literal(f"{new}/") + func.substr(RunPart.uri, len(inside) + 1)
    with backend.database.writing() as session:
        where = RunPart.uri.startswith(inside, autoescape=True)
        session.execute(update(RunPart).where(where).values(uri=moved))


def _finish(backend: Backend, about: BackupHeader, *, disable_flows: bool) -> Restored:
    now = backend.clock.now_ms()
    _complete_landed(backend)
    disabled = 0
    with backend.database.writing() as session:
        web_sessions.end_all(session)
        found = session.scalars(select(Flow).order_by(Flow.id)).all()
        for flow in found:
            if disable_flows and flow.state == entities.ENABLED:
                caller = access.operator_in(session, session.get_one(Sandbox, flow.sandbox_id))
                flow_changes.act(session, caller, flow.id, "disable", None, None, now)
                disabled += 1
        live = session.scalar(select(func.count()).select_from(Run).where(LIVE_RUN)) or 0
    return Restored(about, len(found), disabled, live)


def _complete_landed(backend: Backend) -> None:
    """Mark batches as staged that were committed during the backup: the tables have them already."""
    with backend.database.reading() as session:
        loading = session.execute(
            select(Batch.id, Dataset.table_name).join(Dataset, Dataset.id == Batch.dataset_id).where(LOADING_BATCH)
        ).all()
    for batch_id, table in loading:
        if ingest.find_commit(backend.lake, TableName(table), batch_id) is not None:
            with backend.database.writing() as session:
                session.get_one(Batch, batch_id).status = batches.STAGED
