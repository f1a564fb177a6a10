"""An online backup of a whole deployment.

The order of the copies keeps them consistent: first the store, so that it refers to no snapshot that is missing in the
catalog's copy; then the uploads of open batches, so that a batch whose uploads are already removed is in the catalog's
copy; then the catalog, and last the files that its copy refers to, which never change.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Final

from offtake import __version__
from offtake.access import access
from offtake.backup.archive import ArchiveWriter
from offtake.deployment import admin_file
from offtake.deployment.backend import Backend, key_file
from offtake.deployment.storage_settings import uploads_folder
from offtake.documents import Json
from offtake.errors import OfftakeError
from offtake.failpoints import failpoint
from offtake.lake import table_files
from offtake.lake.catalog import CATALOG_TABLES
from offtake.lake.locations import is_local, local_path
from offtake.lake.upload_folder import FolderUploads, sync_file, sync_folder
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
ADMIN: Final = "admin.json"
UPLOADS: Final = "uploads/"
ROWS: Final = "warehouse/"
METADATA: Final = "metadata/"
_ARCHIVE: Final = "archive"


@dataclass(frozen=True)
class BackupHeader:
    """The header of a backup. `taken_at`: the time of the restored state, in epoch milliseconds."""

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
    """The folder of the landing zones; None when they are not folders, and in backups of earlier versions."""
    uploads: str | None = None
    """The location of uploads in an object store, which are not in the backup; None for those in a folder."""

    def to_json(self) -> Json:
        """The header as stored in the archive."""
        return asdict(self)


def take_backup(backend: Backend, file: Path, *, rows: bool) -> BackupHeader:
    """Write the archive, with or without the tables' files (`rows`); it gets its name when it is complete.

    Raises `OfftakeError` when the backup fails; then an existing file of that name is unchanged.
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
    _add_admin(backend, writer)
    _add_sent(backend, store, writer)
    catalog = work / CATALOG
    with closing(Database(backend.settings.lake_catalog_url)) as database:
        copies.copy_out(database, CATALOG_TABLES, catalog)
    _add(writer, CATALOG, catalog)
    tables = table_files.metadata_locations(catalog)
    files = _add_rows(backend.settings.lake_warehouse, tables, writer) if rows else 0
    if not rows:
        _add_metadata(backend, tables, writer)
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
        uploads=stored_uploads(backend.settings),
    )


def stored_uploads(settings: Settings) -> str | None:
    """The location of uploads in an object store; None for those in a folder."""
    return settings.uploads_location if uploads_folder(settings) is None else None


def zone_folder(settings: Settings) -> str | None:
    """The folder of the deployment's landing zones; None when they are not folders."""
    return str(settings.landing_zone_root) if settings.has_zone_folders else None


def _add_keys(backend: Backend, store: Path, writer: ArchiveWriter) -> None:
    if backend.settings.vault_key is not None:
        return
    file = key_file(backend.settings)
    known = file.keys()
    if not copies.keys_needed(store) <= {key_id(key) for key in known}:
        raise OfftakeError("The vault's keys were rotated during the backup. Run the backup again.")
    _add(writer, KEYS, file.path)


def _add_admin(backend: Backend, writer: ArchiveWriter) -> None:
    with suppress(FileNotFoundError):
        _add(writer, ADMIN, admin_file.admin_file(backend.settings))


def _add_sent(backend: Backend, store: Path, writer: ArchiveWriter) -> None:
    if not isinstance(backend.uploads, FolderUploads):
        return  # they stay in their object store, as the tables' files do there
    for sent in copies.sent_files(store, batches.OPEN):
        path = backend.uploads.path(sent.batch_id, sent.name)
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                # A shorter file was restarted since; it lacks bytes that the store's copy counts, so it is skipped.
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
                f"A file of a table is missing: {error.filename or table}. If a dataset was deleted or maintained "
                "meanwhile, run the backup again; otherwise the table is damaged."
            ) from None
    return count


def _add_metadata(backend: Backend, tables: list[str], writer: ArchiveWriter) -> None:
    """Add each table's current metadata file: upkeep removes it from the warehouse when later ones replace it."""
    io = backend.lake.warehouse.io
    for table in tables:
        try:
            with io.new_input(table).open() as file:
                content = file.read()
        except FileNotFoundError:
            raise OfftakeError(
                f"A metadata file is missing: {table}. If a dataset was deleted or maintained meanwhile, run the "
                "backup again; otherwise the table is damaged."
            ) from None
        writer.add(metadata_member(table), BytesIO(content), len(content))


def metadata_member(location: str) -> str:
    """The name in the archive of the copy of a table's metadata file."""
    return f"{METADATA}{hashlib.sha256(location.encode()).hexdigest()}"


def _add_file(root: Path, one: table_files.TableFile, writer: ArchiveWriter) -> bool:
    path = local_path(one.uri)
    if not path.is_relative_to(root):
        raise OfftakeError(
            f"A table has files outside the warehouse: {one.uri}. Run the backup with --without-rows, and back up "
            "those files separately."
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
    """A temporary folder next to the file, for this process only, with the archive in it; removed at the end."""
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
        raise OfftakeError(f"The backup {file} could not be written: {error.strerror or error}.") from error


def _clear_up(file: Path) -> None:
    """Remove temporary folders of killed backups to this file, which no process has locked."""
    for work in file.parent.glob(f".{file.name}.*.unfinished"):
        try:
            with (work / _ARCHIVE).open("rb") as archive:
                fcntl.flock(archive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(work, ignore_errors=True)
        except OSError:
            continue
