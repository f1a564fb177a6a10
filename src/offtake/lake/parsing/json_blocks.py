"""JSON files in blocks of complete objects, each with its position in the file."""

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
"""How a line ends when it does not complete an object."""


@dataclass(frozen=True)
class Block:
    """Lines, or objects of one document; `first`: the number of the first one, from 1."""

    unit: Literal["line", "object"]
    first: int
    parts: list[bytes]
    """The block's text: all lines in one piece, or one piece per object."""

    @property
    def text(self) -> bytes:
        """The block's whole text."""
        return self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)

    @property
    def units(self) -> list[bytes]:
        """The block's lines, or objects."""
        # Not `splitlines`: within an object, a carriage return is whitespace.
        return self.parts if self.unit == "object" else self.parts[0].split(b"\n")

    @property
    def is_spread(self) -> bool:
        """Whether an object can span several lines."""
        return self.unit == "object"


def blocks_of(file: InputFile) -> Iterator[Block]:
    """The file's objects in blocks of about 8 MiB. Raises `ImportRefusedError` for malformed files and long lines."""
    with file.open() as stream:
        yield from _documents(file, stream) if _is_document(file) else _lines(file, stream)


def _is_document(file: InputFile) -> bool:
    """Whether the file is an array, or has objects over several lines, whatever its name is."""
    if file.kind == "json":
        return True
    with file.open() as stream:
        head = bytes(stream.read(_LONGEST_FIRST)).removeprefix(codecs.BOM_UTF8).lstrip()
    first, newline, _ = head.partition(b"\n")
    return head.startswith(b"[") or (newline != b"" and first.rstrip().endswith(_UNFINISHED))


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
                f"{file.name}, line {line}: the line is longer than {_LONGEST_LINE} bytes. "
                "If the file is one JSON document, import it as JSON, not as NDJSON.",
                row=line,
            )
        if head and not head.isspace():
            yield Block("line", number, [head])
        number += lines
    if rest.strip():
        yield Block("line", number, [rest])
