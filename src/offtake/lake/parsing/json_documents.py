"""JSON documents that are not NDJSON: an array of objects, one object, or concatenated objects.

A document is split into its objects, which are yielded as text in blocks, so that documents of any size take a bounded
amount of memory.
"""

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

_CHUNK: Final = 1024 * 1024
_BLOCK: Final = 8 * 1024 * 1024
_LONGEST: Final = 16 * 1024 * 1024
_SPACE: Final = re.compile(r"[ \t\r\n]*")


class DocumentError(Exception):
    """The document is malformed; the text says what is wrong, and in which object."""


@dataclass(frozen=True)
class Block:
    """The text of some objects, each ending in a line feed; `first`: the number of the first one, from 1."""

    first: int
    objects: list[bytes]


def blocks(stream: Any) -> Iterator[Block]:  # noqa: ANN401 - a pyarrow stream, which has no stubs
    """The objects of a document, read from a binary stream. Raises `DocumentError`."""
    buffered: list[bytes] = []
    size = 0
    first = number = 1
    for text in _objects(_TextBuffer(stream)):
        buffered.append(text.encode() + b"\n")
        size += len(buffered[-1])
        number += 1
        if size >= _BLOCK:
            yield Block(first, buffered)
            buffered, size, first = [], 0, number
    if buffered:
        yield Block(first, buffered)


class _TextBuffer:
    """The part of the document in memory: `text`, of which the part before `at` is consumed."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401 - as above
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.text = ""
        self.at = 0
        self.is_end = False

    def more(self) -> bool:
        """Read the next chunk; False at the end."""
        if self.is_end:
            return False
        chunk = self._stream.read(_CHUNK)
        self.is_end = not chunk
        try:
            self.text = self.text[self.at :] + self._decoder.decode(chunk, final=self.is_end)
        except UnicodeDecodeError:
            raise DocumentError("is not UTF-8 text") from None
        self.at = 0
        return True

    def next(self) -> str:
        """Skip whitespace and return the next character without consuming it; empty at the end."""
        while True:
            match = _SPACE.match(self.text, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def take(self) -> None:
        """Consume the next character."""
        self.at += 1


def _objects(text: _TextBuffer) -> Iterator[str]:
    decoder = json.JSONDecoder(parse_constant=_no_constant, parse_int=len, parse_float=len)
    inside = text.next() == "["
    if inside:
        text.take()
    number = 1
    while (found := text.next()) not in ("", "]"):
        if inside and number > 1:
            if found != ",":
                raise DocumentError(f"has no comma after object {number - 1}")
            text.take()
            found = text.next()
        if found != "{":
            raise DocumentError(f"element {number} is not an object")
        yield _object(text, decoder, number)
        number += 1
    if inside:
        if text.next() != "]":
            raise DocumentError("ends before its array is closed")
        text.take()
    if text.next():
        raise DocumentError("has text after its end")


def _object(text: _TextBuffer, decoder: json.JSONDecoder, number: int) -> str:
    while True:
        try:
            end = decoder.raw_decode(text.text, text.at)[1]
        except (json.JSONDecodeError, RecursionError) as error:
            # The object may only be incomplete, so more is read, up to the longest allowed object.
            if isinstance(error, RecursionError):
                raise DocumentError(f"object {number} is nested deeper than 64 levels") from None
            if len(text.text) - text.at > _LONGEST:
                raise DocumentError(f"object {number} is malformed, or longer than {_LONGEST} characters") from None
            if not text.more():
                raise DocumentError(f"object {number} is malformed: {error.msg} at its line {error.lineno}") from None
            continue
        document = text.text[text.at : end]
        text.at = end
        return document


def _no_constant(name: str) -> NoReturn:
    raise DocumentError(f"contains {name}, which is not JSON")
