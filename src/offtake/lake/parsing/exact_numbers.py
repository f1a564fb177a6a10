"""Reading numbers from text without loss: floats and decimals that are exactly the numbers in the text."""

from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

_PLAIN: Final = r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)"
"""Decimal text without leading zeros and plus signs, which indicate identifiers such as telephone numbers."""
_ANY: Final = _PLAIN + r"([eE][+-]?[0-9]+)?"
_WIDE: Final = pa.decimal256(76, 38)
_BOUND: Final = 1e37
"""Numbers below it fit `_WIDE`. Arrow parses text that overflows a decimal type to a wrong number, without an error."""
_DIGITS: Final = 38
_EXACT: Final = Context(prec=76, traps=[Inexact, InvalidOperation])


def read_floats(texts: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """The text as floats, or None unless the shortest decimal form of every float equals its text as a number."""
    if not _match(texts, _ANY):
        return None
    floats = texts.cast(kind)
    if not _all(pc.is_finite(floats)):
        return None
    shortest = floats.cast(pa.string())
    differs = pc.not_equal(shortest, texts)
    if not pc.any(differs).as_py():
        return floats
    shortest, texts = shortest.filter(differs), texts.filter(differs)
    are_small = _all(pc.less(pc.abs(floats), _BOUND)) and _longest(texts) <= _WIDE.precision
    if (are_small and _are_equal(shortest, texts)) or _are_equal_slowly(shortest, texts):
        return floats
    return None


def read_decimals(texts: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """The text as decimals, or None unless every decimal equals its text as a number."""
    if not _match(texts, _ANY):
        return None
    try:
        if _longest(texts) <= _DIGITS and _match(texts, _PLAIN):
            return texts.cast(pa.decimal256(_WIDE.precision, kind.scale)).cast(kind)
    except pa.ArrowInvalid:
        return None
    try:
        unit = Decimal(1).scaleb(-kind.scale)
        found = (None if text is None else Decimal(text).quantize(unit, context=_EXACT) for text in texts.to_pylist())
        return pa.array(found, kind)
    except (pa.ArrowInvalid, InvalidOperation, Inexact):
        return None


def _are_equal(one: pa.Array, other: pa.Array) -> bool:
    """Whether two arrays of decimal text are equal as numbers; False too if they have too many digits for Arrow."""
    try:
        return _all(pc.equal(one.cast(_WIDE), other.cast(_WIDE)))
    except pa.ArrowInvalid:
        return False


def _are_equal_slowly(one: pa.Array, other: pa.Array) -> bool:
    pairs = zip(one.to_pylist(), other.to_pylist(), strict=True)
    try:
        return all(first is None or Decimal(first) == Decimal(second) for first, second in pairs)
    except InvalidOperation:
        return False


def _longest(texts: pa.Array) -> int:
    return int(pc.max(pc.binary_length(texts)).as_py() or 0)


def _match(texts: pa.Array, pattern: str) -> bool:
    return _all(pc.match_substring_regex(texts, f"^({pattern})$"))


def _all(found: pa.Array) -> bool:
    return pc.all(found).as_py() is not False
