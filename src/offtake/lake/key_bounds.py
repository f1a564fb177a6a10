"""Whether the keys of equality deletes can be in a data file, by the bounds in the manifests."""

from typing import Any, Final

from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.table import Table
from pyiceberg.types import BinaryType, FixedType, IcebergType, IntegerType, LongType, StringType

_NUMBERS: Final = (IntegerType, LongType)
_BYTES: Final = (StringType, BinaryType, FixedType)
"""Types whose values are ordered as the bytes of their bounds; not UUIDs, which Java orders by signed numbers."""


class KeyBounds:
    """Compares the bounds of files of one table; only of types whose bounds compare exactly."""

    def __init__(self, table: Table) -> None:
        self._types: dict[int, IcebergType | None] = {}
        self._schemas = sorted(table.schemas().values(), key=lambda one: one.schema_id, reverse=True)

    def may_match(self, deletes: IcebergFile, data: IcebergFile) -> bool:
        """False when the bounds of a key column show that no row of the data file has one of the keys."""
        return all(self._may_match(field_id, deletes, data) for field_id in deletes.equality_ids or ())

    def _may_match(self, field_id: int, deletes: IcebergFile, data: IcebergFile) -> bool:
        keys, values = self._bounds(field_id, deletes), self._bounds(field_id, data)
        if keys is None or values is None:
            return True
        if _may_have_nulls(field_id, deletes) and _may_have_nulls(field_id, data):
            return True
        return bool(keys[0] <= values[1] and values[0] <= keys[1])

    def _bounds(self, field_id: int, file: IcebergFile) -> tuple[Any, Any] | None:
        """Both as numbers, or both as bytes."""
        lowest, highest = (file.lower_bounds or {}).get(field_id), (file.upper_bounds or {}).get(field_id)
        if lowest is None or highest is None:
            return None
        kind = self._type(field_id)
        if isinstance(kind, _NUMBERS):
            # A column that was widened has shorter bounds in older files.
            return int.from_bytes(lowest, "little", signed=True), int.from_bytes(highest, "little", signed=True)
        return (lowest, highest) if isinstance(kind, _BYTES) else None

    def _type(self, field_id: int) -> IcebergType | None:
        if field_id not in self._types:
            schema = next((one for one in self._schemas if field_id in one.field_ids), None)
            self._types[field_id] = None if schema is None else schema.find_type(field_id)
        return self._types[field_id]


def _may_have_nulls(field_id: int, file: IcebergFile) -> bool:
    return (file.null_value_counts or {}).get(field_id) != 0
