"""Printing of tables and JSON, and of times and sizes in readable units."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

console = Console(highlight=False, soft_wrap=True)
# Users copy ids into other commands: tables are never cut at the terminal's width.
_wide = Console(highlight=False, width=10_000)


def as_json(document: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """Print one JSON document."""
    console.print(json.dumps(document, indent=2, ensure_ascii=False, default=str), markup=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> None:
    """Print rows under their columns, or the sentence `empty`."""
    if not rows:
        console.print(empty, markup=False)
        return
    grid = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        grid.add_row(*(Text("" if value is None else str(value)) for value in row))
    _wide.print(grid)


def instant(epoch_ms: int | None) -> str:
    """Format an instant (epoch milliseconds) in UTC; empty for None."""
    return "" if epoch_ms is None else datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def size(count: float) -> str:
    """Format a number of bytes with a decimal unit, such as kB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:  # noqa: PLR2004 - the step of SI units
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
