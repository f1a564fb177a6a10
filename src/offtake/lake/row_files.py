"""Opening files with rows in the formats of Iceberg: Parquet, ORC and Avro. Runs in worker processes.

PyIceberg is not imported. ORC files are read by stripes, Avro files by blocks.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, Protocol, cast

import pyarrow as pa

from offtake.lake.column_selection import FileLeaf, leaf_count
from offtake.lake.delete_files import RowFormat
from offtake.lake.parquet_files import OpenParquet, open_parquet
from offtake.lake.storage.access import FileAccess
from offtake.lake.storage.files import open_input

_ICEBERG_ID: Final = b"iceberg.id"
_FIELD_ID: Final = b"PARQUET:field_id"
_LONG_TYPE: Final = b"iceberg.long-type"


def row_format(name: str) -> RowFormat:
    """The format with this name in a manifest. Raises `ValueError` for one that has no rows."""
    if name not in ("PARQUET", "ORC", "AVRO"):
        raise ValueError(f"files in the format {name} have no rows")
    return cast("RowFormat", str(name))


class RowFile(Protocol):
    """An open file with rows. `schema`: with field ids, if the file has them."""

    @property
    def schema(self) -> pa.Schema:
        """The file's columns."""
        ...

    def batches(
        self,
        most_rows: int,
        groups: Sequence[int] | None = None,
        columns: Sequence[str] | None = None,
        leaves: Sequence[FileLeaf] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """The rows in batches of at most `most_rows`; of the row groups and of the columns, if given.

        Only Parquet files have row groups to choose. `columns` names top-level columns, `leaves` columns at any depth;
        at most one of them is given. More columns than those can be in the batches.
        """
        ...


@contextmanager
def open_rows(location: str, file_format: RowFormat, access: FileAccess | None) -> Iterator[RowFile]:
    """The open file. Raises the errors that `parquet_files.translating_errors` translates."""
    if file_format == "PARQUET":
        with open_parquet(location, access) as file:
            yield ParquetRows(file)
        return
    with open_input(location, access) as opened:
        if file_format == "ORC":
            yield _OrcRows(opened)
        else:
            from offtake.lake.avro_rows import AvroRows  # noqa: PLC0415 - few tables need it

            yield AvroRows(opened)


class ParquetRows:
    """The rows of a Parquet file. `file` is also of use for what only Parquet has."""

    def __init__(self, file: OpenParquet) -> None:
        self.file = file

    @property
    def schema(self) -> pa.Schema:
        """The file's columns."""
        return self.file.schema_arrow

    def batches(
        self,
        most_rows: int,
        groups: Sequence[int] | None = None,
        columns: Sequence[str] | None = None,
        leaves: Sequence[FileLeaf] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """See `RowFile`."""
        chosen = list(range(self.file.metadata.num_row_groups)) if groups is None else list(groups)
        named = self._leaf_paths(leaves) if columns is None else list(columns)
        self.file.read_ahead(chosen, named)
        # There are as many processes as cores, so threads within a process would not help.
        yield from self.file.iter_batches(most_rows, row_groups=chosen, columns=named, use_threads=False)

    def _leaf_paths(self, leaves: Sequence[FileLeaf] | None) -> list[str] | None:
        """The paths of the leaf columns; None for all, also when Arrow has other leaf columns than the file."""
        if leaves is None or leaf_count(self.schema) != len(self.file.schema):
            return None
        return [self.file.schema.column(one.number).path for one in leaves]


class _OrcRows:
    def __init__(self, opened: pa.NativeFile) -> None:
        from pyarrow import orc  # noqa: PLC0415 - few tables need it

        self._file = orc.ORCFile(opened)
        self.schema = _of_orc(self._file.schema)

    def batches(
        self,
        most_rows: int,
        groups: Sequence[int] | None = None,
        columns: Sequence[str] | None = None,
        leaves: Sequence[FileLeaf] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """See `RowFile`. A stripe is decoded at once; writers limit them to 64 MiB by default."""
        if groups is not None:
            raise ValueError("ORC files are read whole")
        named = _orc_paths(columns, leaves)
        for index in range(self._file.nstripes):
            stripe = self._file.read_stripe(index, columns=named)
            target = _of_orc(stripe.schema)
            if stripe.schema.types != target.types:
                stripe = stripe.cast(target)
            stripe = pa.RecordBatch.from_arrays(stripe.columns, schema=target)
            for first in range(0, stripe.num_rows, most_rows):
                yield stripe.slice(first, most_rows)


def _orc_paths(columns: Sequence[str] | None, leaves: Sequence[FileLeaf] | None) -> list[str] | None:
    """How the ORC reader names the columns; None for all, when a name that has dots could be a path too."""
    paths = [one.names for one in leaves or ()] if columns is None else [(name,) for name in columns]
    if (columns is None and leaves is None) or any("." in name for path in paths for name in path):
        return None
    return list(dict.fromkeys(".".join(path) for path in paths))


def _of_orc(schema: pa.Schema) -> pa.Schema:
    return pa.schema([_orc_field(field) for field in schema])


def _orc_field(field: pa.Field) -> pa.Field:
    """The field with its id as in Parquet, and with Iceberg's types that ORC stores as others."""
    metadata: Mapping[bytes, bytes] = field.metadata or {}
    kind = _orc_type(field.type)
    if metadata.get(_LONG_TYPE) == b"TIME":
        kind = pa.time64("us")
    known = {_FIELD_ID: metadata[_ICEBERG_ID]} if _ICEBERG_ID in metadata else None
    return pa.field(field.name, kind, field.nullable, known)


def _orc_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([_orc_field(kind.field(index)) for index in range(kind.num_fields)])
    if pa.types.is_list(kind):
        return pa.list_(_orc_field(kind.value_field))
    if pa.types.is_map(kind):
        return pa.map_(_orc_field(kind.key_field), _orc_field(kind.item_field))
    return kind
