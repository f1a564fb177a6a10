"""Records of manifest lists and manifests, from the bytes of their Avro files.

PyIceberg's decoder reads beyond the end of damaged files, which ends the process. Here fastavro decodes, with a schema
that is checked first: only the types that Iceberg's specification has in these files, so that each value of a list
takes at least one byte of the file.
"""

import json
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from enum import Enum
from io import BytesIO
from typing import Any, Final
from uuid import UUID

import fastavro
from pyiceberg.typedef import Record
from pyiceberg.types import NestedField, StructType

from offtake.documents import Json
from offtake.lake.avro_blocks import AvroError, open_avro

Convert = Callable[[Any], Any]
Makers = Mapping[int, Callable[..., Any]]
"""By field id: the class of a struct, or the enumeration of a value. The record itself has the id -1."""

_PRIMITIVES: Final = frozenset(("boolean", "int", "long", "float", "double", "bytes", "string"))
_LARGEST_FIXED: Final = 1024
_RECORD: Final = -1
_NEEDED: Final = frozenset((0, 2, 100, 101, 102, 103, 104, 500, 502))
"""Fields that no version of the format leaves out."""
_OF_BAD_SCHEMAS: Final = (KeyError, TypeError, AttributeError, IndexError, RecursionError, ValueError)
_OF_BAD_RECORDS: Final = (EOFError, IndexError, ValueError, TypeError, OverflowError)


def read_records(content: bytes, wanted: StructType, makers: Makers, unread: Collection[int] = ()) -> list[Any]:
    """The file's records with the wanted fields, matched by field id; missing ones have their default, else None.

    `unread`: ids of fields that stay None. Raises `AvroError` when the file is damaged, and when its schema is not one
    of these files.
    """
    file = open_avro(content)
    try:
        stored = json.loads(file.schema)
        writer = fastavro.parse_schema(_checked(stored))
        reader = fastavro.parse_schema(_checked(stored, unread))
        convert = _of_struct(stored, wanted, makers, unread)
    except AvroError:
        raise
    except _OF_BAD_SCHEMAS as error:
        raise AvroError(f"its schema is not one of Iceberg's ({type(error).__name__})") from None
    found: list[Any] = []
    for count, block in file.blocks():
        stream = BytesIO(block)
        try:
            found += [convert(fastavro.schemaless_reader(stream, writer, reader)) for _ in range(count)]
        except _OF_BAD_RECORDS as error:
            raise AvroError(f"a record is damaged ({type(error).__name__})") from None
    return found


def _checked(schema: Any, unread: Collection[int] = (), path: str = "r") -> Any:  # noqa: ANN401 - a JSON document
    """The schema without unread fields and without what fastavro would convert; fields are named by their ids.

    `path` makes the names of types unique. Raises `AvroError` for types that these files do not have. References to
    named types are among them: a type that contains itself has no end.
    """
    if isinstance(schema, list):
        inner = _checked(_of_optional(schema), unread, path)
        return ["null", inner] if schema[0] == "null" else [inner, "null"]
    kind = schema if isinstance(schema, str) else schema["type"]
    if isinstance(kind, dict | list):
        return _checked(kind, unread, path)
    if kind in _PRIMITIVES:
        return kind
    if kind == "fixed" and 0 < schema["size"] <= _LARGEST_FIXED:
        return {"type": "fixed", "name": path, "size": schema["size"]}
    if kind == "array":
        items = _checked(schema["items"], unread, f"{path}i")
        if _is_empty(items):
            raise AvroError("its schema has a list of nothing")
        return {"type": "array", "items": items}
    if kind == "record":
        fields = [
            {"name": _name(field), "type": _checked(field["type"], unread, f"{path}{_name(field)}")}
            for field in schema["fields"]
            if field["field-id"] not in unread
        ]
        return {"type": "record", "name": path, "fields": fields}
    raise AvroError(f"its schema has the type {str(kind)[:50]}")


def _name(field: Json) -> str:
    return f"f{int(field['field-id'])}"


def _is_empty(checked: Any) -> bool:  # noqa: ANN401 - as above
    """Whether values of the type take no byte of the file."""
    is_record = isinstance(checked, dict) and checked["type"] == "record"
    return is_record and all(_is_empty(field["type"]) for field in checked["fields"])


def _of_optional(union: list[Any]) -> Any:  # noqa: ANN401 - as above
    """The type of an optional value. Raises `AvroError` for other unions."""
    found = [one for one in union if one != "null"]
    if len(found) != 1 or len(union) != 2:  # noqa: PLR2004 - null and the type
        raise AvroError("its schema has a union that is not an optional value")
    return found[0]


def _of_struct(
    schema: Json, wanted: StructType | None, makers: Makers, unread: Collection[int] = (), field_id: int = _RECORD
) -> Convert:
    """Converts fastavro's dictionaries of a record. Without `wanted`: all fields, in the file's order."""
    make = makers.get(field_id, Record)
    if wanted is None:
        columns = [_of_field(field, None, makers, unread) for field in schema["fields"]]
    else:
        stored = {field["field-id"]: field for field in schema["fields"] if field["field-id"] not in unread}
        columns = [_wanted(stored.get(one.field_id), one, makers, unread) for one in wanted.fields]
    return lambda row: make(*[column(row) for column in columns])


def _wanted(stored: Json | None, wanted: NestedField, makers: Makers, unread: Collection[int]) -> Convert:
    if stored is not None:
        return _of_field(stored, wanted, makers, unread)
    if wanted.field_id in _NEEDED:
        raise AvroError(f"its schema lacks {wanted.name}")
    default, make = wanted.initial_default, makers.get(wanted.field_id)
    value = default if default is None or make is None else make(default)
    return lambda _row: value


def _of_field(field: Json, wanted: NestedField | None, makers: Makers, unread: Collection[int]) -> Convert:
    name, convert = _name(field), _of_type(field["type"], wanted, makers, unread)
    if convert is None:
        return lambda row: row[name]
    return lambda row: None if (value := row[name]) is None else convert(value)


def _of_type(
    schema: Any,  # noqa: ANN401 - a JSON document
    wanted: NestedField | None,
    makers: Makers,
    unread: Collection[int],
) -> Convert | None:
    """The conversion of values that are not null; None when they need none."""
    inner = _of_optional(schema) if isinstance(schema, list) else schema["type"] if isinstance(schema, dict) else None
    if isinstance(inner, dict | list) or isinstance(schema, list):
        return _of_type(inner, wanted, makers, unread)
    if inner == "record":
        fields = wanted.field_type if wanted is not None else None
        struct = fields if isinstance(fields, StructType) and fields.fields else None
        return _of_struct(schema, struct, makers, unread, wanted.field_id if wanted else _RECORD)
    if inner == "array":
        return _of_array(schema, makers)
    return _of_value(schema, inner, wanted, makers)


def _of_array(schema: Json, makers: Makers) -> Convert | None:
    items = schema["items"]
    if not isinstance(items, dict) or items.get("type") != "record":
        return None
    names = [field["name"] for field in items["fields"]]
    if names == ["key", "value"]:  # maps with keys that are not text are stored so
        key, value = map(_name, items["fields"])
        return lambda rows: {row[key]: row[value] for row in rows}
    convert = _of_struct(items, None, makers, field_id=schema.get("element-id", _RECORD))
    return lambda rows: [convert(row) for row in rows]


def _of_value(schema: Any, kind: str | None, wanted: NestedField | None, makers: Makers) -> Convert | None:  # noqa: ANN401 - as above
    logical = schema.get("logicalType") if isinstance(schema, dict) else None
    if logical == "decimal":
        scale = int(schema.get("scale", 0))
        return lambda value: Decimal(int.from_bytes(value, "big", signed=True)).scaleb(-scale)
    if logical == "uuid" and kind == "fixed":
        return lambda value: UUID(bytes=value)
    make = makers.get(wanted.field_id) if wanted is not None else None
    return make if isinstance(make, type) and issubclass(make, Enum) else None
