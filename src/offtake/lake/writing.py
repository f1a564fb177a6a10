"""Writing a batch's data files: Parquet that is small, fast to read, and fast to deliver byte for byte."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from offtake.failpoints import failpoint
from offtake.lake import text
from offtake.lake.locations import local_path
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.kinds import Path as ColumnPath
from offtake.lake.parsing.numbers import leaf_arrays

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
        for uri in self.uris:
            local_path(uri).unlink(missing_ok=True)
        remove_empty(local_path(self.folder))

    def _write_file(self, group: pa.Table, groups: Iterator[pa.Table]) -> pa.Table | None:
        """Write one file, starting with `group`. Returns the first group of the next file, or None."""
        uri = f"{self.folder}/{self.prefix}-{len(self.uris):05d}.parquet"
        path = local_path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.uris.append(uri)
        following: pa.Table | None = group
        failpoint("batch_writing")
        dictionaries = _dictionary_columns(group)
        valid = True
        with path.open("wb") as file, _writer(file, self.schema, _CODEC, dictionaries=dictionaries) as writer:
            while following is not None and file.tell() < _FILE_BYTES:
                writer.write_table(following, row_group_size=following.num_rows)
                valid = valid and text.is_valid(following)
                self.rows += following.num_rows
                following = next(groups, None)
            if valid:
                writer.add_key_value_metadata({text.MARK: path.name})
        self.bytes += path.stat().st_size
        return following

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


def remove_empty(folder: Path) -> None:
    """Remove a table's data folder and the table's folder if they are empty."""
    for empty in (folder, folder.parent):
        with contextlib.suppress(OSError):
            empty.rmdir()


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
