"""What a comparison found: differences, and changes that are documented."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal

NULLS: Final = "NDJSON: null fields are left out"
NO_NUMBERS: Final = "NDJSON: NaN and infinities are null"
BASE64: Final = "NDJSON: bytes are Base64"
UUIDS: Final = "NDJSON: UUIDs are text"
TIMES: Final = "NDJSON: dates and times are ISO 8601 text, in UTC where they have a zone"
KEYS: Final = "NDJSON: map keys are text"
REPEATED: Final = "NDJSON: of map entries with the same key the last one is written"
NULL_ENTRIES: Final = "NDJSON: map entries with a null value are left out"
NANOSECONDS: Final = "times beyond the microsecond are text with nine digits"
UNSIGNED: Final = "whole numbers of 64 bits without a sign are decimals"
ABSENT: Final = "Parquet: fields that a JSON object lacks are null"
NO_FIELDS: Final = "Parquet: what has no fields has a null field _empty"
ZERO: Final = "negative zeros of JSON are 0 in columns of whole numbers and decimals"

PLACEHOLDER: Final = "_empty"
MOST: Final = 10
"""Differences of a file that are kept; all are counted."""
_WIDEST: Final = 200


@dataclass(frozen=True)
class Difference:
    """One value that was delivered as another; `row` counts from 1."""

    delivery: Literal["NDJSON", "Parquet"]
    row: int
    column: str
    original: str
    delivered: str

    def __str__(self) -> str:
        return f"{self.delivery}, row {self.row}, column {self.column}: {self.original} became {self.delivered}"


class Missing:
    """Stands for a value that is not there."""

    def __repr__(self) -> str:
        return "nothing"


MISSING: Final = Missing()


@dataclass
class Findings:
    """What the comparison of one delivery has found so far. `row` is the one that is compared."""

    delivery: Literal["NDJSON", "Parquet"]
    is_json: bool = False
    """Whether the original's objects may lack fields."""
    row: int = 0
    count: int = 0
    differences: list[Difference] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def differ(self, path: str, original: object, delivered: object) -> None:
        """Add a difference."""
        self.count += 1
        if len(self.differences) < MOST:
            shown = (repr(one)[:_WIDEST] for one in (original, delivered))
            self.differences.append(Difference(self.delivery, self.row, path, *shown))

    def check(self, path: str, original: object, delivered: object, *, equal: bool, reason: str | None = None) -> None:
        """Add a difference unless the values are equal, which they may be by a documented change."""
        if not equal:
            self.differ(path, original, delivered)
        elif reason is not None:
            self.reasons[reason] += 1
