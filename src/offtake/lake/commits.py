"""Rows of a batch made visible in a table as one snapshot, together with what the batch changes of the columns.

A batch's snapshot bears the batch's id. Each try to commit looks for it first, in the state of the table that it builds
upon; so a batch is committed once, however many try. Each attempt writes files of its own name: none removes files that
another may yet commit.
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
from offtake.lake.catalog import Lake, LakeFullError, TableName, raising_lake_full
from offtake.lake.evolution import SchemaChange
from offtake.lake.parsing.columns import Resolver, are_compatible, null_columns_as_text
from offtake.lake.parsing.errors import ImportRefusedError, SchemaMismatchError
from offtake.lake.parsing.kinds import KindConflictError
from offtake.lake.writing import DataFiles

BATCH_ID: Final = "offtake.batch-id"
REVERTED_ID: Final = "offtake.reverted-batch-id"
_COMMITS: Final = 20
_PROPERTIES: Final = {
    "format-version": "2",
    # A commit that lost is made again on the newest state, here; PyIceberg would rebase it, which fails when both
    # added columns, and wait minutes.
    "commit.retry.num-retries": "0",
}
_REMEDY: Final = "Send its rows again under a new batch, after bringing the table into the state you want."
_NEVER: Final = (ValueError, TypeError, KeyError, AttributeError, NotImplementedError, OverflowError)
"""What PyIceberg raises for schemas and values that it cannot take, before it commits."""


@dataclass(frozen=True)
class Batch:
    """What a batch added: its snapshot, its rows, and the bytes and number of its data files; notes for the user."""

    snapshot_id: int
    rows: int
    bytes: int
    files: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CommittedBatch:
    """A batch that is in the table: its id, its snapshot, and the rows it added."""

    batch_id: str
    snapshot_id: int
    rows: int


@dataclass(frozen=True)
class Attempt:
    """One try to bring a batch in: its number, which batches it takes the place of, and whether it is to stop.

    `evolve`: it may add columns. `may_rewrite` is asked before the table is rewritten for a change of type, and what it
    says holds until the batch ends. `before_commit` is called when all rows are written; what it raises leaves nothing.
    """

    batch_id: str
    number: int = 1
    replaces: tuple[CommittedBatch, ...] = ()
    stopped: Callable[[], bool] = lambda: False
    evolve: bool = False
    may_rewrite: Callable[[], bool] = lambda: False
    before_commit: Callable[[], None] = lambda: None

    def raise_if_stopped(self) -> None:
        """Raise `CancelledError` when the batch is to be given back."""
        if self.stopped():
            raise CancelledError(f"Batch {self.batch_id} is given back.")


class OtherSchemaError(Exception):
    """Since the files were planned, the table got columns that they do not agree with."""


@dataclass(frozen=True)
class NewRows:
    """Rows to commit: the columns that the table had when they were planned, and those it has with them."""

    known: pa.Schema | None
    wanted: pa.Schema
    rows: Iterable[pa.RecordBatch]
    change: SchemaChange = field(default_factory=SchemaChange)


def write(lake: Lake, table: TableName, new: NewRows, attempt: Attempt) -> Batch | None:
    """Write the rows and commit them; None without rows.

    Raises `ImportRefusedError`, `LakeFullError`, `OtherSchemaError` and `CancelledError` with the table unchanged and
    no files of this attempt left.
    """
    loaded = lake.find(table)
    folder = f"{loaded.location() if loaded else lake.location(table)}/data"
    files = DataFiles(folder, f"{attempt.batch_id}-{attempt.number}", null_columns_as_text(new.wanted))
    try:
        files.write(new.rows)
        failpoint("batch_written")
        if not files.uris and not (attempt.replaces and loaded):
            return None
        attempt.raise_if_stopped()
        attempt.before_commit()
    except BaseException:
        files.remove()
        raise
    try:
        with raising_lake_full(), _refusing():
            table_now, snapshot = _commit(lake, table, new, files, attempt)
    except (ImportRefusedError, LakeFullError):
        if find_commit(lake, table, attempt.batch_id) is None:
            files.remove()
        raise
    except (CommitFailedException, OtherSchemaError):
        files.remove()
        raise
    # Whatever else went wrong, the commit may have been made nevertheless: then the files are the table's.
    if not {file.file_path for file in scan.added_files(table_now, snapshot)}.issuperset(files.uris):
        files.remove()
    return batch_of(snapshot)


def declare(lake: Lake, table: TableName, schema: pa.Schema) -> None:
    """Make the table without rows, under columns whose types are given; nothing happens when it is there.

    Raises `ImportRefusedError`.
    """
    with raising_lake_full(), _refusing(), contextlib.suppress(TableAlreadyExistsError):
        properties = _PROPERTIES | {evolution.DECLARED: "true"}
        _create_namespace(lake, table)
        lake.catalog.create_table(
            table, null_columns_as_text(schema), location=lake.location(table), properties=properties
        )


def find_commit(lake: Lake, table: TableName, batch_id: str) -> Batch | None:
    """What the batch added, if it is in the table's history."""
    loaded = lake.find(table)
    snapshot = snapshot_with(loaded, BATCH_ID, batch_id) if loaded else None
    return None if snapshot is None else batch_of(snapshot)


def snapshot_with(table: Table, name: str, value: str) -> Snapshot | None:
    """The snapshot with that property."""
    for snapshot in reversed(table.metadata.snapshots):
        if snapshot.summary is not None and snapshot.summary.additional_properties.get(name) == value:
            return snapshot
    return None


def batch_of(snapshot: Snapshot) -> Batch:
    """What the snapshot added, by its own counts."""
    rows, size, files = (int(snapshot.summary.get(name) or 0) if snapshot.summary else 0 for name in _ADDED)
    return Batch(snapshot.snapshot_id, rows, size, files)


_ADDED: Final = ("added-records", "added-files-size", "added-data-files")


def files_of(table: Table, batch: CommittedBatch) -> list[IcebergFile]:
    """The batch's files, all of which are in the table as they came in. Raises `ImportRefusedError` if not."""
    current = table.current_snapshot()
    files = scan.files_added_by(table, current, batch.snapshot_id) if current else []
    if sum(file.record_count for file in files) != batch.rows:
        raise ImportRefusedError(
            f"The rows of batch {batch.batch_id} have been rewritten or removed since they came in, and can no longer "
            f"be told from others. {_REMEDY}"
        )
    return files


def overwrite(
    transaction: Transaction, uris: list[str], gone: Iterable[IcebergFile], properties: dict[str, str]
) -> None:
    """Replace files by others, in one snapshot."""
    # PyIceberg's public overwrite takes a filter on rows and holds the new ones in memory; this is what it does inside.
    from pyiceberg.table import _parquet_files_to_data_files  # noqa: PLC0415 - see above

    metadata, io = transaction.table_metadata, transaction._table.io  # noqa: SLF001 - see above
    with transaction.update_snapshot(snapshot_properties=properties).overwrite() as update:
        for file in gone:
            update.delete_data_file(file)
        for file in _parquet_files_to_data_files(metadata, uris, io):
            update.append_data_file(file)


def retry_commit(attempt: Callable[[], Table]) -> Table:
    """Try until no other process was faster; raises what PyIceberg raises in the end."""
    for number in range(1, _COMMITS):
        try:
            return attempt()
        except (CommitFailedException, TableAlreadyExistsError):
            time.sleep(random.uniform(0, 0.05 * number))  # noqa: S311 - spreads writers, guards nothing
    return attempt()


def _commit(lake: Lake, table: TableName, new: NewRows, files: DataFiles, attempt: Attempt) -> tuple[Table, Snapshot]:
    """Commit on the newest state of the table; files are written once, however often others were faster."""

    def commit() -> Table:
        current = lake.find(table)
        if current is None:
            return _create(lake, table, new, files, attempt)
        if snapshot_with(current, BATCH_ID, attempt.batch_id) is None:
            _add(lake, table, current, new, files, attempt)
        return current

    current = retry_commit(commit)
    snapshot = snapshot_with(current, BATCH_ID, attempt.batch_id)
    if snapshot is None:
        raise ImportRefusedError(f"Batch {attempt.batch_id} was committed but is not in the table's history.")
    return current, snapshot


def _create_namespace(lake: Lake, table: TableName) -> None:
    # Another process may be making the namespace just now.
    with contextlib.suppress(NamespaceAlreadyExistsError, IntegrityError):
        lake.catalog.create_namespace_if_not_exists(table.split(".")[0])


def _create(lake: Lake, table: TableName, new: NewRows, files: DataFiles, attempt: Attempt) -> Table:
    _create_namespace(lake, table)
    properties = _PROPERTIES | evolution.properties_of(new.wanted) | evolution.unbounded_properties(files.unbounded)
    transaction = lake.catalog.create_table_transaction(
        table, null_columns_as_text(new.wanted), location=lake.location(table), properties=properties
    )
    added = {BATCH_ID: attempt.batch_id}
    transaction.add_files(files.uris, snapshot_properties=added, check_duplicate_files=False)
    return transaction.commit_transaction()


def _add(lake: Lake, table: TableName, current: Table, new: NewRows, files: DataFiles, attempt: Attempt) -> None:
    known = evolution.known_schema(current)
    wanted, change = new.wanted, new.change
    if known != new.known:
        wanted = _onto(known, new)
        change = evolution.compare(known, wanted)
    replaced = [file for one in attempt.replaces for file in files_of(current, one)]
    transaction = current.transaction()
    rewrite = None
    try:
        evolution.evolve(transaction, known, wanted, change)
        if change.rewritten:
            rewrite = rewriting.rewrite_files(transaction, lake, table)
            rewriting.commit_rewrite(transaction, rewrite)
        _add_files(transaction, files, replaced, {BATCH_ID: attempt.batch_id})
        transaction.commit_transaction()
    except BaseException:
        if rewrite is not None:
            rewrite.remove()
        raise


def _onto(known: pa.Schema, new: NewRows) -> pa.Schema:
    """The wanted columns on top of those that the table has got since the files were planned."""
    if new.change.rewritten or new.change.filled or new.change.determined or not are_compatible(known, new.wanted):
        raise OtherSchemaError("others wrote other types at the same time.")
    try:
        return Resolver().schema(known, new.wanted)
    except (KindConflictError, SchemaMismatchError):
        raise OtherSchemaError("others wrote other types at the same time.") from None


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
def _refusing() -> Iterator[None]:
    """Translates what PyIceberg raises for columns and values that it does not take."""
    try:
        yield
    except SchemaMismatchError as error:
        raise ImportRefusedError(f"The dataset's rows cannot be written under the new types: {error}.") from None
    except rewriting.NotRewritableError as error:
        raise ImportRefusedError(f"The dataset's types cannot change: {error}.") from None
    except _NEVER as error:
        raise ImportRefusedError(f"The dataset's table does not take these columns: {error}") from error
