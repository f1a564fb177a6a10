"""Batches: rows that become visible in a table as one snapshot, or not at all.

A batch's snapshot bears the batch's id. Whoever commits looks for it first, in the very state of the table that the
commit builds upon; so a batch lands once, however many try. Each attempt writes files of its own name: nobody removes
files that another may yet commit.
"""

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException, NamespaceAlreadyExistsError, TableAlreadyExistsError
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.snapshots import Snapshot
from sqlalchemy.exc import IntegrityError

from offtake.errors import CancelledError
from offtake.failpoints import failpoint
from offtake.lake import scan
from offtake.lake.arrow_types import UnfitError, agree, conform, merged, normal_schema, settled
from offtake.lake.catalog import Lake, LakeFullError, TableName, local_path, needing_room
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import InputFile, input_file
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.sources import CsvShape, Source
from offtake.lake.writing import DataFiles, remove_empty

BATCH_ID: Final = "offtake.batch-id"
REVERTED_ID: Final = "offtake.reverted-batch-id"
_COMMITS: Final = 20
_ROUNDS: Final = 3
_PROPERTIES: Final = {
    "format-version": "2",
    # A commit that lost is made anew on the newest state, here; the library would rebase it, which fails when both
    # added columns, and wait minutes.
    "commit.retry.num-retries": "0",
}
_DEFAULTS: Final = ParseOptions()
_REMEDY: Final = "Send its rows again under a new batch, after bringing the table into the state you want."


@dataclass(frozen=True)
class Batch:
    """What a batch added: its snapshot, its rows, and the bytes and number of its data files."""

    snapshot_id: int
    rows: int
    bytes: int
    files: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Landed:
    """A batch that is in the table: its id, its snapshot, and the rows it added."""

    batch_id: str
    snapshot_id: int
    rows: int


@dataclass(frozen=True)
class Attempt:
    """One try to bring a batch in: its number, what of others it takes the place of, and whether it is to stop.

    `evolve`: it may add columns. `may_rewrite` is asked before data files are rewritten for a change of type, and
    `before_commit` is called once when all rows are written; what it raises leaves nothing behind.
    """

    batch_id: str
    number: int = 1
    replaces: tuple[Landed, ...] = ()
    stopped: Callable[[], bool] = lambda: False
    evolve: bool = False
    may_rewrite: Callable[[], bool] = lambda: False
    before_commit: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class DryRun:
    """What a batch would do: its rows, what would become of the schema, the schema then, and remarks."""

    rows: int
    columns_added: tuple[str, ...]
    types_changed: tuple[str, ...]
    schema: pa.Schema
    notes: tuple[str, ...] = ()


class _OtherSchemaError(Exception):
    """Since the files were planned, the table got columns that they do not agree with."""


# STUBS until the new ingestion takes their place: `import_files`, `ingest`, `declare`, `dry_run`, `head`.


def import_files(
    lake: Lake, table: TableName, files: Sequence[Path], attempt: Attempt, options: ParseOptions = _DEFAULTS
) -> Batch:
    """The rows of all files as one snapshot of a table, which is made in the same commit when there is none.

    Raises `ImportRefusedError` as `ingest` does, and when a file has no rows.
    """
    if not files:
        raise ImportRefusedError("No files are named.")
    made = ingest(lake, table, [input_file(path) for path in files], attempt, options, refuse_empty=True)
    if made is None:
        raise ImportRefusedError("The files hold no rows.")
    return made


def ingest(
    lake: Lake,
    table: TableName,
    files: Sequence[InputFile | Source],
    attempt: Attempt,
    options: ParseOptions = _DEFAULTS,
    *,
    refuse_empty: bool = False,
) -> Batch | None:
    """The rows of all files as one snapshot of a table, which is made in the same commit when there is none."""
    sources = [_source(file, options) for file in files]
    for last in range(_ROUNDS, 0, -1):
        try:
            with needing_room():
                return _ingest(lake, table, sources, attempt, refuse_empty=refuse_empty)
        except _OtherSchemaError as error:
            if last == 1:
                raise ImportRefusedError(f"The dataset's columns keep changing: {error}") from None
    raise AssertionError


def declare(lake: Lake, table: TableName, schema: pa.Schema) -> None:
    """Make the table without rows; nothing happens when it is there."""
    with contextlib.suppress(NamespaceAlreadyExistsError, IntegrityError):
        lake.catalog.create_namespace_if_not_exists(table.split(".")[0])
    with needing_room(), contextlib.suppress(TableAlreadyExistsError):
        lake.catalog.create_table(table, schema, location=lake.location(table), properties=_PROPERTIES)


def dry_run(
    lake: Lake, table: TableName, files: Sequence[InputFile], attempt: Attempt, options: ParseOptions
) -> DryRun:
    """What `ingest` would do; writes nothing, and raises as it does."""
    known = _known_schema(lake, table)
    filled, schema = _planned([_source(file, options) for file in files], known, attempt, refuse_empty=False)
    rows = sum(batch.num_rows for batch in _rows(filled, schema, attempt))
    added = tuple(name for name in schema.names if known is None or name not in known.names)
    return DryRun(rows, added, (), schema)


def head(file: InputFile, options: ParseOptions, rows: int) -> pa.Table:
    """The first rows of a file, at most so many. Raises `ImportRefusedError`."""
    return _source(file, options).head(rows)


def _source(file: InputFile | Source, options: ParseOptions) -> Source:
    if isinstance(file, Source):
        return file
    said = options.csv
    shape = CsvShape(
        said.delimiter or ",", said.quote or '"', said.escape, said.null, said.header, said.charset or "utf-8"
    )
    return Source(file.path, file.kind, file.name, shape)


def append(lake: Lake, table: TableName, batches: Iterable[pa.RecordBatch], schema: pa.Schema, batch_id: str) -> Batch:
    """Arrow batches as one snapshot of a table, which is made when there is none."""
    known = _known_schema(lake, table)
    wanted = _settled(normal_schema(schema) if known is None else merged(known, normal_schema(schema)))
    rows = (conform(batch, wanted) for batch in batches)
    made = _write(lake, table, wanted, rows, Attempt(batch_id))
    if made is None:
        raise ImportRefusedError("There are no rows.")
    return made


def landed(lake: Lake, table: TableName, batch_id: str) -> Batch | None:
    """What the batch added, if it is in the table's history."""
    loaded = lake.find(table)
    snapshot = _bearing(loaded, BATCH_ID, batch_id) if loaded else None
    return None if snapshot is None else _batch_of(snapshot)


def clear(lake: Lake, table: TableName, batch_id: str) -> None:
    """Remove the files of attempts that did not land. To be called when the batch has landed, or never will."""
    loaded = lake.find(table)
    snapshot = _bearing(loaded, BATCH_ID, batch_id) if loaded else None
    files = scan.added_files(loaded, snapshot) if loaded and snapshot else []
    kept = {Path(file.file_path).name for file in files}
    folder = local_path(lake.location(table)) / "data"
    for path in folder.glob(f"{batch_id}-*.parquet"):
        if path.name not in kept:
            path.unlink(missing_ok=True)
    if loaded is None:
        remove_empty(folder)


def check_whole(lake: Lake, table: TableName, batch: Landed) -> None:
    """Raise `ImportRefusedError` when the batch's rows can no longer be told from others."""
    loaded = lake.find(table)
    if loaded is not None:
        _whole(loaded, batch)


def revert(lake: Lake, table: TableName, batch: Landed) -> None:
    """Take the batch's rows out of the table, as one snapshot, once.

    Raises as `check_whole` does, and `LakeFullError`.
    """

    def commit(current: Table) -> Table:
        if _bearing(current, REVERTED_ID, batch.batch_id) is not None:
            return current
        with current.transaction() as transaction:
            _overwrite(transaction, [], _whole(current, batch), {REVERTED_ID: batch.batch_id})
        return current

    if lake.exists(table):
        with needing_room():
            _until_won(lambda: commit(lake.load(table)))


def _ingest(
    lake: Lake, table: TableName, sources: Sequence[Source], attempt: Attempt, *, refuse_empty: bool
) -> Batch | None:
    filled, schema = _planned(sources, _known_schema(lake, table), attempt, refuse_empty=refuse_empty)
    return _write(lake, table, schema, _rows(filled, schema, attempt), attempt)


def _planned(
    sources: Sequence[Source], known: pa.Schema | None, attempt: Attempt, *, refuse_empty: bool
) -> tuple[list[Source], pa.Schema]:
    wanted = known
    filled = []
    for source in sources:
        _go_on(attempt)
        coming = source.schema(known)
        if coming is None:
            if refuse_empty:
                raise ImportRefusedError(f"{source.name} holds no rows.")
            continue
        try:
            coming = normal_schema(coming)
            wanted = coming if wanted is None else merged(wanted, coming)
        except UnfitError as error:
            raise ImportRefusedError(f"{source.name}: {error}.") from None
        filled.append(source)
    schema = pa.schema([]) if wanted is None else _settled(wanted)
    added = [] if known is None or attempt.evolve else [name for name in schema.names if name not in known.names]
    if added:
        raise ImportRefusedError(f"The dataset has no column {', '.join(added)}, and does not evolve.")
    return filled, schema


def _settled(schema: pa.Schema) -> pa.Schema:
    try:
        return settled(schema)
    except UnfitError as error:
        raise ImportRefusedError(f"{error}.") from None


def _rows(sources: Sequence[Source], wanted: pa.Schema, attempt: Attempt) -> Iterator[pa.RecordBatch]:
    for source in sources:
        done = 0
        for batch in source.batches(wanted):
            _go_on(attempt)
            try:
                yield conform(batch, wanted)
            except UnfitError as error:
                row = done + _first_unfit(batch, wanted) + 1
                raise ImportRefusedError(f"{source.name}, row {row}: {error}.", row=row) from None
            done += batch.num_rows


def _first_unfit(batch: pa.RecordBatch, wanted: pa.Schema) -> int:
    """The index of the first row that does not fit."""
    good, bad = 0, batch.num_rows - 1
    while good < bad:
        middle = (good + bad) // 2
        try:
            conform(batch.slice(good, middle + 1 - good), wanted)
            good = middle + 1
        except UnfitError:
            bad = middle
    return good


def _go_on(attempt: Attempt) -> None:
    if attempt.stopped():
        raise CancelledError(f"Batch {attempt.batch_id} is given back.")


def _write(
    lake: Lake, table: TableName, schema: pa.Schema, rows: Iterable[pa.RecordBatch], attempt: Attempt
) -> Batch | None:
    loaded = lake.find(table)
    folder = f"{loaded.location() if loaded else lake.location(table)}/data"
    files = DataFiles(folder, f"{attempt.batch_id}-{attempt.number}", schema)
    try:
        files.write(rows)
        failpoint("batch_written")
        if not files.uris and not (attempt.replaces and loaded):
            return None
        _go_on(attempt)
        attempt.before_commit()
    except BaseException:
        files.remove()
        raise
    try:
        with needing_room():
            table_now, snapshot = _commit(lake, table, schema, files.uris, attempt)
    except (ImportRefusedError, CommitFailedException, _OtherSchemaError):
        files.remove()
        raise
    except LakeFullError:
        if landed(lake, table, attempt.batch_id) is None:
            files.remove()
        raise
    # Whatever else went wrong, the commit may have been made all the same: then the files are the table's.
    if not {file.file_path for file in scan.added_files(table_now, snapshot)}.issuperset(files.uris):
        files.remove()
    return _batch_of(snapshot)


def _commit(
    lake: Lake, table: TableName, schema: pa.Schema, uris: list[str], attempt: Attempt
) -> tuple[Table, Snapshot]:
    """Commit on the newest state of the table; files are written once, however often others were faster."""

    def commit() -> Table:
        current = lake.find(table)
        if current is None:
            return _create(lake, table, schema, uris, attempt)
        if _bearing(current, BATCH_ID, attempt.batch_id) is None:
            _add(current, schema, uris, attempt)
        return current

    current = _until_won(commit)
    snapshot = _bearing(current, BATCH_ID, attempt.batch_id)
    if snapshot is None:
        raise ImportRefusedError(f"Batch {attempt.batch_id} was committed but is not in the table's history.")
    return current, snapshot


def _create(lake: Lake, table: TableName, schema: pa.Schema, uris: list[str], attempt: Attempt) -> Table:
    # Somebody else may be making the namespace just now.
    with contextlib.suppress(NamespaceAlreadyExistsError, IntegrityError):
        lake.catalog.create_namespace_if_not_exists(table.split(".")[0])
    location = lake.location(table)
    transaction = lake.catalog.create_table_transaction(table, schema, location=location, properties=_PROPERTIES)
    transaction.add_files(uris, snapshot_properties={BATCH_ID: attempt.batch_id}, check_duplicate_files=False)
    return transaction.commit_transaction()


def _add(current: Table, schema: pa.Schema, uris: list[str], attempt: Attempt) -> None:
    if not agree(_plain(current.schema().as_arrow()), schema):
        raise _OtherSchemaError("others wrote other types at the same time.")
    replaced = [file for one in attempt.replaces for file in _whole(current, one)]
    properties = {BATCH_ID: attempt.batch_id}
    with current.transaction() as transaction:
        _extend(transaction, current, schema)
        if attempt.replaces:
            _overwrite(transaction, uris, replaced, properties)
        else:
            transaction.add_files(uris, snapshot_properties=properties, check_duplicate_files=False)


def _overwrite(
    transaction: Transaction, uris: list[str], gone: Iterable[IcebergFile], properties: dict[str, str]
) -> None:
    # PyIceberg's public overwrite takes a filter on rows and holds the new ones in memory; this is what it does inside.
    from pyiceberg.table import _parquet_files_to_data_files  # noqa: PLC0415 - see above

    metadata, io = transaction.table_metadata, transaction._table.io  # noqa: SLF001 - see above
    with transaction.update_snapshot(snapshot_properties=properties).overwrite() as update:
        for file in gone:
            update.delete_data_file(file)
        for file in _parquet_files_to_data_files(metadata, uris, io):
            update.append_data_file(file)


def _extend(transaction: Transaction, current: Table, schema: pa.Schema) -> None:
    if len(schema) and _plain(current.schema().as_arrow()) != _plain(schema):
        with transaction.update_schema() as update:
            update.union_by_name(schema)


def _until_won(attempt: Callable[[], Table]) -> Table:
    for number in range(1, _COMMITS):
        try:
            return attempt()
        except (CommitFailedException, TableAlreadyExistsError):
            time.sleep(random.uniform(0, 0.05 * number))  # noqa: S311 - spreads writers, guards nothing
    return attempt()


def _bearing(table: Table, name: str, value: str) -> Snapshot | None:
    """The snapshot with that property."""
    for snapshot in reversed(table.metadata.snapshots):
        if snapshot.summary is not None and snapshot.summary.additional_properties.get(name) == value:
            return snapshot
    return None


def _batch_of(snapshot: Snapshot) -> Batch:
    counts = (int(snapshot.summary.get(name) or 0) if snapshot.summary else 0 for name in _ADDED)
    rows, size, files = counts
    return Batch(snapshot.snapshot_id, rows, size, files)


_ADDED: Final = ("added-records", "added-files-size", "added-data-files")


def _whole(table: Table, batch: Landed) -> list[IcebergFile]:
    """The batch's files, all of which are in the table as they came in."""
    current = table.current_snapshot()
    files = scan.files_from(table, current, batch.snapshot_id) if current else []
    if sum(file.record_count for file in files) != batch.rows:
        raise ImportRefusedError(
            f"The rows of batch {batch.batch_id} have been rewritten or removed since they came in, and can no longer "
            f"be told from others. {_REMEDY}"
        )
    return files


def _known_schema(lake: Lake, table: TableName) -> pa.Schema | None:
    """The table's schema; None while there is no table."""
    loaded = lake.find(table)
    return _plain(loaded.schema().as_arrow()) if loaded else None


def _plain(schema: pa.Schema) -> pa.Schema:
    """The schema in the types that files come in, without field ids."""
    return normal_schema(pa.schema([pa.field(one.name, one.type, one.nullable) for one in schema]))
