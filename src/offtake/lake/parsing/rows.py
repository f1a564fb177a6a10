"""Rows as read from a file, before they are cast to the dataset's columns."""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Rows:
    """Rows of a file. `position`: from a row's index, its unit ("line", "row" or "object") and number, from 1."""

    batch: pa.RecordBatch
    position: Callable[[int], tuple[str, int]]

    @staticmethod
    def after(batch: pa.RecordBatch, done: int) -> "Rows":
        """Rows with row numbers, after `done` earlier rows of the file."""
        return Rows(batch, lambda index: ("row", done + index + 1))
