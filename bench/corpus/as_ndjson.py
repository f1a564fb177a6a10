"""Original values against those of delivered NDJSON, under the type map."""

from base64 import b64encode
from decimal import Decimal

from bench.corpus import findings
from bench.corpus.findings import MISSING, Findings
from bench.corpus.values import (
    Cell,
    Day,
    Instant,
    Map,
    NumberText,
    Real,
    TimeOfDay,
    Uuid,
    are_same_numbers,
    is_shortest,
    text_of,
)


def compare(original: object, delivered: object, path: str, found: Findings) -> None:
    """Compare one value and what is in it."""
    if isinstance(original, dict):
        _object(original, delivered, path, found)
    elif isinstance(original, Map):
        _map(original, delivered, path, found)
    elif isinstance(original, list):
        _list(original, delivered, path, found)
    else:
        _single(original, delivered, path, found)


def _object(original: dict[str, object], delivered: object, path: str, found: Findings) -> None:
    if not isinstance(delivered, dict):
        found.differ(path, original, delivered)
        return
    for name, value in original.items():
        where = f"{path}.{name}" if path else name
        got = delivered.get(name, MISSING)
        if (reason := _left_out(value)) is None:
            compare(value, got, where, found)
        else:
            found.check(where, value, got, equal=got is MISSING, reason=reason)
    for name in delivered.keys() - original.keys():
        found.differ(f"{path}.{name}" if path else name, MISSING, delivered[name])


def _map(original: Map, delivered: object, path: str, found: Findings) -> None:
    wanted: dict[str, object] = {}
    for key, value in original.pairs:
        if not isinstance(key, str):
            found.reasons[findings.KEYS] += 1
        if _left_out(value) is not None:
            found.reasons[findings.NULL_ENTRIES] += 1
            continue
        text = text_of(key)
        if text in wanted:
            found.reasons[findings.REPEATED] += 1
        wanted[text] = value
    _object(wanted, delivered, path, found)


def _list(original: list[object], delivered: object, path: str, found: Findings) -> None:
    if not isinstance(delivered, list) or len(original) != len(delivered):
        found.differ(path, original, delivered)
        return
    for value, got in zip(original, delivered, strict=True):
        if _left_out(value) is None:
            compare(value, got, f"{path}[]", found)
        else:
            # A null keeps its place in a list.
            reason = None if value is None else findings.NO_NUMBERS
            found.check(f"{path}[]", value, got, equal=got is None, reason=reason)


def _left_out(value: object) -> str | None:
    """Why a value has no form in JSON, None if it has one."""
    if value is None:
        return findings.NULLS
    return findings.NO_NUMBERS if isinstance(value, Real) and not value.is_finite else None


def _single(original: object, delivered: object, path: str, found: Findings) -> None:
    is_number, is_text = isinstance(delivered, NumberText), type(delivered) is str
    reason: str | None = None
    if isinstance(original, Cell):
        equal = isinstance(delivered, bool | str) and text_of(delivered) == original
    elif isinstance(original, bool):
        equal = delivered is original
    elif isinstance(original, NumberText):
        # Doubles keep the sign of zero; which type the column has is seen in Parquet.
        equal = is_number and Decimal(original) == Decimal(str(delivered))
        reason = None if equal and are_same_numbers(original, str(delivered)) else findings.ZERO
    elif isinstance(original, str):
        equal = is_text and delivered == original
    elif isinstance(original, int | Decimal):
        equal = is_number and delivered == text_of(original)
    elif isinstance(original, Real):
        equal = is_number and is_shortest(str(delivered), original)
    elif isinstance(original, bytes):
        equal, reason = is_text and delivered == b64encode(original).decode(), findings.BASE64
    elif isinstance(original, Uuid):
        equal, reason = is_text and delivered == original.text, findings.UUIDS
    else:
        assert isinstance(original, Day | TimeOfDay | Instant)
        is_fine = delivered != text_of(original)
        equal = is_text and (not is_fine or delivered == text_of(original, nine=True))
        reason = findings.NANOSECONDS if is_fine else findings.TIMES
    found.check(path, original, delivered, equal=equal, reason=reason)
