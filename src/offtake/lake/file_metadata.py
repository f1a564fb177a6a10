"""What a table's metadata know of a data file that the file does not say itself.

- Values of columns that it may not have: of files that came from Hive, or from writers that leave partition columns
  out, the columns they are partitioned by are in the names of folders only, and in the manifest. That a manifest counts
  a column's values does not say that the file has it.
- Which columns its names mean, when it has no field ids. The table's name mapping says so for all files alike, so it
  gives a column that was added under the name of a dropped one the values of that. Where names have changed hands, a
  file's names are those of the schema it came in under.
"""

import base64
from collections import defaultdict
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
from pyiceberg.types import PrimitiveType

UNKNOWN: Final = -1
"""In place of a schema's id: the names in the file may mean one column or another."""


@dataclass(frozen=True)
class _FieldIdentity:
    """A column that a table is partitioned by as it is: where its value is, its field id and type."""

    index: int
    field_id: int
    type: PrimitiveType


@dataclass(frozen=True)
class FileMetadata:
    """What is to be known of a table's files when they are read under one of its snapshots' schemas."""

    _identities: dict[int, tuple[_FieldIdentity, ...]]
    _names: dict[int, dict[str, int]]
    _written_under: dict[int, int | None]

    @staticmethod
    def of(table: Table, snapshot: Snapshot) -> "FileMetadata":
        """For reading the table under the snapshot's schema."""
        changed = column_names_were_reused(table)
        return FileMetadata(
            _identities=_identities(table, schema_of(table, snapshot)),
            _names={number: index_by_name(schema) for number, schema in table.schemas().items()} if changed else {},
            _written_under={one.snapshot_id: one.schema_id for one in table.metadata.snapshots} if changed else {},
        )

    def partition(self, file: IcebergFile) -> tuple[tuple[int, str | None], ...]:
        """Values by field id: Iceberg's binary single values, in Base64; None is null."""
        return tuple(
            (one.field_id, _text(one.type, file.partition[one.index])) for one in self._identities.get(file.spec_id, ())
        )

    def schema_id(self, entry: ManifestEntry) -> int | None:
        """The schema that the names in the file belong to; None where it makes no difference, else maybe `UNKNOWN`."""
        if not self._names:
            return None
        known = self._written_under.get(entry.snapshot_id or 0)
        if known in self._names:
            return known
        # The snapshot has expired. But the file's values were counted when it came in, by field id.
        counted = set(entry.data_file.value_counts or ())
        fitting = {number: names for number, names in self._names.items() if counted <= set(names.values())}
        if not counted or not fitting:
            return UNKNOWN
        meant: dict[str, int] = {}
        for name, field_id in ((name, one) for names in fitting.values() for name, one in names.items()):
            if meant.setdefault(name, field_id) != field_id:
                return UNKNOWN
        return max(fitting, key=lambda number: len(fitting[number]))


def schema_of(table: Table, snapshot: Snapshot) -> Schema:
    """The schema that the snapshot was written with; the table's own when it does not say."""
    return table.schema() if snapshot.schema_id is None else table.schemas()[snapshot.schema_id]


def column_names_were_reused(table: Table) -> bool:
    """Whether a name has been that of different columns, in a table that may have files without field ids."""
    if table.name_mapping() is None or len(table.schemas()) == 1:
        return False
    meant: dict[str, int] = {}
    return any(
        meant.setdefault(name, field_id) != field_id
        for schema in table.schemas().values()
        for name, field_id in index_by_name(schema).items()
    )


def former_names(table: Table) -> dict[int, str]:
    """Name mappings in JSON, by schema, for reading files that `schema_id` gives one for."""
    if not column_names_were_reused(table):
        return {}
    return {number: create_mapping_from_schema(one).model_dump_json() for number, one in table.schemas().items()}


def _identities(table: Table, schema: Schema) -> dict[int, tuple[_FieldIdentity, ...]]:
    found = defaultdict(list)
    for number, spec in table.specs().items():
        for index, field in enumerate(spec.fields):
            if isinstance(field.transform, IdentityTransform) and field.source_id in schema.field_ids:
                kind = schema.find_type(field.source_id)
                assert isinstance(kind, PrimitiveType)  # noqa: S101 - nothing else can be partitioned by
                found[number].append(_FieldIdentity(index, field.source_id, kind))
    return {number: tuple(identities) for number, identities in found.items()}


def _text(kind: PrimitiveType, value: Any) -> str | None:  # noqa: ANN401 - of whatever type the column is
    return None if value is None else base64.b64encode(to_bytes(kind, value)).decode()
