"""Counting values that a format cannot represent and omits, by column and kind."""

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal, TypedDict

LossKind = Literal["notANumber", "nullEntry", "repeatedKey"]
NOT_A_NUMBER: Final = "notANumber"
"""A NaN or an infinity that was written as null."""
NULL_ENTRY: Final = "nullEntry"
"""A map entry that was omitted because its value is null."""
REPEATED_KEY: Final = "repeatedKey"
"""A map entry that was omitted because a later entry of the same map has the same key."""


class LossDocument(TypedDict):
    """A `Loss` in the database row of a finished part."""

    column: str
    kind: LossKind
    count: int


@dataclass(frozen=True)
class Loss:
    """The number of values of one top-level column that were omitted for one reason."""

    column: str
    kind: LossKind
    count: int

    def to_json(self) -> LossDocument:
        """For the database row of a finished part."""
        return {"column": self.column, "kind": self.kind, "count": self.count}

    @staticmethod
    def from_json(document: LossDocument) -> "Loss":
        """The inverse of `to_json`."""
        return Loss(document["column"], document["kind"], document["count"])


class LossCounter:
    """Adds up the losses of one file while it is encoded."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, LossKind]] = Counter()

    def add(self, column: str, kind: LossKind, count: int) -> None:
        """Count `count` more values of the column; 0 is ignored."""
        if count:
            self._counts[column, kind] += count

    def losses(self) -> tuple[Loss, ...]:
        """The losses so far, sorted by column and kind."""
        return tuple(Loss(column, kind, count) for (column, kind), count in sorted(self._counts.items()))
