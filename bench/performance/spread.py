"""Figures of several rounds as one: the median, with the lowest and the highest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

Sample = dict[str, Any]

_SMALL: Final = 0.1


@dataclass(frozen=True)
class Spread:
    """A median of so many figures, with the lowest and the highest."""

    middle: float
    low: float
    high: float
    count: int

    def text(self, digits: int = 2) -> str:
        """`2.10 (1.98 to 2.31)`; the median alone when there is but one figure."""
        digits += digits > 0 and self.middle < _SMALL
        if self.count == 1:
            return f"{self.middle:.{digits}f}"
        return f"{self.middle:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def spread(figures: Iterable[float]) -> Spread | None:
    """The figures as one; None when there are none."""
    found = list(figures)
    return Spread(median(found), min(found), max(found), len(found)) if found else None


def of_tool(samples: Sequence[Sample], tool: str, figure: str) -> Spread | None:
    """A tool's figure over the rounds."""
    return spread(sample[figure] for sample in samples if sample["tool"] == tool and figure in sample)


def ratios(samples: Sequence[Sample], tool: str | int, other: str | int, figure: str) -> Spread | None:
    """A tool's figure over another's, of the same round each."""
    found = {(sample["tool"], sample["round"]): sample[figure] for sample in samples if figure in sample}
    rounds = {number for name, number in found if name == tool} & {number for name, number in found if name == other}
    return spread(found[tool, number] / found[other, number] for number in rounds)
