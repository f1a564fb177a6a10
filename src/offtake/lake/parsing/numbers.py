"""Numbers without loss: what a column's numbers need, and casts that change no value.

A number fits a float or double when the shortest text of the stored value is the given number: then it is delivered as
it came. Arrow's own cast from decimal to double is not correctly rounded, from text it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

EXACT: Final = pa.decimal256(76, 38)
"""Numbers of text are read as this: up to 38 digits before the point and 38 after it."""
WHOLE: Final = pa.decimal256(76, 0)
"""Whole numbers of text of which some have more than 64 bits."""
WIDEST: Final = 38
"""Digits of the widest decimal that Iceberg has."""
_NARROW: Final = 18
_BEYOND: Final = 10_000
"""In place of digits or scale: no decimal holds the values."""
_LONG: Final = 2**63
_IN_DOUBLE: Final = 2**53
_IN_FLOAT: Final = 2**24
_EVERY_DOUBLE: Final = 15
"""Digits of numbers that are all the shortest texts of doubles."""
_FAR: Final = 1e37
_NEAR: Final = 1e-37


@dataclass(frozen=True)
class NumberStats:
    """What a type must hold to hold a column's numbers.

    `fractional`: some were written with a fraction or an exponent. `low` and `high` bound the values; `scale` is the
    most digits after the point that are needed. `doubles`, `floats`: every value is the shortest text of one.
    """

    fractional: bool
    low: Decimal
    high: Decimal
    scale: int
    doubles: bool
    floats: bool

    @property
    def digits(self) -> int:
        """The most digits before the point."""
        return max(_digits(self.low), _digits(self.high))

    @property
    def is_long(self) -> bool:
        """Whether the values are whole and have 64 bits."""
        return self.scale == 0 and self.low >= -_LONG and self.high < _LONG

    @property
    def is_int(self) -> bool:
        """Whether the values are whole and have 32 bits."""
        return self.scale == 0 and self.low >= -(2**31) and self.high < 2**31

    def merge(self, other: "NumberStats") -> "NumberStats":
        """What both need."""
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
        """The type for a new column of such values; None if there is none."""
        if not self.fractional and self.is_long:
            return pa.int64()
        if self.fractional and self.doubles:
            return pa.float64()
        return self.decimal()

    def decimal(self) -> pa.DataType | None:
        """The decimal type for the values: of 18 digits if they suffice, else of 38; None if neither holds them."""
        needed = self.digits + self.scale
        if needed > WIDEST:
            return None
        return pa.decimal128(_NARROW if needed <= _NARROW else WIDEST, self.scale)


def number_stats(values: pa.Array, so_far: NumberStats | None = None, *, floats: bool = False) -> NumberStats | None:
    """What the numbers of an Arrow array need, and those seen `so_far`; None without any.

    Numbers are fractional by their type: `EXACT` is, `WHOLE` is not. Whether values fit a float is judged only where
    `floats` asks for it. Raises ValueError for NaN and infinities, which are not numbers of text.
    """
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    found = pc.min_max(values)
    if not found["min"].is_valid:
        return so_far
    doubles = so_far is None or so_far.doubles
    floats = floats and (so_far is None or so_far.floats)
    if pa.types.is_floating(values.type):
        made = _float_stats(values, so_far, floats=floats)
    elif pa.types.is_integer(values.type):
        low, high = Decimal(found["min"].as_py()), Decimal(found["max"].as_py())
        most = max(abs(low), abs(high))
        made = NumberStats(False, low, high, 0, most <= _IN_DOUBLE, floats and most <= _IN_FLOAT)
    else:
        low, high = found["min"].as_py(), found["max"].as_py()
        scale = _scale(values, 0 if so_far is None else so_far.scale)
        few = max(_digits(low), _digits(high)) + scale <= _EVERY_DOUBLE
        made = NumberStats(
            values.type.scale > 0,
            low,
            high,
            scale,
            doubles and (few or all_exact(values, pa.float64())),
            floats and all_exact(values, pa.float32()),
        )
    return made if so_far is None else so_far.merge(made)


def cast_number(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """The numbers under another numeric type, none of them changed. Raises `pa.ArrowInvalid` where that cannot be."""
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    if values.type == kind:
        return values
    if pa.types.is_floating(kind) and not pa.types.is_integer(values.type):
        return _cast_to_floating(values, kind)
    if pa.types.is_floating(values.type) and pa.types.is_decimal(kind):
        if not _is_far(values):
            return _rescale(values.cast(pa.string()).cast(EXACT), kind)
        raise pa.ArrowInvalid(f"a number is beyond {kind}")
    if pa.types.is_decimal(values.type) and pa.types.is_integer(kind):
        return _rescale(values, pa.decimal128(WIDEST, 0)).cast(kind)
    if pa.types.is_decimal(kind):
        return _rescale(values.cast(WHOLE) if pa.types.is_integer(values.type) else values, kind)
    return values.cast(kind)


def double_is_exact(value: Decimal) -> bool:
    """Whether the shortest text of the number as a double is the number."""
    return bool(Decimal(repr(float(value))) == value)


def is_within_exact(value: Decimal) -> bool:
    """Whether `EXACT` holds the number."""
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - it is a letter for NaN and infinities only
    return bool(exponent >= -EXACT.scale and len(digits) + exponent <= EXACT.precision - EXACT.scale)


def leaf_arrays(array: pa.Array, path: tuple[str, ...], visit: Callable[[tuple[str, ...], pa.Array], None]) -> None:
    """Visit every array of single values within one, by path.

    A struct's field is a step of its name, a list's elements `[]`, a map's `key` and `{}` (values).
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
    """The arrays of single values at a path, which begins with the array's own name."""
    found: list[pa.Array] = []
    # Children of a sliced array are not sliced with it; a copy from zero is.
    whole = pa.concat_arrays([array, array.slice(0, 0)]) if array.offset else array
    leaf_arrays(whole, path[:1], lambda where, values: found.append(values) if where == path else None)
    return found


def all_exact(values: pa.Array, kind: pa.DataType) -> bool:
    """Whether each number is the shortest text of its value in `kind`, a floating type."""
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
    """Whether a floating number has more digits, before or after the point, than `EXACT`.

    Arrow reads the text of some of these as other numbers.
    """
    sizes = pc.min_max(pc.abs(values.filter(pc.not_equal(values, 0.0)))).as_py()
    return sizes["min"] is not None and not _NEAR < sizes["min"] <= sizes["max"] < _FAR


def _cast_to_floating(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_floating(values.type):
        # By way of text: 0.1 as a float is the double 0.1, not 0.10000000149011612.
        made = values.cast(pa.string()).cast(kind)
        if pc.any(pc.not_equal(made.cast(pa.string()), values.cast(pa.string()))).as_py():
            raise pa.ArrowInvalid(f"a number is not the shortest text of a {kind}")
        return made
    exact = values.cast(EXACT)
    try:
        made = exact.cast(pa.float64()).cast(kind, safe=False)
        wrong = _differs(made, exact)
    except pa.ArrowInvalid:
        made, wrong = pa.nulls(len(exact), kind), exact.is_valid()
    if pc.any(wrong).as_py():
        # Arrow's cast from decimal is one off for a fifth of all doubles; from text it never is.
        again = exact.filter(wrong).cast(pa.string()).cast(kind)
        if pc.any(_differs(again, exact.filter(wrong))).as_py():
            raise pa.ArrowInvalid(f"a number is not the shortest text of a {kind}")
        made = pc.replace_with_mask(made, wrong, again)
    return made


def _differs(values: pa.Array, exact: pa.Array) -> pa.Array:
    """Which values' shortest texts are other numbers. Raises `pa.ArrowInvalid` for texts that `EXACT` does not hold."""
    return pc.fill_null(pc.not_equal(values.cast(pa.string()).cast(EXACT), exact), False)


def _rescale(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Decimals under another decimal type. Raises `pa.ArrowInvalid` where digits would be lost."""
    # By way of 256 bits: where the product of digits and scale has more than 128, Arrow's cast returns another number.
    wide = pa.decimal256(EXACT.precision, kind.scale)
    try:
        return values.cast(wide).cast(kind)
    except pa.ArrowInvalid:
        # Arrow 26 takes division of some 256-bit numbers, such as 2^64 - 1, for one with a remainder.
        return _plain_text(values).cast(wide).cast(kind)


def _scale(values: pa.Array, known: int) -> int:
    """The most digits after the point that a value of a decimal array needs, at least `known`."""
    try:
        values.cast(pa.decimal256(EXACT.precision, known))
    except pa.ArrowInvalid:
        text = _plain_text(values)
        point = pc.find_substring(text, ".")
        digits = pc.subtract(pc.subtract(pc.utf8_length(text), point), 1)
        return max(known, pc.max(pc.if_else(pc.less(point, 0), 0, digits)).as_py() or 0)
    return known


def _plain_text(values: pa.Array) -> pa.Array:
    """Decimals as text without an exponent and without zeros at the end of the fraction."""
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
