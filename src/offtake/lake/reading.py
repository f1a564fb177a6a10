"""Reading a plan's files, batch by batch. Runs in worker processes: PyIceberg is imported only where it is needed."""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from offtake.errors import DeliveryError

if TYPE_CHECKING:
    from offtake.lake.catalog import Lake, TableName
    from offtake.lake.scan import DataFile

_ROWS: Final = 8192
_FIELD_ID: Final = b"PARQUET:field_id"


@dataclass(frozen=True)
class TableSchema:
    """The schema that rows are delivered in, in Arrow's and in Iceberg's form, and the table's name mapping.

    Workers read by the first; only files that were written under another schema need the others, and PyIceberg.
    """

    arrow: str
    iceberg: str
    name_mapping: str | None

    def to_json(self) -> dict[str, Any]:
        """For the stored plan."""
        return {"arrow": self.arrow, "iceberg": self.iceberg, "nameMapping": self.name_mapping}

    @staticmethod
    def from_json(document: dict[str, Any]) -> "TableSchema":
        """What `to_json` gave."""
        return TableSchema(document["arrow"], document["iceberg"], document["nameMapping"])


@dataclass(frozen=True)
class FileSlice:
    """Row groups `[first, last)` of one file; `last` None means all from `first`. `rows` does not count deletes."""

    path: str
    first: int
    last: int | None
    rows: int
    bytes: int
    delete_files: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For the stored plan."""
        return {
            "path": self.path,
            "groups": [self.first, self.last],
            "rows": self.rows,
            "bytes": self.bytes,
            "deletes": list(self.delete_files),
        }

    @staticmethod
    def from_json(document: dict[str, Any]) -> "FileSlice":
        """What `to_json` gave."""
        first, last = document["groups"]
        return FileSlice(document["path"], first, last, document["rows"], document["bytes"], tuple(document["deletes"]))


def table_schema(lake: "Lake", table: "TableName", snapshot_id: int) -> TableSchema:
    """The schema that the snapshot was written with."""
    from pyiceberg.io.pyarrow import schema_to_pyarrow  # noqa: PLC0415 - keeps small workers small

    loaded = lake.load(table)
    snapshot = loaded.snapshot_by_id(snapshot_id)
    schema = loaded.schema()
    if snapshot is not None and snapshot.schema_id is not None:
        schema = loaded.schemas()[snapshot.schema_id]
    arrow = _small(schema_to_pyarrow(schema, include_field_ids=True)).serialize()
    mapping = loaded.name_mapping()
    return TableSchema(
        arrow=base64.b64encode(arrow).decode(),
        iceberg=schema.model_dump_json(),
        name_mapping=mapping.model_dump_json() if mapping else None,
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


def read(pieces: Sequence[FileSlice], schema: TableSchema) -> Iterator[pa.RecordBatch]:
    """The rows of the slices in order, in batches of at most 8192, under the delivered schema.

    Columns added, dropped, renamed, reordered or widened since a file was written are found by their field ids.
    Raises `DeliveryError` when a file cannot be read.
    """
    wanted = arrow_schema(schema)
    for piece in pieces:
        try:
            yield from _read_file(piece, schema, wanted)
        except (OSError, pa.ArrowException) as error:
            raise _unreadable(piece.path, error) from None


def _pieces(file: "DataFile", most_bytes: int, most_rows: int) -> Iterator[FileSlice]:
    if file.bytes <= most_bytes and file.rows <= most_rows:
        yield FileSlice(file.path, 0, None, file.rows, file.bytes, file.delete_files)
        return
    try:
        with _open(file.path) as opened:
            groups = [opened.metadata.row_group(index) for index in range(opened.metadata.num_row_groups)]
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(file.path, error) from None
    sizes = [sum(group.column(index).total_compressed_size for index in range(group.num_columns)) for group in groups]
    first = rows = size = 0
    for index, group in enumerate(groups):
        if index > first and (size + sizes[index] > most_bytes or rows + group.num_rows > most_rows):
            yield FileSlice(file.path, first, index, rows, size, file.delete_files)
            first, rows, size = index, 0, 0
        rows += group.num_rows
        size += sizes[index]
    yield FileSlice(file.path, first, len(groups), rows, size, file.delete_files)


def _read_file(piece: FileSlice, schema: TableSchema, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
    with _open(piece.path) as file:
        groups = range(piece.first, file.metadata.num_row_groups if piece.last is None else piece.last)
        position = sum(file.metadata.row_group(index).num_rows for index in range(piece.first))
        deleted = _deleted(piece)
        project = None if _is_plain(file.schema_arrow, wanted) else _projection(file.schema_arrow, schema)
        for batch in file.iter_batches(_ROWS, row_groups=list(groups)):
            kept = batch if deleted is None else _without(batch, position, deleted)
            position += batch.num_rows
            rows = kept if project is None else project(kept)
            yield _under(rows, wanted)


def _open(path: str) -> pq.ParquetFile:
    # Reading ahead would hold whole row groups in memory.
    filesystem, inner = _file_system(path)
    return pq.ParquetFile(filesystem.open_input_file(inner), pre_buffer=False)


def _file_system(uri: str) -> tuple[pafs.FileSystem, str]:
    if "://" not in uri and not uri.startswith("file:"):
        return pafs.LocalFileSystem(), uri
    filesystem, path = pafs.FileSystem.from_uri(uri)
    return filesystem, path


def _under(batch: pa.RecordBatch, wanted: pa.Schema) -> pa.RecordBatch:
    columns = [
        column if column.type.equals(field.type) else column.cast(field.type)
        for column, field in zip(batch.columns, wanted, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=wanted)


def _is_plain(file: pa.Schema, wanted: pa.Schema) -> bool:
    """Whether the file's columns are the wanted ones as they stand: names, order, types, and ids where it has them."""
    if file.names != wanted.names:
        return False
    return all(
        one.type.equals(other.type) and _id(one) in (None, _id(other)) for one, other in zip(file, wanted, strict=True)
    )


def _id(field: pa.Field) -> bytes | None:
    return (field.metadata or {}).get(_FIELD_ID)


def _projection(file: pa.Schema, schema: TableSchema) -> Any:  # noqa: ANN401 - a function from batch to batch
    """How the file's batches become batches of the wanted schema, by field id."""
    # PyIceberg has no public function that projects one batch; its readers hold whole files in memory.
    from pyiceberg.io.pyarrow import _to_requested_schema, pyarrow_to_schema  # noqa: PLC0415 - see above
    from pyiceberg.table.name_mapping import parse_mapping_from_json  # noqa: PLC0415 - keeps small workers small

    requested = _iceberg(schema.iceberg)
    mapping = parse_mapping_from_json(schema.name_mapping) if schema.name_mapping else requested.name_mapping
    file_schema = pyarrow_to_schema(file, name_mapping=mapping)
    return lambda batch: _to_requested_schema(requested, file_schema, batch)


def _deleted(piece: FileSlice) -> pa.Array | None:
    """The positions of the file's rows that are deleted, or None."""
    if not piece.delete_files:
        return None
    found = [_positions(delete_file, piece.path) for delete_file in piece.delete_files]
    positions = pa.chunked_array([chunk for one in found for chunk in one.chunks], pa.int64())
    return positions.combine_chunks() if len(positions) else None


@lru_cache(maxsize=4)
def _positions(delete_file: str, path: str) -> pa.ChunkedArray:
    with _open(delete_file) as file:
        kept = [
            batch.filter(pa.compute.equal(batch["file_path"], path))["pos"]
            for batch in file.iter_batches(65_536, columns=["file_path", "pos"])
        ]
    return pa.chunked_array(kept, pa.int64())


def _without(batch: pa.RecordBatch, first: int, deleted: pa.Array) -> pa.RecordBatch:
    positions = pa.arange(first, first + batch.num_rows)
    return batch.filter(pa.compute.invert(pa.compute.is_in(positions, value_set=deleted)))


@lru_cache(maxsize=8)
def _iceberg(schema: str) -> Any:  # noqa: ANN401 - PyIceberg's Schema, imported late
    from pyiceberg.schema import Schema  # noqa: PLC0415 - keeps small workers small

    return Schema.model_validate(json.loads(schema))


def _small(schema: pa.Schema) -> pa.Schema:
    """The schema in the types that Parquet files are read in, not in PyIceberg's large ones."""
    return pa.schema([field.with_type(_small_type(field.type)) for field in schema])


def _small_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_struct(kind):
        inner = (kind.field(index) for index in range(kind.num_fields))
        return pa.struct([field.with_type(_small_type(field.type)) for field in inner])
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_small_type(kind.value_type)))
    if pa.types.is_map(kind):
        key, item = kind.key_field, kind.item_field
        return pa.map_(key.with_type(_small_type(key.type)), item.with_type(_small_type(item.type)))
    return kind


def _unreadable(path: str, error: Exception) -> DeliveryError:
    return DeliveryError(
        "EXPORT-1500-500",
        f"The dataset's file {path} cannot be read ({type(error).__name__}).",
        "Check that the warehouse is reachable and that nothing removes its files.",
    )
