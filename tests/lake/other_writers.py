"""Table changes by other engines that PyIceberg does not support: position and equality deletes, compaction."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import orc
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io.pyarrow import ArrowScan, _dataframe_to_data_files, schema_to_pyarrow
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriter,
    ManifestWriterV2,
)
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update.snapshot import _FastAppendFiles, _OverwriteFiles
from pyiceberg.typedef import Record

from offtake.lake.delete_files import DeletionVector
from offtake.lake.deletion_vectors import read_positions
from offtake.lake.locations import local_path
from offtake.lake.parts import narrow_types
from tests.lake.format_3 import ManifestWriterV3, vector_files, writing_format_3

FILE_PATH = 2147483546
POS = 2147483545
Bounds = Literal["none", "exact", "range"]


class _DeletesContent:
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}  # type: ignore[misc]


class _DeleteWriter(_DeletesContent, ManifestWriterV2):
    pass


class _DeleteWriterV3(_DeletesContent, ManifestWriterV3):
    pass


class _RowDelta(_FastAppendFiles):
    """A commit that adds delete files, and optionally data files; it removes the vectors that it replaces."""

    delete_files: tuple[DataFile, ...] = ()

    def _manifests(self) -> list[ManifestFile]:
        written = []
        for spec_id in {file.spec_id for file in self.delete_files}:
            with self._writer(spec_id) as writer:
                for file in self.delete_files:
                    if file.spec_id == spec_id:
                        entry = ManifestEntry.from_args(
                            status=ManifestEntryStatus.ADDED, snapshot_id=self._snapshot_id, data_file=file
                        )
                        writer.add(entry)
            written.append(writer.to_manifest_file())
        return [*written, *super()._manifests()]

    def _writer(self, spec_id: int) -> ManifestWriter:
        metadata = self._transaction.table_metadata
        kind = _DeleteWriter if metadata.format_version < 3 else _DeleteWriterV3
        return kind(self.spec(spec_id), metadata.schema(), self.new_manifest_output(), self._snapshot_id, "null")

    def _existing_manifests(self) -> list[ManifestFile]:
        replaced = {file[17] for file in self.delete_files if len(file) > 17}
        found = []
        for manifest in super()._existing_manifests():
            live = [] if manifest.content == ManifestContent.DATA else manifest.fetch_manifest_entry(self._io)
            if not any(_is_vector_of(entry, replaced) for entry in live):
                found.append(manifest)
                continue
            with self._writer(manifest.partition_spec_id) as writer:
                for entry in live:
                    (writer.delete if _is_vector_of(entry, replaced) else writer.existing)(entry)
            found.append(writer.to_manifest_file())
        return found


def _is_vector_of(entry: ManifestEntry, data_files: Collection[str]) -> bool:
    file = entry.data_file
    return file.file_format == FileFormat.PUFFIN and len(file) > 17 and file[17] in data_files


class _Compaction(_OverwriteFiles):
    """A compaction commit; removes delete files that apply only to the rewritten files."""

    without_deletes: Collection[str] = ()

    def _summary(self, snapshot_properties: dict[str, str] = {}) -> Summary:  # noqa: B006 - PyIceberg's signature
        made = super()._summary(snapshot_properties)
        return Summary(operation=Operation.REPLACE, **made.additional_properties)

    def _existing_manifests(self) -> list[ManifestFile]:
        return [one for one in super()._existing_manifests() if not self._is_spent(one)]

    def _is_spent(self, manifest: ManifestFile) -> bool:
        if manifest.content != ManifestContent.DELETES:
            return False
        return all(_referenced(entry) <= set(self.without_deletes) for entry in manifest.fetch_manifest_entry(self._io))


def _referenced(entry: ManifestEntry) -> set[str]:
    """The data files that a delete file refers to."""
    file = entry.data_file
    if file.file_format == FileFormat.PUFFIN:
        return {file[17]}
    if file.content == DataFileContent.EQUALITY_DELETES:
        return {"any"}
    return set(pq.read_table(local_path(file.file_path)).column(0).to_pylist())


def data_files(table: Table) -> dict[str, DataFile]:
    """The table's current data files by path."""
    snapshot = table.current_snapshot()
    entries = (
        entry
        for manifest in (snapshot.manifests(table.io) if snapshot else ())
        if manifest.content == ManifestContent.DATA
        for entry in manifest.fetch_manifest_entry(table.io)
    )
    return {entry.data_file.file_path: entry.data_file for entry in entries}


def entries(table: Table) -> dict[tuple[str, int], DataFile]:
    """The table's current data files by path and adding snapshot; a path can occur several times."""
    snapshot = table.current_snapshot()
    return {
        (entry.data_file.file_path, entry.snapshot_id or 0): entry.data_file
        for manifest in (snapshot.manifests(table.io) if snapshot else ())
        if manifest.content == ManifestContent.DATA
        for entry in manifest.fetch_manifest_entry(table.io)
    }


def append_again(table: Table, *files: DataFile) -> None:
    """Append data files, even if the table has them already."""
    with table.transaction() as transaction, transaction.update_snapshot().fast_append() as producer:
        for file in files:
            producer.append_data_file(file)


def delete_positions(table: Table, path: str, positions: list[int], bounds: Bounds = "none") -> None:
    """Delete rows of a data file by position, as merge-on-read engines do."""
    row_delta(table, {path: positions}, bounds)


def row_delta(
    table: Table,
    deleted: Mapping[str, Sequence[int]],
    bounds: Bounds = "none",
    *,
    rows: pa.Table | None = None,
    operation: Operation = Operation.OVERWRITE,
    file_format: FileFormat = FileFormat.PARQUET,
) -> None:
    """Delete positions of several data files in one commit, with a delete file per partition, and add rows."""
    files = data_files(table)
    by_partition: dict[tuple[int, str], list[str]] = defaultdict(list)
    for path in deleted:
        by_partition[files[path].spec_id, str(files[path].partition)].append(path)
    made = []
    for paths in by_partition.values():
        pairs = sorted((path, position) for path in paths for position in deleted[path])
        columns = {"file_path": [path for path, _ in pairs], "pos": pa.array([at for _, at in pairs], pa.int64())}
        fields = [_with_id(pa.field("file_path", pa.string()), FILE_PATH), _with_id(pa.field("pos", pa.int64()), POS)]
        made_rows = pa.table(columns, schema=pa.schema(fields))
        delete = _delete_file(table, made_rows, files[paths[0]], DataFileContent.POSITION_DELETES, file_format)
        if bounds != "none":
            lowest, highest = min(paths), max(paths)
            if bounds == "range":
                lowest, highest = lowest[:-1], highest + "~"
            delete[10], delete[11] = {FILE_PATH: lowest.encode()}, {FILE_PATH: highest.encode()}
        made.append(delete)
    _commit_deletes(table, made, rows, operation)


def delete_equal(table: Table, *numbers: int, rows: pa.Table | None = None) -> None:
    """Add an equality delete for values of column `n`, as streaming writers do, and optionally rows."""
    delete_keys(table, pa.table({"n": pa.array(numbers, pa.int64())}), rows=rows)


def delete_keys(
    table: Table,
    keys: pa.Table,
    ids: Sequence[int] | None = None,
    *,
    rows: pa.Table | None = None,
    about: DataFile | None = None,
    spec_id: int | None = None,
    file_format: FileFormat = FileFormat.PARQUET,
    **described: Any,
) -> None:
    """Add equality deletes; `ids`: the key columns (default: all). `about`: a data file of the same partition.

    `spec_id`: another partition spec than the table's current one.
    """
    known = [table.schema().find_field(name).field_id for name in keys.column_names] if ids is None else list(ids)
    if ids is None:
        keys = keys.cast(pa.schema([_with_id(field, one) for field, one in zip(keys.schema, known, strict=True)]))
    path = local_path(table.location()) / "data" / f"{uuid4().hex}.{file_format.value.lower()}"
    write_rows(path, keys, file_format)
    made = _described(table, path, keys.num_rows, about, DataFileContent.EQUALITY_DELETES, file_format, known)
    made.spec_id = made.spec_id if spec_id is None else spec_id
    for name, value in described.items():
        made[{"null_value_counts": 8, "lower_bounds": 10, "upper_bounds": 11}[name]] = value
    _commit_deletes(table, [made], rows)


def _with_id(field: pa.Field, field_id: int) -> pa.Field:
    return field.with_metadata({"PARQUET:field_id": str(field_id)})


def append_rows(table: Table, rows: pa.Table, file_format: FileFormat) -> str:
    """Append rows as a file of the format; without field ids in `rows`, the table's are used. Returns its location."""
    if not any(b"PARQUET:field_id" in (field.metadata or {}) for field in rows.schema):
        target = schema_to_pyarrow(table.schema(), include_field_ids=True)
        rows = rows.cast(narrow_types(pa.schema([target.field(name) for name in rows.column_names])))
    path = local_path(table.location()) / "data" / f"{uuid4().hex}.{file_format.value.lower()}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rows(path, rows, file_format)
    made = _described(table, path, rows.num_rows, None, DataFileContent.DATA, file_format)
    with table.transaction() as transaction, transaction.update_snapshot().fast_append() as producer:
        producer.append_data_file(made)
    return made.file_path


def write_rows(path: Path, rows: pa.Table, file_format: FileFormat) -> None:
    """Write a file as Iceberg's writers do; the fields of the schema have Parquet's field ids, or none."""
    if file_format == FileFormat.PARQUET:
        pq.write_table(rows, path)
    elif file_format == FileFormat.ORC:
        orc.write_table(pa.Table.from_arrays(rows.columns, schema=_for_orc(rows.schema)), path)
    else:
        write_avro(path, rows)


def write_avro(path: Path, rows: pa.Table) -> None:
    """Write an Avro file with Iceberg's types and field ids."""
    fields = [_avro_field(field) for field in rows.schema]
    schema = fastavro.parse_schema({"type": "record", "name": "table", "fields": fields})
    with path.open("wb") as file:
        fastavro.writer(file, schema, rows.to_pylist(maps_as_pydicts="strict"), codec="deflate")


def _avro_field(field: pa.Field) -> dict[str, Any]:
    known = {"field-id": int(field.metadata[b"PARQUET:field_id"])} if field.metadata else {}
    default = {"default": None} if field.nullable else {}
    return {"name": field.name, "type": _avro_type(field.type, field.nullable), **default, **known}


def _avro_type(kind: pa.DataType, nullable: bool) -> Any:
    made: Any = {
        pa.bool_(): "boolean",
        pa.int32(): "int",
        pa.int64(): "long",
        pa.float32(): "float",
        pa.float64(): "double",
        pa.string(): "string",
        pa.binary(): "bytes",
        pa.date32(): {"type": "int", "logicalType": "date"},
        pa.time64("us"): {"type": "long", "logicalType": "time-micros"},
        pa.timestamp("us"): {"type": "long", "logicalType": "timestamp-micros", "adjust-to-utc": False},
        pa.timestamp("us", "UTC"): {"type": "long", "logicalType": "timestamp-micros", "adjust-to-utc": True},
    }.get(kind)
    name = f"t{uuid4().hex}"
    if pa.types.is_decimal(kind):
        made = {"type": "fixed", "name": name, "size": 16, "logicalType": "decimal"}
        made |= {"precision": kind.precision, "scale": kind.scale}
    elif isinstance(kind, pa.UuidType):
        made = {"type": "fixed", "name": name, "size": 16, "logicalType": "uuid"}
    elif pa.types.is_fixed_size_binary(kind):
        made = {"type": "fixed", "name": name, "size": kind.byte_width}
    elif pa.types.is_struct(kind):
        made = {"type": "record", "name": name, "fields": [_avro_field(field) for field in kind]}
    elif pa.types.is_list(kind):
        made = {"type": "array", "items": _avro_type(kind.value_type, True), "element-id": 1000}
    elif pa.types.is_map(kind):
        made = {"type": "map", "values": _avro_type(kind.item_type, True), "key-id": 1001, "value-id": 1002}
    return ["null", made] if nullable else made


def _for_orc(schema: pa.Schema) -> pa.Schema:
    return pa.schema([_orc_field(field) for field in schema])


def _orc_field(field: pa.Field) -> pa.Field:
    metadata = field.metadata or {}
    known = {b"iceberg.id": metadata[b"PARQUET:field_id"]} if b"PARQUET:field_id" in metadata else {}
    kind = field.type
    if pa.types.is_struct(kind):
        kind = pa.struct([_orc_field(one) for one in kind])
    return pa.field(field.name, kind, field.nullable, known)


def delete_by_vectors(
    table: Table, deleted: Mapping[str, Sequence[int]], *, rows: pa.Table | None = None
) -> list[DataFile]:
    """Delete rows by deletion vectors, which also have the positions of the vectors that they replace."""
    with writing_format_3():
        known = vectors(table)
        merged = {path: {*positions, *known.get(path, ())} for path, positions in deleted.items()}
        made = vector_files(table, {path: sorted(one) for path, one in merged.items()}, data_files(table))
        _commit_deletes(table, made, rows)
    return made


def vectors(table: Table) -> dict[str, list[int]]:
    """The deleted positions by data file, of the table's deletion vectors."""
    snapshot = table.current_snapshot()
    entries = (
        entry.data_file
        for manifest in (snapshot.manifests(table.io) if snapshot else ())
        if manifest.content == ManifestContent.DELETES
        for entry in manifest.fetch_manifest_entry(table.io)
        if entry.data_file.file_format == FileFormat.PUFFIN
    )
    return {
        one[17]: read_positions(
            DeletionVector(one.file_path, one[17], one[18], one[19], one.record_count), None
        ).to_pylist()
        for one in entries
    }


def delete_vector(table: Table, path: str) -> None:
    """Add a deletion vector with arbitrary content to a table of version 2."""
    puffin = local_path(table.location()) / "data" / f"{uuid4().hex}.puffin"
    puffin.write_bytes(b"PFA1")
    made = _described(table, puffin, 1, data_files(table)[path], DataFileContent.POSITION_DELETES, FileFormat.PUFFIN)
    _commit_deletes(table, [made])


def add_vector(table: Table, *described: DataFile) -> None:
    """Add deletion vectors as described, without looking at others."""
    with writing_format_3():
        _commit_deletes(table, described)


def compact(
    table: Table,
    paths: Collection[str] | None = None,
    outputs: int = 1,
    *,
    drop_deletes: bool = False,
    rows: pa.Table | None = None,
) -> None:
    """Rewrite data files (default: all) into `into` files with the same rows in each partition.

    `rows`: these rows, for tables that PyIceberg cannot read.
    """
    files = [file for path, file in data_files(table).items() if paths is None or path in paths]
    if rows is None:
        tasks = [task for task in table.scan().plan_files() if task.file in files]
        # One by one: PyIceberg applies the deletes of all tasks of a path to each of them.
        scan = ArrowScan(table.metadata, table.io, table.schema(), AlwaysTrue())
        rows = pa.concat_tables([scan.to_table([task]) for task in tasks])
    size = -(-rows.num_rows // outputs) or 1
    transaction = table.transaction()
    with _Compaction(operation=Operation.OVERWRITE, transaction=transaction, io=table.io) as producer:
        assert isinstance(producer, _Compaction)
        if drop_deletes:
            producer.without_deletes = [file.file_path for file in files]
        for file in files:
            producer.delete_data_file(file)
        for first in range(0, rows.num_rows, size):
            for made in _dataframe_to_data_files(table.metadata, rows.slice(first, size), table.io):
                producer.append_data_file(made)
    transaction.commit_transaction()


def rewrite(table: Table, paths: Collection[str], made: Sequence[DataFile], operation: Operation) -> None:
    """Replace data files by others in a commit with the operation."""
    files = [file for path, file in data_files(table).items() if path in paths]
    transaction = table.transaction()
    kind = _Compaction if operation == Operation.REPLACE else _OverwriteFiles
    with kind(operation=Operation.OVERWRITE, transaction=transaction, io=table.io) as producer:
        for file in files:
            producer.delete_data_file(file)
        for file in made:
            producer.append_data_file(file)
    transaction.commit_transaction()


def _commit_deletes(
    table: Table,
    delete_files: Sequence[DataFile],
    rows: pa.Table | None = None,
    operation: Operation = Operation.OVERWRITE,
) -> None:
    transaction = table.transaction()
    with _RowDelta(operation=operation, transaction=transaction, io=table.io) as producer:
        assert isinstance(producer, _RowDelta)
        producer.delete_files = tuple(delete_files)
        if rows is not None:
            for file in _dataframe_to_data_files(table.metadata, rows, table.io):
                producer.append_data_file(file)
    transaction.commit_transaction()


def _delete_file(
    table: Table, rows: pa.Table, about: DataFile | None, content: DataFileContent, file_format: FileFormat
) -> DataFile:
    path = local_path(table.location()) / "data" / f"{uuid4().hex}.{file_format.value.lower()}"
    write_rows(path, rows, file_format)
    return _described(table, path, rows.num_rows, about, content, file_format)


def _described(
    table: Table,
    path: Path,
    rows: int,
    about: DataFile | None,
    content: DataFileContent,
    file_format: FileFormat,
    ids: list[int] | None = None,
) -> DataFile:
    known: dict[str, Any] = {
        "content": content,
        "file_path": f"file://{path}",
        "file_format": file_format,
        "partition": about.partition if about else Record(),
        "record_count": rows,
        "file_size_in_bytes": path.stat().st_size,
        "equality_ids": ids,
    }
    made = DataFile.from_args(**known)
    made.spec_id = about.spec_id if about else table.spec().spec_id
    return made
