"""What a part reads: slices of files, and the schema of the rows. Plans store both; workers get both."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import pyarrow as pa
import pyarrow.compute

from offtake.documents import SliceDocument, TableSchemaDocument
from offtake.lake import delete_files
from offtake.lake.delete_files import DeleteFile, PositionDeletes, RowFormat


@dataclass(frozen=True)
class TableSchema:
    """The schema of the delivered rows, in Arrow's and Iceberg's serialised forms, and the table's name mapping.

    Workers read with `arrow`; they need `iceberg`, and PyIceberg, only for columns that a file lacks. `older_names`:
    by schema id, the name mappings for files whose column names must be resolved by that schema. `former`: schemas in
    Iceberg's form that have the columns that were dropped since, which equality deletes can refer to.

    `columns`: the ids of the chosen columns by path; empty when all are delivered. `arrow` has only the chosen columns,
    `whole` and `iceberg` have all: files are read with these, because equality deletes can refer to the others.
    """

    arrow: str
    iceberg: str
    name_mapping: str | None
    older_names: Mapping[int, str] = field(default_factory=dict)
    former: tuple[str, ...] = ()
    columns: Mapping[str, int] = field(default_factory=dict)
    whole: str | None = None

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The schema of the delivered rows, with Iceberg's field ids."""
        return _decode(self.arrow)

    @cached_property
    def table_schema(self) -> pa.Schema:
        """All columns of the table, with Iceberg's field ids."""
        return self.arrow_schema if self.whole is None else _decode(self.whole)

    def to_json(self) -> TableSchemaDocument:
        """For the stored plan."""
        document: TableSchemaDocument = {
            "arrow": self.arrow,
            "iceberg": self.iceberg,
            "nameMapping": self.name_mapping,
            "olderNames": {str(number): names for number, names in self.older_names.items()},
        }
        if self.former:
            document["former"] = list(self.former)
        if self.columns:
            document["columns"] = dict(self.columns)
        if self.whole is not None:
            document["whole"] = self.whole
        return document

    @staticmethod
    def from_json(document: TableSchemaDocument) -> "TableSchema":
        """The inverse of `to_json`."""
        # Plans stored by the first version do not have it.
        older = {int(number): names for number, names in document.get("olderNames", {}).items()}
        former = tuple(document.get("former", ()))
        return TableSchema(
            document["arrow"],
            document["iceberg"],
            document["nameMapping"],
            older,
            former,
            document.get("columns", {}),
            document.get("whole"),
        )


def _decode(arrow: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(arrow)))


@dataclass(frozen=True)
class FileSlice:
    """Row groups `[first, last)` of one file; `last` None means all from `first`. `rows` includes deleted rows.

    Only Parquet files are divided. `delete_files`, `partition`, `schema_id`, `format` and `updated`: see
    `scan.DataFile`.
    """

    path: str
    first: int
    last: int | None
    rows: int
    bytes: int
    delete_files: tuple[DeleteFile, ...] = ()
    partition: tuple[tuple[int, str | None], ...] = ()
    schema_id: int | None = None
    format: RowFormat = "PARQUET"
    updated: tuple[int, int] | None = None


def slices_to_json(slices: Sequence[FileSlice]) -> list[SliceDocument]:
    """The slices of a part, for the stored plan.

    Delete files are stored once, with the first slice, because many slices of a part can have the same ones.
    """
    known = {
        file: index for index, file in enumerate(dict.fromkeys(file for one in slices for file in one.delete_files))
    }
    documents = [_slice_to_json(one, known) for one in slices]
    if known:
        documents[0]["deleteFiles"] = [delete_files.to_document(file) for file in known]
    return documents


def _slice_to_json(one: FileSlice, known: Mapping[DeleteFile, int]) -> SliceDocument:
    document: SliceDocument = {
        "path": one.path,
        "groups": (one.first, one.last),
        "rows": one.rows,
        "bytes": one.bytes,
        "deletes": delete_files.ranges(sorted(known[file] for file in one.delete_files)),
    }
    if one.partition:
        document["partition"] = list(one.partition)
    if one.schema_id is not None:
        document["schemaId"] = one.schema_id
    if one.format != "PARQUET":
        document["format"] = one.format
    if one.updated is not None:
        document["updated"] = one.updated
    return document


def slices_from_json(documents: Sequence[SliceDocument]) -> tuple[FileSlice, ...]:
    """The inverse of `slices_to_json`. Plans of earlier versions have paths of position deletes in each slice."""
    known = [delete_files.from_document(one) for one in (documents[0].get("deleteFiles", ()) if documents else ())]
    return tuple(_slice_from_json(document, known) for document in documents)


def _slice_from_json(document: SliceDocument, known: Sequence[DeleteFile]) -> FileSlice:
    first, last = document["groups"]
    deletes: list[DeleteFile] = []
    for one in document["deletes"]:
        deletes += [PositionDeletes(one)] if isinstance(one, str) else known[one[0] : one[1]]
    updated = document.get("updated")
    return FileSlice(
        path=document["path"],
        first=first,
        last=last,
        rows=document["rows"],
        bytes=document["bytes"],
        delete_files=tuple(deletes),
        partition=tuple((field_id, value) for field_id, value in document.get("partition", ())),
        schema_id=document.get("schemaId"),
        format=document.get("format", "PARQUET"),
        updated=None if updated is None else (updated[0], updated[1]),
    )


def at_new_locations(slices: list[SliceDocument], new_location: Callable[[str], str]) -> list[SliceDocument]:
    """The stored slices of a part with the new locations of their files."""
    return slices_to_json(
        [
            replace(
                one,
                path=new_location(one.path),
                delete_files=tuple(delete_files.at_new_location(file, new_location) for file in one.delete_files),
            )
            for one in slices_from_json(slices)
        ]
    )


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
