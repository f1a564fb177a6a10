"""A CSV file's text in blocks of complete records, each with valid quoting.

Arrow's reader silently drops a quote that is never closed, or that has text after it (`"a"b`). So every block is
checked before Arrow parses it: first cheaply, by the characters next to its quotes, and by an exact parser only if that
is not conclusive, for example for `5" screen`.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from offtake.lake.parsing.csv_dialect import MAX_RECORD, Dialect, MalformedError
from offtake.lake.parsing.csv_stream import Utf8Stream


def blocks(stream: Utf8Stream, dialect: Dialect, size: int) -> Iterator[bytes]:
    """The stream's records in blocks of about `size` bytes; a larger record makes a larger block.

    Raises `MalformedError` with an offset relative to the stream's current position.
    """
    offset, rest, missing = 0, b"", size
    while True:
        piece = stream.read(missing)
        is_end = len(piece) < missing
        text = rest + piece
        try:
            # A CR at the end may be the first half of a CR LF line end.
            length = _length_of_records(text if is_end else text.removesuffix(b"\r"), dialect, is_end=is_end)
        except MalformedError as error:
            raise MalformedError(error.fault, offset + error.offset) from None
        if length:
            yield text if length == len(text) else text[:length]
        if is_end:
            return
        offset, rest = offset + length, text[length:]
        if len(rest) > MAX_RECORD:
            raise MalformedError("length", offset)
        # The size doubles each time, so that a long record is not scanned from its start too often.
        missing = min(size if length else max(size, len(rest)), MAX_RECORD + 1 - len(rest))


def _length_of_records(text: bytes, dialect: Dialect, *, is_end: bool) -> int:
    quote = dialect.quote
    if dialect.escape:
        return dialect.length_of_records(text, is_end=is_end)
    if not quote or quote not in text:
        return len(text) if is_end else _last_line_end(text, len(text))
    quotes = _count_paired_quotes(text, quote, dialect.delimiter)
    if quotes is None or (is_end and quotes % 2):
        return dialect.length_of_records(text, is_end=is_end)
    return len(text) if is_end else _last_record_end(text, quote, quotes)


def _count_paired_quotes(text: bytes, quote: bytes, delimiter: bytes) -> int | None:
    """The number of quotes in a text that starts at a record; None unless quotes alternately open and close values.

    In well-formed text, every odd quote (first, third, …) follows a delimiter, a line end or, doubled within a value, a
    quote; every even quote precedes one of these. By induction from the left, the converse holds too: if all quotes
    follow this rule, the text is well-formed. A stray quote breaks the rule.
    """
    values = pa.Array.from_buffers(pa.uint8(), len(text), [None, pa.py_buffer(text)])
    is_quote = pc.equal(values, pa.scalar(quote[0], pa.uint8()))
    last = len(text) - 1
    before = _bytes(values.slice(0, last).filter(is_quote.slice(1)))
    after = _bytes(values.slice(1).filter(is_quote.slice(0, last)))
    if text.startswith(quote):
        before = delimiter + before
    allowed = delimiter + quote + b"\r\n"
    if before[0::2].translate(None, allowed) or after[1::2].translate(None, allowed):
        return None
    return len(before)


def _bytes(values: pa.Array) -> bytes:
    start = values.offset
    return memoryview(values.buffers()[1])[start : start + len(values)].tobytes() if len(values) else b""


def _last_record_end(text: bytes, quote: bytes, quotes: int) -> int:
    """The end offset of the last complete record; `quotes`: the number of quotes in the text, alternating."""
    end = len(text)
    while end := _last_line_end(text, end):
        quotes -= text.count(quote, end)
        if not quotes % 2:
            return end
        # This line end is within a quoted value; continue before the value's opening quote.
        text = text[: text.rindex(quote, 0, end)]
        quotes, end = quotes - 1, len(text)
    return 0


def _last_line_end(text: bytes, end: int) -> int:
    """The offset after the last CR or LF before `end`, or 0."""
    return max(text.rfind(b"\n", 0, end), text.rfind(b"\r", 0, end)) + 1
