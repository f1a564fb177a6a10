"""Column types as users write them: in Iceberg's text form, or as an Iceberg schema in JSON.

Examples: `string`, `decimal(18,2)`, `struct<city: string, zip: required string>`, `list<long>`,
`map<string, double>`. Fields of structs, elements and values are optional unless `required` precedes their type. A
field name that is not a plain word is quoted in backquotes; a backquote within it is doubled.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from offtake.documents import Json
from offtake.errors import OfftakeError
from offtake.lake.type_names import TYPES, format_type, type_name

ALLOWED: Final = (
    "boolean, int, long, float, double, decimal(precision,scale), date, time, timestamp, timestamptz, string, uuid, "
    "binary, fixed(length), struct<name: type, …>, list<type>, map<type, type>"
)
MOST_COLUMNS: Final = 10_000
_MAX_DEPTH: Final = 32
_CONTROL: Final = ("Cc", "Cs", "Zl", "Zp")
_MAX_TEXT_LENGTH: Final = 100_000
_MAX_PRECISION: Final = 38
_MAX_FIXED_LENGTH: Final = 2**31 - 1
_TOKEN: Final = re.compile(r"\s*(?:(`(?:[^`]|``)*`)|([^\W\d]\w*)|([0-9]+)|([<>(),:\[\]]))")


class ColumnTypeError(OfftakeError):
    """An invalid column or type; the message names the column, the reason and the allowed types."""


@dataclass(frozen=True)
class Column:
    """A column as users declare it; `type` is in Iceberg's text form."""

    name: str
    type: str
    required: bool = False


def parse_type(text: str, column: str) -> pa.DataType:
    """Parse a type's text into an Arrow type. Raises `ColumnTypeError` naming the column."""
    if len(text) > _MAX_TEXT_LENGTH:
        raise ColumnTypeError(f"Column {column}: a type has at most {_MAX_TEXT_LENGTH} characters.")
    parser = _Parser(text, column)
    kind = parser.type()
    parser.end()
    return kind


def schema_of(columns: Iterable[Column]) -> pa.Schema:
    """The Arrow schema of declared columns. Raises `ColumnTypeError` naming the column."""
    fields: dict[str, pa.Field] = {}
    for column in columns:
        name = _column_name(column.name)
        if name in fields:
            raise ColumnTypeError(f"Column {name} is declared twice.")
        fields[name] = pa.field(name, parse_type(column.type, name), nullable=not column.required)
    if not 1 <= len(fields) <= MOST_COLUMNS:
        raise ColumnTypeError(f"A dataset is declared with 1 to {MOST_COLUMNS} columns, not {len(fields)}.")
    return pa.schema(list(fields.values()))


def columns_of(schema: pa.Schema) -> list[Column]:
    """The columns that declare a schema; the inverse of `schema_of`."""
    return [Column(field.name, format_type(field.type), not field.nullable) for field in schema]


def documents(schema: pa.Schema) -> list[Json]:
    """The columns of any schema as JSON documents; types that cannot be declared have Arrow's names."""
    return [{"name": one.name, "type": type_name(one.type), "required": not one.nullable} for one in schema]


def parse_types(types: Mapping[str, str]) -> dict[str, pa.DataType]:
    """Parse the types of columns, by name. Raises `ColumnTypeError` naming the column."""
    return {_column_name(name): parse_type(text, name) for name, text in types.items()}


def split_column(text: str) -> Column:
    """Parse `name:type` or `name:type:required`. The name may contain colons. Raises `ColumnTypeError`."""
    rest, required = (text.removesuffix(":required"), True) if text.endswith(":required") else (text, False)
    if ":" not in rest:
        raise ColumnTypeError(f"{text!r} is not name:type or name:type:required. Types are: {ALLOWED}.")
    steps = rest.split(":")
    choices = [(":".join(steps[:number]), ":".join(steps[number:])) for number in range(1, len(steps))]
    name, kind = next((one for one in choices if _is_type(one[1])), choices[0])
    parse_type(kind, name)
    return Column(_column_name(name), kind.strip(), required)


def parse_schema(document: object) -> pa.Schema:
    """Parse the schema in a JSON document: `{"columns": [{"name", "type", "required"}]}`, or an Iceberg schema.

    Raises `ColumnTypeError` naming the column.
    """
    if isinstance(document, dict) and document.get("type") == "struct":
        kind = _JsonSchema().struct(document, "")
        schema = pa.schema([kind.field(index) for index in range(kind.num_fields)])
        return schema_of(columns_of(schema))
    columns = document.get("columns") if isinstance(document, dict) else None
    if not isinstance(columns, list):
        raise ColumnTypeError(
            'A schema is {"columns": [{"name": …, "type": …, "required": …}]} or an Iceberg schema in JSON '
            '({"type": "struct", "fields": […]}).'
        )
    return schema_of(_column(index, column) for index, column in enumerate(columns))


def _column(index: int, document: object) -> Column:
    if not isinstance(document, dict) or not isinstance(document.get("name"), str):
        raise ColumnTypeError(f"columns[{index}] must be an object with name, type and, optionally, required.")
    name, kind, required = document["name"], document.get("type"), document.get("required", False)
    unknown = sorted(set(document) - {"name", "type", "required"})
    if unknown:
        raise ColumnTypeError(f"Column {name}: {unknown[0]!r} is unknown; a column has name, type and required.")
    if not isinstance(required, bool):
        raise ColumnTypeError(f"Column {name}: required must be true or false.")
    if isinstance(kind, dict):
        return Column(name, format_type(_JsonSchema().type(kind, name)), required)
    if not isinstance(kind, str):
        raise ColumnTypeError(f"Column {name}: type must be one of {ALLOWED}.")
    return Column(name, kind, required)


def _column_name(name: str) -> str:
    if not name.strip() or any(unicodedata.category(one) in _CONTROL for one in name):
        raise ColumnTypeError(f"{name!r} is not a column's name: it must be text without control characters.")
    return name


def _is_type(text: str) -> bool:
    try:
        parse_type(text, "")
    except ColumnTypeError:
        return False
    return True


def _struct(fields: list[pa.Field], path: str) -> pa.DataType:
    names = [field.name for field in fields]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        raise ColumnTypeError(f"Column {path}: the struct has the field {duplicate} twice.")
    if not fields:
        raise ColumnTypeError(f"Column {path}: a struct has at least one field.")
    return pa.struct(fields)


def _decimal(precision: int, scale: int, path: str) -> pa.DataType:
    if not 1 <= precision <= _MAX_PRECISION or not 0 <= scale <= precision:
        raise ColumnTypeError(
            f"Column {path}: decimal({precision},{scale}) is not possible; the precision is 1 to {_MAX_PRECISION}, "
            "the scale 0 to the precision."
        )
    return pa.decimal128(precision, scale)


def _fixed(length: int, path: str) -> pa.DataType:
    if not 1 <= length <= _MAX_FIXED_LENGTH:
        raise ColumnTypeError(f"Column {path}: the length of fixed is 1 to {_MAX_FIXED_LENGTH}.")
    return pa.binary(length)


class _Parser:
    """A recursive-descent parser of one type's text."""

    def __init__(self, text: str, column: str) -> None:
        self._text, self._column = text, column
        self._at = 0
        self._depth = 0

    def type(self) -> pa.DataType:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ColumnTypeError(f"Column {self._column}: the type is nested more than {_MAX_DEPTH} levels deep.")
        word = self._word()
        nested: Mapping[str, Callable[[], pa.DataType]] = {"struct": self._struct, "list": self._list, "map": self._map}
        sized: Mapping[str, Callable[[], pa.DataType]] = {"decimal": self._decimal, "fixed": self._fixed}
        if word in TYPES:
            kind = TYPES[word]
        elif word in nested:
            self._expect("<")
            kind = nested[word]()
            self._expect(">")
        elif word in sized:
            kind = sized[word]()
        else:
            raise self._error(f"{word!r} is not a type" if word else "a type is missing")
        self._depth -= 1
        return kind

    def end(self) -> None:
        if self._text[self._at :].strip():
            raise self._error(f"{self._text[self._at :].strip()[:50]!r} comes after the type")

    def _struct(self) -> pa.DataType:
        fields = [self._named_field()]
        while self._take(","):
            fields.append(self._named_field())
        return _struct(fields, self._column)

    def _named_field(self) -> pa.Field:
        name = self._name()
        self._expect(":")
        kind, nullable = self._field()
        return pa.field(name, kind, nullable=nullable)

    def _list(self) -> pa.DataType:
        kind, nullable = self._field()
        return pa.list_(pa.field("element", kind, nullable=nullable))

    def _map(self) -> pa.DataType:
        key = self.type()
        self._expect(",")
        kind, nullable = self._field()
        return pa.map_(key, pa.field("value", kind, nullable=nullable))

    def _field(self) -> tuple[pa.DataType, bool]:
        before = self._at
        if self._word() == "required":
            return self.type(), False
        self._at = before
        return self.type(), True

    def _decimal(self) -> pa.DataType:
        self._expect("(")
        precision = self._number()
        scale = self._number() if self._take(",") else 0
        self._expect(")")
        return _decimal(precision, scale, self._column)

    def _fixed(self) -> pa.DataType:
        closing = "]" if self._take("[") else ")"
        if closing == ")":
            self._expect("(")
        length = self._number()
        self._expect(closing)
        return _fixed(length, self._column)

    def _name(self) -> str:
        found = _TOKEN.match(self._text, self._at)
        if found is None or not (found[1] or found[2]):
            raise self._error("the name of a struct's field is missing")
        self._at = found.end()
        name: str = found[2] or found[1][1:-1].replace("``", "`")
        return _column_name(name)

    def _word(self) -> str:
        found = _TOKEN.match(self._text, self._at)
        if found is None or not found[2]:
            return ""
        self._at = found.end()
        return found[2]

    def _number(self) -> int:
        found = _TOKEN.match(self._text, self._at)
        if found is None or not found[3] or not found[3].isascii() or len(found[3]) > 10:  # noqa: PLR2004 - the digits of the largest length
            raise self._error("a number is missing")
        self._at = found.end()
        return int(found[3])

    def _take(self, sign: str) -> bool:
        found = _TOKEN.match(self._text, self._at)
        if found is None or found[4] != sign:
            return False
        self._at = found.end()
        return True

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise self._error(f"{sign!r} is missing after {self._text[: self._at].strip()[-30:]!r}")

    def _error(self, reason: str) -> ColumnTypeError:
        text = repr(self._text[:200])
        within = "" if reason.startswith(f"{text} ") else f" in {text}"
        return ColumnTypeError(f"Column {self._column}: {reason}{within}. Types are: {ALLOWED}.")


class _JsonSchema:
    """Types of Iceberg's JSON serialisation, https://iceberg.apache.org/spec/#schemas."""

    def __init__(self) -> None:
        self._depth = 0

    def type(self, document: object, path: str) -> pa.DataType:
        if isinstance(document, str):
            return parse_type(document, path)
        kinds = {"struct": self.struct, "list": self._list, "map": self._map}
        make = kinds.get(str(document.get("type"))) if isinstance(document, dict) else None
        if make is None:
            raise ColumnTypeError(f"Column {path}: the type must be text or an object of type struct, list or map.")
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ColumnTypeError(f"Column {path}: the type is nested more than {_MAX_DEPTH} levels deep.")
        kind = make(document, path)
        self._depth -= 1
        return kind

    def struct(self, document: Any, path: str) -> pa.DataType:  # noqa: ANN401 - JSON
        fields = document.get("fields")
        if not isinstance(fields, list):
            raise ColumnTypeError(f"{f'Column {path}' if path else 'The schema'}: fields must be a list.")
        return _struct([self._struct_field(one, path) for one in fields], path or "(schema)")

    def _struct_field(self, document: Any, path: str) -> pa.Field:  # noqa: ANN401 - JSON
        if not isinstance(document, dict) or not isinstance(document.get("name"), str):
            raise ColumnTypeError(f"{f'Column {path}' if path else 'The schema'}: every field needs a name.")
        name = _column_name(document["name"])
        field_path = f"{path}.{name}" if path else name
        if "nullable" in document:
            raise ColumnTypeError(
                f"Column {field_path}: this is a schema of Spark, whose timestamps are other types. Send an Iceberg "
                "schema, whose fields have required instead of nullable."
            )
        default = next((key for key in ("initial-default", "write-default") if document.get(key) is not None), None)
        if default is not None:
            raise ColumnTypeError(f"Column {field_path}: {default} is not supported; remove it.")
        return pa.field(
            name, self.type(document.get("type"), field_path), nullable=not _required(document, "required", field_path)
        )

    def _list(self, document: Any, path: str) -> pa.DataType:  # noqa: ANN401 - JSON
        nullable = not _required(document, "element-required", path)
        return pa.list_(pa.field("element", self.type(document.get("element"), f"{path}[]"), nullable=nullable))

    def _map(self, document: Any, path: str) -> pa.DataType:  # noqa: ANN401 - JSON
        key = self.type(document.get("key"), f"{path}.key")
        nullable = not _required(document, "value-required", path)
        return pa.map_(key, pa.field("value", self.type(document.get("value"), f"{path}.value"), nullable=nullable))


def _required(document: Mapping[str, object], key: str, path: str) -> bool:
    value = document.get(key, False)
    if not isinstance(value, bool):
        raise ColumnTypeError(f"Column {path}: {key} must be true or false.")
    return value
