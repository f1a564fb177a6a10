"""Files of this machine brought into a dataset as one batch, at once: the command line's way in."""

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
from offtake.lake.catalog import Lake, TableName
from offtake.lake.ingest import Attempt, DryRun
from offtake.lake.parsers import Parsers
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import input_file
from offtake.lake.parsing.options import ParseOptions
from offtake.store.batches import BatchLease, CommittedRows
from offtake.store.batches import claim_batch as take_batch
from offtake.store.batches import complete as complete_batch
from offtake.store.batches import fail as fail_batch
from offtake.store.batches import release as release_batch
from offtake.store.batches import renew as renew_batch
from offtake.store.database import Database
from offtake.store.tables import Batch, Dataset

_log = logging.getLogger(__name__)
_OWNER: Final = "import"
_LEASE_MS: Final = 600_000
_RENEW_MS: Final = 500
"""Servers watch whether the lease is renewed, and may have been told to wait for no more than seconds."""
_FAILED: Final = "The files could not be imported"
_NO_TABLE: Final = "dataset_that_is_not_there"


@dataclass(frozen=True)
class Wanted:
    """An import as it was asked for.

    `evolve`: it may add columns to a dataset that does not evolve; `again`: files that came in before come in again.
    """

    name: str
    files: tuple[Path, ...]
    options: ParseOptions = field(default_factory=ParseOptions)
    evolve: bool = False
    again: bool = False


@dataclass(frozen=True)
class Imported:
    """What an import did: the dataset, the batch that became visible, and whether the dataset is new."""

    dataset: Dataset
    batch: Batch
    created: bool


def import_files(
    database: Database, lake: Lake, parsers: Parsers, caller: Caller, clock: Clock, wanted: Wanted
) -> Imported:
    """The files' rows as one batch of the dataset, which is made when there is none of that name.

    All of the rows become visible at once, or none, and what is refused leaves nothing behind but the failed batch of a
    dataset that was there. Raises `OfftakeError` saying why.
    """
    return _Import(database, lake, parsers, caller, clock, wanted).execute()


def dry_run(database: Database, parsers: Parsers, caller: Caller, wanted: Wanted) -> DryRun:
    """What `import_files` would do; writes nothing. Raises `OfftakeError` where it would."""
    caller.require(MANAGE_DATASETS)
    with database.reading() as session:
        found = datasets.find(session, caller, wanted.name)
        may_rewrite = found is None or datasets.may_rewrite(session, found.id)
    table = TableName(found.table_name if found else f"{datasets.namespace(caller.sandbox_id)}.{_NO_TABLE}")
    evolve = wanted.evolve or (found is not None and found.evolves)
    attempt = Attempt("dry-run", evolve=evolve, may_rewrite=lambda: may_rewrite)
    with duplicate_content.hashing(wanted.files, wanted.options) as hashed, import_errors.translating_errors(_FAILED):
        files = [input_file(path) for path in wanted.files]
        result = parsers.dry_run(table, files, attempt, wanted.options)
        if found is not None and not wanted.again:
            duplicate_content.check_new(database, found.id, hashed.result())
    if not result.rows:
        raise ImportRefusedError("The files hold no rows.")
    return result


class _Import:
    """One import, from its batch's row to its end."""

    def __init__(
        self, database: Database, lake: Lake, parsers: Parsers, caller: Caller, clock: Clock, wanted: Wanted
    ) -> None:
        self._database, self._lake, self._caller, self._clock = database, lake, caller, clock
        self._parsers, self._wanted = parsers, wanted

    def execute(self) -> Imported:
        dataset, lease, created = self._begin()
        table = TableName(dataset.table_name)
        try:
            with import_errors.translating_errors(_FAILED):
                made = self._bring_in(dataset, lease)
        except BaseException as error:
            # The commit can have been made though it was reported as failed.
            landed = self._find_landed(table, lease)
            if landed is None:
                self._clean_up(dataset, lease, error, created=created)
                raise
            made = landed
            if not isinstance(error, Exception):
                self._complete(lease, made)
                raise
        failpoint("import_committed")
        self._complete(lease, made)
        with self._database.reading() as session:
            return Imported(dataset, session.get_one(Batch, lease.batch_id), created=created)

    def _find_landed(self, table: TableName, lease: BatchLease) -> ingest.Batch | None:
        """What is in the table; where that cannot be found out, the batch is given to a server, which will."""
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
            found = datasets.find(session, caller, self._wanted.name)
            if found is None:
                dataset = datasets.create(session, caller, {"name": self._wanted.name}, now, unique_name=True)
            else:
                # Locked, so that an import that made it and is refused does not remove it now.
                dataset = datasets.get(session, caller, found.id, lock=True)
            batch = batches.new(dataset.id, caller, now)
            batch.evolve = self._wanted.evolve
            session.add(batch)
            lease = take_batch(batch, _OWNER, now, _LEASE_MS)
        return dataset, lease, found is None

    def _bring_in(self, dataset: Dataset, lease: BatchLease) -> ingest.Batch:
        wanted, database = self._wanted, self._database
        dataset_tables.declare(self._lake, dataset)
        with duplicate_content.hashing(wanted.files, wanted.options) as hashed:
            check = functools.partial(self._check_content, dataset.id, lease, hashed)
            attempt = Attempt(
                lease.batch_id,
                stopped=_LeaseKeeper(database, self._clock, lease, check).keep,
                evolve=wanted.evolve or dataset.evolves,
                may_rewrite=lambda: rewrites.begin(database, lease),
                before_commit=lambda: duplicate_content.claim(database, lease, hashed.result(), again=wanted.again),
            )
            files = [input_file(path) for path in wanted.files]
            table = TableName(dataset.table_name)
            made = self._parsers.ingest(table, files, attempt, wanted.options, refuse_empty=True)
            if made is None:
                raise ImportRefusedError("The files hold no rows.")
            return made

    def _check_content(self, dataset_id: str, lease: BatchLease, hashed: ContentHash) -> bool:
        """Refuse files that came in before as soon as their hash is known; whether it has been checked."""
        if self._wanted.again or not hashed.is_known:
            return self._wanted.again
        duplicate_content.check_new(self._database, dataset_id, hashed.result(), lease.batch_id)
        return True

    def _complete(self, lease: BatchLease, made: ingest.Batch) -> None:
        size = sum(path.stat().st_size for path in self._wanted.files)
        added = CommittedRows(made.snapshot_id, made.rows, size, made.rows, made.bytes, made.notes)
        complete_batch(self._database, lease, added, self._clock.now_ms())

    def _clean_up(self, dataset: Dataset, lease: BatchLease, error: BaseException, *, created: bool) -> None:
        """Leave nothing behind but the failed batch of a dataset that was there, or that others use meanwhile."""
        interrupted = not isinstance(error, Exception)
        why = "The import was interrupted." if interrupted else import_errors.reason(error, lease.batch_id)
        try:
            if not (created and self._forget(dataset, lease)):
                reason = {"code": "INGEST-1452-400", "description": why}
                fail_batch(self._database, lease, [reason], self._clock.now_ms())
                ingest.clear(self._lake, TableName(dataset.table_name), lease.batch_id)
        except Exception as failure:  # noqa: BLE001 - the failure that led here is the one to report
            _log.warning("batch %s: not everything could be removed: %s", lease.batch_id, type(failure).__name__)

    def _forget(self, dataset: Dataset, lease: BatchLease) -> bool:
        """Remove a dataset that was made for rows that could not come in, unless it has other batches by now."""
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
    """Keeps the batch while its rows are read: a server takes over what falls silent, and ends it as it turned out."""

    database: Database
    clock: Clock
    lease: BatchLease
    check: Callable[[], bool]
    renewed_at: int = 0
    is_checked: bool = False

    def keep(self) -> bool:
        """Never a reason to stop; raises `LeaseLostError` when a server has taken over, and what `check` raises."""
        now = self.clock.now_ms()
        if now - self.renewed_at > _RENEW_MS:
            renew_batch(self.database, self.lease, now, _LEASE_MS)
            self.renewed_at = now
        self.is_checked = self.is_checked or self.check()
        return False
