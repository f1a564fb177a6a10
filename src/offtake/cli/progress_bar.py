"""A progress bar on standard error; nothing when that is not a terminal."""

import sys
from types import TracebackType
from typing import Final, Self

from offtake.cli import output
from offtake.cli.executing import Progress

_WIDTH: Final = 30
_CLEAR: Final = "\r\x1b[2K"


class ProgressBar:
    """Shows how far a run is, in one line that is replaced; the line disappears at the end."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._last = ""

    def __enter__(self) -> Self:
        """Return the bar itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the line."""
        self._write("")

    def show(self, progress: Progress) -> None:
        """Replace the line."""
        share = min(1, progress.rows / progress.rows_planned) if progress.rows_planned else 0
        full = round(share * _WIDTH)
        rows = f"{progress.rows:,}/{progress.rows_planned:,} rows" if progress.rows_planned else progress.status
        size = f"{output.size(progress.bytes)}, {output.size(progress.rate)}/s"
        self._write(f"[{'#' * full}{'.' * (_WIDTH - full)}] {share:4.0%} {rows}, {size}")

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._write("")
        output.note(text)

    def _write(self, line: str) -> None:
        if self._is_shown and line != self._last:
            sys.stderr.write(f"{_CLEAR}{line}")
            sys.stderr.flush()
            self._last = line
