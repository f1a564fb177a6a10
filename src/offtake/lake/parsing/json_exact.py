"""Objects of JSON read by Python, for blocks that the quick reader refuses or would change.

Slower by an order of magnitude, and exact: numbers keep their digits, a key that is there twice is refused, and the
first fault is found with its line.
"""

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn

import pyarrow as pa

from offtake.lake.parsing.kinds import ELEMENT, KindConflictError, Path, any_leaf, fields_of, merge_kinds, name_of
from offtake.lake.parsing.numbers import EXACT, WHOLE, double_is_exact, is_within_exact

DEEPEST: Final = 64
"""Levels of nesting that come in, and go out again in every format."""
_SPACE: Final = " \t\r\n"
_LONG: Final = 2**63
_MOST_DIGITS: Final = 400
"""The largest double has 309."""


class FaultError(Exception):
    """A text that cannot come in: which one, from 0, and why."""

    def __init__(self, index: int, reason: str) -> None:
        self.index = index
        super().__init__(reason)


def read_objects(texts: Sequence[bytes]) -> pa.RecordBatch:
    """The texts' objects; numbers as int64, decimal256 or, beyond both, as doubles. Raises `FaultError`.

    A text may be blank, or hold several objects.
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
            raise FaultError(index, f"it is not text in UTF-8, from byte {error.start + 1} on") from None
        except RecursionError:
            raise FaultError(index, f"values are nested deeper than {DEEPEST} levels") from None
        except (ValueError, KindConflictError) as error:
            raise FaultError(index, str(error)) from None
    if any_leaf(kind, pa.types.is_floating):
        rows = [_with_doubles(row, kind, (), origin[number]) for number, row in enumerate(rows)]
    return pa.RecordBatch.from_struct_array(pa.array(rows, kind))


def line_of(data: bytes, row: int) -> int:
    """The index of the line on which an object begins, by the object's number from 0; lines may hold several or none.

    0 where the text cannot be read as far as there.
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
    """Each object, and where it begins. Raises `ValueError` for what is no object."""
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
            raise ValueError(f"it is not JSON: {error.msg} at character {error.pos + 1}") from None
        if not isinstance(value, dict):
            raise ValueError(f"it holds {_WORDS[type(value)]} in place of an object")  # noqa: TRY004 - of the text
        yield value, start


def _kind_of(value: object, path: Path) -> pa.DataType:
    if len(path) > DEEPEST:
        raise ValueError(f"column {path[0]} is nested deeper than {DEEPEST} levels")
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
    raise ValueError(f"column {name_of(path)} holds a number with more digits than a decimal or a double has")


def _check_text(value: str, path: Path) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"column {name_of(path)} holds half of a surrogate pair, which is not text") from None


def _with_doubles(value: Any, kind: pa.DataType, path: Path, index: int) -> Any:  # noqa: ANN401 - JSON, of any type
    """The value with numbers as floats where the column's kind is double."""
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
        raise FaultError(
            index, f"column {name_of(path)} holds numbers that neither a decimal nor a double holds together"
        )
    return float(value)


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"key {name} is there twice in an object")
            seen.add(name)
    return made


def _read_whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)


def _read_fraction(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise ValueError("it holds a number whose exponent is out of reach") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is not JSON")


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
