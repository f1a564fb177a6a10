"""CSV dialects (delimiter, quote, escape), and an exact parser of records."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.options import CsvOptions

MAX_COLUMNS: Final = 10_000
MAX_RECORD: Final = 64 * 1024 * 1024
_ENDS: Final = rb"(?:\r\n|\n|\r)"
_BLANK: Final = re.compile(rb"[\r\n]*+")
_LAST_ASCII: Final = 127

Fault = Literal["open quote", "after quote", "escape", "columns", "length"]


class MalformedError(Exception):
    """Text that is not valid CSV in a dialect. `offset`: the start of the faulty value."""

    def __init__(self, fault: Fault, offset: int) -> None:
        self.fault: Fault = fault
        self.offset = offset
        super().__init__(fault)


@dataclass(frozen=True)
class Field:
    """One value as written, with its quotes, and its start offset."""

    raw: bytes
    offset: int


@dataclass(frozen=True)
class Record:
    """The fields of one record; `end`: the offset after its line end."""

    fields: tuple[Field, ...]
    end: int


@dataclass(frozen=True)
class Dialect:
    """Delimiter, quote and escape, each one ASCII character."""

    delimiter: bytes
    quote: bytes | None
    escape: bytes | None

    def records(self, text: bytes, *, is_end: bool, with_blank: bool = True) -> Iterator[Record]:
        """The complete records of a text that starts at a record; at the file's end, the last needs no line end.

        `with_blank`: blank lines are records too. Raises `MalformedError`. Exact but slow: used for the first records
        and to locate a fault.
        """
        offset, fields = 0, list[Field]()
        while offset < len(text) or fields:
            if not fields and not with_blank and (found := _BLANK.match(text, offset)) and found.end() > offset:
                offset = found.end()
                continue
            end, stop = self._field(text, offset, is_end=is_end)
            if stop is None and not is_end:
                return
            fields.append(Field(text[offset:end], offset))
            if len(fields) > MAX_COLUMNS:
                raise MalformedError("columns", offset)
            offset = end + len(stop or b"")
            if stop != self.delimiter:
                yield Record(tuple(fields), offset)
                fields = []

    def length_of_records(self, text: bytes, *, is_end: bool) -> int:
        """The length in bytes of the complete records of a text that starts at a record. Raises `MalformedError`."""
        found = self._records.match(text)
        length = found.end() if found else 0
        try:
            return length + sum(record.end for record in self.records(text[length:], is_end=is_end))
        except MalformedError as error:
            raise MalformedError(error.fault, length + error.offset) from None

    def starts(self, block: bytes, *, with_blank: bool) -> list[int]:
        """The start offsets of the records in a block of complete records; `with_blank` includes blank lines."""
        starts = (found.start() for found in self._record.finditer(block) if found.start() < len(block))
        return [start for start in starts if with_blank or block[start : start + 1] not in (b"\r", b"\n")]

    def ends_line(self, block: bytes) -> bool:
        """Whether a block of complete records ends with a line end that is not escaped within a value."""
        before = block[:-1]
        escapes = len(before) - len(before.rstrip(self.escape)) if self.escape else 0
        return block.endswith((b"\r", b"\n")) and escapes % 2 == 0

    def value(self, raw: bytes) -> bytes:
        """A field's value without its quotes and escapes."""
        quote, escape = self.quote, self.escape
        is_quoted = quote and raw.startswith(quote)
        if is_quoted:
            raw = raw[1:-1]
        if quote and is_quoted and not escape:
            return raw.replace(quote * 2, quote)
        if not escape:
            return raw
        pattern = re.escape(escape) + b"(.)" + (b"|" + re.escape(quote) * 2 if quote and is_quoted else b"")
        return re.sub(pattern, lambda found: found[1] or quote or b"", raw, flags=re.DOTALL)

    def _field(self, text: bytes, offset: int, *, is_end: bool) -> tuple[int, bytes | None]:
        """The end of the field at an offset, and the delimiter or line end after it (None: the text ends)."""
        found = self._value.match(text, offset)
        if found is None:
            # Only an unclosed quote does not match.
            if is_end:
                raise MalformedError("open quote", offset)
            return len(text), None
        end = found.end()
        if end == len(text):
            return end, None
        if text[end : end + 2] == b"\r\n":
            return end, b"\r\n"
        if (stop := text[end : end + 1]) in (self.delimiter, b"\r", b"\n"):
            return end, stop
        if self.escape and text[end:] == self.escape:
            # The escaped character may be in the next block.
            if is_end:
                raise MalformedError("escape", offset)
            return len(text), None
        raise MalformedError("after quote", offset)

    @cached_property
    def _value(self) -> re.Pattern[bytes]:
        return re.compile(self._value_text)

    @cached_property
    def _record(self) -> re.Pattern[bytes]:
        return re.compile(self._record_text + rb"(?:\r\n|\n|\r|\Z)")

    @cached_property
    def _records(self) -> re.Pattern[bytes]:
        return re.compile(b"(?:" + self._record_text + _ENDS + b")*+")

    @property
    def _record_text(self) -> bytes:
        return self._value_text + b"(?:" + re.escape(self.delimiter) + self._value_text + b")*+"

    @property
    def _value_text(self) -> bytes:
        delimiter, escape = re.escape(self.delimiter), re.escape(self.escape or b"")
        escaped = b"|" + escape + rb"[\s\S]" if escape else b""
        bare = b"(?:[^" + delimiter + escape + rb"\r\n]++" + escaped + b")*+"
        if not self.quote:
            return bare
        quote = re.escape(self.quote)
        inner = b"(?:[^" + quote + escape + b"]++|" + quote * 2 + escaped + b")*+"
        return b"(?:" + quote + inner + quote + b"|(?!" + quote + b")" + bare + b")"


def dialect_of(options: CsvOptions, name: str) -> Dialect | None:
    """The dialect given by the options; None if the delimiter must be detected.

    Raises `ImportRefusedError` for invalid or conflicting characters.
    """
    escape = None if options.escape == options.quote else options.escape
    parts = (("delimiter", options.delimiter), ("quote character", options.quote), ("escape character", escape))
    used: dict[str, str] = {}
    for option, character in parts:
        if character is None:
            continue
        if len(character) != 1 or not 0 < ord(character) <= _LAST_ASCII or character in "\r\n":
            raise ImportRefusedError(f"{name}: the {option} must be one ASCII character that is not a line end.")
        if character in used:
            raise ImportRefusedError(
                f"{name}: the {used[character]} and the {option} are the same character; change one."
            )
        used[character] = option
    if escape and options.null and options.null.startswith(escape):
        raise ImportRefusedError(
            f"{name}: the text that means null cannot start with the escape character, which is never part of a value."
        )
    return dialect(options, options.delimiter) if options.delimiter else None


def dialect(options: CsvOptions, delimiter: str) -> Dialect:
    """The dialect of the options with this delimiter."""
    escape = None if options.escape in (None, options.quote) else options.escape
    quote = options.quote
    return Dialect(delimiter.encode(), quote.encode() if quote else None, escape.encode() if escape else None)
