"""Parsing JSON objects in Python, for blocks that Arrow's reader refuses or would change.

Slower by an order of magnitude, but exact: numbers keep their digits, duplicate keys are refused, and the first fault
is reported with its line.
"""

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn

import pyarrow as pa

from offtake.lake.parsing.kinds import ELEMENT, KindConflictError, Path, any_leaf, fields_of, merge_kinds, name_of
from offtake.lake.parsing.numbers import EXACT, WHOLE, double_is_exact, is_within_exact

MAX_DEPTH: Final = 64
"""Levels of nesting that can be imported, and exported in every format."""
_SPACE: Final = " \t\r\n"
_LONG: Final = 2**63
_MOST_DIGITS: Final = 400
"""The largest double has 309."""


class FaultError(Exception):
    """A text that cannot be imported; `index`: which one, from 0. The message is the reason."""

    def __init__(self, index: int, reason: str) -> None:
        self.index = index
        super().__init__(reason)


def read_objects(texts: Sequence[bytes]) -> pa.RecordBatch:
    """The objects in the texts; numbers as int64, decimal256 or, if neither holds them, doubles. Raises `FaultError`.

    A text can be blank, or have several objects.
    """
    rows: list[dict[str, Any]] = []
    origin: list[int] = []
    kind: pa.DataType = pa.struct([])
    for index, text in enumerate(texts):
        try:
            for row, _ in _objects(text.decode()):
                kind = merge_kinds(kind, _kind_of(row, ()))
                rows.append(row)
                origin.append(index)
        except UnicodeDecodeError as error:
            raise FaultError(index, f"invalid UTF-8 at byte {error.start + 1}") from None
        except RecursionError:
            raise FaultError(index, f"values are nested deeper than {MAX_DEPTH} levels") from None
        except (ValueError, KindConflictError) as error:
            raise FaultError(index, str(error)) from None
    if any_leaf(kind, pa.types.is_floating):
        rows = [_with_doubles(row, kind, (), origin[number]) for number, row in enumerate(rows)]
    return pa.RecordBatch.from_struct_array(pa.array(rows, kind))


def line_of(data: bytes, row: int) -> int:
    """The index of the line where an object starts, by the object's number; both from 0.

    Lines can have several objects or none. Returns 0 if the text cannot be parsed up to the object.
    """
    text = data.decode(errors="replace")
    try:
        for number, (_, start) in enumerate(_objects(text)):
            if number == row:
                return text.count("\n", 0, start)
    except ValueError:
        pass
    return 0


def _objects(text: str) -> Iterator[tuple[dict[str, Any], int]]:
    """Each object and its start offset. Raises `ValueError` for anything else."""
    at = 0
    while True:
        while at < len(text) and text[at] in _SPACE:
            at += 1
        if at == len(text):
            return
        start = at
        try:
            value, at = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise ValueError(f"not valid JSON: {error.msg} at character {error.pos + 1}") from None
        if not isinstance(value, dict):
            raise ValueError(f"found {_WORDS[type(value)]} instead of an object")  # noqa: TRY004 - about the text
        yield value, start


def _kind_of(value: object, path: Path) -> pa.DataType:
    if len(path) > MAX_DEPTH:
        raise ValueError(f"column {path[0]} is nested deeper than {MAX_DEPTH} levels")
    if value is None:
        return pa.null()
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int | Decimal):
        return _kind_of_number(value, path)
    if isinstance(value, str):
        if not value.isascii():
            _check_text(value, path)
        return pa.string()
    if isinstance(value, dict):
        for name in value:
            _check_text(name, (*path, "?"))
        return pa.struct([pa.field(name, _kind_of(one, (*path, name))) for name, one in value.items()])
    kind: pa.DataType = pa.null()
    assert isinstance(value, list)  # noqa: S101 - JSON has no other values
    for one in value:
        kind = merge_kinds(kind, _kind_of(one, (*path, ELEMENT)), (*path, ELEMENT))
    return pa.list_(pa.field("element", kind))


def _kind_of_number(value: int | Decimal, path: Path) -> pa.DataType:
    if isinstance(value, int):
        if -_LONG <= value < _LONG:
            return pa.int64()
        if is_within_exact(Decimal(value)):
            return WHOLE
    elif is_within_exact(value):
        return EXACT
    if double_is_exact(Decimal(value)):
        return pa.float64()
    raise ValueError(f"column {name_of(path)} has a number with more digits than a decimal or a double can hold")


def _check_text(value: str, path: Path) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"column {name_of(path)} has half of a surrogate pair, which is not valid text") from None


def _with_doubles(value: Any, kind: pa.DataType, path: Path, index: int) -> Any:  # noqa: ANN401 - JSON, of any type
    """The value with floats for the numbers of double columns."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {
            field.name: _with_doubles(value.get(field.name), field.type, (*path, field.name), index)
            for field in fields_of(kind)
        }
    if pa.types.is_list(kind):
        return [_with_doubles(one, kind.value_type, (*path, ELEMENT), index) for one in value]
    if not pa.types.is_floating(kind):
        return value
    if not double_is_exact(Decimal(value)):
        raise FaultError(index, f"column {name_of(path)} has numbers that do not fit together in a decimal or a double")
    return float(value)


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"key {name} occurs twice in an object")
            seen.add(name)
    return result


def _read_whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits; at most {_MOST_DIGITS} are allowed")
    return int(digits)


def _read_fraction(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError("a number has an exponent out of range") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not valid JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_without_repeated_keys,
    parse_int=_read_whole,
    parse_float=_read_fraction,
    parse_constant=_refuse_constant,
)
_WORDS: Final[dict[type, str]] = {
    list: "an array",
    str: "text",
    int: "a number",
    Decimal: "a number",
    bool: "true or false",
    type(None): "null",
}
