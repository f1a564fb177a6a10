"""A backup of everything a deployment knows, taken while it works.

What is copied when keeps the copies together: first the store, so that it speaks of no snapshot that the catalog's copy
lacks; then what was sent for open batches, so that a batch whose files are gone by then is in the catalog's copy; then
the catalog, and last the files that its copy refers to, which never change.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

from offtake import __version__
from offtake.access import access
from offtake.backup.archive import ArchiveWriter
from offtake.deployment.backend import Backend, key_file
from offtake.errors import OfftakeError
from offtake.failpoints import failpoint
from offtake.lake import table_files
from offtake.lake.catalog import CATALOG_TABLES
from offtake.lake.locations import is_local, local_path
from offtake.lake.upload_folder import sync_file, sync_folder
from offtake.settings import Settings
from offtake.store import backup as copies
from offtake.store import batches
from offtake.store.database import Database
from offtake.store.vault import key_id

FORMAT: Final = 1
ABOUT: Final = "backup.json"
STORE: Final = "store.db"
CATALOG: Final = "catalog.db"
KEYS: Final = "vault.key"
UPLOADS: Final = "uploads/"
ROWS: Final = "warehouse/"
_ARCHIVE: Final = "archive"


@dataclass(frozen=True)
class BackupHeader:
    """What a backup says of itself. `taken_at` is the instant, in epoch milliseconds, that it brings back."""

    format: int
    offtake: str
    revision: str
    taken_at: int
    warehouse: str
    rows: bool
    keys: bool
    tables: int
    files: int
    bytes: int
    landing_zone: str | None = None
    """The folder of the landing zones; None where they are no folders, and in backups of earlier versions."""

    def to_json(self) -> dict[str, Any]:
        """The document in the archive."""
        return asdict(self)


def take_backup(backend: Backend, file: Path, *, rows: bool) -> BackupHeader:
    """Write the archive, with or without the tables' files; it takes its name when it is whole.

    Raises `OfftakeError` when it cannot be taken; a file of that name stays as it was.
    """
    access.organisation_operator(backend.database)
    with _temporary_path(file) as (work, archive):
        with (work / "sums").open("w+b") as sums:
            writer = ArchiveWriter(archive, sums)
            about = _fill(backend, work, writer, rows=rows and is_local(backend.settings.lake_warehouse))
            writer.add_text(ABOUT, json.dumps(about.to_json(), indent=2))
            writer.finish()
        sync_file(archive)
        failpoint("backup_written")
        (work / _ARCHIVE).replace(file)
        sync_folder(file.parent)
    return about


def _fill(backend: Backend, work: Path, writer: ArchiveWriter, *, rows: bool) -> BackupHeader:
    taken_at = backend.clock.now_ms()
    store = work / STORE
    copies.copy_out(backend.database, copies.STORE_TABLES, store)
    failpoint("backup_store_copied")
    _add(writer, STORE, store)
    _add_keys(backend, store, writer)
    _add_sent(backend, store, writer)
    catalog = work / CATALOG
    with closing(Database(backend.settings.lake_catalog_url)) as database:
        copies.copy_out(database, CATALOG_TABLES, catalog)
    _add(writer, CATALOG, catalog)
    tables = table_files.metadata_locations(catalog)
    files = _add_rows(backend.settings.lake_warehouse, tables, writer) if rows else 0
    return BackupHeader(
        format=FORMAT,
        offtake=__version__,
        revision=copies.revision_in(store),
        taken_at=taken_at,
        warehouse=backend.settings.lake_warehouse,
        rows=rows,
        keys=backend.settings.vault_key is None,
        tables=len(tables),
        files=files,
        bytes=writer.bytes,
        landing_zone=zone_folder(backend.settings),
    )


def zone_folder(settings: Settings) -> str | None:
    """The folder of the deployment's landing zones; None where they are no folders."""
    return str(settings.landing_zone_root) if settings.has_zone_folders else None


def _add_keys(backend: Backend, store: Path, writer: ArchiveWriter) -> None:
    if backend.settings.vault_key is not None:
        return
    file = key_file(backend.settings)
    known = file.keys()
    if not copies.keys_needed(store) <= {key_id(key) for key in known}:
        raise OfftakeError("The vault's keys were rotated while the backup was taken. Take it again.")
    _add(writer, KEYS, file.path)


def _add_sent(backend: Backend, store: Path, writer: ArchiveWriter) -> None:
    for sent in copies.sent_files(store, batches.OPEN):
        path = backend.uploads.path(sent.batch_id, sent.name)
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                # One that was begun anew since is as good as gone: what the store's copy says came is not in it.
                if size >= sent.size:
                    writer.add(f"{UPLOADS}{sent.batch_id}/{path.name}", file, size)
        except FileNotFoundError:
            continue


def _add_rows(warehouse: str, tables: list[str], writer: ArchiveWriter) -> int:
    root, count = local_path(warehouse), 0
    for table in tables:
        try:
            for one in table_files.files_of(table):
                count += _add_file(root, one, writer)
        except FileNotFoundError as error:
            raise OfftakeError(
                f"A file of the tables is gone: {error.filename or table}. If a dataset was deleted or maintained "
                "just now, take the backup again; else the table is damaged."
            ) from None
    return count


def _add_file(root: Path, one: table_files.TableFile, writer: ArchiveWriter) -> bool:
    path = local_path(one.uri)
    if not path.is_relative_to(root):
        raise OfftakeError(
            f"A table keeps files outside of the warehouse: {one.uri}. Take the backup with --without-rows, and back "
            "those files up in another way."
        )
    try:
        _add(writer, f"{ROWS}{path.relative_to(root).as_posix()}", path)
    except FileNotFoundError:
        if one.needed:
            raise
        return False
    return True


def _add(writer: ArchiveWriter, name: str, path: Path) -> None:
    with path.open("rb") as file:
        writer.add(name, file, os.fstat(file.fileno()).st_size)


@contextmanager
def _temporary_path(file: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """A folder beside the file, for this process only, and the archive in it; nothing of it stays."""
    try:
        _clear_up(file)
        work = Path(tempfile.mkdtemp(prefix=f".{file.name}.", suffix=".unfinished", dir=file.parent))
        try:
            handle = os.open(work / _ARCHIVE, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(handle, "wb") as archive:
                fcntl.flock(archive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield work, archive
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise OfftakeError(f"The backup {file} could not be taken: {error.strerror or error}.") from error


def _clear_up(file: Path) -> None:
    """What backups to this name left that were killed: nobody holds it."""
    for work in file.parent.glob(f".{file.name}.*.unfinished"):
        try:
            with (work / _ARCHIVE).open("rb") as archive:
                fcntl.flock(archive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(work, ignore_errors=True)
        except OSError:
            continue
