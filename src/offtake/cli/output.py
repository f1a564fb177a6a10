"""Printing: tables for a terminal, tab-separated rows for a pipe, JSON, and times and sizes in readable units."""

import json
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console

    console: Console

_SHORT: Final = 8
_SHORT_ULID: Final = 13
"""The first ten characters of a ULID are a time: batches of one second share them."""
_HEX_ID: Final = re.compile(r"[0-9a-f]{24,32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ULID: Final = re.compile("[0-9A-HJKMNP-TV-Z]{26}")
_WIDEST: Final = 100_000
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters, line ends, and the marks that reverse the direction of text: names can contain them."""
_UNSAFE_IN_JSON: Final = re.compile(r"[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Id:
    """A cell with an id: on a terminal its beginning, which commands accept."""

    value: str | None


@dataclass(frozen=True)
class Instant:
    """A cell with a time (epoch milliseconds): in UTC; on a wide terminal with the local time next to it."""

    epoch_ms: int | None
    suffix: str = ""


def is_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()


def one_line(text: str) -> str:
    """The text without what could end the line, move the cursor or hide text; tabs stay."""
    return "\t".join(_CONTROL.sub(" ", part) for part in text.split("\t"))


def shell_word(name: str, id_: str) -> str:
    """A name as an argument of a command that can be pasted into a shell; the id of one that looks like an option."""
    return id_ if name.startswith("-") or _CONTROL.search(name) else shlex.quote(name)


def line(text: str) -> None:
    """Print a line; control characters of names are spaces."""
    print(one_line(text))


def whole(text: str) -> None:
    """Print text as it is: documents in which control characters are escaped."""
    print(text)


def row(text: str) -> None:
    """Print one JSON document, which is one line already."""
    print(escape_json(text))


def note(text: str) -> None:
    """Print a line on standard error: progress, and remarks that are not part of the result."""
    print(one_line(text), file=sys.stderr)


def as_json(document: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """Print one JSON document."""
    print(escape_json(json.dumps(document, indent=2, ensure_ascii=False, default=str)))


def escape_json(text: str) -> str:
    """JSON text in which terminals find no control characters."""
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> None:
    """Print rows under their columns, or the sentence `empty`.

    A terminal gets a table that fits its width, with short ids. A pipe gets whole values, one row a line, separated by
    tabs (control characters within a value are spaces), and the sentence on standard error.
    """
    if not is_terminal():
        if rows:
            _print_rows([columns, *rows])
        elif empty:
            note(empty)
        return
    if not rows:
        line(empty)
        return
    from rich.console import Console  # noqa: PLC0415 - costs time that a pipe does not need

    console = Console(highlight=False)
    with_local = _grid(columns, rows, local=True)
    unlimited = console.options.update(max_width=_WIDEST)
    fits = console.measure(with_local, options=unlimited).maximum <= console.width
    console.print(with_local if fits else _grid(columns, rows, local=False))


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the module's own attribute
    if name == "console":
        return _console()
    raise AttributeError(name)


@cache
def _console() -> "Console":
    from rich.console import Console  # noqa: PLC0415 - as above

    return Console(highlight=False, soft_wrap=True)


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


def count_of(number: int, noun: str, plural: str = "") -> str:
    """A number of things, such as `1 file` and `1,200 files`. `plural`: where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def short_id(text: str) -> str:
    """The beginning of an id that is shown on a terminal; ids that people chose stay whole."""
    if _ULID.fullmatch(text):
        return text[:_SHORT_ULID]
    return text[:_SHORT] if _HEX_ID.fullmatch(text) else text


def _print_rows(rows: Sequence[Sequence[object]]) -> None:
    print("\n".join("\t".join(_CONTROL.sub(" ", _whole(value)) for value in row) for row in rows))


def _whole(value: object) -> str:
    if isinstance(value, Id):
        return value.value or ""
    if isinstance(value, Instant):
        return instant(value.epoch_ms) + value.suffix
    return "" if value is None else str(value)


def _on_terminal(value: object, *, local: bool) -> str:
    if isinstance(value, Id):
        return short_id(value.value or "")
    if isinstance(value, Instant) and value.epoch_ms is not None and local:
        return instant(value.epoch_ms) + _local(value.epoch_ms) + value.suffix
    return _whole(value)


def _local(epoch_ms: int) -> str:
    """The local time after a time in UTC, with its date when that is another one; empty where UTC is local."""
    there = datetime.fromtimestamp(epoch_ms / 1000, UTC)
    here = there.astimezone()
    if not here.utcoffset():
        return ""
    return here.strftime(" (%H:%M local)" if here.date() == there.date() else " (%m-%d %H:%M local)")


def _grid(columns: Sequence[str], rows: Sequence[Sequence[object]], *, local: bool) -> Any:  # noqa: ANN401 - rich is imported late
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        is_id = all(isinstance(row[number], Id) for row in rows)
        grid.add_column(name, no_wrap=is_id, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(_CONTROL.sub(" ", _on_terminal(value, local=local))) for value in row))
    return grid
