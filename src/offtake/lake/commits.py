"""Commits of batches: the rows and the column changes of a batch become visible as one snapshot.

A batch's snapshot has the batch's id as a property. Each try to commit first looks for it in the table state that it
builds on, so a batch is committed at most once, even by concurrent attempts. Each attempt uses its own file names, so
it never deletes files that another attempt may still commit.
"""

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException, NamespaceAlreadyExistsError, TableAlreadyExistsError
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.snapshots import Snapshot
from sqlalchemy.exc import IntegrityError

from offtake.errors import CancelledError
from offtake.failpoints import failpoint
from offtake.lake import evolution, rewriting, scan
from offtake.lake.catalog import Lake, LakeFullError, raising_lake_full
from offtake.lake.committed_batch import CommittedBatch
from offtake.lake.evolution import SchemaChange
from offtake.lake.parsing.columns import Resolver, are_compatible, null_columns_as_text
from offtake.lake.parsing.errors import ImportRefusedError, SchemaMismatchError
from offtake.lake.parsing.kinds import KindConflictError
from offtake.lake.table_names import TableName
from offtake.lake.writing import DataFiles

BATCH_ID: Final = "offtake.batch-id"
REVERTED_ID: Final = "offtake.reverted-batch-id"
_COMMITS: Final = 20
_PROPERTIES: Final = {
    "format-version": "2",
    # `retry_commit` retries on the newest state. PyIceberg would rebase the commit, which fails when both commits
    # added columns, and would wait for minutes.
    "commit.retry.num-retries": "0",
}
_REMEDY: Final = "Correct the table's rows, then send the batch's rows as a new batch."
_REJECTIONS: Final = (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, OverflowError)
"""What PyIceberg raises, before it commits, for schemas and values that it does not support."""


@dataclass(frozen=True)
class Batch:
    """What a batch added: its snapshot, number of rows, bytes and number of data files, and notes for the user."""

    snapshot_id: int
    rows: int
    bytes: int
    files: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attempt:
    """One attempt to import a batch: its number, the batches it replaces, and whether it must stop.

    `evolve`: the batch may add columns. `may_rewrite` is called before the table is rewritten for a change of type; its
    result is valid until the batch ends. `before_commit` is called when all rows are written; if it raises, the
    attempt's files are deleted.
    """

    batch_id: str
    number: int = 1
    replaces: tuple[CommittedBatch, ...] = ()
    stopped: Callable[[], bool] = lambda: False
    evolve: bool = False
    may_rewrite: Callable[[], bool] = lambda: False
    before_commit: Callable[[], None] = lambda: None

    def raise_if_stopped(self) -> None:
        """Raise `CancelledError` when this process must release the batch."""
        if self.stopped():
            raise CancelledError(f"The import of batch {self.batch_id} was cancelled.")


class OtherSchemaError(Exception):
    """Another commit gave the table columns that are not compatible with the planned files."""


@dataclass(frozen=True)
class NewRows:
    """Rows to commit. `table`: as it was loaded at planning (None: no table); `target`: the columns afterwards.

    `base`: the table's columns at planning.
    """

    table: Table | None
    base: pa.Schema | None
    target: pa.Schema
    rows: Iterable[pa.RecordBatch]
    change: SchemaChange = field(default_factory=SchemaChange)


def write(lake: Lake, table: TableName, new: NewRows, attempt: Attempt) -> Batch | None:
    """Write and commit the rows. Returns None when there are no rows.

    Raises `ImportRefusedError`, `LakeFullError`, `OtherSchemaError` and `CancelledError`; then the table is unchanged
    and the attempt's files are deleted.
    """
    folder = f"{new.table.location() if new.table else lake.location(table)}/data"
    files = DataFiles(lake.warehouse, folder, f"{attempt.batch_id}-{attempt.number}", null_columns_as_text(new.target))
    try:
        files.write(new.rows)
        failpoint("batch_written")
        if not files.uris and not (attempt.replaces and new.table):
            return None
        attempt.raise_if_stopped()
        attempt.before_commit()
    except BaseException:
        files.remove()
        raise
    try:
        with raising_lake_full(), _translating_errors():
            table_now, snapshot = _commit(lake, table, new, files, attempt)
    except (ImportRefusedError, LakeFullError):
        if find_commit(lake, table, attempt.batch_id) is None:
            files.remove()
        raise
    except (CommitFailedException, OtherSchemaError):
        files.remove()
        raise
    # After any other error the files stay: the commit may have succeeded. Here, another attempt may have committed the
    # batch: then the table has that attempt's files, not these.
    if not {file.file_path for file in scan.added_files(table_now, snapshot)}.issuperset(files.uris):
        files.remove()
    return batch_of(snapshot)


def declare(lake: Lake, table: TableName, schema: pa.Schema) -> None:
    """Create the table with these columns and no rows. Does nothing when it exists. Raises `ImportRefusedError`."""
    with raising_lake_full(), _translating_errors(), contextlib.suppress(TableAlreadyExistsError):
        properties = _PROPERTIES | {evolution.DECLARED: "true"}
        _create_namespace(lake, table)
        lake.catalog.create_table(
            table, null_columns_as_text(schema), location=lake.location(table), properties=properties
        )


def find_commit(lake: Lake, table: TableName, batch_id: str) -> Batch | None:
    """What the batch added, or None when it is not in the table's history."""
    loaded = lake.find(table)
    snapshot = snapshot_with(loaded, BATCH_ID, batch_id) if loaded else None
    return None if snapshot is None else batch_of(snapshot)


def snapshot_with(table: Table, name: str, value: str) -> Snapshot | None:
    """The newest snapshot with that property, or None."""
    for snapshot in reversed(table.metadata.snapshots):
        if snapshot.summary is not None and snapshot.summary.additional_properties.get(name) == value:
            return snapshot
    return None


def batch_of(snapshot: Snapshot) -> Batch:
    """What the snapshot added, according to its summary."""
    rows, size, files = (int(snapshot.summary.get(name) or 0) if snapshot.summary else 0 for name in _ADDED)
    return Batch(snapshot.snapshot_id, rows, size, files)


_ADDED: Final = ("added-records", "added-files-size", "added-data-files")


def files_of(table: Table, batch: CommittedBatch) -> list[IcebergFile]:
    """The batch's data files. Raises `ImportRefusedError` when some of its rows were compacted or deleted since."""
    current = table.current_snapshot()
    files = scan.files_added_by(table, current, batch.snapshot_id) if current else []
    if sum(file.record_count for file in files) != batch.rows:
        raise ImportRefusedError(
            f"Batch {batch.batch_id} cannot be reverted or replaced: its rows have been compacted or deleted since. "
            f"{_REMEDY}"
        )
    return files


def overwrite(
    transaction: Transaction, uris: list[str], replaced: Iterable[IcebergFile], properties: dict[str, str]
) -> None:
    """Replace files with the files at `uris`, in one snapshot."""
    # PyIceberg's public overwrite takes a row filter and holds the new rows in memory; this is its implementation.
    from pyiceberg.table import _parquet_files_to_data_files  # noqa: PLC0415 - see above

    metadata, io = transaction.table_metadata, transaction._table.io  # noqa: SLF001 - see above
    with transaction.update_snapshot(snapshot_properties=properties).overwrite() as update:
        for file in replaced:
            update.delete_data_file(file)
        for file in _parquet_files_to_data_files(metadata, uris, io):
            update.append_data_file(file)


def retry_commit(attempt: Callable[[], Table]) -> Table:
    """Retry while other processes commit first. Raises PyIceberg's error of the last try."""
    for number in range(1, _COMMITS):
        try:
            return attempt()
        except (CommitFailedException, TableAlreadyExistsError):
            time.sleep(random.uniform(0, 0.05 * number))  # noqa: S311 - jitter, not a secret
    return attempt()


def _commit(lake: Lake, table: TableName, new: NewRows, files: DataFiles, attempt: Attempt) -> tuple[Table, Snapshot]:
    """Commit on the planned state of the table; a retry commits the same files on the newest state.

    The catalog refuses a commit on a state that is not the newest.
    """
    planned = [new.table]

    def commit() -> Table:
        current = planned.pop() if planned else lake.find(table)
        if current is None:
            return _create(lake, table, new, files, attempt)
        if snapshot_with(current, BATCH_ID, attempt.batch_id) is None:
            _add(lake, table, current, new, files, attempt)
        return current

    current = retry_commit(commit)
    snapshot = snapshot_with(current, BATCH_ID, attempt.batch_id)
    if snapshot is None:
        raise ImportRefusedError(
            f"Batch {attempt.batch_id} was committed, but its snapshot is not in the table's history. Check the "
            "table's rows, then send the batch again if they are missing."
        )
    return current, snapshot


def _create_namespace(lake: Lake, table: TableName) -> None:
    # Another process may create the namespace at the same time.
    with contextlib.suppress(NamespaceAlreadyExistsError, IntegrityError):
        lake.catalog.create_namespace_if_not_exists(table.split(".")[0])


def _create(lake: Lake, table: TableName, new: NewRows, files: DataFiles, attempt: Attempt) -> Table:
    _create_namespace(lake, table)
    properties = _PROPERTIES | evolution.properties_of(new.target) | evolution.unbounded_properties(files.unbounded)
    transaction = lake.catalog.create_table_transaction(
        table, null_columns_as_text(new.target), location=lake.location(table), properties=properties
    )
    added = {BATCH_ID: attempt.batch_id}
    transaction.add_files(files.uris, snapshot_properties=added, check_duplicate_files=False)
    return transaction.commit_transaction()


def _add(lake: Lake, table: TableName, loaded: Table, new: NewRows, files: DataFiles, attempt: Attempt) -> None:
    current = evolution.current_schema(loaded)
    target, change = new.target, new.change
    if current != new.base:
        target = _rebase(current, new)
        change = evolution.compare(current, target)
    replaced = [file for batch in attempt.replaces for file in files_of(loaded, batch)]
    transaction = loaded.transaction()
    rewrite = None
    try:
        evolution.evolve(transaction, current, target, change)
        if change.rewritten:
            rewrite = rewriting.rewrite_files(transaction, lake, table)
            rewriting.commit_rewrite(transaction, rewrite)
        _add_files(transaction, files, replaced, {BATCH_ID: attempt.batch_id})
        transaction.commit_transaction()
    except BaseException:
        if rewrite is not None:
            rewrite.remove()
        raise


def _rebase(current: pa.Schema, new: NewRows) -> pa.Schema:
    """The target columns merged into those that other commits added since the files were planned."""
    if new.change.rewritten or new.change.filled or new.change.determined or not are_compatible(current, new.target):
        raise OtherSchemaError("concurrent imports write other types.")
    try:
        return Resolver().schema(current, new.target)
    except (KindConflictError, SchemaMismatchError):
        raise OtherSchemaError("concurrent imports write other types.") from None


def _add_files(
    transaction: Transaction, files: DataFiles, replaced: list[IcebergFile], properties: dict[str, str]
) -> None:
    unbounded = evolution.unbounded_properties(files.unbounded)
    if unbounded.items() - transaction.table_metadata.properties.items():
        transaction.set_properties(unbounded)
    if replaced:
        overwrite(transaction, files.uris, replaced, properties)
    else:
        transaction.add_files(files.uris, snapshot_properties=properties, check_duplicate_files=False)


@contextmanager
def _translating_errors() -> Iterator[None]:
    """Translates errors of PyIceberg about columns and values to `ImportRefusedError`."""
    try:
        yield
    except SchemaMismatchError as error:
        raise ImportRefusedError(f"The dataset's rows cannot be converted to the new types: {error}.") from None
    except rewriting.NotRewritableError as error:
        raise ImportRefusedError(f"The dataset's column types cannot change: {error}.") from None
    except _REJECTIONS as error:
        raise ImportRefusedError(f"The dataset's table does not support these columns: {error}") from error
