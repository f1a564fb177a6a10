"""A table's columns as a JSON schema: the Catalog API's `observableSchema`."""

from typing import Final

from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StructType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from offtake.documents import Json
from offtake.lake.catalog import Lake
from offtake.lake.table_names import TableName

_SCALARS: Final[dict[type[IcebergType], Json]] = {
    BooleanType: {"type": "boolean", "meta:xdmType": "boolean"},
    IntegerType: {"type": "integer", "meta:xdmType": "int"},
    LongType: {"type": "integer", "meta:xdmType": "long"},
    FloatType: {"type": "number", "meta:xdmType": "number"},
    DoubleType: {"type": "number", "meta:xdmType": "number"},
    DecimalType: {"type": "number", "meta:xdmType": "number"},
    DateType: {"type": "string", "format": "date", "meta:xdmType": "date"},
    TimeType: {"type": "string", "format": "time", "meta:xdmType": "string"},
    TimestampType: {"type": "string", "format": "date-time", "meta:xdmType": "date-time"},
    TimestamptzType: {"type": "string", "format": "date-time", "meta:xdmType": "date-time"},
    UUIDType: {"type": "string", "format": "uuid", "meta:xdmType": "string"},
    BinaryType: {"type": "string", "contentEncoding": "base64", "meta:xdmType": "string"},
    FixedType: {"type": "string", "contentEncoding": "base64", "meta:xdmType": "string"},
}
_TEXT: Final[Json] = {"type": "string", "meta:xdmType": "string"}


def observable_schema(lake: Lake, table: TableName) -> Json:
    """The JSON schema of the table's columns; without properties when the table does not exist."""
    loaded = lake.find(table)
    return _object(loaded.schema().fields if loaded else ())


def _object(fields: tuple[NestedField, ...]) -> Json:
    properties = {one.name: {"title": one.name, **_schema(one.field_type)} for one in fields}
    required = [one.name for one in fields if one.required]
    return {"type": "object", "meta:xdmType": "object", "properties": properties} | (
        {"required": required} if required else {}
    )


def _schema(kind: IcebergType) -> Json:
    if isinstance(kind, StructType):
        return _object(kind.fields)
    if isinstance(kind, ListType):
        return {"type": "array", "meta:xdmType": "array", "items": _schema(kind.element_type)}
    if isinstance(kind, MapType):
        return {"type": "object", "meta:xdmType": "map", "additionalProperties": _schema(kind.value_type)}
    return _SCALARS.get(type(kind), _TEXT)
