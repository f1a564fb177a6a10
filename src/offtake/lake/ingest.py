"""Imports of batches: the rows of files become visible in a table as one snapshot, or not at all."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

import pyarrow as pa
from pyiceberg.table import Table

from offtake.lake import commits, evolution, rewriting, scan
from offtake.lake.catalog import Lake, raising_lake_full
from offtake.lake.commits import (
    BATCH_ID,
    REVERTED_ID,
    Attempt,
    Batch,
    NewRows,
    OtherSchemaError,
    declare,
    find_commit,
)
from offtake.lake.committed_batch import CommittedBatch
from offtake.lake.evolution import SchemaChange
from offtake.lake.parsing.columns import Changes, Resolver, iceberg_schema, null_columns_as_text
from offtake.lake.parsing.conform import cast_to_schema
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.kinds import Path as ColumnPath
from offtake.lake.parsing.kinds import name_of
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.parsing.parse import Parsed, parse
from offtake.lake.table_names import TableName
from offtake.lake.type_names import type_name
from offtake.lake.writing import remove_empty

__all__ = ["BATCH_ID", "Attempt", "Batch", "CommittedBatch", "declare", "find_commit"]

_ROUNDS: Final = 3


@dataclass(frozen=True)
class DryRun:
    """The effect of an import that was not committed. `schema`: the dataset's columns after it."""

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
    """Commit the rows of all files as one snapshot of the table. The same commit creates the table if needed.

    Idempotent: a batch that is in the table is not committed again. Returns None, without a snapshot, when there are no
    rows. Columns that a file lacks are null. Raises `ImportRefusedError`, which names file, row and column (with
    `refuse_empty` also for a file without rows), and `LakeFullError`; then the table is unchanged.
    """
    for last in range(_ROUNDS, 0, -1):
        try:
            with raising_lake_full():
                plan = _plan(lake, table, files, attempt, options or ParseOptions(), refuse_empty=refuse_empty)
                batch = commits.write(lake, table, plan.new, attempt)
                return None if batch is None else replace(batch, notes=plan.notes)
        except OtherSchemaError as error:
            if last == 1:
                raise ImportRefusedError(
                    f"The dataset's columns changed {_ROUNDS} times during the import: {error} Send the batch again."
                ) from None
    raise AssertionError


def dry_run(
    lake: Lake, table: TableName, files: Sequence[InputFile], attempt: Attempt, options: ParseOptions
) -> DryRun:
    """Read every row as `ingest` does, but write nothing. Raises `ImportRefusedError` as `ingest` does."""
    plan = _plan(lake, table, files, attempt, options, refuse_empty=False)
    change = plan.new.change
    added = change.added if plan.new.base is not None else [(name,) for name in plan.new.target.names]
    changed = (*change.promoted, *change.retyped, *change.determined)
    return DryRun(
        rows=sum(batch.num_rows for batch in plan.new.rows),
        columns_added=tuple(map(name_of, added)),
        types_changed=tuple(map(name_of, changed)),
        schema=null_columns_as_text(plan.new.target),
        notes=plan.notes,
    )


def append(lake: Lake, table: TableName, batches: Iterable[pa.RecordBatch], schema: pa.Schema, batch_id: str) -> Batch:
    """Commit Arrow batches as one snapshot of the table, which is created if needed. New columns are added.

    Raises as `ingest` does; `ImportRefusedError` too when there are no rows.
    """
    loaded = lake.find(table)
    base = evolution.current_schema(loaded) if loaded else None
    new = iceberg_schema(schema)
    target = new if base is None else Resolver(changes=Changes(promote=True)).schema(base, new)
    rows = (cast_to_schema(batch, null_columns_as_text(target)) for batch in batches)
    change = SchemaChange() if base is None else evolution.compare(base, target)
    batch = commits.write(lake, table, NewRows(loaded, base, target, rows, change), Attempt(batch_id, evolve=True))
    if batch is None:
        raise ImportRefusedError("The input has no rows.")
    return batch


def clear(lake: Lake, table: TableName, batch_id: str) -> None:
    """Delete data files of attempts that did not commit. Call it once no attempt can commit the batch any more."""
    loaded = lake.find(table)
    snapshot = commits.snapshot_with(loaded, BATCH_ID, batch_id) if loaded else None
    files = scan.added_files(loaded, snapshot) if loaded and snapshot else []
    committed = {file.file_path.rpartition("/")[2] for file in files}
    folder, prefix = f"{lake.location(table)}/data", f"{batch_id}-"
    left = [one for one in lake.warehouse.files_in(folder, after=prefix) if one.name.startswith(prefix)]
    lake.warehouse.remove(one.location for one in left if one.name not in committed)
    if loaded is None:
        remove_empty(lake.warehouse, folder)


def revert(lake: Lake, table: TableName, batch: CommittedBatch) -> None:
    """Remove the batch's rows from the table, as one snapshot. Idempotent.

    Raises `ImportRefusedError` when some of them were compacted or deleted since, and `LakeFullError`.
    """

    def commit(current: Table) -> Table:
        if commits.snapshot_with(current, REVERTED_ID, batch.batch_id) is not None:
            return current
        with current.transaction() as transaction:
            commits.overwrite(transaction, [], commits.files_of(current, batch), {REVERTED_ID: batch.batch_id})
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
    """What the files would change. Raises `ImportRefusedError` for columns that the dataset does not allow."""
    loaded = lake.find(table)
    base = evolution.current_schema(loaded) if loaded else None
    changes = _allowed_changes(lake, table, loaded, attempt)
    parsed = parse(files, base, options, changes, attempt.raise_if_stopped, refuse_empty=refuse_empty)
    if parsed is None:
        return _Plan(NewRows(loaded, base, pa.schema([]) if base is None else base, ()))
    change = SchemaChange() if base is None else evolution.compare(base, parsed.schema)
    if change.added and not attempt.evolve:
        raise ImportRefusedError(_unexpected_columns(files, change.added))
    notes = (*parsed.notes, *_change_notes(change, base, parsed.schema))
    return _Plan(NewRows(loaded, base, parsed.schema, _rows(parsed, changes, base), change), notes)


def _allowed_changes(lake: Lake, table: TableName, loaded: Table | None, attempt: Attempt) -> Changes:
    if loaded is None:
        return Changes(promote=True)
    if evolution.DECLARED in loaded.properties:
        return Changes()

    @cache
    def may_rewrite() -> bool:
        return attempt.may_rewrite()

    names = {field.name for field in loaded.schema().fields}

    def stored(path: ColumnPath) -> Iterator[pa.Array] | None:
        # A column that only the files have gets the type from the import's options, which cannot change.
        return rewriting.stored_values(lake, table, path) if path[0] in names and may_rewrite() else None

    return Changes(promote=True, stored=stored)


def _rows(parsed: Parsed, changes: Changes, base: pa.Schema | None) -> Iterator[pa.RecordBatch]:
    try:
        yield from parsed.rows()
    except ImportRefusedError as error:
        if base is None or not any(path[0] in base.names for path in changes.denied):
            raise
        raise ImportRefusedError(
            f"{error} The dataset's column types cannot change, because they were declared or rows have been exported. "
            "Correct the value, or import the rows into another dataset.",
            row=error.row,
        ) from None


def _unexpected_columns(files: Sequence[InputFile], added: Sequence[ColumnPath]) -> str:
    names = ", ".join(map(name_of, added))
    word = "column" if len(added) == 1 else "columns"
    prefix = f"{files[0].name}: " if len(files) == 1 else ""
    return (
        f"{prefix}{word} {names} {'is' if len(added) == 1 else 'are'} not in the dataset. Remove the {word}, or allow "
        "the import to add new columns."
    )


def _change_notes(change: SchemaChange, base: pa.Schema | None, target: pa.Schema) -> Iterator[str]:
    for path in change.added:
        yield f"Column {name_of(path)} is new."
    for path in (*change.promoted, *change.retyped):
        old = base.field(path[0]).type if base is not None else pa.null()
        new = target.field(path[0]).type
        yield f"Column {name_of(path)} changes type" + (
            f" from {type_name(old)} to {type_name(new)}." if len(path) == 1 else "."
        )
