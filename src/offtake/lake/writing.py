"""Writing a batch's data files: Parquet that is small, fast to read, and fast to deliver byte for byte."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from offtake.failpoints import failpoint
from offtake.lake import text
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.kinds import Path as ColumnPath
from offtake.lake.parsing.numbers import leaf_arrays
from offtake.lake.warehouse import Warehouse

_FILE_BYTES: Final = 128 * 1024 * 1024
_GROUP_ROWS: Final = 65_536
_GROUP_BYTES: Final = 32 * 1024 * 1024
_CODEC: Final = "zstd"
_FIRST_DAY: Final = date.min.toordinal() - date(1970, 1, 1).toordinal()
_LAST_DAY: Final = date.max.toordinal() - date(1970, 1, 1).toordinal()
_DAY_US: Final = 86_400_000_000


@dataclass
class DataFiles:
    """The data files of one attempt to import a batch: of bounded size, with row groups of bounded size.

    File names start with `prefix`. `uris`, `rows` and `bytes` are those of the files written so far; `unbounded`: the
    columns, by Iceberg's names, with dates or timestamps outside the years 1 to 9999.
    """

    warehouse: Warehouse
    folder: str
    prefix: str
    schema: pa.Schema
    uris: list[str] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    unbounded: set[str] = field(default_factory=set)

    def write(self, rows: Iterable[pa.RecordBatch]) -> None:
        """Write all rows. Raises `ImportRefusedError` for rows that do not have the table's types."""
        groups = self._groups(rows)
        following: pa.Table | None = next(groups, None)
        while following is not None:
            following = self._write_file(following, groups)

    def remove(self) -> None:
        """Delete the files, when the batch was not committed."""
        self.warehouse.remove(self.uris)
        remove_empty(self.warehouse, self.folder)

    def _write_file(self, group: pa.Table, groups: Iterator[pa.Table]) -> pa.Table | None:
        """Write one file, starting with `group`. Returns the first group of the next file, or None."""
        name = f"{self.prefix}-{len(self.uris):05d}.parquet"
        uri = f"{self.folder}/{name}"
        self.uris.append(uri)
        following: list[pa.Table] = []
        self.bytes += self.warehouse.write(uri, self._parquet(name, group, groups, following))
        return following[0] if following else None

    def _parquet(self, name: str, group: pa.Table, groups: Iterator[pa.Table], following: list[pa.Table]) -> "_Content":
        """The content of a file, a row group at a time. Adds the first group of the next file to `following`."""
        # Where a file has begun, a warehouse in a folder has created it.
        failpoint("batch_writing")
        out = _Chunks()
        left: pa.Table | None = group
        valid = True
        with _writer(out, self.schema, _CODEC, dictionaries=_dictionary_columns(group)) as writer:
            while left is not None and out.bytes < _FILE_BYTES:
                writer.write_table(left, row_group_size=left.num_rows)
                valid = valid and text.is_valid(left)
                self.rows += left.num_rows
                yield from out.take()
                left = next(groups, None)
            if valid:
                writer.add_key_value_metadata({text.MARK: name})
        yield from out.take()
        following += [] if left is None else [left]

    def _groups(self, rows: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
        buffered: list[pa.RecordBatch] = []
        count = size = 0
        for batch in rows:
            if batch.num_rows == 0:
                continue
            buffered.append(batch)
            count += batch.num_rows
            size += batch.nbytes
            if count >= _GROUP_ROWS or size >= _GROUP_BYTES:
                yield self._table(buffered)
                buffered, count, size = [], 0, 0
        if buffered:
            yield self._table(buffered)

    def _table(self, batches: list[pa.RecordBatch]) -> pa.Table:
        try:
            # Without a cast: it would refuse a null struct with required fields.
            table = pa.Table.from_arrays(pa.Table.from_batches(batches).columns, schema=self.schema)
        except (pa.ArrowInvalid, ValueError, TypeError):
            raise ImportRefusedError("The rows do not have the table's column types.") from None
        self.unbounded |= _unbounded(table)
        return table


def remove_empty(warehouse: Warehouse, folder: str) -> None:
    """Remove a table's data folder and the table's folder if they are empty."""
    for empty in (folder, folder.rpartition("/")[0]):
        warehouse.remove_if_empty(empty)


_Content: TypeAlias = Iterator[bytes]


class _Chunks:
    """A file for the Parquet writer that holds what was written until it is taken."""

    closed = False

    def __init__(self) -> None:
        self.bytes = 0
        self._written: list[bytes] = []

    def write(self, chunk: Any) -> int:  # noqa: ANN401 - a buffer of pyarrow
        content = bytes(chunk)
        self._written.append(content)
        self.bytes += len(content)
        return len(content)

    def take(self) -> list[bytes]:
        """What was written since the last call."""
        taken, self._written = self._written, []
        return taken

    def flush(self) -> None:
        """No-op: nothing is buffered below."""


def _unbounded(table: pa.Table) -> set[str]:
    """The columns with dates or timestamps that Python, and therefore PyIceberg, cannot represent."""
    found: set[str] = set()

    def visit(path: ColumnPath, values: pa.Array) -> None:
        if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
            least, most = _FIRST_DAY, _LAST_DAY
            if pa.types.is_timestamp(values.type):
                least, most = least * _DAY_US, (most + 1) * _DAY_US - 1
            bounds = pc.min_max(values.view(pa.int32() if pa.types.is_date(values.type) else pa.int64())).as_py()
            if bounds["min"] is not None and not least <= bounds["min"] <= bounds["max"] <= most:
                found.add(".".join({"[]": "element", "{}": "value"}.get(step, step) for step in path))

    for name, column in zip(table.column_names, table.columns, strict=True):
        for chunk in column.chunks:
            leaf_arrays(chunk, (name,), visit)
    return found


def _writer(file: object, schema: pa.Schema, codec: str, *, dictionaries: bool | list[str]) -> pq.ParquetWriter:
    # Pages are limited by size (1 MiB), not by rows: many small pages are slow to read.
    return pq.ParquetWriter(file, schema, compression=codec, use_dictionary=dictionaries, max_rows_per_page=_GROUP_ROWS)


def _dictionary_columns(group: pa.Table) -> list[str]:
    """The columns, by their paths in Parquet, that are smaller with a dictionary, measured before compression.

    Both encodings are written and compared. A dictionary of values that hardly repeat stores them twice, which only
    decoding can undo.
    """
    with_dictionaries, plain = (_column_sizes(group, dictionaries=one) for one in (True, False))
    return [path for path, size in with_dictionaries.items() if size < plain[path]]


def _column_sizes(group: pa.Table, *, dictionaries: bool) -> dict[str, int]:
    out = pa.BufferOutputStream()
    with _writer(out, group.schema, "none", dictionaries=dictionaries) as writer:
        writer.write_table(group, row_group_size=group.num_rows)
    stored = pq.read_metadata(pa.BufferReader(out.getvalue())).row_group(0)
    columns = (stored.column(index) for index in range(stored.num_columns))
    return {column.path_in_schema: column.total_uncompressed_size for column in columns}
