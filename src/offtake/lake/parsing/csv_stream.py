"""Decoding the text of a CSV file, in any encoding, to UTF-8."""

import codecs
from contextlib import suppress
from types import TracebackType
from typing import Any, Final

import pyarrow as pa

from offtake.lake.parsing.errors import EncodingError, ImportRefusedError
from offtake.lake.parsing.files import InputFile

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LONGEST_MARK: Final = 4
_PIECE: Final = 1024 * 1024
_REMEDY: Final = "Set the file's encoding, for example ISO-8859-1."


class Utf8Stream:
    """Context manager: reads a file's text as UTF-8, without its byte order mark.

    Text in UTF-8 is not validated here, but by its readers. Reading raises `ImportRefusedError` for unreadable files,
    and for bytes that are invalid in another encoding.
    """

    def __init__(self, file: InputFile, charset: str | None) -> None:
        self._file = file
        self.charset = "utf-8" if charset is None else check_charset(charset, file.name)
        with _ReadErrors(file):
            self._raw: Any = file.open()
        self._waiting = b""
        self._waiting = self._read_raw(_LONGEST_MARK)
        has_mark = charset is None and self._skip_mark()
        self._decoder = None if self.charset == "utf-8" else codecs.getincrementaldecoder(self.charset)()
        self._lines = LineCounter()
        self._text = b""
        if not has_mark:
            start = self.read(len(codecs.BOM_UTF8))
            self._text = start.removeprefix(codecs.BOM_UTF8) + self._text

    def __enter__(self) -> "Utf8Stream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._raw.close()

    def read(self, size: int) -> bytes:
        """The next `size` bytes of UTF-8; fewer only at the end of the file."""
        pieces = [self._text]
        missing = size - len(self._text)
        self._text = b""
        while missing > 0 and (piece := self._next(missing)):
            pieces.append(piece)
            missing -= len(piece)
        text = pieces[-1] if len(pieces) == 1 or not any(pieces[:-1]) else b"".join(pieces)
        if len(text) > size:
            text, self._text = text[:size], text[size:]
        return text

    def skip(self, size: int) -> None:
        """Read and discard `size` bytes."""
        while size > 0 and (text := self.read(min(size, _PIECE))):
            size -= len(text)

    def _skip_mark(self) -> bool:
        for mark, charset in _MARKS:
            if self._waiting.startswith(mark):
                self._waiting = self._waiting.removeprefix(mark)
                self.charset = charset
                return True
        return False

    def _next(self, size: int) -> bytes:
        """The next piece of text, empty at the end."""
        if self._decoder is None:
            return self._read_raw(size)
        while raw := self._read_raw(_PIECE):
            if text := self._decode(raw):
                return text
        return self._decode(b"", is_end=True)

    def _read_raw(self, size: int) -> bytes:
        if self._waiting:
            waiting, self._waiting = self._waiting, b""
            return waiting
        pieces: list[bytes] = []
        with _ReadErrors(self._file):
            while size > 0 and (piece := self._raw.read(size)):
                pieces.append(piece)
                size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _decode(self, raw: bytes, *, is_end: bool = False) -> bytes:
        if self._decoder is None:
            return raw
        state = self._decoder.getstate()
        try:
            text = self._decoder.decode(raw, is_end).encode()
        except UnicodeError:
            self._decoder.setstate(state)
            self._count_lines(raw)
            raise refuse_bytes(self._file, self._lines.line, self.charset) from None
        self._lines.add(text)
        return text

    def _count_lines(self, raw: bytes) -> None:
        """Count the line ends before the first byte that cannot be decoded."""
        with suppress(UnicodeError):
            for index in range(len(raw) if self._decoder else 0):
                self._lines.add(self._decode_byte(raw[index : index + 1]))

    def _decode_byte(self, raw: bytes) -> bytes:
        return raw if self._decoder is None else self._decoder.decode(raw).encode()


class LineCounter:
    """Counts lines. `line`: the line number of the next byte, from 1."""

    def __init__(self) -> None:
        self.line = 1
        self._after_return = False

    def add(self, text: bytes) -> None:
        """Count the line ends in the next text: LF, CR, and CR LF as one."""
        if not text:
            return
        self.line += text.count(b"\n") + text.count(b"\r") - text.count(b"\r\n")
        if self._after_return and text.startswith(b"\n"):
            self.line -= 1
        self._after_return = text.endswith(b"\r")


def check_charset(charset: str, name: str) -> str:
    """The codec's canonical name. Raises `ImportRefusedError` if Python has no such text encoding."""
    try:
        # Fails for codecs that are not text encodings, such as base64.
        "a".encode(charset)
        return codecs.lookup(charset).name
    except UnicodeError:
        return codecs.lookup(charset).name
    except (LookupError, ValueError):
        raise ImportRefusedError(
            f"{name}: the encoding is not a known text encoding. Examples: UTF-8, ISO-8859-1, windows-1252, UTF-16."
        ) from None


def refuse_bytes(file: InputFile, line: int, charset: str, column: str | None = None) -> EncodingError:
    """The error for bytes that are invalid in the encoding."""
    position = f"{file.name}, line {line}" + (f", column {column}" if column is not None else "")
    return EncodingError(f"{position}: the bytes are not valid {charset.upper()}. {_REMEDY}", row=line)


class _ReadErrors:
    """Context manager: translates read errors to `ImportRefusedError`, without this machine's path in the message."""

    def __init__(self, file: InputFile) -> None:
        self._file = file

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, (OSError, EOFError, pa.ArrowException)):
            reason = " ".join(str(error).split())[:300].replace(str(self._file.path), self._file.name)
            raise ImportRefusedError(f"{self._file.name} cannot be read: {reason.rstrip('.')}.") from None
