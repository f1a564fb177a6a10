"""Rows of Avro files, decoded block by block. Values are decoded in their physical types, so that none is rounded."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal
from io import BytesIO
from itertools import accumulate, chain
from typing import Any, Final

import fastavro
import pyarrow as pa

from offtake.lake.avro_blocks import AvroError, AvroStream
from offtake.lake.column_selection import FileLeaf

Schema = Any
"""An Avro schema: a name, a union, or an object."""
Values = Sequence[Any]

_FIELD_ID: Final = "PARQUET:field_id"
_PRIMITIVES: Final[dict[str, pa.DataType]] = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    # Text is checked for UTF-8 later, like that of other formats.
    "string": pa.string(),
}
_DEEPEST: Final = 99
_OF_BAD_SCHEMAS: Final = (KeyError, TypeError, AttributeError, IndexError, RecursionError, ValueError)
_OF_BAD_RECORDS: Final = (EOFError, IndexError, ValueError, TypeError, OverflowError)


class AvroRows:
    """The rows of an open Avro file. Raises `pa.ArrowInvalid` for what cannot be decoded, or has no type in Iceberg."""

    def __init__(self, opened: pa.NativeFile) -> None:
        try:
            self._stream = AvroStream(opened)
            described, names = json.loads(self._stream.schema), _Names()
            self._decoded = fastavro.parse_schema(names.physical(described))
        except _OF_BAD_SCHEMAS as error:
            raise pa.ArrowInvalid(f"its Avro header or schema cannot be read: {error}") from None
        if not isinstance(described, dict) or described.get("type") != "record" or not described["fields"]:
            raise pa.ArrowInvalid("its Avro schema is not a record with fields")
        self._described, self._names = described, names
        self._column = names.column(described, 0)
        self.schema = pa.schema(list(self._column.type))

    def batches(
        self,
        most_rows: int,
        groups: Sequence[int] | None = None,
        columns: Sequence[str] | None = None,
        leaves: Sequence[FileLeaf] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """See `RowFile`. Records are decoded whole; arrays are made of the top-level columns that are read."""
        if groups is not None:
            raise ValueError("Avro files are read whole")
        wanted = [one.names[0] for one in leaves] if columns is None and leaves is not None else columns
        made = self._column if not wanted else self._only(set(wanted))
        schema = pa.schema(list(made.type))
        rows: list[Any] = []
        for record in self._records():
            rows.append(record)
            if len(rows) == most_rows:
                yield pa.RecordBatch.from_arrays(made.make(rows).flatten(), schema=schema)
                rows = []
        if rows:
            yield pa.RecordBatch.from_arrays(made.make(rows).flatten(), schema=schema)

    def _only(self, wanted: set[str]) -> "_Column":
        fields = [one for one in self._described["fields"] if one["name"] in wanted]
        return self._names.column({**self._described, "fields": fields}, 0)

    def _records(self) -> Iterator[Any]:
        try:
            for count, block in self._stream.blocks():
                content = BytesIO(block)
                for _ in range(count):
                    yield fastavro.schemaless_reader(content, self._decoded, None)
        except (AvroError, *_OF_BAD_RECORDS) as error:
            raise pa.ArrowInvalid(f"an Avro block is damaged: {str(error) or type(error).__name__}") from None


@dataclass(frozen=True)
class _Column:
    """A type, whether it has nulls, and how arrays are made of decoded values."""

    type: pa.DataType
    make: Callable[[Values], pa.Array]
    nullable: bool = False
    metadata: dict[str, str] = field(default_factory=dict)

    def named(self, name: str) -> pa.Field:
        return pa.field(name, self.type, self.nullable, self.metadata or None)


@dataclass
class _Names:
    """Converts Avro's schemas; they refer to named types that were defined before."""

    _known: dict[str, Schema] = field(default_factory=dict)

    def physical(self, schema: Schema) -> Schema:
        """The schema without logical types, and with bytes instead of text."""
        if isinstance(schema, str):
            return "bytes" if schema == "string" else schema
        if isinstance(schema, list):
            return [self.physical(one) for one in schema]
        if "name" in schema:
            self._known[schema["name"]] = schema
            if "namespace" in schema:
                self._known[f"{schema['namespace']}.{schema['name']}"] = schema
        plain = {key: value for key, value in schema.items() if key not in ("logicalType", "default")}
        if plain["type"] == "string":
            plain["type"] = "bytes"
        for part in ("items", "values", "type"):
            if part in plain and isinstance(plain[part], dict | list):
                plain[part] = self.physical(plain[part])
        for part in ("items", "values"):
            plain.update({part: "bytes"} if plain.get(part) == "string" else {})
        if "fields" in plain:
            plain["fields"] = [
                {
                    **{key: value for key, value in one.items() if key != "default"},
                    "type": self.physical(one["type"]),
                }
                for one in plain["fields"]
            ]
        return plain

    def column(self, schema: Schema, depth: int) -> _Column:
        """How values of the schema become an array."""
        if depth > _DEEPEST:
            raise pa.ArrowInvalid("its Avro schema is nested too deeply")
        if isinstance(schema, list):
            return self._optional(schema, depth)
        if isinstance(schema, str):
            return _primitive(schema) if schema in _PRIMITIVES else self.column(self._named(schema), depth + 1)
        return self._described(schema, depth)

    def _described(self, schema: dict[str, Any], depth: int) -> _Column:
        is_map = schema.get("logicalType") == "map"
        nested = {"record": self._record, "map": self._map, "array": self._pairs if is_map else self._array}
        kind = schema["type"]
        if isinstance(kind, str) and kind in nested:
            return nested[kind](schema, depth)
        if kind == "fixed":
            stored = _plain(pa.binary(schema["size"]))
        elif kind == "enum":
            stored = _plain(pa.string())
        else:
            stored = self.column(kind, depth + 1)
        return _logical(schema, stored)

    def _named(self, name: str) -> Schema:
        if name not in self._known:
            raise pa.ArrowInvalid(f"its Avro schema refers to the unknown type {name}")
        return self._known[name]

    def _optional(self, union: list[Schema], depth: int) -> _Column:
        kinds = [one for one in union if one != "null"]
        if len(kinds) != 1:
            raise pa.ArrowInvalid("its Avro schema has a union of several types, which Iceberg does not have")
        inner = self.column(kinds[0], depth + 1)
        return _Column(inner.type, inner.make, nullable="null" in union)

    def _field(self, described: dict[str, Any], depth: int) -> tuple[pa.Field, _Column]:
        column = self.column(described["type"], depth + 1)
        metadata = {_FIELD_ID: str(described["field-id"])} if "field-id" in described else None
        return pa.field(described["name"], column.type, column.nullable, metadata), column

    def _record(self, schema: Schema, depth: int) -> _Column:
        found = [self._field(one, depth) for one in schema["fields"]]
        if all(_takes_no_bytes(column) for _, column in found):
            raise pa.ArrowInvalid("its Avro schema has a record without values")
        fields = [one for one, _ in found]
        kind = pa.struct(fields)

        def make(values: Values) -> pa.Array:
            children = [column.make([None if one is None else one[of.name] for one in values]) for of, column in found]
            return pa.StructArray.from_arrays(children, fields=fields, mask=_nulls(values))

        return _Column(kind, make)

    def _array(self, schema: Schema, depth: int) -> _Column:
        element = self.column(schema["items"], depth + 1)
        if _takes_no_bytes(element):
            # Any number of them would fit into a few bytes.
            raise pa.ArrowInvalid("its Avro schema has a list of nothing")
        inner = _with_id("element", element, schema.get("element-id"))

        def make(values: Values) -> pa.Array:
            elements = element.make(list(chain.from_iterable(one or () for one in values)))
            return pa.ListArray.from_arrays(_offsets(values), elements, pa.list_(inner), mask=_nulls(values))

        return _Column(pa.list_(inner), make)

    def _map(self, schema: Schema, depth: int) -> _Column:
        item = self.column(schema["values"], depth + 1)
        kind = pa.map_(
            _with_id("key", _primitive("string"), schema.get("key-id")),
            _with_id("value", item, schema.get("value-id")),
        )

        def make(values: Values) -> pa.Array:
            keys = pa.array(chain.from_iterable(one or () for one in values), pa.string())
            items = item.make(list(chain.from_iterable((one or {}).values() for one in values)))
            return pa.MapArray.from_arrays(_offsets(values), keys, items, kind, mask=_nulls(values))

        return _Column(kind, make)

    def _pairs(self, schema: Schema, depth: int) -> _Column:
        """A map as an array of pairs."""
        record = self._named(schema["items"]) if isinstance(schema["items"], str) else schema["items"]
        (key_field, key), (item_field, item) = (self._field(one, depth) for one in record["fields"])
        kind = pa.map_(key_field.with_name("key").with_nullable(False), item_field.with_name("value"))

        def make(values: Values) -> pa.Array:
            pairs = list(chain.from_iterable(one or () for one in values))
            keys = key.make([pair[key_field.name] for pair in pairs])
            items = item.make([pair[item_field.name] for pair in pairs])
            return pa.MapArray.from_arrays(_offsets(values), keys, items, kind, mask=_nulls(values))

        return _Column(kind, make)


def _takes_no_bytes(column: _Column) -> bool:
    is_empty = pa.types.is_null(column.type) or column.type == pa.binary(0)
    return is_empty and not column.nullable


def _with_id(name: str, column: _Column, field_id: int | None) -> pa.Field:
    metadata = None if field_id is None else {_FIELD_ID: str(field_id)}
    return pa.field(name, column.type, column.nullable, metadata)


def _nulls(values: Values) -> pa.Array:
    return pa.array([one is None for one in values], pa.bool_())


def _offsets(values: Values) -> pa.Array:
    return pa.array(accumulate((len(one) if one is not None else 0 for one in values), initial=0), pa.int32())


def _plain(kind: pa.DataType) -> _Column:
    return _Column(kind, lambda values: pa.array(values, kind))


def _primitive(name: str) -> _Column:
    if name == "string":
        return _Column(pa.string(), lambda values: pa.array(values, pa.binary()).view(pa.string()))
    return _plain(_PRIMITIVES[name])


def _logical(schema: Schema, stored: _Column) -> _Column:
    """The column with the schema's logical type; unknown ones are ignored, as Avro's specification says."""
    name, adjusted = schema.get("logicalType"), bool(schema.get("adjust-to-utc"))
    if name == "decimal":
        return _decimal(schema["precision"], schema.get("scale", 0))
    if name == "uuid":
        return _uuid(stored)
    units = {"millis": "ms", "micros": "us", "nanos": "ns"}
    base, _, unit = (name or "").rpartition("-")
    kinds: dict[str | None, pa.DataType] = {"date": pa.date32(), "time-millis": pa.time32("ms")}
    if unit in units:
        zone = "UTC" if adjusted else None
        kinds |= {
            f"timestamp-{unit}": pa.timestamp(units[unit], zone),
            f"local-timestamp-{unit}": pa.timestamp(units[unit]),
        }
        if base == "time" and unit == "micros":
            kinds[name] = pa.time64("us")
    kind = kinds.get(name)
    if kind is None or kind.bit_width != getattr(stored.type, "bit_width", None):
        return stored
    return _Column(kind, lambda values: stored.make(values).view(kind))


def _decimal(precision: int, scale: int) -> _Column:
    kind, exact = pa.decimal128(precision, scale), Context(prec=precision)

    def make(values: Values) -> pa.Array:
        numbers = (None if one is None else int.from_bytes(one, "big", signed=True) for one in values)
        scaled = [None if one is None else Decimal(one).scaleb(-scale, exact) for one in numbers]
        return pa.array(scaled, kind)

    return _Column(kind, make)


def _uuid(stored: _Column) -> _Column:
    if stored.type != pa.binary(16):
        return stored  # text, which is converted to the table's type
    return _Column(pa.uuid(), lambda values: pa.ExtensionArray.from_storage(pa.uuid(), stored.make(values)))
