"""Rows as they come out of a file, before they are made to fit the dataset."""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Rows:
    """Some rows, and where each is in its file: what it is counted by (line, row, object) and its number, from 1."""

    batch: pa.RecordBatch
    place: Callable[[int], tuple[str, int]]

    @staticmethod
    def numbered(batch: pa.RecordBatch, done: int) -> "Rows":
        """Rows that are counted as such, after `done` others."""
        return Rows(batch, lambda index: ("row", done + index + 1))
