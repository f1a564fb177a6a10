"""Reading a plan's files, batch by batch. Runs in worker processes: PyIceberg is imported only where it is needed."""

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from offtake.errors import EXPORT_FAILED, DeliveryError
from offtake.lake import text
from offtake.lake.parquet_files import explain, open_file, open_parquet, parquet_in
from offtake.lake.positions import deleted_positions, without
from offtake.lake.projection import ColumnNames, Missing, ProjectionError, bears_ids, is_as_wanted, projection
from offtake.lake.text import InvalidText, InvalidTextError

if TYPE_CHECKING:
    from offtake.lake.catalog import Lake, TableName
    from offtake.lake.scan import DataFile

_ROWS: Final = 8192
_CHECKED_ROWS: Final = 65_536
_MOST_OPEN: Final = 256
"""Files of one part: more of them are small ones, and processes may have 1,024 open."""

StoredGroups = tuple[pa.NativeFile, int, int | None]
"""An open file, and which of its row groups: `[first, last)`, `last` None for all from `first`."""


@dataclass(frozen=True)
class TableSchema:
    """The schema that rows are delivered in, in Arrow's and in Iceberg's form, and the table's name mapping.

    Workers read by the first; only for columns that a file does not have they need the second, and PyIceberg.
    `older_names`, by schema id, are the name mappings of files whose names mean what they meant in that schema.
    """

    arrow: str
    iceberg: str
    name_mapping: str | None
    older_names: Mapping[int, str] = field(default_factory=dict)

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
        """What `to_json` gave."""
        # Plans that were stored by the first version have none.
        older = {int(number): names for number, names in document.get("olderNames", {}).items()}
        return TableSchema(document["arrow"], document["iceberg"], document["nameMapping"], older)


@dataclass(frozen=True)
class FileSlice:
    """Row groups `[first, last)` of one file; `last` None means all from `first`. `rows` does not count deletes.

    `delete_files`, `partition` and `schema_id` are those of the data file (`scan.DataFile`).
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
        """What `to_json` gave."""
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
    """The stored slices (`FileSlice.to_json`) of files that have moved."""
    moved = (
        replace(one, path=new_location(one.path), delete_files=tuple(map(new_location, one.delete_files)))
        for one in map(FileSlice.from_json, slices)
    )
    return [one.to_json() for one in moved]


def table_schema(lake: "Lake", table: "TableName", snapshot_id: int) -> TableSchema:
    """The schema that the snapshot was written with. Raises `DeliveryError` as plans do."""
    # Keeps small workers small.
    from pyiceberg.io.pyarrow import schema_to_pyarrow  # noqa: PLC0415 - see above

    from offtake.lake import file_metadata, metadata_errors, scan  # noqa: PLC0415 - see above

    with metadata_errors.explain(table):
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
    """The files cut into parts of at most so many bytes and rows: small ones together, large ones by row groups.

    A single row group is never cut. Deterministic: the same files in the same order give the same parts.
    """
    parts: list[list[FileSlice]] = []
    held: list[FileSlice] = []
    size = rows = 0
    for piece in (piece for file in files for piece in _pieces(file, most_bytes, most_rows)):
        if held and (size + piece.bytes > most_bytes or rows + piece.rows > most_rows):
            parts.append(held)
            held, size, rows = [], 0, 0
        held.append(piece)
        size += piece.bytes
        rows += piece.rows
    return [*parts, held] if held else parts


def arrow_schema(schema: TableSchema) -> pa.Schema:
    """The schema as it is delivered, Iceberg's field ids included."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(schema.arrow)))


def read(
    pieces: Sequence[FileSlice], schema: TableSchema, *, invalid_text: InvalidText = "fail"
) -> Iterator[pa.RecordBatch]:
    """The rows of the slices in order, in batches of at most 8192, under the delivered schema.

    Columns added, dropped, renamed, reordered or widened since a file was written are found by their field ids.
    Raises `DeliveryError` when a file cannot be read, and for text that is not UTF-8 unless it is to be replaced.
    """
    wanted = arrow_schema(schema)
    for piece in pieces:
        with translating_errors([piece]):
            yield from _read_file(piece, schema, wanted, invalid_text)


@contextmanager
def unchanged_row_groups(
    pieces: Sequence[FileSlice], schema: TableSchema, *, invalid_text: InvalidText = "fail"
) -> Iterator[list[StoredGroups] | None]:
    """The slices' files, open, while the block runs; None when their rows, columns or text are to be changed.

    Each with the range of its row groups. Raises `DeliveryError` as `read` does.
    """
    wanted = arrow_schema(schema)
    if len(pieces) > _MOST_OPEN:
        yield None
        return
    with ExitStack() as opened:
        found: list[StoredGroups] = []
        for piece in pieces:
            with translating_errors([piece]):
                file = opened.enter_context(open_file(piece.path))
                stored = parquet_in(file)
                if piece.delete_files or not _is_copyable(piece, stored.schema_arrow, wanted, schema):
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
    """Translate what reading the slices' files raises to `DeliveryError`."""
    try:
        with explain([piece.path for piece in pieces]):
            yield
    except ProjectionError as error:
        raise DeliveryError(
            EXPORT_FAILED,
            f"The dataset's file {pieces[0].path} does not fit the table's columns: {error}.",
            error.remedy,
        ) from None
    except InvalidTextError as error:
        raise DeliveryError(
            EXPORT_FAILED,
            f"Column {error} of the dataset's file {pieces[0].path} has text that is not UTF-8.",
            "Correct the text in the table, or have the target connection replace what is not UTF-8.",
        ) from None


def _check_text(piece: FileSlice, file: pq.ParquetFile) -> None:
    """Raise `InvalidTextError` for text of the slice that is not UTF-8; marked files need not be read."""
    columns = _text_columns(file)
    if not columns or _is_marked(piece, file):
        return
    for batch in file.iter_batches(_CHECKED_ROWS, row_groups=_groups(piece, file), columns=columns, use_threads=False):
        text.check(batch)


def _text_columns(file: pq.ParquetFile) -> list[str]:
    """The paths of the columns of the file that are text; where names have dots, maybe others too."""
    columns = map(file.schema.column, range(len(file.schema)))
    return [column.path for column in columns if column.logical_type.type == "STRING"]


def _is_marked(piece: FileSlice, file: pq.ParquetFile) -> bool:
    return text.is_marked(file.metadata.metadata, piece.path.rpartition("/")[2])


def _groups(piece: FileSlice, file: pq.ParquetFile) -> list[int]:
    return list(range(piece.first, file.metadata.num_row_groups if piece.last is None else piece.last))


def _is_copyable(piece: FileSlice, stored: pa.Schema, wanted: pa.Schema, schema: TableSchema) -> bool:
    try:
        # Arrow's own schema, which its and Polars' files bear, may say large strings of what are Parquet's plain ones.
        return is_as_wanted(narrow_types(stored), wanted, _names(piece, stored, schema))
    except ProjectionError:
        return False


def _pieces(file: "DataFile", most_bytes: int, most_rows: int) -> Iterator[FileSlice]:
    if file.bytes <= most_bytes and file.rows <= most_rows:
        yield _slice(file, 0, None, file.rows, file.bytes)
        return
    with explain([file.path]), open_parquet(file.path) as opened:
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
    piece: FileSlice, schema: TableSchema, wanted: pa.Schema, invalid_text: InvalidText
) -> Iterator[pa.RecordBatch]:
    with open_parquet(piece.path) as file:
        position = sum(file.metadata.row_group(index).num_rows for index in range(piece.first))
        gone = deleted_positions(piece.path, piece.delete_files)
        marked = _is_marked(piece, file)
        project = projection(
            file.schema_arrow, wanted, _names(piece, file.schema_arrow, schema), _missing(piece, schema)
        )
        # Processes are as many as cores: threads within them would only wait for one another.
        for batch in file.iter_batches(_ROWS, row_groups=_groups(piece, file), use_threads=False):
            made = project(batch if gone is None else without(batch, position, gone))
            position += batch.num_rows
            if not marked and invalid_text == "replace":
                made = text.replace(made)
            elif not marked:
                text.check(made)
            yield made


def _names(piece: FileSlice, file: pa.Schema, schema: TableSchema) -> ColumnNames:
    """What the names in the file mean, in case it has no field ids."""
    if piece.schema_id is not None and piece.schema_id in schema.older_names:
        return ColumnNames(json.loads(schema.older_names[piece.schema_id]))
    if piece.schema_id is not None and not bears_ids(file):
        raise ProjectionError("names of the table's columns have changed hands, and nothing tells which it means")
    return ColumnNames(json.loads(schema.name_mapping)) if schema.name_mapping else ColumnNames.of(arrow_schema(schema))


def _missing(piece: FileSlice, schema: TableSchema) -> Missing:
    """What is to be delivered for columns that the file does not have."""
    partition = dict(piece.partition)

    def value(field_id: int, kind: pa.DataType) -> pa.Scalar | None:
        from pyiceberg.conversions import from_bytes  # noqa: PLC0415 - keeps small workers small
        from pyiceberg.types import DoubleType  # noqa: PLC0415 - keeps small workers small

        field = _iceberg(schema.iceberg).find_field(field_id)
        if field_id not in partition:
            return None if field.initial_default is None else pa.scalar(field.initial_default, kind)
        known = partition[field_id]
        if known is not None and isinstance(field.field_type, DoubleType):
            # PyIceberg's decoder of manifests gives doubles the precision of floats.
            raise ProjectionError(
                f"column {field.name} is not in the file, and doubles of partitions cannot be read exactly"
            )
        return pa.scalar(None if known is None else from_bytes(field.field_type, base64.b64decode(known)), kind)

    return value


@lru_cache(maxsize=8)
def _iceberg(schema: str) -> Any:  # noqa: ANN401 - PyIceberg's Schema, imported late
    from pyiceberg.schema import Schema  # noqa: PLC0415 - keeps small workers small

    return Schema.model_validate(json.loads(schema))


def narrow_types(schema: pa.Schema) -> pa.Schema:
    """The schema in Arrow's usual forms, not in large ones and views: of text, bytes and lists Parquet knows one."""
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
