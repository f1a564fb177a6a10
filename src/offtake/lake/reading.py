"""Reading a plan's files, batch by batch. Runs in worker processes: PyIceberg is imported only when needed."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from offtake.errors import EXPORT_FAILED, DeliveryError
from offtake.lake import parquet_files, text
from offtake.lake.column_selection import delivered_leaves
from offtake.lake.parquet_files import OpenParquet, open_parquet
from offtake.lake.parts import FileSlice, TableSchema, narrow_types
from offtake.lake.positions import without
from offtake.lake.projection import ColumnNames, Missing, ProjectionError, has_field_ids, is_identity, projection
from offtake.lake.row_files import ParquetRows, open_rows
from offtake.lake.row_filter import left_out
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.files import open_ahead, open_input
from offtake.lake.storage.range_requests import Check
from offtake.lake.storage.read_ahead import ReadAhead
from offtake.lake.table_columns import missing_values
from offtake.lake.text import InvalidText, InvalidTextError

_ROWS: Final = 8192
_CHECKED_ROWS: Final = 65_536
_MOST_OPEN: Final = 256
"""Open files of one part: a process can have 1,024 open, and a part with more files has small files only."""
_OPEN_AHEAD: Final = 8
"""Files that are open at the same time, before they are read."""
_WHOLE: Final = 2 * 1024 * 1024
"""Files up to this size are fetched from object stores whole: another request would take longer than their bytes."""

StoredGroups = tuple[pa.NativeFile, int, int | None]
"""An open file, and its row groups `[first, last)`; `last` None means all from `first`."""


def read(
    pieces: Sequence[FileSlice],
    schema: TableSchema,
    access: FileAccess | None = None,
    *,
    invalid_text: InvalidText = "fail",
    check: Check | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of the slices in order, in batches of at most 8192 rows, in the delivered schema.

    Columns are matched by field id, so columns added, dropped, renamed, reordered or widened since a file was written
    are read correctly. `access`: of a registered table. `check` is called while an object store is waited for, and
    raises when the work must stop. Raises `DeliveryError` when a file cannot be read, and for text that is not UTF-8
    unless `invalid_text` is "replace".
    """
    target = schema.arrow_schema
    with closing(ReadAhead(check)) as ahead:
        for index, piece in enumerate(pieces):
            with translating_errors([piece]):
                _open_ahead(pieces[index : index + _OPEN_AHEAD], access, ahead, _WHOLE)
                yield from _read_file(piece, schema, target, access, ahead, invalid_text)


@contextmanager
def unchanged_row_groups(
    pieces: Sequence[FileSlice],
    schema: TableSchema,
    access: FileAccess | None = None,
    *,
    invalid_text: InvalidText = "fail",
    check: Check | None = None,
) -> Iterator[list[StoredGroups] | None]:
    """Context manager: the slices' open files and row groups, when they can be delivered byte for byte.

    None when rows, columns or text must be changed, or when there are too many files. Also None when columns were
    chosen, because a file's metadata can have the names of other columns. Raises `DeliveryError` as `read` does.
    """
    target = schema.arrow_schema
    if len(pieces) > _MOST_OPEN or schema.columns:
        yield None
        return
    with ExitStack() as opened, closing(ReadAhead(check)) as ahead:
        found: list[OpenParquet] = []
        for index, piece in enumerate(pieces):
            with translating_errors([piece]):
                if piece.format != "PARQUET" or (piece.updated and piece.updated[0] <= piece.updated[1]):
                    break
                _open_ahead(pieces[index : index + _OPEN_AHEAD], access, ahead)
                stored = OpenParquet(opened.enter_context(open_input(piece.path, access, _size(piece), ahead)))
                if piece.delete_files or not _is_copyable(piece, stored.schema_arrow, target, schema):
                    break
                try:
                    _check_text(piece, stored)
                except InvalidTextError:
                    if invalid_text == "fail":
                        raise
                    break
            found.append(stored)
        if len(found) < len(pieces):
            yield None
            return
        for piece, stored in zip(pieces, found, strict=True):
            with translating_errors([piece]):
                stored.keep_indexes()
                stored.read_ahead(_checked_groups(piece, stored))
        yield [(stored.source, piece.first, piece.last) for piece, stored in zip(pieces, found, strict=True)]


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


def _open_ahead(
    pieces: Sequence[FileSlice], access: FileAccess | None, ahead: ReadAhead, whole: int | None = None
) -> None:
    """Open the slices' files, whose ends are then fetched at the same time."""
    files = [(piece.path, _size(piece)) for piece in pieces if piece.format == "PARQUET"]
    open_ahead(files, access, ahead, *(() if whole is None else (whole,)))


def _size(piece: FileSlice) -> int | None:
    """The size of the file, when the slice is the whole file."""
    return piece.bytes if piece.first == 0 and piece.last is None else None


def _check_text(piece: FileSlice, file: OpenParquet) -> None:
    """Raise `InvalidTextError` for text of the slice that is not UTF-8. Files marked as checked are not read."""
    columns = _text_columns(file)
    if not columns or _is_marked(piece, file):
        return
    groups = _groups(piece, file)
    file.read_ahead(groups, columns)
    for batch in file.iter_batches(_CHECKED_ROWS, row_groups=groups, columns=columns, use_threads=False):
        text.check(batch)


def _text_columns(file: pq.ParquetFile) -> list[str]:
    """The paths of the file's text columns. With dots in column names, a path can also match other columns."""
    columns = map(file.schema.column, range(len(file.schema)))
    return [column.path for column in columns if column.logical_type.type == "STRING"]


def _is_marked(piece: FileSlice, file: pq.ParquetFile) -> bool:
    return text.is_marked(file.metadata.metadata, piece.path.rpartition("/")[2])


def _groups(piece: FileSlice, file: pq.ParquetFile) -> list[int]:
    return list(range(piece.first, file.metadata.num_row_groups if piece.last is None else piece.last))


def _checked_groups(piece: FileSlice, file: pq.ParquetFile) -> list[int]:
    """The slice's row groups; raises `DeliveryError` when they have more or fewer rows than was planned."""
    groups = _groups(piece, file)
    parquet_files.check_rows(piece.path, sum(file.metadata.row_group(index).num_rows for index in groups), piece.rows)
    return groups


def _is_copyable(piece: FileSlice, stored: pa.Schema, target: pa.Schema, schema: TableSchema) -> bool:
    try:
        # The Arrow schema in files of Arrow and Polars can have large strings; Parquet stores them like other strings.
        return is_identity(narrow_types(stored), target, _names(piece, stored, schema))
    except ProjectionError:
        return False


def _read_file(
    piece: FileSlice,
    schema: TableSchema,
    target: pa.Schema,
    access: FileAccess | None,
    ahead: ReadAhead,
    invalid_text: InvalidText,
) -> Iterator[pa.RecordBatch]:
    if piece.format != "PARQUET":
        yield from _read_whole(piece, schema, target, access, invalid_text)
        return
    with open_parquet(piece.path, access, _size(piece), ahead) as file:
        groups, names = _checked_groups(piece, file), _names(piece, file.schema_arrow, schema)
        position = sum(file.metadata.row_group(index).num_rows for index in range(piece.first))
        deleted = left_out(ParquetRows(file), piece, groups, position, names, schema, access)
        marked = _is_marked(piece, file)
        wanted, project = delivered_leaves(file.schema_arrow, target, names), None
        for batch in ParquetRows(file).batches(_ROWS, groups, leaves=wanted):
            # By the batch's schema: Arrow's paths, which join names by dots, can mean other columns too.
            project = project or projection(batch.schema, target, names, _missing(piece, schema))
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
        wanted = delivered_leaves(file.schema, target, names)
    # Formats that are read in sequence are opened again.
    with open_rows(piece.path, piece.format, access) as file:
        project, position = None, 0
        for batch in file.batches(_ROWS, leaves=wanted):
            project = project or projection(batch.schema, target, names, _missing(piece, schema))
            projected = project(batch if deleted is None else without(batch, position, deleted))
            position += batch.num_rows
            if invalid_text == "replace":
                projected = text.replace(projected)
            else:
                text.check(projected)
            yield projected
    parquet_files.check_rows(piece.path, position, piece.rows)


def _names(piece: FileSlice, file: pa.Schema, schema: TableSchema) -> ColumnNames:
    """The mapping of the file's column names to field ids, used when it has no field ids."""
    if piece.schema_id is not None and piece.schema_id in schema.older_names:
        return ColumnNames(json.loads(schema.older_names[piece.schema_id]))
    if piece.schema_id is not None and not has_field_ids(file):
        raise ProjectionError("column names of the table were reused, and it is unknown which columns the file has")
    return ColumnNames(json.loads(schema.name_mapping)) if schema.name_mapping else ColumnNames.of(schema.table_schema)


def _missing(piece: FileSlice, schema: TableSchema) -> Missing:
    """The values of columns that the file lacks: partition values, else initial defaults."""
    return missing_values(piece.partition, schema)
