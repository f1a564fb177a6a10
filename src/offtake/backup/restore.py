"""A backup brought back into an empty deployment.

Nothing is written before all of the archive has been read and found whole. A marker lies in the data directory from
before the first write until after the last: with it, nothing starts there, and a restore begins anew.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from pydantic import TypeAdapter
from sqlalchemy import func, literal, select, update

from offtake.access import access
from offtake.backup import archive
from offtake.backup.archive import ArchiveError
from offtake.backup.backup import ABOUT, CATALOG, FORMAT, KEYS, ROWS, STORE, UPLOADS, BackupHeader, zone_folder
from offtake.clock import Clock
from offtake.contract import entities
from offtake.deployment.backend import UNFINISHED, Backend, key_file, open_restored, sole_server
from offtake.errors import OfftakeError
from offtake.failpoints import failpoint
from offtake.flows import flow_changes
from offtake.lake import ingest, parts, table_files
from offtake.lake.catalog import CATALOG_TABLES, Lake, TableName
from offtake.lake.locations import local_path
from offtake.lake.relocation import Move, check_inside, relocate_tables
from offtake.lake.upload_folder import sync_file, sync_folder
from offtake.settings import Settings
from offtake.store import backup as copies
from offtake.store import batches
from offtake.store.conditions import LIVE_RUN, LOADING_BATCH
from offtake.store.database import Database
from offtake.store.tables import Batch, Dataset, Flow, Run, RunPart, Sandbox
from offtake.store.vault import key_id
from offtake.store.vault_keys import configured_keys, parse_keys

_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True)
class Restored:
    """What came back: the backup, how many flows there are, how many of them were disabled, and runs that go on."""

    about: BackupHeader
    flows: int
    disabled: int
    live_runs: int


def restore(settings: Settings, clock: Clock, file: Path, *, disable_flows: bool = False) -> Restored:
    """Bring the backup back, to be called beside no server; flows can be disabled before anything starts.

    Raises `OfftakeError`, with nothing changed, when the archive is not whole or does not fit, or when there is
    something already. When it is cut off, it can be called again.
    """
    with sole_server(settings), _staging_folder(settings.data_dir) as work:
        about = _read(file, work)
        _check(settings, about, work)
        marker = settings.data_dir / UNFINISHED
        targets = _targets(settings, about)
        again = marker.exists()
        if again:
            _check_same(marker, targets)
        else:
            _check_empty(settings, about)
        _begin(marker, targets)
        _clear(settings, about)
        _bring_files(settings, file)
        failpoint("restore_files")
        with nullcontext() if again else _cleaning_up_when_refused(settings, about, marker):
            if _has_moved(settings, about):
                _relocate(Move(about.warehouse, settings.lake_warehouse), work)
            if about.rows:
                check_inside(table_files.metadata_locations(work / CATALOG), settings.lake_warehouse)
        failpoint("restore_relocated")
        _bring_keys(settings, about, work)
        _bring_catalog(settings, work)
        failpoint("restore_catalog")
        with closing(Database(settings.store_url)) as database:
            copies.load_store(database, work / STORE, replace=again)
        failpoint("restore_store")
        with closing(open_restored(settings, clock)) as backend:
            _move_delivered(backend, about)
            restored = _finish(backend, about, disable_flows=disable_flows)
        failpoint("restore_settled")
        marker.unlink()
        sync_folder(settings.data_dir)
        return restored


@contextmanager
def _staging_folder(data_dir: Path) -> Iterator[Path]:
    """A folder for copies, which nobody else may read; what restores that were killed left of theirs goes too."""
    for left in data_dir.glob(".restore.*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".restore.", dir=data_dir) as folder:
        yield Path(folder)


def _read(file: Path, work: Path) -> BackupHeader:
    if not file.is_file():
        raise OfftakeError(f"There is no backup {file}.")
    archive.verify(file, {name: work / name for name in (ABOUT, STORE, CATALOG, KEYS)})
    try:
        about = TypeAdapter(BackupHeader).validate_json((work / ABOUT).read_bytes(), strict=True)
    except (OSError, ValueError):
        raise ArchiveError(f"{file} is no backup of this version of Offtake, nor of an earlier one.") from None
    if about.format != FORMAT or not all((work / name).is_file() for name in (STORE, CATALOG)):
        raise ArchiveError(f"{file} was made by Offtake {about.offtake}, in a form that this version does not know.")
    for name in (STORE, CATALOG):
        if not copies.is_whole(work / name):
            raise ArchiveError(f"{file} is damaged: its {name} cannot be read. Use another backup.")
    return about


def _check(settings: Settings, about: BackupHeader, work: Path) -> None:
    """What can be known before anything is written."""
    for name in (STORE, CATALOG):
        copies.check_plain(work / name)
    copies.check_names(work / STORE)
    copies.revision_in(work / STORE)
    if not about.rows and _has_moved(settings, about):
        raise OfftakeError(
            f"The backup was taken without rows: the tables' files are where they were, {about.warehouse}, and the "
            f"warehouse is {settings.lake_warehouse}. Set OFFTAKE_WAREHOUSE to where they were."
        )
    if not about.rows:
        missing = [uri for uri in table_files.metadata_locations(work / CATALOG) if not table_files.exists(uri)]
        if missing:
            raise OfftakeError(
                f"The backup was taken without rows, and the warehouse lacks what it refers to: {missing[0]}. Bring "
                "the warehouse's files back first."
            )
    if not copies.keys_needed(work / STORE) <= {key_id(key) for key in _keys(settings, about, work)}:
        raise OfftakeError(
            "The backup's credentials are encrypted under another key. Set OFFTAKE_VAULT_KEY to the one that they were "
            "encrypted under."
        )


def _has_moved(settings: Settings, about: BackupHeader) -> bool:
    """Whether there are tables, and the warehouse is another folder than it was."""
    return about.tables > 0 and local_path(about.warehouse) != local_path(settings.lake_warehouse)


def _relocate(move: Move, work: Path) -> None:
    """Let the tables' files, the catalog's copy and the stored parts name files by where they are now."""
    relocate_tables(table_files.metadata_locations(work / CATALOG), move)
    table_files.set_locations(work / CATALOG, move.new_location)
    copies.change_slices(work / STORE, lambda slices: parts.at_new_locations(slices, move.new_location))


@contextmanager
def _cleaning_up_when_refused(settings: Settings, about: BackupHeader, marker: Path) -> Iterator[None]:
    """Nothing stays of a first restore that is refused when its files are there already.

    One that begins anew may find databases that the last one has filled: it leaves the marker, so that nothing starts.
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
        raise ArchiveError(f"The backup says that it has a {KEYS}, which cannot be read. Use another backup.") from None


def _check_empty(settings: Settings, about: BackupHeader) -> None:
    there = []
    for url, tables, what in (
        (settings.store_url, copies.STORE_TABLES, "the store"),
        (settings.lake_catalog_url, CATALOG_TABLES, "the catalog"),
    ):
        with closing(Database(url)) as database:
            there += [what] if copies.has_rows(database, tables) else []
    folders = [settings.uploads_root, *([local_path(settings.lake_warehouse)] if about.rows else [])]
    there += [str(folder) for folder in folders if folder.is_dir() and any(folder.iterdir())]
    if about.keys and settings.vault_key is None and key_file(settings).path.exists():
        there.append(str(key_file(settings).path))
    if there:
        raise copies.NotEmptyError(
            f"There is something already: {', '.join(there)}. Restore into an empty --data-dir and, where these are "
            "set, an empty OFFTAKE_DATABASE_URL, OFFTAKE_CATALOG_URL, OFFTAKE_WAREHOUSE and OFFTAKE_UPLOAD_DIR."
        )


def _check_same(marker: Path, targets: str) -> None:
    """Where the restore that was cut off went, something may lie: it is neither left there nor cleared unasked."""
    before = marker.read_text()
    if before != targets:
        warehouse = before.splitlines()[-1] or "left as it was"
        raise OfftakeError(
            "The restore that was cut off went to another warehouse, store, catalog or uploads folder; its warehouse: "
            f"{warehouse}. Call it with those settings, or remove what it has brought, and then {marker}."
        )


def _targets(settings: Settings, about: BackupHeader) -> str:
    """What a restore writes to, and so found empty when it began: only that may be cleared when it begins anew."""
    databases = (hashlib.sha256(url.encode()).hexdigest() for url in (settings.store_url, settings.lake_catalog_url))
    places = [*databases, str(settings.uploads_root), settings.lake_warehouse if about.rows else ""]
    return "While this file is here, nothing starts: run offtake restore again.\n" + "\n".join(places) + "\n"


def _begin(marker: Path, targets: str) -> None:
    beside = marker.with_suffix(".new")
    with beside.open("wb") as file:
        file.write(targets.encode())
        sync_file(file)
    beside.replace(marker)
    sync_folder(marker.parent)
    failpoint("restore_marked")


def _clear(settings: Settings, about: BackupHeader) -> None:
    """Away with what a restore that was cut off had brought: where it began, there was nothing."""
    shutil.rmtree(settings.uploads_root, ignore_errors=True)
    if about.rows:
        shutil.rmtree(local_path(settings.lake_warehouse), ignore_errors=True)


def _bring_files(settings: Settings, file: Path) -> None:
    places = {UPLOADS: settings.uploads_root, ROWS: local_path(settings.lake_warehouse)}
    for name, content in archive.members(file, lambda name: name.startswith(tuple(places))):
        root, _, rest = name.partition("/")
        place = places[f"{root}/"]
        path = place / rest
        if not path.resolve().is_relative_to(place.resolve()):
            raise ArchiveError(f"{file} is no backup of Offtake: {name!r} does not stay inside the folder.")
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, content)
    for place in places.values():
        for folder in (one for one in (place, *place.rglob("*")) if one.is_dir()):
            sync_folder(folder)


def _write(path: Path, content: IO[bytes]) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(content, file, _CHUNK)
        sync_file(file)


def _bring_keys(settings: Settings, about: BackupHeader, work: Path) -> None:
    if about.keys and settings.vault_key is None:
        key_file(settings).replace(_copied_keys(work))
        sync_folder(settings.data_dir)


def _bring_catalog(settings: Settings, work: Path) -> None:
    Lake(settings.lake_catalog_url, settings.lake_warehouse).close()
    with closing(Database(settings.lake_catalog_url)) as database, database.schema_transaction() as connection:
        copies.load(connection, work / CATALOG, CATALOG_TABLES, replace=True)


def _move_delivered(backend: Backend, about: BackupHeader) -> None:
    """Let what was delivered to landing zones be found in the zones of this deployment, where both are folders."""
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
        found = session.scalars(select(Flow).order_by(Flow.id)).all()
        for flow in found:
            if disable_flows and flow.state == entities.ENABLED:
                caller = access.operator_in(session, session.get_one(Sandbox, flow.sandbox_id))
                flow_changes.act(session, caller, flow.id, "disable", None, None, now)
                disabled += 1
        live = session.scalar(select(func.count()).select_from(Run).where(LIVE_RUN)) or 0
    return Restored(about, len(found), disabled, live)


def _complete_landed(backend: Backend) -> None:
    """A batch that was completed and came in while the backup was taken is in the tables: it is no longer loading."""
    with backend.database.reading() as session:
        loading = session.execute(
            select(Batch.id, Dataset.table_name).join(Dataset, Dataset.id == Batch.dataset_id).where(LOADING_BATCH)
        ).all()
    for batch_id, table in loading:
        if ingest.find_commit(backend.lake, TableName(table), batch_id) is not None:
            with backend.database.writing() as session:
                session.get_one(Batch, batch_id).status = batches.STAGED
