"""Facts about a data file that only the table's metadata has.

- Values of partition columns that the file may lack: Hive, and some other writers, store them only in folder names and
  in the manifest. Value counts in a manifest do not prove that the file has the column.
- Which columns the names in a file without field ids mean. The table's name mapping is the same for all files, so after
  a column is dropped and another one added under its name, the mapping would give the new column the old values. When a
  column name was reused, the names in a file are resolved by the schema that the file was added under.
"""

import base64
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import ManifestEntry
from pyiceberg.schema import Schema, index_by_name
from pyiceberg.table import Table
from pyiceberg.table.name_mapping import create_mapping_from_schema
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import IcebergType, PrimitiveType

UNKNOWN: Final = -1
"""Instead of a schema's id: the column names in the file are ambiguous."""


@dataclass(frozen=True)
class _FieldIdentity:
    """A column with an identity partition transform: its index in partition values, its field id and type."""

    index: int
    field_id: int
    type: PrimitiveType


@dataclass(frozen=True)
class FileMetadata:
    """What readers need to know about a table's files to read them with the schema of one of its snapshots."""

    _identities: dict[int, tuple[_FieldIdentity, ...]]
    _names: dict[int, dict[str, int]]
    _written_under: dict[int, int | None]

    @staticmethod
    def of(table: Table, snapshot: Snapshot) -> "FileMetadata":
        """For reading the table with the snapshot's schema."""
        changed = column_names_were_reused(table)
        return FileMetadata(
            _identities=_identities(table, _all_columns(table, schema_of(table, snapshot))),
            _names={number: index_by_name(schema) for number, schema in table.schemas().items()} if changed else {},
            _written_under={one.snapshot_id: one.schema_id for one in table.metadata.snapshots} if changed else {},
        )

    def partition(self, file: IcebergFile) -> tuple[tuple[int, str | None], ...]:
        """Pairs of field id and value: Iceberg's binary single-value serialization in Base64; None is null."""
        return tuple(
            (one.field_id, _text(one.type, file.partition[one.index])) for one in self._identities.get(file.spec_id, ())
        )

    def schema_id(self, entry: ManifestEntry) -> int | None:
        """The id of the schema that resolves the names in the file; None: any schema does; `UNKNOWN`: ambiguous."""
        if not self._names:
            return None
        known = self._written_under.get(entry.snapshot_id or 0)
        if known in self._names:
            return known
        # The snapshot has expired. The file's value counts, by field id, tell which columns it had when it was added.
        counted = set(entry.data_file.value_counts or ())
        fitting = {number: names for number, names in self._names.items() if counted <= set(names.values())}
        if not counted or not fitting:
            return UNKNOWN
        ids: dict[str, int] = {}
        for name, field_id in ((name, one) for names in fitting.values() for name, one in names.items()):
            if ids.setdefault(name, field_id) != field_id:
                return UNKNOWN
        return max(fitting, key=lambda number: len(fitting[number]))


def schema_of(table: Table, snapshot: Snapshot) -> Schema:
    """The schema that the snapshot was written with; the table's current schema when the snapshot names none."""
    return table.schema() if snapshot.schema_id is None else table.schemas()[snapshot.schema_id]


def column_names_were_reused(table: Table) -> bool:
    """Whether different columns have had the same name, in a table that may have files without field ids."""
    if table.name_mapping() is None or len(table.schemas()) == 1:
        return False
    ids: dict[str, int] = {}
    return any(
        ids.setdefault(name, field_id) != field_id
        for schema in table.schemas().values()
        for name, field_id in index_by_name(schema).items()
    )


def former_names(table: Table) -> dict[int, str]:
    """Name mappings as JSON by schema id, for reading files with a `schema_id`; empty when no name was reused."""
    if not column_names_were_reused(table):
        return {}
    return {number: create_mapping_from_schema(one).model_dump_json() for number, one in table.schemas().items()}


def _all_columns(table: Table, schema: Schema) -> Callable[[int], IcebergType | None]:
    """The type of a column by its id; of dropped columns too, which equality deletes can refer to."""
    newest_first = sorted(table.schemas().values(), key=lambda one: one.schema_id, reverse=True)

    def type_of(field_id: int) -> IcebergType | None:
        found = (one for one in (schema, *newest_first) if field_id in one.field_ids)
        first = next(found, None)
        return None if first is None else first.find_type(field_id)

    return type_of


def _identities(table: Table, type_of: Callable[[int], IcebergType | None]) -> dict[int, tuple[_FieldIdentity, ...]]:
    found = defaultdict(list)
    for number, spec in table.specs().items():
        for index, field in enumerate(spec.fields):
            kind = type_of(field.source_id)
            if isinstance(field.transform, IdentityTransform) and kind is not None:
                assert isinstance(kind, PrimitiveType)  # noqa: S101 - only primitive types can be partition columns
                found[number].append(_FieldIdentity(index, field.source_id, kind))
    return {number: tuple(identities) for number, identities in found.items()}


def _text(kind: PrimitiveType, value: Any) -> str | None:  # noqa: ANN401 - of the column's type
    return None if value is None else base64.b64encode(to_bytes(kind, value)).decode()
