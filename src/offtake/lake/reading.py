"""Reading a plan's files, batch by batch. Runs in worker processes: PyIceberg is imported only when needed."""

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from offtake.errors import EXPORT_FAILED, DeliveryError
from offtake.lake import parquet_files, text
from offtake.lake.parquet_files import open_file, open_parquet, parquet_in
from offtake.lake.positions import deleted_positions, without
from offtake.lake.projection import ColumnNames, Missing, ProjectionError, has_field_ids, is_identity, projection
from offtake.lake.text import InvalidText, InvalidTextError

if TYPE_CHECKING:
    from offtake.lake.catalog import Lake, TableName
    from offtake.lake.scan import DataFile

_ROWS: Final = 8192
_CHECKED_ROWS: Final = 65_536
_MOST_OPEN: Final = 256
"""Open files of one part: a process can have 1,024 open, and a part with more files has small files only."""

StoredGroups = tuple[pa.NativeFile, int, int | None]
"""An open file, and its row groups `[first, last)`; `last` None means all from `first`."""


@dataclass(frozen=True)
class TableSchema:
    """The schema of the delivered rows, in Arrow's and Iceberg's serialised forms, and the table's name mapping.

    Workers read with `arrow`; they need `iceberg`, and PyIceberg, only for columns that a file lacks. `older_names`:
    by schema id, the name mappings for files whose column names must be resolved by that schema.
    """

    arrow: str
    iceberg: str
    name_mapping: str | None
    older_names: Mapping[int, str] = field(default_factory=dict)

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The schema of the delivered rows, with Iceberg's field ids."""
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self.arrow)))

    def to_json(self) -> dict[str, Any]:
        """For the stored plan."""
        return {
            "arrow": self.arrow,
            "iceberg": self.iceberg,
            "nameMapping": self.name_mapping,
            "olderNames": {str(number): names for number, names in self.older_names.items()},
        }

    @staticmethod
    def from_json(document: dict[str, Any]) -> "TableSchema":
        """The inverse of `to_json`."""
        # Plans stored by the first version do not have it.
        older = {int(number): names for number, names in document.get("olderNames", {}).items()}
        return TableSchema(document["arrow"], document["iceberg"], document["nameMapping"], older)


@dataclass(frozen=True)
class FileSlice:
    """Row groups `[first, last)` of one file; `last` None means all from `first`. `rows` includes deleted rows.

    `delete_files`, `partition` and `schema_id`: see `scan.DataFile`.
    """

    path: str
    first: int
    last: int | None
    rows: int
    bytes: int
    delete_files: tuple[str, ...] = ()
    partition: tuple[tuple[int, str | None], ...] = ()
    schema_id: int | None = None

    def to_json(self) -> dict[str, Any]:
        """For the stored plan."""
        return {
            "path": self.path,
            "groups": [self.first, self.last],
            "rows": self.rows,
            "bytes": self.bytes,
            "deletes": list(self.delete_files),
            **({"partition": [list(one) for one in self.partition]} if self.partition else {}),
            **({"schemaId": self.schema_id} if self.schema_id is not None else {}),
        }

    @staticmethod
    def from_json(document: dict[str, Any]) -> "FileSlice":
        """The inverse of `to_json`."""
        first, last = document["groups"]
        return FileSlice(
            path=document["path"],
            first=first,
            last=last,
            rows=document["rows"],
            bytes=document["bytes"],
            delete_files=tuple(document["deletes"]),
            partition=tuple((field_id, value) for field_id, value in document.get("partition", ())),
            schema_id=document.get("schemaId"),
        )


def at_new_locations(slices: list[dict[str, Any]], new_location: Callable[[str], str]) -> list[dict[str, Any]]:
    """The stored slices (`FileSlice.to_json`) with the new locations of their files."""
    moved = (
        replace(one, path=new_location(one.path), delete_files=tuple(map(new_location, one.delete_files)))
        for one in map(FileSlice.from_json, slices)
    )
    return [one.to_json() for one in moved]


def table_schema(lake: "Lake", table: "TableName", snapshot_id: int) -> TableSchema:
    """The schema that the snapshot was written with. Raises `DeliveryError` when the metadata cannot be read."""
    # Imported here to save memory in workers.
    from pyiceberg.io.pyarrow import schema_to_pyarrow  # noqa: PLC0415 - see above

    from offtake.lake import file_metadata, metadata_errors, scan  # noqa: PLC0415 - see above

    with metadata_errors.translating_errors(table):
        loaded = lake.load(table)
        schema = file_metadata.schema_of(loaded, scan.snapshot_of(loaded, snapshot_id))
        arrow = narrow_types(schema_to_pyarrow(schema, include_field_ids=True)).serialize()
        mapping = loaded.name_mapping()
        return TableSchema(
            arrow=base64.b64encode(arrow).decode(),
            iceberg=schema.model_dump_json(),
            name_mapping=mapping.model_dump_json() if mapping else None,
            older_names=file_metadata.former_names(loaded),
        )


def slices(files: Iterable["DataFile"], most_bytes: int, most_rows: int) -> list[list[FileSlice]]:
    """Divide the files into parts: small files are combined, large ones split between row groups.

    A part exceeds `most_bytes` or `most_rows` only when a single row group does. Deterministic: the same files in the
    same order give the same parts.
    """
    parts: list[list[FileSlice]] = []
    part: list[FileSlice] = []
    size = rows = 0
    for piece in (piece for file in files for piece in _pieces(file, most_bytes, most_rows)):
        if part and (size + piece.bytes > most_bytes or rows + piece.rows > most_rows):
            parts.append(part)
            part, size, rows = [], 0, 0
        part.append(piece)
        size += piece.bytes
        rows += piece.rows
    return [*parts, part] if part else parts


def read(
    pieces: Sequence[FileSlice], schema: TableSchema, *, invalid_text: InvalidText = "fail"
) -> Iterator[pa.RecordBatch]:
    """The rows of the slices in order, in batches of at most 8192 rows, in the delivered schema.

    Columns are matched by field id, so columns added, dropped, renamed, reordered or widened since a file was written
    are read correctly. Raises `DeliveryError` when a file cannot be read, and for text that is not UTF-8 unless
    `invalid_text` is "replace".
    """
    target = schema.arrow_schema
    for piece in pieces:
        with translating_errors([piece]):
            yield from _read_file(piece, schema, target, invalid_text)


@contextmanager
def unchanged_row_groups(
    pieces: Sequence[FileSlice], schema: TableSchema, *, invalid_text: InvalidText = "fail"
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
                file = opened.enter_context(open_file(piece.path))
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


def _pieces(file: "DataFile", most_bytes: int, most_rows: int) -> Iterator[FileSlice]:
    if file.bytes <= most_bytes and file.rows <= most_rows:
        yield _slice(file, 0, None, file.rows, file.bytes)
        return
    with parquet_files.translating_errors([file.path]), open_parquet(file.path) as opened:
        groups = [opened.metadata.row_group(index) for index in range(opened.metadata.num_row_groups)]
    sizes = [sum(group.column(index).total_compressed_size for index in range(group.num_columns)) for group in groups]
    first = rows = size = 0
    for index, group in enumerate(groups):
        if index > first and (size + sizes[index] > most_bytes or rows + group.num_rows > most_rows):
            yield _slice(file, first, index, rows, size)
            first, rows, size = index, 0, 0
        rows += group.num_rows
        size += sizes[index]
    yield _slice(file, first, len(groups), rows, size)


def _slice(file: "DataFile", first: int, last: int | None, rows: int, size: int) -> FileSlice:
    return FileSlice(file.path, first, last, rows, size, file.delete_files, file.partition, file.schema_id)


def _read_file(
    piece: FileSlice, schema: TableSchema, target: pa.Schema, invalid_text: InvalidText
) -> Iterator[pa.RecordBatch]:
    with open_parquet(piece.path) as file:
        position = sum(file.metadata.row_group(index).num_rows for index in range(piece.first))
        deleted = deleted_positions(piece.path, piece.delete_files)
        marked = _is_marked(piece, file)
        project = projection(
            file.schema_arrow, target, _names(piece, file.schema_arrow, schema), _missing(piece, schema)
        )
        # There are as many processes as cores, so threads within a process would not help.
        for batch in file.iter_batches(_ROWS, row_groups=_groups(piece, file), use_threads=False):
            projected = project(batch if deleted is None else without(batch, position, deleted))
            position += batch.num_rows
            if not marked and invalid_text == "replace":
                projected = text.replace(projected)
            elif not marked:
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
    partition = dict(piece.partition)

    def value(field_id: int, kind: pa.DataType) -> pa.Scalar | None:
        from pyiceberg.conversions import from_bytes  # noqa: PLC0415 - saves memory in workers
        from pyiceberg.types import DoubleType  # noqa: PLC0415 - saves memory in workers

        field = _iceberg(schema.iceberg).find_field(field_id)
        if field_id not in partition:
            return None if field.initial_default is None else pa.scalar(field.initial_default, kind)
        stored = partition[field_id]
        if stored is not None and isinstance(field.field_type, DoubleType):
            # PyIceberg decodes doubles in manifests with the precision of floats.
            raise ProjectionError(
                f"column {field.name} is not in the file, and partition values of type double cannot be read exactly"
            )
        return pa.scalar(None if stored is None else from_bytes(field.field_type, base64.b64decode(stored)), kind)

    return value


@lru_cache(maxsize=8)
def _iceberg(schema: str) -> Any:  # noqa: ANN401 - PyIceberg's Schema, imported late
    from pyiceberg.schema import Schema  # noqa: PLC0415 - saves memory in workers

    return Schema.model_validate(json.loads(schema))


def narrow_types(schema: pa.Schema) -> pa.Schema:
    """The schema with plain strings, bytes and lists instead of large ones and views; Parquet has only one form."""
    return pa.schema([field.with_type(_narrow_type(field.type)) for field in schema])


def _narrow_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_struct(kind):
        inner = (kind.field(index) for index in range(kind.num_fields))
        return pa.struct([field.with_type(_narrow_type(field.type)) for field in inner])
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_narrow_type(kind.value_type)))
    if pa.types.is_map(kind):
        key, item = kind.key_field, kind.item_field
        return pa.map_(key.with_type(_narrow_type(key.type)), item.with_type(_narrow_type(item.type)))
    return kind
