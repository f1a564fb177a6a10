"""An ingestor: claims completed batches and imports each as one snapshot.

If it is killed at any time, the next ingestor finds the batch in the table's history, or imports it again.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy import select

from offtake.catalog import (
    batch_reverts,
    batches,
    dataset_tables,
    datasets,
    duplicate_content,
    import_errors,
    rewrites,
    uploaded_files,
)
from offtake.catalog.file_options import parse_options
from offtake.clock import Clock
from offtake.contract.problems import Problem
from offtake.errors import CancelledError, LeaseLostError
from offtake.failpoints import failpoint
from offtake.lake import ingest
from offtake.lake.catalog import Lake, LakeFullError
from offtake.lake.committed_batch import CommittedBatch
from offtake.lake.ingest import Attempt
from offtake.lake.parsers import Parsers
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.table_names import TableName
from offtake.lake.uploads import Uploads
from offtake.scheduling.heartbeat import Heartbeat
from offtake.scheduling.lease_loop import work_until_stopped
from offtake.store import batches as store
from offtake.store.batches import BatchLease, CommittedRows
from offtake.store.database import Database, StoreBusyError, StoreFullError
from offtake.store.leases import LeaseMonitor
from offtake.store.tables import Batch, Dataset, Sandbox
from offtake.store.tables.documents import BatchError

_log = logging.getLogger(__name__)
T = TypeVar("T")

_MOST_TRIES: Final = 5
_PAUSE_MS: Final = 10_000
_ROOM_SECONDS: Final = 2.0
_ABANDONED_MS: Final = 7 * 86_400_000
_ADVICE: Final = "Correct the file, and send it with a new batch."


@dataclass(frozen=True)
class _ClaimedBatch:
    """A batch to be imported or, when it is committed already (`landed`), reverted.

    `files` is None when no server has them, because the command line was importing them. `again`: whether files that
    were imported before may be imported.
    """

    dataset: Dataset
    table: TableName
    files: tuple[InputFile, ...] | None
    options: ParseOptions
    evolve: bool
    again: bool
    replaces: tuple[CommittedBatch, ...]
    landed: CommittedBatch | None
    sent_bytes: int


@dataclass(frozen=True)
class Ingestor:
    """Imports batches, one at a time. Several ingestors may share a database, in one process or in many."""

    database: Database
    lake: Lake
    parsers: Parsers
    uploads: Uploads
    clock: Clock
    owner: str
    watch: LeaseMonitor
    lease_seconds: float

    def ingest_next(self, stop: threading.Event) -> bool:
        """Import the batch that has waited longest; False when there was none. Releases it when `stop` is set."""
        begun = time.monotonic()
        lease = store.claim_next(self.database, self.owner, self.watch, self.clock.now_ms(), self._lease_ms)
        if lease is None:
            return False
        failpoint("batch_claimed")
        heartbeat = Heartbeat(f"batch {lease.batch_id}", lambda: self._renew(lease), self.lease_seconds, begun)
        try:
            with heartbeat.running():
                self._work(lease, heartbeat, stop)
        except LeaseLostError:
            self._clean_up_if_gone(lease)
        return True

    def work(self, stop: threading.Event, pause_seconds: float = 0.5) -> None:
        """Import batches until `stop` is set."""
        work_until_stopped("batch", self.ingest_next, self.database.wakeup, stop, pause_seconds)

    def _renew(self, lease: BatchLease) -> bool:
        store.renew(self.database, lease, self.clock.now_ms(), self._lease_ms)
        return False

    @property
    def _lease_ms(self) -> int:
        return round(self.lease_seconds * 1000)

    def _work(self, lease: BatchLease, heartbeat: Heartbeat, stop: threading.Event) -> None:
        try:
            work = self._look_up(lease)
        except Problem as error:
            # An earlier version accepted options that this one does not support.
            self._fail(lease, None, f"{error} {_ADVICE}")
            return
        try:
            if work.landed is not None:
                self._revert(lease, work, work.landed)
            else:
                self._import(lease, work, lambda: stop.is_set() or heartbeat.lost)
        except CancelledError:
            if not heartbeat.lost:
                store.release(self.database, lease)
        except (LeaseLostError, StoreBusyError, StoreFullError):
            # Without the database nothing can be recorded; the next ingestor to claim the batch finds out its state.
            raise
        except Exception as error:  # noqa: BLE001 - a batch must end with a reason, whatever the error
            _log.exception("batch %s was not imported", lease.batch_id)
            self._try_later(lease, work, error)

    def _import(self, lease: BatchLease, work: _ClaimedBatch, stopped: Callable[[], bool]) -> None:
        try:
            batch = _retry_while_full(lambda: self._commit(lease, work, stopped), lease, stopped)
        except ImportRefusedError as error:
            self._fail(lease, work.table, f"{error} {_ADVICE}", error.row)
            return
        failpoint("batch_committed")
        if batch is None or lease.fence > 1:
            ingest.clear(self.lake, work.table, lease.batch_id)
        if batch is None:
            added = CommittedRows(None, 0, work.sent_bytes, 0, 0)
        else:
            added = CommittedRows(batch.snapshot_id, batch.rows, work.sent_bytes, batch.rows, batch.bytes, batch.notes)
        _retry_while_full(lambda: store.complete(self.database, lease, added, self.clock.now_ms()), lease, stopped)
        failpoint("batch_completed")
        self.uploads.remove(lease.batch_id)

    def _commit(self, lease: BatchLease, work: _ClaimedBatch, stopped: Callable[[], bool]) -> ingest.Batch | None:
        # No attempt precedes the first claim, except in a restored backup: its files are no longer there then.
        is_first = lease.fence == 1 and work.files is not None and all(file.path.exists() for file in work.files)
        committed = None if is_first else ingest.find_commit(self.lake, work.table, lease.batch_id)
        return committed or self._ingest(lease, work, stopped)

    def _ingest(self, lease: BatchLease, work: _ClaimedBatch, stopped: Callable[[], bool]) -> ingest.Batch | None:
        if work.files is None:
            raise ImportRefusedError("The command that imported the files was interrupted.")
        if lease.fence > 2 * _MOST_TRIES:
            raise ImportRefusedError(
                f"The server died {lease.fence - 1} times while importing the batch (out of memory?). Split its files."
            )
        dataset_tables.declare(self.lake, work.dataset)
        with duplicate_content.hashing([file.path for file in work.files], work.options) as hashed:
            attempt = Attempt(
                lease.batch_id,
                lease.fence,
                work.replaces,
                stopped,
                evolve=work.evolve,
                may_rewrite=lambda: rewrites.begin(self.database, lease),
                before_commit=lambda: duplicate_content.claim(self.database, lease, hashed.result(), again=work.again),
            )
            return self.parsers.ingest(work.table, work.files, attempt, work.options)

    def _revert(self, lease: BatchLease, work: _ClaimedBatch, landed: CommittedBatch) -> None:
        batch_reverts.execute(self.database, self.lake, work.table, landed, lease, self.clock)

    def _fail(self, lease: BatchLease, table: TableName | None, why: str, row: int | None = None) -> None:
        reason: BatchError = {"code": "INGEST-1452-400", "description": why}
        if row is not None:
            reason["rows"] = [str(row)]
        if table is not None:
            self._clear(lease, table)
        store.fail(self.database, lease, [reason], self.clock.now_ms())
        self.uploads.remove(lease.batch_id)

    def _clear(self, lease: BatchLease, table: TableName) -> None:
        try:
            ingest.clear(self.lake, table, lease.batch_id)
        except Exception:  # noqa: BLE001 - a batch must end even if its table cannot be read
            _log.exception("batch %s: its files could not be removed", lease.batch_id)

    def _try_later(self, lease: BatchLease, work: _ClaimedBatch, error: Exception) -> None:
        """Retry after transient errors; any other error would occur again with the same files."""
        again = import_errors.is_transient(error)
        why = import_errors.reason(error, lease.batch_id)
        if work.landed is not None and not again:
            batch_reverts.refuse(self.database, lease, why, self.clock)
        elif work.landed is None and (lease.fence >= _MOST_TRIES or not (again or self._has_landed(lease, work))):
            self._fail(lease, work.table, why)
        else:
            store.release(self.database, lease, self.clock.now_ms() + _PAUSE_MS)

    def _has_landed(self, lease: BatchLease, work: _ClaimedBatch) -> bool:
        """Whether the batch was committed although the commit reported an error."""
        try:
            return ingest.find_commit(self.lake, work.table, lease.batch_id) is not None
        except Exception:  # noqa: BLE001 - see `_clear`
            return False

    def _look_up(self, lease: BatchLease) -> _ClaimedBatch:
        with self.database.reading() as session:
            batch = session.get(Batch, lease.batch_id)
            dataset = session.get(Dataset, batch.dataset_id) if batch else None
            # A committed batch is claimed to be reverted: this is valid only while the lease is held.
            if batch is None or dataset is None or not store.holds(lease, batch):
                raise LeaseLostError(f"Batch {lease.batch_id} is gone, or held by another ingestor.")
            landed = batches.committed_batch(batch)
            is_sent = landed is None and not batches.is_import(batch)
            # A batch without a format can be completed only if no files were uploaded for it.
            has_files = is_sent and batches.has_format(batch)
            return _ClaimedBatch(
                dataset=dataset,
                table=TableName(dataset.table_name),
                files=tuple(uploaded_files.input_files(session, batch, self.uploads))
                if has_files
                else (() if is_sent else None),
                options=parse_options(batches.read_format(batch.input_format)) if has_files else ParseOptions(),
                evolve=dataset.evolves or batch.evolve,
                again=not (has_files and batches.read_format(batch.input_format).refuse_duplicates),
                replaces=batches.batches_to_replace(session, batch),
                landed=landed,
                sent_bytes=sum(file.size for file in uploaded_files.all_of(session, batch.id)),
            )

    def _clean_up_if_gone(self, lease: BatchLease) -> None:
        """Remove what is left of a batch whose dataset was deleted meanwhile."""
        with self.database.reading() as session:
            gone = session.get(Batch, lease.batch_id) is None
        _log.warning("batch %s: %s", lease.batch_id, "it was deleted" if gone else "another ingestor has taken over")
        if gone:
            for _ in sweep(self.database, self.lake, self.uploads, self.clock):
                pass


def _retry_while_full(act: Callable[[], T], lease: BatchLease, stopped: Callable[[], bool]) -> T:
    """Call `act`, and again while the disk is full: that must not fail a batch.

    Raises `CancelledError` when the work must stop.
    """
    logged = False
    while True:
        try:
            return act()
        except (LakeFullError, StoreFullError) as error:
            if not logged:
                _log.warning("batch %s waits for free disk space: %s", lease.batch_id, error)
                logged = True
        until = time.monotonic() + _ROOM_SECONDS
        while time.monotonic() < until:
            if stopped():
                raise CancelledError(f"Batch {lease.batch_id} is released.")
            time.sleep(_ROOM_SECONDS / 20)


def sweep(database: Database, lake: Lake, uploads: Uploads, clock: Clock) -> Iterator[None]:
    """Remove uploads of ended batches and tables of deleted datasets; yields after each short step.

    Open batches without an upload in the last seven days are abandoned.
    """
    store.abandon_old(database, clock.now_ms() - _ABANDONED_MS, clock.now_ms())
    for batch_id in uploads.batch_ids():
        with database.reading() as session:
            batch = session.get(Batch, batch_id)
        if batch is None or batch.status not in store.OPEN:
            uploads.remove(batch_id)
        yield
    # Tables are listed first: a dataset's row is created before its table.
    with database.reading() as session:
        spaces = [datasets.namespace(sandbox_id) for sandbox_id in session.scalars(select(Sandbox.id))]
    for space in spaces:
        tables = lake.tables_in(space)
        with database.reading() as session:
            known = set(session.scalars(select(Dataset.table_name).where(Dataset.table_name.in_(tables))))
        for table in tables:
            if table not in known:
                lake.purge(table)
            yield
