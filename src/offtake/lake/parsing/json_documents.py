"""JSON documents that are not one object a line: an array, one object, or objects one after the other.

A document is cut into its objects, and these are handed on in blocks as text, one object after the other, so that
documents of any size take a bounded amount of memory.
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
    """The document is not what it should be; the text says what is wrong, and with which of its objects."""


@dataclass(frozen=True)
class Block:
    """The text of some objects, each ending in a line feed; `first` is the number of the first, from 1."""

    first: int
    objects: list[bytes]


def blocks(stream: Any) -> Iterator[Block]:  # noqa: ANN401 - a pyarrow stream, which has no stubs
    """The objects of a document, read from a binary stream; raises `DocumentError`."""
    held: list[bytes] = []
    size = 0
    first = number = 1
    for text in _objects(_Text(stream)):
        held.append(text.encode() + b"\n")
        size += len(held[-1])
        number += 1
        if size >= _BLOCK:
            yield Block(first, held)
            held, size, first = [], 0, number
    if held:
        yield Block(first, held)


class _Text:
    """What of the document is in memory: `text` from `at` on is still to be read."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401 - as above
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.text = ""
        self.at = 0
        self.over = False

    def more(self) -> bool:
        """Read on; False at the end."""
        if self.over:
            return False
        chunk = self._stream.read(_CHUNK)
        self.over = not chunk
        try:
            self.text = self.text[self.at :] + self._decoder.decode(chunk, final=self.over)
        except UnicodeDecodeError:
            raise DocumentError("is not text in UTF-8") from None
        self.at = 0
        return True

    def next(self) -> str:
        """The next character that is no space, which is not taken; empty at the end."""
        while True:
            match = _SPACE.match(self.text, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def take(self) -> None:
        """Take the next character."""
        self.at += 1


def _objects(text: _Text) -> Iterator[str]:
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
            raise DocumentError(f"element {number} is no object")
        yield _object(text, decoder, number)
        number += 1
    if inside:
        if text.next() != "]":
            raise DocumentError("ends before its array does")
        text.take()
    if text.next():
        raise DocumentError("goes on after its end")


def _object(text: _Text, decoder: json.JSONDecoder, number: int) -> str:
    while True:
        try:
            end = decoder.raw_decode(text.text, text.at)[1]
        except (json.JSONDecodeError, RecursionError) as error:
            # It may only be cut off; what is malformed is read on in vain, but not further than an object may be long.
            if isinstance(error, RecursionError):
                raise DocumentError(f"object {number} is nested deeper than 64 levels") from None
            if len(text.text) - text.at > _LONGEST:
                raise DocumentError(f"object {number} is malformed, or longer than {_LONGEST} characters") from None
            if not text.more():
                raise DocumentError(f"object {number} is malformed: {error.msg} at its line {error.lineno}") from None
            continue
        made = text.text[text.at : end]
        text.at = end
        return made


def _no_constant(name: str) -> NoReturn:
    raise DocumentError(f"holds {name}, which is no JSON")
