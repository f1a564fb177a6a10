"""The text form of column types, as users write and read them: `long`, `decimal(18,2)`, `list<string>`."""

import re
from typing import Final

import pyarrow as pa

TYPES: Final[dict[str, pa.DataType]] = {
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "string": pa.string(),
    "uuid": pa.uuid(),
    "binary": pa.binary(),
}
"""The types without parameters, by name."""
_NAMES: Final = {kind: name for name, kind in TYPES.items()}
_PLAIN: Final = re.compile(r"[^\W\d]\w*")


def format_type(kind: pa.DataType) -> str:
    """The text of a type; raises `KeyError` for a type that columns of tables do not have."""
    if pa.types.is_decimal128(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_fixed_size_binary(kind):
        return f"fixed({kind.byte_width})"
    if pa.types.is_struct(kind):
        inner = (kind.field(index) for index in range(kind.num_fields))
        return f"struct<{', '.join(f'{_quote(one.name)}: {_format_field(one)}' for one in inner)}>"
    if pa.types.is_list(kind):
        return f"list<{_format_field(kind.value_field)}>"
    if pa.types.is_map(kind):
        return f"map<{format_type(kind.key_type)}, {_format_field(kind.item_field)}>"
    return _NAMES[kind]


def type_name(kind: pa.DataType) -> str:
    """The text of any type, for messages; Arrow's name for a type that columns of tables do not have."""
    try:
        return format_type(kind)
    except KeyError:
        return str(kind)


def _quote(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else f"`{name.replace('`', '``')}`"


def _format_field(field: pa.Field) -> str:
    return f"{'' if field.nullable else 'required '}{format_type(field.type)}"
