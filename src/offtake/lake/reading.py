"""Reading a plan's files, batch by batch. Runs in worker processes: PyIceberg is imported only when needed."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from offtake.errors import EXPORT_FAILED, DeliveryError
from offtake.lake import parquet_files, text
from offtake.lake.parquet_files import open_parquet, parquet_in
from offtake.lake.parts import FileSlice, TableSchema, narrow_types
from offtake.lake.positions import without
from offtake.lake.projection import ColumnNames, Missing, ProjectionError, has_field_ids, is_identity, projection
from offtake.lake.row_files import ParquetRows, open_rows
from offtake.lake.row_filter import left_out
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.files import open_input
from offtake.lake.table_columns import missing_values
from offtake.lake.text import InvalidText, InvalidTextError

_ROWS: Final = 8192
_CHECKED_ROWS: Final = 65_536
_MOST_OPEN: Final = 256
"""Open files of one part: a process can have 1,024 open, and a part with more files has small files only."""

StoredGroups = tuple[pa.NativeFile, int, int | None]
"""An open file, and its row groups `[first, last)`; `last` None means all from `first`."""


def read(
    pieces: Sequence[FileSlice],
    schema: TableSchema,
    access: FileAccess | None = None,
    *,
    invalid_text: InvalidText = "fail",
) -> Iterator[pa.RecordBatch]:
    """The rows of the slices in order, in batches of at most 8192 rows, in the delivered schema.

    Columns are matched by field id, so columns added, dropped, renamed, reordered or widened since a file was written
    are read correctly. `access`: of a registered table. Raises `DeliveryError` when a file cannot be read, and for text
    that is not UTF-8 unless `invalid_text` is "replace".
    """
    target = schema.arrow_schema
    for piece in pieces:
        with translating_errors([piece]):
            yield from _read_file(piece, schema, target, access, invalid_text)


@contextmanager
def unchanged_row_groups(
    pieces: Sequence[FileSlice],
    schema: TableSchema,
    access: FileAccess | None = None,
    *,
    invalid_text: InvalidText = "fail",
) -> Iterator[list[StoredGroups] | None]:
    """Context manager: the slices' open files and row groups, when they can be delivered byte for byte.

    None when rows, columns or text must be changed, or when there are too many files. Raises `DeliveryError` as `read`
    does.
    """
    target = schema.arrow_schema
    if len(pieces) > _MOST_OPEN:
        yield None
        return
    with ExitStack() as opened:
        found: list[StoredGroups] = []
        for piece in pieces:
            with translating_errors([piece]):
                if piece.format != "PARQUET":
                    break
                file = opened.enter_context(open_input(piece.path, access))
                stored = parquet_in(file)
                if piece.delete_files or not _is_copyable(piece, stored.schema_arrow, target, schema):
                    break
                try:
                    _check_text(piece, stored)
                except InvalidTextError:
                    if invalid_text == "fail":
                        raise
                    break
            found.append((file, piece.first, piece.last))
        yield found if len(found) == len(pieces) else None


@contextmanager
def translating_errors(pieces: Sequence[FileSlice]) -> Iterator[None]:
    """Translates errors of reading the slices' files to `DeliveryError`."""
    try:
        with parquet_files.translating_errors([piece.path for piece in pieces]):
            yield
    except ProjectionError as error:
        raise DeliveryError(
            EXPORT_FAILED,
            f"The dataset's file {pieces[0].path} does not match the table's columns: {error}.",
            error.remedy,
        ) from None
    except InvalidTextError as error:
        raise DeliveryError(
            EXPORT_FAILED,
            f"Column {error} of the dataset's file {pieces[0].path} has text that is not UTF-8.",
            "Correct the text in the table, or let the target connection replace invalid text (`invalidText`).",
        ) from None


def _check_text(piece: FileSlice, file: pq.ParquetFile) -> None:
    """Raise `InvalidTextError` for text of the slice that is not UTF-8. Files marked as checked are not read."""
    columns = _text_columns(file)
    if not columns or _is_marked(piece, file):
        return
    for batch in file.iter_batches(_CHECKED_ROWS, row_groups=_groups(piece, file), columns=columns, use_threads=False):
        text.check(batch)


def _text_columns(file: pq.ParquetFile) -> list[str]:
    """The paths of the file's text columns. With dots in column names, a path can also match other columns."""
    columns = map(file.schema.column, range(len(file.schema)))
    return [column.path for column in columns if column.logical_type.type == "STRING"]


def _is_marked(piece: FileSlice, file: pq.ParquetFile) -> bool:
    return text.is_marked(file.metadata.metadata, piece.path.rpartition("/")[2])


def _groups(piece: FileSlice, file: pq.ParquetFile) -> list[int]:
    return list(range(piece.first, file.metadata.num_row_groups if piece.last is None else piece.last))


def _is_copyable(piece: FileSlice, stored: pa.Schema, target: pa.Schema, schema: TableSchema) -> bool:
    try:
        # The Arrow schema in files of Arrow and Polars can have large strings; Parquet stores them like other strings.
        return is_identity(narrow_types(stored), target, _names(piece, stored, schema))
    except ProjectionError:
        return False


def _read_file(
    piece: FileSlice, schema: TableSchema, target: pa.Schema, access: FileAccess | None, invalid_text: InvalidText
) -> Iterator[pa.RecordBatch]:
    if piece.format != "PARQUET":
        yield from _read_whole(piece, schema, target, access, invalid_text)
        return
    with open_parquet(piece.path, access) as file:
        position = sum(file.metadata.row_group(index).num_rows for index in range(piece.first))
        names = _names(piece, file.schema_arrow, schema)
        deleted = left_out(ParquetRows(file), piece, _groups(piece, file), position, names, schema, access)
        marked = _is_marked(piece, file)
        project = projection(file.schema_arrow, target, names, _missing(piece, schema))
        # There are as many processes as cores, so threads within a process would not help.
        for batch in file.iter_batches(_ROWS, row_groups=_groups(piece, file), use_threads=False):
            projected = project(batch if deleted is None else without(batch, position, deleted))
            position += batch.num_rows
            if not marked and invalid_text == "replace":
                projected = text.replace(projected)
            elif not marked:
                text.check(projected)
            yield projected


def _read_whole(
    piece: FileSlice, schema: TableSchema, target: pa.Schema, access: FileAccess | None, invalid_text: InvalidText
) -> Iterator[pa.RecordBatch]:
    """The rows of a file in another format than Parquet."""
    with open_rows(piece.path, piece.format, access) as file:
        names = _names(piece, file.schema, schema)
        deleted = left_out(file, piece, None, 0, names, schema, access)
    # Formats that are read in sequence are opened again.
    with open_rows(piece.path, piece.format, access) as file:
        project, position = projection(file.schema, target, names, _missing(piece, schema)), 0
        for batch in file.batches(_ROWS):
            projected = project(batch if deleted is None else without(batch, position, deleted))
            position += batch.num_rows
            if invalid_text == "replace":
                projected = text.replace(projected)
            else:
                text.check(projected)
            yield projected


def _names(piece: FileSlice, file: pa.Schema, schema: TableSchema) -> ColumnNames:
    """The mapping of the file's column names to field ids, used when it has no field ids."""
    if piece.schema_id is not None and piece.schema_id in schema.older_names:
        return ColumnNames(json.loads(schema.older_names[piece.schema_id]))
    if piece.schema_id is not None and not has_field_ids(file):
        raise ProjectionError("column names of the table were reused, and it is unknown which columns the file has")
    return ColumnNames(json.loads(schema.name_mapping)) if schema.name_mapping else ColumnNames.of(schema.arrow_schema)


def _missing(piece: FileSlice, schema: TableSchema) -> Missing:
    """The values of columns that the file lacks: partition values, else initial defaults."""
    return missing_values(piece.partition, schema)
