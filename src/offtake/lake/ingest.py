"""Batches: rows that become visible in a table as one snapshot, or not at all."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.table import Table, Transaction

from offtake.failpoints import failpoint
from offtake.lake.arrow_types import UnfitError, conform, merged, normal_schema, settled
from offtake.lake.catalog import Lake, TableName, local_path
from offtake.lake.sources import ImportRefusedError, Source, source_of

BATCH_ID: Final = "offtake.batch-id"
_FILE_BYTES: Final = 128 * 1024 * 1024
_GROUP_ROWS: Final = 65_536
_GROUP_BYTES: Final = 32 * 1024 * 1024
_COMMITS: Final = 20
_PROPERTIES: Final = {
    "format-version": "2",
    # A commit that lost is made anew on the newest state, here; the library would rebase it, which fails when both
    # added columns, and wait minutes.
    "commit.retry.num-retries": "0",
}


@dataclass(frozen=True)
class Batch:
    """What an import added: its snapshot, its rows, and the bytes and number of its data files."""

    snapshot_id: int
    rows: int
    bytes: int
    files: int


def import_files(lake: Lake, table: TableName, files: Sequence[Path], *, batch_id: str, create: bool) -> Batch:
    """The rows of all files as one snapshot; `create` makes the table in the same commit.

    Columns the table does not have yet are added to it; columns a file does not have are null. Raises
    `ImportRefusedError` naming file and column, with the table unchanged and nothing left behind.
    """
    if not files:
        raise ImportRefusedError("No files are named.")
    sources = [source_of(path) for path in files]
    known = None if create else _known_schema(lake, table)
    wanted = known
    for source in sources:
        try:
            coming = normal_schema(source.schema(known))
            wanted = coming if wanted is None else merged(wanted, coming)
        except UnfitError as error:
            raise ImportRefusedError(f"{source.path.name}: {error}.") from None
    assert wanted is not None  # noqa: S101 - there is at least one source
    wanted = _settled(wanted)
    return _write(lake, table, wanted, _rows(sources, wanted), batch_id=batch_id, create=create)


def append(lake: Lake, table: TableName, batches: Iterable[pa.RecordBatch], schema: pa.Schema, batch_id: str) -> Batch:
    """Arrow batches as one snapshot of a table, which is made when there is none."""
    create = not lake.exists(table)
    wanted = normal_schema(schema) if create else merged(_known_schema(lake, table), normal_schema(schema))
    wanted = _settled(wanted)
    rows = (conform(batch, wanted) for batch in batches)
    return _write(lake, table, wanted, rows, batch_id=batch_id, create=create)


def _settled(schema: pa.Schema) -> pa.Schema:
    try:
        return settled(schema)
    except UnfitError as error:
        raise ImportRefusedError(f"{error}.") from None


def _rows(sources: Sequence[Source], wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
    for source in sources:
        try:
            for batch in source.batches(wanted):
                yield conform(batch, wanted)
        except UnfitError as error:
            raise ImportRefusedError(f"{source.path.name}: {error}.") from None


def _write(
    lake: Lake, table: TableName, schema: pa.Schema, rows: Iterable[pa.RecordBatch], *, batch_id: str, create: bool
) -> Batch:
    location = lake.location(table) if create else lake.load(table).location()
    files = _Files(f"{location}/data", batch_id, schema)
    try:
        files.write(rows)
        failpoint("batch_written")
        if create:
            snapshot_id = _commit_new(lake, table, schema, files.uris, batch_id)
        else:
            snapshot_id = _commit(lake, table, schema, files.uris, batch_id)
    except BaseException:
        files.remove()
        raise
    return Batch(snapshot_id, files.rows, files.bytes, len(files.uris))


def _commit_new(lake: Lake, table: TableName, schema: pa.Schema, uris: list[str], batch_id: str) -> int:
    lake.catalog.create_namespace_if_not_exists(table.split(".")[0])
    location = lake.location(table)
    transaction = lake.catalog.create_table_transaction(table, schema, location=location, properties=_PROPERTIES)
    transaction.add_files(uris, snapshot_properties={BATCH_ID: batch_id}, check_duplicate_files=False)
    return _snapshot_of(transaction.commit_transaction(), batch_id)


def _commit(lake: Lake, table: TableName, schema: pa.Schema, uris: list[str], batch_id: str) -> int:
    """Commit on the newest state of the table; files are written once, however often others were faster."""

    def attempt() -> Table:
        current = lake.load(table)
        with current.transaction() as transaction:
            _extend(transaction, current, schema)
            transaction.add_files(uris, snapshot_properties={BATCH_ID: batch_id}, check_duplicate_files=False)
        return current

    return _snapshot_of(_until_won(attempt), batch_id)


def _extend(transaction: Transaction, current: Table, schema: pa.Schema) -> None:
    if _plain(current.schema().as_arrow()) != _plain(schema):
        with transaction.update_schema() as update:
            update.union_by_name(schema)


def _until_won(attempt: Callable[[], Table]) -> Table:
    for number in range(1, _COMMITS):
        try:
            return attempt()
        except CommitFailedException:
            time.sleep(random.uniform(0, 0.05 * number))  # noqa: S311 - spreads writers, guards nothing
    return attempt()


def _snapshot_of(table: Table, batch_id: str) -> int:
    for snapshot in reversed(table.metadata.snapshots):
        if snapshot.summary is not None and snapshot.summary.additional_properties.get(BATCH_ID) == batch_id:
            return snapshot.snapshot_id
    raise ImportRefusedError(f"Batch {batch_id} was committed but is not in the table's history.")


def _known_schema(lake: Lake, table: TableName) -> pa.Schema:
    try:
        return _plain(lake.load(table).schema().as_arrow())
    except NoSuchTableError:
        raise ImportRefusedError("The dataset's table no longer exists.") from None


def _plain(schema: pa.Schema) -> pa.Schema:
    """The schema in the types that files come in, without field ids."""
    return normal_schema(pa.schema([pa.field(one.name, one.type, one.nullable) for one in schema]))


@dataclass
class _Files:
    """The data files of one batch: bounded in size, each with row groups of bounded size."""

    folder: str
    batch_id: str
    schema: pa.Schema
    uris: list[str] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0

    def write(self, rows: Iterable[pa.RecordBatch]) -> None:
        groups = self._groups(rows)
        first = next(groups, None)
        if first is None:
            raise ImportRefusedError("The files hold no rows.")
        following: pa.Table | None = first
        while following is not None:
            following = self._write_file(following, groups)

    def remove(self) -> None:
        """Nothing of a batch that did not land stays."""
        for uri in self.uris:
            local_path(uri).unlink(missing_ok=True)
        folder = local_path(self.folder)
        for empty in (folder, folder.parent):
            if empty.is_dir() and not any(empty.iterdir()):
                empty.rmdir()

    def _write_file(self, group: pa.Table, groups: Iterator[pa.Table]) -> pa.Table | None:
        """One file from `group` on; the group that begins the next file, or None."""
        uri = f"{self.folder}/{self.batch_id}-{len(self.uris):05d}.parquet"
        path = local_path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.uris.append(uri)
        following: pa.Table | None = group
        with path.open("wb") as file, pq.ParquetWriter(file, self.schema, compression="zstd") as writer:
            while following is not None and file.tell() < _FILE_BYTES:
                writer.write_table(following, row_group_size=following.num_rows)
                self.rows += following.num_rows
                following = next(groups, None)
        self.bytes += path.stat().st_size
        return following

    def _groups(self, rows: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
        held: list[pa.RecordBatch] = []
        count = size = 0
        for batch in rows:
            if batch.num_rows == 0:
                continue
            held.append(batch)
            count += batch.num_rows
            size += batch.nbytes
            if count >= _GROUP_ROWS or size >= _GROUP_BYTES:
                yield self._table(held)
                held, count, size = [], 0, 0
        if held:
            yield self._table(held)

    def _table(self, held: list[pa.RecordBatch]) -> pa.Table:
        try:
            return pa.Table.from_batches(held).cast(self.schema)
        except (pa.ArrowInvalid, ValueError):
            raise ImportRefusedError("A required column holds a null.") from None
