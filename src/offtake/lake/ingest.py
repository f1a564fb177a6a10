"""Batches: rows of files that become visible in a table as one snapshot, or not at all."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import pyarrow as pa
from pyiceberg.table import Table

from offtake.lake import commits, evolution, rewriting, scan
from offtake.lake.catalog import Lake, TableName, raising_lake_full
from offtake.lake.commits import (
    BATCH_ID,
    REVERTED_ID,
    Attempt,
    Batch,
    CommittedBatch,
    NewRows,
    OtherSchemaError,
    declare,
    find_commit,
)
from offtake.lake.evolution import SchemaChange
from offtake.lake.locations import local_path
from offtake.lake.parsing.columns import Changes, Resolver, iceberg_schema, null_columns_as_text
from offtake.lake.parsing.conform import cast_to_schema
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.kinds import Path as ColumnPath
from offtake.lake.parsing.kinds import name_of
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.parsing.parse import Parsed, parse
from offtake.lake.writing import remove_empty

__all__ = ["BATCH_ID", "Attempt", "Batch", "CommittedBatch", "declare", "find_commit"]

_ROUNDS: Final = 3


@dataclass(frozen=True)
class DryRun:
    """What an import would do: `schema` are the dataset's columns afterwards."""

    rows: int
    columns_added: tuple[str, ...]
    types_changed: tuple[str, ...]
    schema: pa.Schema
    notes: tuple[str, ...]


def ingest(
    lake: Lake,
    table: TableName,
    files: Sequence[InputFile],
    attempt: Attempt,
    options: ParseOptions | None = None,
    *,
    refuse_empty: bool = False,
) -> Batch | None:
    """The rows of all files as one snapshot of a table, which is made in the same commit when there is none.

    A batch that was committed is not committed again. Without rows there is no snapshot: None. Columns that a file does
    not have are null. Raises `ImportRefusedError` naming file, row and column, for a file without rows too where that
    is asked for, and `LakeFullError`, with the table unchanged and no rows of this attempt left.
    """
    for last in range(_ROUNDS, 0, -1):
        try:
            with raising_lake_full():
                plan = _plan(lake, table, files, attempt, options or ParseOptions(), refuse_empty=refuse_empty)
                made = commits.write(lake, table, plan.new, attempt)
                return None if made is None else replace(made, notes=plan.notes)
        except OtherSchemaError as error:
            if last == 1:
                raise ImportRefusedError(f"The dataset's columns keep changing: {error}") from None
    raise AssertionError


def dry_run(
    lake: Lake, table: TableName, files: Sequence[InputFile], attempt: Attempt, options: ParseOptions
) -> DryRun:
    """What `ingest` would do, every row read and nothing written. Raises `ImportRefusedError` as it does."""
    plan = _plan(lake, table, files, attempt, options, refuse_empty=False)
    change = plan.new.change
    added = change.added if plan.new.known is not None else [(name,) for name in plan.new.wanted.names]
    changed = (*change.promoted, *change.retyped, *change.determined)
    return DryRun(
        rows=sum(batch.num_rows for batch in plan.new.rows),
        columns_added=tuple(map(name_of, added)),
        types_changed=tuple(map(name_of, changed)),
        schema=null_columns_as_text(plan.new.wanted),
        notes=plan.notes,
    )


def append(lake: Lake, table: TableName, batches: Iterable[pa.RecordBatch], schema: pa.Schema, batch_id: str) -> Batch:
    """Arrow batches as one snapshot of a table, which is made when there is none. New columns are added."""
    loaded = lake.find(table)
    known = evolution.known_schema(loaded) if loaded else None
    normal = iceberg_schema(schema)
    wanted = normal if known is None else Resolver(changes=Changes(promote=True)).schema(known, normal)
    rows = (cast_to_schema(batch, null_columns_as_text(wanted)) for batch in batches)
    change = SchemaChange() if known is None else evolution.compare(known, wanted)
    made = commits.write(lake, table, NewRows(known, wanted, rows, change), Attempt(batch_id, evolve=True))
    if made is None:
        raise ImportRefusedError("There are no rows.")
    return made


def clear(lake: Lake, table: TableName, batch_id: str) -> None:
    """Remove files of attempts that were not committed. To be called when the batch is committed, or never will be."""
    loaded = lake.find(table)
    snapshot = commits.snapshot_with(loaded, BATCH_ID, batch_id) if loaded else None
    files = scan.added_files(loaded, snapshot) if loaded and snapshot else []
    kept = {Path(file.file_path).name for file in files}
    folder = local_path(lake.location(table)) / "data"
    for path in folder.glob(f"{batch_id}-*.parquet"):
        if path.name not in kept:
            path.unlink(missing_ok=True)
    if loaded is None:
        remove_empty(folder)


def revert(lake: Lake, table: TableName, batch: CommittedBatch) -> None:
    """Take the batch's rows out of the table, as one snapshot, once.

    Raises `ImportRefusedError` when they can no longer be told from others, and `LakeFullError`.
    """

    def commit(current: Table) -> Table:
        if commits.snapshot_with(current, REVERTED_ID, batch.batch_id) is not None:
            return current
        with current.transaction() as transaction:
            gone = commits.files_of(current, batch)
            commits.overwrite(transaction, [], gone, {REVERTED_ID: batch.batch_id})
        return current

    if lake.exists(table):
        with raising_lake_full():
            commits.retry_commit(lambda: commit(lake.load(table)))


@dataclass(frozen=True)
class _Plan:
    new: NewRows
    notes: tuple[str, ...] = ()


def _plan(
    lake: Lake,
    table: TableName,
    files: Sequence[InputFile],
    attempt: Attempt,
    options: ParseOptions,
    *,
    refuse_empty: bool,
) -> _Plan:
    """What the files change, judged: raises `ImportRefusedError` for columns that the dataset does not take."""
    loaded = lake.find(table)
    known = evolution.known_schema(loaded) if loaded else None
    changes = _open_changes(lake, table, loaded, attempt)
    parsed = parse(files, known, options, changes, attempt.raise_if_stopped, refuse_empty=refuse_empty)
    if parsed is None:
        return _Plan(NewRows(known, pa.schema([]) if known is None else known, ()))
    change = SchemaChange() if known is None else evolution.compare(known, parsed.schema)
    if change.added and not attempt.evolve:
        raise ImportRefusedError(_not_promised(files, change.added))
    notes = (*parsed.notes, *_change_notes(change, known, parsed.schema))
    return _Plan(NewRows(known, parsed.schema, _rows(parsed, changes, known), change), notes)


def _open_changes(lake: Lake, table: TableName, loaded: Table | None, attempt: Attempt) -> Changes:
    if loaded is None:
        return Changes(promote=True)
    if evolution.DECLARED in loaded.properties:
        return Changes()

    @cache
    def may_rewrite() -> bool:
        return attempt.may_rewrite()

    names = {field.name for field in loaded.schema().fields}

    def stored(path: ColumnPath) -> Iterator[pa.Array] | None:
        # The type of a column that only the files have was given with them: it holds.
        return rewriting.stored_values(lake, table, path) if path[0] in names and may_rewrite() else None

    return Changes(promote=True, stored=stored)


def _rows(parsed: Parsed, changes: Changes, known: pa.Schema | None) -> Iterator[pa.RecordBatch]:
    try:
        yield from parsed.rows()
    except ImportRefusedError as error:
        if known is None or not any(path[0] in known.names for path in changes.denied):
            raise
        raise ImportRefusedError(
            f"{error} The dataset's types hold, as they were declared or its rows were delivered. Correct the value, "
            "or bring the rows into another dataset.",
            row=error.row,
        ) from None


def _not_promised(files: Sequence[InputFile], added: Sequence[ColumnPath]) -> str:
    names = ", ".join(map(name_of, added))
    word = "column" if len(added) == 1 else "columns"
    where = f"{files[0].name}: " if len(files) == 1 else ""
    return (
        f"{where}{word} {names} {'is' if len(added) == 1 else 'are'} not in the dataset. Leave out what its consumers "
        "do not expect, or say that the dataset evolves (--evolve; in a batch request: evolve)."
    )


def _change_notes(change: SchemaChange, known: pa.Schema | None, wanted: pa.Schema) -> Iterator[str]:
    for path in change.added:
        yield f"Column {name_of(path)} is new."
    for path in (*change.promoted, *change.retyped):
        was = known.field(path[0]).type if known is not None else None
        now = wanted.field(path[0]).type
        yield f"Column {name_of(path)} has another type from now on" + (
            f": {was} became {now}." if len(path) == 1 else "."
        )
