"""Imports local files into a dataset as one batch, synchronously: `offtake dataset import`."""

import contextlib
import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import select

from offtake.catalog import batches, dataset_tables, datasets, duplicate_content, import_errors, rewrites
from offtake.catalog.duplicate_content import ContentHash
from offtake.clock import Clock
from offtake.contract.caller import MANAGE_DATASETS, Caller
from offtake.errors import OfftakeError
from offtake.failpoints import failpoint
from offtake.lake import ingest
from offtake.lake.catalog import Lake
from offtake.lake.ingest import Attempt, DryRun
from offtake.lake.parsers import Parsers
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import input_file
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.table_names import TableName
from offtake.store.batches import BatchLease, CommittedRows, claim_batch
from offtake.store.batches import complete as complete_batch
from offtake.store.batches import fail as fail_batch
from offtake.store.batches import release as release_batch
from offtake.store.batches import renew as renew_batch
from offtake.store.database import Database
from offtake.store.tables import Batch, Dataset
from offtake.store.tables.documents import BatchError

_log = logging.getLogger(__name__)
_OWNER: Final = "import"
_LEASE_MS: Final = 600_000
_RENEW_MS: Final = 500
"""Servers watch for heartbeats; their configured lease time may be only a few seconds."""
_FAILED: Final = "The files could not be imported"
_NO_TABLE: Final = "missing_dataset"


@dataclass(frozen=True)
class ImportRequest:
    """The parameters of an import.

    `evolve`: it may add columns to a dataset that does not evolve; `again`: import files that were imported before.
    """

    name: str
    files: tuple[Path, ...]
    options: ParseOptions = field(default_factory=ParseOptions)
    evolve: bool = False
    again: bool = False


@dataclass(frozen=True)
class ImportResult:
    """The result of an import: the dataset, the batch, and whether the dataset was created."""

    dataset: Dataset
    batch: Batch
    created: bool


def import_files(
    database: Database, lake: Lake, parsers: Parsers, caller: Caller, clock: Clock, request: ImportRequest
) -> ImportResult:
    """Import the files as one batch of the dataset, which is created if no dataset has that name.

    All rows become visible at once, or none. After a refused import, only the failed batch of an existing dataset
    remains. Raises `OfftakeError` with the reason.
    """
    return _Import(database, lake, parsers, caller, clock, request).execute()


def dry_run(database: Database, parsers: Parsers, caller: Caller, request: ImportRequest) -> DryRun:
    """The result that `import_files` would have; writes nothing. Raises `OfftakeError` as `import_files` would."""
    caller.require(MANAGE_DATASETS)
    with database.reading() as session:
        found = datasets.find(session, caller, request.name)
        if found is not None:
            datasets.check_writable(found)
        may_rewrite = found is None or datasets.may_rewrite(session, found.id)
    table = TableName(found.table_name if found else f"{datasets.namespace(caller.sandbox_id)}.{_NO_TABLE}")
    evolve = request.evolve or (found is not None and found.evolves)
    attempt = Attempt("dry-run", evolve=evolve, may_rewrite=lambda: may_rewrite)
    with duplicate_content.hashing(request.files, request.options) as hashed, import_errors.translating_errors(_FAILED):
        files = [input_file(path) for path in request.files]
        result = parsers.dry_run(table, files, attempt, request.options)
        if found is not None and not request.again:
            duplicate_content.check_new(database, found.id, hashed.result())
    if not result.rows:
        raise ImportRefusedError("The files contain no rows.")
    return result


class _Import:
    """One import, from the creation of its batch to its end."""

    def __init__(
        self, database: Database, lake: Lake, parsers: Parsers, caller: Caller, clock: Clock, request: ImportRequest
    ) -> None:
        self._database, self._lake, self._caller, self._clock = database, lake, caller, clock
        self._parsers, self._request = parsers, request

    def execute(self) -> ImportResult:
        dataset, lease, created = self._begin()
        table = TableName(dataset.table_name)
        try:
            with import_errors.translating_errors(_FAILED):
                committed = self._ingest(dataset, lease)
        except BaseException as error:
            # The commit may have succeeded although an error was reported.
            found = self._find_commit(table, lease)
            if found is None:
                self._clean_up(dataset, lease, error, created=created)
                raise
            committed = found
            if not isinstance(error, Exception):
                self._complete(lease, committed)
                raise
        failpoint("import_committed")
        self._complete(lease, committed)
        with self._database.reading() as session:
            return ImportResult(dataset, session.get_one(Batch, lease.batch_id), created=created)

    def _find_commit(self, table: TableName, lease: BatchLease) -> ingest.Batch | None:
        """The commit in the table, if any; when that cannot be determined, the batch is released for a server."""
        try:
            return ingest.find_commit(self._lake, table, lease.batch_id)
        except Exception:
            with contextlib.suppress(OfftakeError):
                release_batch(self._database, lease)
            raise

    def _begin(self) -> tuple[Dataset, BatchLease, bool]:
        now = self._clock.now_ms()
        caller = self._caller
        caller.require(MANAGE_DATASETS)
        with self._database.writing() as session:
            found = datasets.find(session, caller, self._request.name)
            if found is None:
                dataset = datasets.create(session, caller, {"name": self._request.name}, now, unique_name=True)
            else:
                # Locked, so that a refused import that created the dataset does not remove it now.
                dataset = datasets.get(session, caller, found.id, lock=True)
                datasets.check_writable(dataset)
            batch = batches.new(dataset.id, caller, now)
            batch.evolve = self._request.evolve
            session.add(batch)
            lease = claim_batch(session, batch, _OWNER, now, _LEASE_MS)
        return dataset, lease, found is None

    def _ingest(self, dataset: Dataset, lease: BatchLease) -> ingest.Batch:
        request, database = self._request, self._database
        dataset_tables.declare(self._lake, dataset)
        with duplicate_content.hashing(request.files, request.options) as hashed:
            check = functools.partial(self._check_content, dataset.id, lease, hashed)
            attempt = Attempt(
                lease.batch_id,
                stopped=_LeaseKeeper(database, self._clock, lease, check).keep,
                evolve=request.evolve or dataset.evolves,
                may_rewrite=lambda: rewrites.begin(database, lease),
                before_commit=lambda: duplicate_content.claim(database, lease, hashed.result(), again=request.again),
            )
            files = [input_file(path) for path in request.files]
            table = TableName(dataset.table_name)
            committed = self._parsers.ingest(table, files, attempt, request.options, refuse_empty=True)
            if committed is None:
                raise ImportRefusedError("The files contain no rows.")
            return committed

    def _check_content(self, dataset_id: str, lease: BatchLease, hashed: ContentHash) -> bool:
        """Refuse duplicates as soon as the hash is known. Returns whether the check is done."""
        if self._request.again or not hashed.is_known:
            return self._request.again
        duplicate_content.check_new(self._database, dataset_id, hashed.result(), lease.batch_id)
        return True

    def _complete(self, lease: BatchLease, committed: ingest.Batch) -> None:
        size = sum(path.stat().st_size for path in self._request.files)
        added = CommittedRows(
            committed.snapshot_id, committed.rows, size, committed.rows, committed.bytes, committed.notes
        )
        complete_batch(self._database, lease, added, self._clock.now_ms())

    def _clean_up(self, dataset: Dataset, lease: BatchLease, error: BaseException, *, created: bool) -> None:
        """Remove everything except the failed batch of a dataset that existed before, or that others use by now."""
        interrupted = not isinstance(error, Exception)
        message = "The import was interrupted." if interrupted else import_errors.reason(error, lease.batch_id)
        try:
            if not (created and self._forget(dataset, lease)):
                reason: BatchError = {"code": "INGEST-1452-400", "description": message}
                fail_batch(self._database, lease, [reason], self._clock.now_ms())
                ingest.clear(self._lake, TableName(dataset.table_name), lease.batch_id)
        except Exception as failure:  # noqa: BLE001 - the original failure is reported
            _log.warning(
                "batch %s: the cleanup of the failed import is incomplete: %s", lease.batch_id, type(failure).__name__
            )

    def _forget(self, dataset: Dataset, lease: BatchLease) -> bool:
        """Delete the dataset that this failed import created, unless it has other batches by now."""
        with self._database.writing() as session:
            stored = session.get(Dataset, dataset.id, with_for_update=True)
            others = select(Batch.id).where(Batch.dataset_id == dataset.id, Batch.id != lease.batch_id).limit(1)
            if stored is None or session.scalar(others) is not None:
                return stored is None
            datasets.forget(session, self._caller, stored, self._clock.now_ms())
        self._lake.purge(TableName(dataset.table_name))
        return True


@dataclass
class _LeaseKeeper:
    """Renews the batch's lease while files are parsed; if it expires, a server takes over and ends the batch."""

    database: Database
    clock: Clock
    lease: BatchLease
    check: Callable[[], bool]
    renewed_at: int = 0
    is_checked: bool = False

    def keep(self) -> bool:
        """Return False (never stop). Raises `LeaseLostError` when a server has taken over, and as `check` does."""
        now = self.clock.now_ms()
        if now - self.renewed_at > _RENEW_MS:
            renew_batch(self.database, self.lease, now, _LEASE_MS)
            self.renewed_at = now
        self.is_checked = self.is_checked or self.check()
        return False
