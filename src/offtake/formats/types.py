"""The type map: how a value of each type looks in NDJSON and in Parquet.

One table. The casts before the NDJSON encoder, the refusal of what no format holds, and the table in `docs/types.md`
come from it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import pyarrow as pa

from offtake.errors import EXPORT_FAILED, DeliveryError
from offtake.formats import nested, scalars
from offtake.formats.losses import NOT_A_NUMBER, LossCounter, LossKind
from offtake.formats.nested import Change

_MOST_LEVELS: Final = 99
"""Of Parquet's schema: Arrow's reader takes no more."""
_EXTENSION: Final = b"ARROW:extension:name"
_ICEBERG_ONLY: Final = ("geometry", "geography", "variant", "unknown")
"""Types of Iceberg that PyIceberg gives Arrow as what they are stored in, or not at all."""


@dataclass(frozen=True)
class TypeRule:
    """One line of the map: a type by its names in Iceberg and Arrow, and its form in either format.

    `matches` tells an Arrow type of this line. `scalar` or `nested` brings an array into the form that the NDJSON
    encoder writes as stated; None where the encoder does so by itself. Parquet needs no such step.
    """

    iceberg: str
    arrow: str
    ndjson: str
    example: str
    parquet: str
    notes: str
    matches: Callable[[pa.DataType], bool]
    scalar: Callable[[pa.Array], pa.Array] | None = None
    nested: Callable[[pa.Array, Change], pa.Array] | None = None


def _any_of(*tests: Callable[[pa.DataType], bool]) -> Callable[[pa.DataType], bool]:
    return lambda kind: any(test(kind) for test in tests)


def _timestamp(*, zoned: bool) -> Callable[[pa.DataType], bool]:
    return lambda kind: bool(pa.types.is_timestamp(kind)) and (kind.tz is not None) == zoned


def _is_uuid(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.UuidType)


TYPE_MAP: Final = (
    TypeRule(
        "boolean", "bool", "`true`, `false`", '`{"x":true}`', "BOOLEAN", "", matches=pa.types.is_boolean
    ),
    TypeRule(
        "int, long",
        "int32, int64",
        "number, every digit",
        '`{"x":9223372036854775807}`',
        "INT32, INT64",
        "JavaScript's numbers lose digits beyond 2^53; read with a parser that keeps them.",
        matches=_any_of(pa.types.is_int32, pa.types.is_int64),
    ),
    TypeRule(
        "float, double",
        "float, double",
        "number, the shortest that reads back as the same value",
        '`{"x":0.1}`',
        "FLOAT, DOUBLE",
        "JSON has no NaN and no infinities: they are null, and counted in a warning of the run.",
        matches=_any_of(pa.types.is_float32, pa.types.is_float64),
        scalar=scalars.finite,
    ),
    TypeRule(
        "decimal(P, S)",
        "decimal128",
        "number with S digits after the point",
        '`{"x":1.10}`',
        "DECIMAL(P, S)",
        "Parsers that make a double of it lose digits: Python's `parse_float=Decimal` keeps them.",
        matches=pa.types.is_decimal128,
    ),
    TypeRule(
        "date",
        "date32",
        "ISO 8601 string",
        '`{"x":"2026-03-01"}`',
        "DATE",
        "Years beyond 9999 have a sign, as ISO 8601 has it: `+12026-03-01`.",
        matches=pa.types.is_date32,
        scalar=scalars.day,
    ),
    TypeRule(
        "time",
        "time64",
        "ISO 8601 string",
        '`{"x":"06:00:00.000004"}`',
        "TIME",
        "A fraction of 3, 6 or 9 digits, or none where it is zero.",
        matches=pa.types.is_time64,
        scalar=scalars.time_of_day,
    ),
    TypeRule(
        "timestamp, timestamp_ns",
        "timestamp without zone",
        "ISO 8601 string without a zone",
        '`{"x":"2026-03-01T06:00:00.123456"}`',
        "TIMESTAMP(isAdjustedToUTC=false)",
        "Fractions and years as for time and date: nanoseconds keep their nine digits.",
        matches=_timestamp(zoned=False),
        scalar=scalars.instant,
    ),
    TypeRule(
        "timestamptz, timestamptz_ns",
        "timestamp with a zone",
        "ISO 8601 string in UTC, with `Z`",
        '`{"x":"2026-03-01T06:00:00Z"}`',
        "TIMESTAMP(isAdjustedToUTC=true)",
        "Other zones are brought to UTC: the same instant.",
        matches=_timestamp(zoned=True),
        scalar=scalars.instant,
    ),
    TypeRule(
        "string",
        "string",
        "string in UTF-8",
        '`{"x":"Zürich"}`',
        "STRING",
        "Text that is not UTF-8 fails the run, by the column's name; with `invalidText: REPLACE`, U+FFFD stands for "
        "each wrong byte.",
        matches=pa.types.is_string,
        scalar=scalars.valid_text,
    ),
    TypeRule(
        "uuid",
        "arrow.uuid",
        "string, 8-4-4-4-12 lower-case digits",
        '`{"x":"0b8c5520-9999-4cff-bdf5-1f32c8c47cb9"}`',
        "UUID",
        "With `uuidAsText`, STRING in Parquet as well: the same 36 characters.",
        matches=_is_uuid,
        scalar=scalars.uuid_text,
    ),
    TypeRule(
        "binary, fixed(L)",
        "binary, fixed_size_binary",
        "string, Base64 with padding (RFC 4648, section 4)",
        '`{"x":"AP8="}`',
        "BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY",
        "",
        matches=_any_of(pa.types.is_binary, pa.types.is_fixed_size_binary),
        scalar=scalars.base64_text,
    ),
    TypeRule(
        "struct",
        "struct",
        "object",
        '`{"x":{"city":"Bern"}}`',
        "group",
        "Null fields are left out; a struct whose fields are all null is `{}`.",
        matches=pa.types.is_struct,
        nested=nested.change_struct,
    ),
    TypeRule(
        "list",
        "list",
        "array",
        '`{"x":[1,null,3]}`',
        "LIST",
        "A null element stays `null`, so that positions hold.",
        matches=pa.types.is_list,
        nested=nested.change_list,
    ),
    TypeRule(
        "map",
        "map",
        "object",
        '`{"x":{"1":"a"}}`',
        "MAP",
        "In NDJSON: keys that are not strings become the text of their value; entries with a null value are left out; "
        "of entries with the same key the last one is written. What is left out is counted in a warning of the run.",
        matches=pa.types.is_map,
        nested=nested.change_map,
    ),
)  # fmt: skip


def to_json_types(batch: pa.RecordBatch, losses: LossCounter) -> pa.RecordBatch:
    """The batch in types that the encoder writes as the map says; columns that are so already are not copied.

    Counts in `losses` what JSON has no form for. Raises `DeliveryError` naming the column for text that is not UTF-8,
    and for a date or time that has no text.
    """
    columns = [_named(name, column, losses) for name, column in zip(batch.schema.names, batch.columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def check_supported(schema: pa.Schema) -> None:
    """Raise `DeliveryError`, naming the column, when a type is not in the map or two fields share a name."""
    for field in schema:
        _check_depth(field)
    _check_fields(schema, "")


def check_iceberg(document: Mapping[str, Any]) -> None:
    """Raise `DeliveryError`, naming the column, for a type of Iceberg's that Arrow would hold as bytes or not at all.

    `document` is the schema in the JSON form of Iceberg's specification.
    """
    for field in document["fields"]:
        _check_iceberg_type(field["type"], field["name"])


def markdown_table() -> str:
    """The map as the table in `docs/types.md`."""
    head = ("Iceberg", "Arrow", "NDJSON", "Example", "Parquet", "Notes")
    rows = ((rule.iceberg, rule.arrow, rule.ndjson, rule.example, rule.parquet, rule.notes) for rule in TYPE_MAP)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows))


@lru_cache(maxsize=256)
def _rule(kind: pa.DataType) -> TypeRule | None:
    return next((rule for rule in TYPE_MAP if rule.matches(kind)), None)


def _named(name: str, column: pa.Array, losses: LossCounter) -> pa.Array:
    try:
        return _Change(name, losses)(column)
    except scalars.OutOfRangeError as error:
        raise DeliveryError(
            EXPORT_FAILED,
            f"Column {name} holds a {error} that no calendar or clock reaches, and that has no text in JSON.",
            "Correct the value in the dataset, or export the dataset as PARQUET.",
        ) from None
    except scalars.InvalidTextError:
        raise DeliveryError(
            EXPORT_FAILED,
            f"Column {name} holds text that is not UTF-8.",
            "Correct it in the dataset, or set invalidText to REPLACE in the target connection's params.",
        ) from None


@dataclass(frozen=True)
class _Change:
    """Brings the arrays of one top-level column into the form that the encoder writes; see `nested.Change`."""

    column: str
    losses: LossCounter

    def __call__(self, array: pa.Array, /) -> pa.Array:
        rule = _rule(array.type)
        if rule is None or (_has_only_text_to_check(array.type) and scalars.is_valid(array)):
            return array
        if rule.nested is not None:
            return rule.nested(array, self)
        if rule.scalar is None:
            return array
        changed = rule.scalar(array)
        if changed is not array:
            self.count(NOT_A_NUMBER, changed.null_count - array.null_count)
        return changed

    def count(self, kind: LossKind, count: int) -> None:
        self.losses.add(self.column, kind, count)


@lru_cache(maxsize=256)
def _has_only_text_to_check(kind: pa.DataType) -> bool:
    """Whether nothing within the type can need a change but text, all of which is judged in one go."""
    rule = _rule(kind)
    if rule is None or not pa.types.is_nested(kind):
        return rule is None or rule.scalar in (None, scalars.valid_text)
    inner = (kind.field(index).type for index in range(kind.num_fields))
    return not pa.types.is_map(kind) and all(map(_has_only_text_to_check, inner))


def _check_fields(fields: Iterable[pa.Field], path: str) -> None:
    seen = set()
    for field in fields:
        if field.name in seen:
            raise _refuse(f"{path}{field.name}", "is there twice", "Rename one of the two in the dataset.")
        if "\0" in field.name:
            # Between libraries, Arrow's names end at a NUL.
            raise _refuse(
                f"{path}{field.name!r}".replace("'", ""), "has a NUL in its name", "Rename it in the dataset."
            )
        seen.add(field.name)
        if field.metadata and _EXTENSION in field.metadata:
            # An extension type that is not registered arrives as its storage type.
            kind = field.metadata[_EXTENSION].decode("utf-8", "replace")
            raise _unknown_type(f"{path}{field.name}", kind)
        _check_type(field.type, f"{path}{field.name}")


def _check_type(kind: pa.DataType, path: str) -> None:
    if _rule(kind) is None:
        raise _unknown_type(path, str(kind))
    if pa.types.is_map(kind) and pa.types.is_nested(kind.key_type):
        raise _refuse(path, "is a map whose keys are no single values", "Change the column's type.")
    if pa.types.is_struct(kind):
        return _check_fields((kind.field(index) for index in range(kind.num_fields)), f"{path}.")
    for index in range(kind.num_fields):
        _check_type(kind.field(index).type, f"{path}.{kind.field(index).name}")
    return None


def _check_depth(field: pa.Field) -> None:
    levels = _levels(field.type)
    if levels > _MOST_LEVELS:
        what = f"is nested {levels} levels deep in Parquet, where a list or a map is two; readers take {_MOST_LEVELS}"
        raise _refuse(field.name, what, "Change the column's type.")


def _levels(kind: pa.DataType) -> int:
    inside = max((_levels(kind.field(index).type) for index in range(kind.num_fields)), default=0)
    # A map's one field is the struct of its entries, which is a level already.
    return inside + (2 if pa.types.is_list(kind) else 1)


def _check_iceberg_type(kind: str | Mapping[str, Any], path: str) -> None:
    if isinstance(kind, str):
        if kind.startswith(_ICEBERG_ONLY):
            raise _unknown_type(path, kind)
        return
    for field in kind.get("fields", ()):
        _check_iceberg_type(field["type"], f"{path}.{field['name']}")
    for part in ("element", "key", "value"):
        if part in kind:
            _check_iceberg_type(kind[part], f"{path}.{part}")


def _unknown_type(path: str, kind: str) -> DeliveryError:
    return _refuse(path, f"has the type {kind}, which no export format holds", "Change the column's type.")


def _refuse(path: str, what: str, remedy: str) -> DeliveryError:
    return DeliveryError(EXPORT_FAILED, f"Column {path} {what}.", remedy)
