"""Original values against those of delivered Parquet, under the type map."""

from decimal import Decimal

from bench.corpus import findings
from bench.corpus.findings import MISSING, PLACEHOLDER, Findings
from bench.corpus.values import (
    Cell,
    Instant,
    Map,
    NumberText,
    Real,
    TimeOfDay,
    are_same_floats,
    are_same_numbers,
    text_of,
)


def compare(original: object, delivered: object, path: str, found: Findings) -> None:
    """Compare one value and what is in it."""
    if isinstance(original, dict):
        _struct(original, delivered, path, found)
    elif isinstance(original, Map):
        _map(original, delivered, path, found)
    elif isinstance(original, list):
        _list(original, delivered, path, found)
    else:
        _single(original, delivered, path, found)


def _struct(original: dict[str, object], delivered: object, path: str, found: Findings) -> None:
    if not isinstance(delivered, dict):
        found.differ(path, original, delivered)
        return
    for name, value in original.items():
        compare(value, delivered.get(name, MISSING), f"{path}.{name}" if path else name, found)
    for name in delivered.keys() - original.keys():
        where, got = f"{path}.{name}" if path else name, delivered[name]
        is_empty = name == PLACEHOLDER and len(delivered) == 1
        reason = findings.NO_FIELDS if is_empty else findings.ABSENT
        found.check(where, MISSING, got, equal=got is None and (is_empty or found.is_json), reason=reason)


def _map(original: Map, delivered: object, path: str, found: Findings) -> None:
    if not isinstance(delivered, Map) or len(original.pairs) != len(delivered.pairs):
        found.differ(path, original, delivered)
        return
    for ours, theirs in zip(original.pairs, delivered.pairs, strict=True):
        compare(ours[0], theirs[0], f"{path}.key", found)
        compare(ours[1], theirs[1], f"{path}.value", found)


def _list(original: list[object], delivered: object, path: str, found: Findings) -> None:
    if not isinstance(delivered, list) or len(original) != len(delivered):
        found.differ(path, original, delivered)
        return
    for value, got in zip(original, delivered, strict=True):
        compare(value, got, f"{path}[]", found)


def _single(original: object, delivered: object, path: str, found: Findings) -> None:
    reason: str | None = None
    if isinstance(original, Cell):
        equal = _is_written(original, delivered)
    elif isinstance(original, NumberText):
        is_number = isinstance(delivered, int | Decimal | Real) and not isinstance(delivered, bool)
        is_same = is_number and _is_finite(delivered) and are_same_numbers(original, text_of(delivered))
        is_zero = is_number and not isinstance(delivered, Real) and Decimal(original) == 0 == delivered
        equal, reason = is_same or is_zero, None if is_same else findings.ZERO
    elif isinstance(original, Real):
        equal = isinstance(delivered, Real) and are_same_floats(original, delivered)
    elif isinstance(original, TimeOfDay | Instant) and isinstance(delivered, str):
        equal, reason = delivered == text_of(original, nine=True), findings.NANOSECONDS
    elif isinstance(original, int) and isinstance(delivered, Decimal):
        equal, reason = text_of(delivered) == str(original), findings.UNSIGNED
    elif isinstance(original, Decimal):
        equal = isinstance(delivered, Decimal) and original.as_tuple() == delivered.as_tuple()
    else:
        equal = type(original) is type(delivered) and original == delivered
    found.check(path, original, delivered, equal=equal, reason=reason)


def _is_written(cell: Cell, delivered: object) -> bool:
    """Whether a value is the one that CSV has in text; floats may be written with an exponent, or without."""
    if isinstance(delivered, Real):
        return delivered.is_finite and are_same_numbers(cell, text_of(delivered))
    return delivered is not None and delivered is not MISSING and cell == text_of(delivered)


def _is_finite(number: object) -> bool:
    return not isinstance(number, Real) or number.is_finite
