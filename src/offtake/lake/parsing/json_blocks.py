"""Files of JSON in blocks of whole objects, each with where it is in the file."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from offtake.lake.parsing import json_documents
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import InputFile

_BLOCK: Final = 8 * 1024 * 1024
_LONGEST_LINE: Final = 64 * 1024 * 1024
_LONGEST_FIRST: Final = 64 * 1024
_UNFINISHED: Final = (b"{", b"[", b",", b":")
"""The end of a line within an object."""


@dataclass(frozen=True)
class Block:
    """Some lines, or some objects of one document; `first` is the number of the first, from 1."""

    unit: Literal["line", "object"]
    first: int
    parts: list[bytes]
    """The block's text: of lines in one piece, of objects one piece each."""

    @property
    def text(self) -> bytes:
        """All of it."""
        return self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)

    @property
    def units(self) -> list[bytes]:
        """Its lines, or its objects."""
        # Not `splitlines`: within an object, a carriage return is white space.
        return self.parts if self.unit == "object" else self.parts[0].split(b"\n")

    @property
    def is_spread(self) -> bool:
        """Whether an object may take several lines."""
        return self.unit == "object"


def blocks_of(file: InputFile) -> Iterator[Block]:
    """The file's objects in blocks of about 8 MiB. Raises `ImportRefusedError` for what is neither lines nor JSON."""
    with file.open() as stream:
        yield from _documents(file, stream) if _is_document(file) else _lines(file, stream)


def _is_document(file: InputFile) -> bool:
    """Whether the file is not one object a line, whatever its name says: an array, or objects over several lines."""
    if file.kind == "json":
        return True
    with file.open() as stream:
        begin = bytes(stream.read(_LONGEST_FIRST)).removeprefix(codecs.BOM_UTF8).lstrip()
    first, newline, _ = begin.partition(b"\n")
    return begin.startswith(b"[") or (newline != b"" and first.rstrip().endswith(_UNFINISHED))


def _documents(file: InputFile, stream: Any) -> Iterator[Block]:  # noqa: ANN401 - pyarrow has no stubs
    try:
        for block in json_documents.blocks(stream):
            yield Block("object", block.first, block.objects)
    except json_documents.DocumentError as error:
        raise ImportRefusedError(f"{file.name} {error}.") from None


def _lines(file: InputFile, stream: Any) -> Iterator[Block]:  # noqa: ANN401 - as above
    number = 1
    rest = b""
    while block := stream.read(_BLOCK):
        if number == 1 and not rest:
            block = block.removeprefix(codecs.BOM_UTF8)
        text = rest + block
        end = text.rfind(b"\n") + 1
        head, rest = text[:end], text[end:]
        lines = head.count(b"\n")
        if len(rest) > _LONGEST_LINE:
            line = number + lines
            raise ImportRefusedError(
                f"{file.name}, line {line}: it is longer than {_LONGEST_LINE} bytes. "
                "If the file is one JSON document, send it as such.",
                row=line,
            )
        if head and not head.isspace():
            yield Block("line", number, [head])
        number += lines
    if rest.strip():
        yield Block("line", number, [rest])
