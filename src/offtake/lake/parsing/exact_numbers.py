"""Whether numbers in text are exactly the numbers that columns hold."""

from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

NUMBER: Final = r"^-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
"""Decimal text. Leading zeros and plus signs are left out: they are marks of identifiers, such as telephone numbers."""
_WIDE: Final = pa.decimal256(76, 38)
_LONGEST: Final = 38
"""Characters up to which Arrow reads decimals without overflow."""
_EXACT: Final = Context(prec=76, traps=[Inexact, InvalidOperation])


def read_floats(texts: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """Text as floats of a kind, None unless the shortest text of each one is the same number as its text."""
    if not _all(pc.match_substring_regex(texts, NUMBER)):
        return None
    floats = texts.cast(kind)
    if not _all(pc.is_finite(floats)):
        return None
    shortest = floats.cast(pa.string())
    differs = pc.not_equal(shortest, texts)
    return floats if _are_equal(shortest.filter(differs), texts.filter(differs)) else None


def read_decimals(texts: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """Text as decimals of a kind, None unless each one is the same number as its text."""
    if not _all(pc.match_substring_regex(texts, NUMBER)):
        return None
    if (pc.max(pc.binary_length(texts)).as_py() or 0) <= _LONGEST:
        try:
            return texts.cast(kind)
        except pa.ArrowInvalid:
            pass
    try:
        unit = Decimal(1).scaleb(-kind.scale)
        found = (None if text is None else Decimal(text).quantize(unit, context=_EXACT) for text in texts.to_pylist())
        return pa.array(found, kind)
    except (pa.ArrowInvalid, InvalidOperation, Inexact):
        return None


def _are_equal(one: pa.Array, other: pa.Array) -> bool:
    """Whether two arrays of decimal text are the same numbers."""
    try:
        return _all(pc.equal(one.cast(_WIDE), other.cast(_WIDE)))
    except pa.ArrowInvalid:
        pairs = zip(one.to_pylist(), other.to_pylist(), strict=True)
        try:
            return all(first is None or Decimal(first) == Decimal(second) for first, second in pairs)
        except InvalidOperation:
            return False


def _all(found: pa.Array) -> bool:
    return pc.all(found).as_py() is not False
