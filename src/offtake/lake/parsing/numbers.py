"""Lossless numbers: the type that a column's numbers need, and casts that change no value.

A number fits a float or double if the shortest decimal form of the stored value equals the number: then it is exported
unchanged. Arrow's cast from decimal to double is not correctly rounded; its cast from text is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

EXACT: Final = pa.decimal256(76, 38)
"""Type for parsing numbers from text: up to 38 digits before the decimal point and 38 after it."""
WHOLE: Final = pa.decimal256(76, 0)
"""Type for parsing whole numbers from text when some need more than 64 bits."""
MAX_PRECISION: Final = 38
"""The largest decimal precision in Iceberg."""
_NARROW: Final = 18
_BEYOND: Final = 10_000
"""Stands for digits or scale when no decimal holds the values."""
_LONG: Final = 2**63
_IN_DOUBLE: Final = 2**53
_IN_FLOAT: Final = 2**24
_EVERY_DOUBLE: Final = 15
"""Every number with at most so many digits is the shortest decimal form of a double."""
_FAR: Final = 1e37
_NEAR: Final = 1e-37


@dataclass(frozen=True)
class NumberStats:
    """Statistics of a column's numbers, to choose a type that holds all of them.

    `fractional`: some were written with a fraction or an exponent. `low`, `high`: bounds of the values. `scale`: the
    digits needed after the decimal point. `doubles`, `floats`: every value is the shortest decimal form of one.
    """

    fractional: bool
    low: Decimal
    high: Decimal
    scale: int
    doubles: bool
    floats: bool

    @property
    def digits(self) -> int:
        """The digits needed before the decimal point."""
        return max(_digits(self.low), _digits(self.high))

    @property
    def is_long(self) -> bool:
        """Whether the values are whole and fit 64 bits."""
        return self.scale == 0 and self.low >= -_LONG and self.high < _LONG

    @property
    def is_int(self) -> bool:
        """Whether the values are whole and fit 32 bits."""
        return self.scale == 0 and self.low >= -(2**31) and self.high < 2**31

    def merge(self, other: "NumberStats") -> "NumberStats":
        """The statistics of both columns' numbers together."""
        return NumberStats(
            self.fractional or other.fractional,
            min(self.low, other.low),
            max(self.high, other.high),
            max(self.scale, other.scale),
            self.doubles and other.doubles,
            self.floats and other.floats,
        )

    def fits(self, kind: pa.DataType) -> bool:
        """Whether a column of that type holds every value exactly."""
        if pa.types.is_int64(kind):
            return self.is_long
        if pa.types.is_int32(kind):
            return self.is_int
        if pa.types.is_float64(kind):
            return self.doubles
        if pa.types.is_float32(kind):
            return self.floats
        if pa.types.is_decimal(kind):
            return bool(self.scale <= kind.scale and self.digits <= kind.precision - kind.scale)
        return False

    def type(self) -> pa.DataType | None:
        """The type for a new column with these values, or None."""
        if not self.fractional and self.is_long:
            return pa.int64()
        if self.fractional and self.doubles:
            return pa.float64()
        return self.decimal()

    def decimal(self) -> pa.DataType | None:
        """The decimal type for the values, with a precision of 18 or 38; None if neither holds them."""
        needed = self.digits + self.scale
        if needed > MAX_PRECISION:
            return None
        return pa.decimal128(_NARROW if needed <= _NARROW else MAX_PRECISION, self.scale)


def number_stats(values: pa.Array, so_far: NumberStats | None = None, *, floats: bool = False) -> NumberStats | None:
    """The statistics of an Arrow array's numbers merged with `so_far`; None if there are no numbers.

    The array's type decides whether numbers are fractional: `EXACT` is, `WHOLE` is not. `floats`: also test whether
    values fit a float. Raises `ValueError` for NaN and infinities.
    """
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    found = pc.min_max(values)
    if not found["min"].is_valid:
        return so_far
    doubles = so_far is None or so_far.doubles
    floats = floats and (so_far is None or so_far.floats)
    if pa.types.is_floating(values.type):
        stats = _float_stats(values, so_far, floats=floats)
    elif pa.types.is_integer(values.type):
        low, high = Decimal(found["min"].as_py()), Decimal(found["max"].as_py())
        most = max(abs(low), abs(high))
        stats = NumberStats(False, low, high, 0, most <= _IN_DOUBLE, floats and most <= _IN_FLOAT)
    else:
        low, high = found["min"].as_py(), found["max"].as_py()
        scale = _scale(values, 0 if so_far is None else so_far.scale)
        few = max(_digits(low), _digits(high)) + scale <= _EVERY_DOUBLE
        stats = NumberStats(
            values.type.scale > 0,
            low,
            high,
            scale,
            doubles and (few or all_exact(values, pa.float64())),
            floats and all_exact(values, pa.float32()),
        )
    return stats if so_far is None else so_far.merge(stats)


def cast_number(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """The numbers cast to another numeric type without loss. Raises `pa.ArrowInvalid` if a number would change."""
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    if values.type == kind:
        return values
    if pa.types.is_floating(kind) and not pa.types.is_integer(values.type):
        return _cast_to_floating(values, kind)
    if pa.types.is_floating(values.type) and pa.types.is_decimal(kind):
        if not _is_far(values):
            return _rescale(values.cast(pa.string()).cast(EXACT), kind)
        raise pa.ArrowInvalid(f"a number does not fit {kind}")
    if pa.types.is_decimal(values.type) and pa.types.is_integer(kind):
        return _rescale(values, pa.decimal128(MAX_PRECISION, 0)).cast(kind)
    if pa.types.is_decimal(kind):
        return _rescale(values.cast(WHOLE) if pa.types.is_integer(values.type) else values, kind)
    return values.cast(kind)


def double_is_exact(value: Decimal) -> bool:
    """Whether the shortest decimal form of the number as a double equals the number."""
    return bool(Decimal(repr(float(value))) == value)


def is_within_exact(value: Decimal) -> bool:
    """Whether the number fits `EXACT`."""
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - a letter only for NaN and infinities
    return bool(exponent >= -EXACT.scale and len(digits) + exponent <= EXACT.precision - EXACT.scale)


def leaf_arrays(array: pa.Array, path: tuple[str, ...], visit: Callable[[tuple[str, ...], pa.Array], None]) -> None:
    """Call `visit` with the path and the array of every leaf of a nested array.

    The steps of a path: a struct's field name, `[]` for a list's elements, `key` and `{}` for a map's keys and values.
    """
    if pa.types.is_struct(array.type):
        for index in range(array.type.num_fields):
            leaf_arrays(array.field(index), (*path, array.type.field(index).name), visit)
    elif pa.types.is_list(array.type):
        leaf_arrays(array.values, (*path, "[]"), visit)
    elif pa.types.is_map(array.type):
        leaf_arrays(array.keys, (*path, "key"), visit)
        leaf_arrays(array.items, (*path, "{}"), visit)
    else:
        visit(path, array)


def arrays_at(array: pa.Array, path: tuple[str, ...]) -> list[pa.Array]:
    """The leaf arrays at a path, whose first step is the array's own name."""
    found: list[pa.Array] = []
    # Slicing an array does not slice its children; a copy has an offset of zero.
    whole = pa.concat_arrays([array, array.slice(0, 0)]) if array.offset else array
    leaf_arrays(whole, path[:1], lambda leaf_path, values: found.append(values) if leaf_path == path else None)
    return found


def all_exact(values: pa.Array, kind: pa.DataType) -> bool:
    """Whether each number equals the shortest decimal form of its value in `kind`, a floating-point type."""
    try:
        _cast_to_floating(values, kind)
    except pa.ArrowInvalid:
        return False
    return True


def _float_stats(values: pa.Array, so_far: NumberStats | None, *, floats: bool) -> NumberStats:
    if not pc.all(pc.is_finite(values)).as_py():
        raise ValueError("NaN and infinities are not decimal numbers")
    floats = floats and all_exact(values, pa.float32())
    try:
        exact = None if _is_far(values) else values.cast(pa.string()).cast(EXACT)
    except pa.ArrowInvalid:
        exact = None
    if exact is None:
        far = Decimal(10) ** _BEYOND
        return NumberStats(True, -far, far, _BEYOND, True, floats)
    found = pc.min_max(exact)
    scale = _scale(exact, 0 if so_far is None else so_far.scale)
    return NumberStats(True, found["min"].as_py(), found["max"].as_py(), scale, True, floats)


def _is_far(values: pa.Array) -> bool:
    """Whether a floating-point number may not fit `EXACT`; Arrow parses the text of some of these to wrong numbers."""
    sizes = pc.min_max(pc.abs(values.filter(pc.not_equal(values, 0.0)))).as_py()
    return sizes["min"] is not None and not _NEAR < sizes["min"] <= sizes["max"] < _FAR


def _cast_to_floating(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_floating(values.type):
        # Via text: 0.1 as a float becomes the double 0.1, not 0.10000000149011612.
        result = values.cast(pa.string()).cast(kind)
        if pc.any(pc.not_equal(result.cast(pa.string()), values.cast(pa.string()))).as_py():
            raise pa.ArrowInvalid(f"a number is not the shortest decimal form of a {kind}")
        return result
    exact = values.cast(EXACT)
    try:
        result = exact.cast(pa.float64()).cast(kind, safe=False)
        wrong = _differs(result, exact)
    except pa.ArrowInvalid:
        result, wrong = pa.nulls(len(exact), kind), exact.is_valid()
    if pc.any(wrong).as_py():
        # Arrow's cast from decimal is off by one ULP for a fifth of all doubles; its cast from text is exact.
        corrected = exact.filter(wrong).cast(pa.string()).cast(kind)
        if pc.any(_differs(corrected, exact.filter(wrong))).as_py():
            raise pa.ArrowInvalid(f"a number is not the shortest decimal form of a {kind}")
        result = pc.replace_with_mask(result, wrong, corrected)
    return result


def _differs(values: pa.Array, exact: pa.Array) -> pa.Array:
    """A mask of the values whose shortest decimal form differs from `exact`. Raises `pa.ArrowInvalid`."""
    return pc.fill_null(pc.not_equal(values.cast(pa.string()).cast(EXACT), exact), False)


def _rescale(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Decimals cast to another decimal type. Raises `pa.ArrowInvalid` if digits would be lost."""
    # Via 256 bits: if the rescaled number needs more than 128 bits, Arrow's cast returns a wrong number.
    wide = pa.decimal256(EXACT.precision, kind.scale)
    try:
        return values.cast(wide).cast(kind)
    except pa.ArrowInvalid:
        # Arrow 26 reports a remainder for some exact divisions of 256-bit numbers, such as 2^64 - 1.
        return _plain_text(values).cast(wide).cast(kind)


def _scale(values: pa.Array, least: int) -> int:
    """The digits after the decimal point that the values of a decimal array need, at least `least`."""
    try:
        values.cast(pa.decimal256(EXACT.precision, least))
    except pa.ArrowInvalid:
        text = _plain_text(values)
        point = pc.find_substring(text, ".")
        digits = pc.subtract(pc.subtract(pc.utf8_length(text), point), 1)
        return max(least, pc.max(pc.if_else(pc.less(point, 0), 0, digits)).as_py() or 0)
    return least


def _plain_text(values: pa.Array) -> pa.Array:
    """Decimals as text without an exponent and without trailing zeros in the fraction."""
    text = values.cast(pa.string())
    text = pc.if_else(pc.match_substring(text, "."), pc.utf8_rtrim(pc.utf8_rtrim(text, "0"), "."), text)
    small = pc.match_substring(text, "E")
    if not pc.any(small).as_py():
        return text
    # Arrow writes an exponent for numbers close to zero.
    exact = [None if one is None else f"{one.normalize():f}" for one in values.filter(small).to_pylist()]
    return pc.replace_with_mask(text, small, pa.array(exact, pa.string()))


def _digits(value: Decimal) -> int:
    return max(0, value.adjusted() + 1) if value else 0
