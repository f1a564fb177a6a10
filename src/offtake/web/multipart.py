"""Reads a multipart form as a stream: files of any size pass in pieces, and are never held in memory."""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from offtake.contract import problems
from offtake.contract.problems import Problem

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_LARGEST_FIELD: Final = 64 * 1024
_MOST_FIELDS: Final = 50


@dataclass(frozen=True)
class Field:
    """A field of the form, with its value."""

    name: str
    value: str


@dataclass(frozen=True)
class FileStart:
    """A file begins; `name` is its own name, without folders. Its bytes follow, then `FileEnd`."""

    name: str


@dataclass(frozen=True)
class FileEnd:
    """The file is complete."""


Event = Field | FileStart | bytes | FileEnd


async def read(request: Request) -> AsyncIterator[Event]:
    """The form's fields and files in the order in which the browser sends them: that of the page.

    Raises 1452 for a malformed form, 3413 for a field that is too long, and Starlette's `ClientDisconnect`.
    """
    _, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if not boundary:
        raise problems.of_field("/file", "was not sent as multipart/form-data")
    collector = _Collector()
    try:
        parser = MultipartParser(boundary, collector.callbacks())
        async for chunk in request.stream():
            parser.write(chunk)
            while collector.events:
                yield collector.events.popleft()
        parser.finalize()
    except FormParserError:
        raise problems.of_field("/file", "was not sent as a complete multipart/form-data body") from None
    while collector.events:
        yield collector.events.popleft()


class _Collector:
    """Turns the parser's callbacks into events."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self._header, self._value, self._disposition = b"", b"", b""
        self._field = ""
        self._text: bytearray | None = None
        self._fields = 0

    def callbacks(self) -> "MultipartCallbacks":
        """By the parser's names."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end,
        }

    def _begin(self) -> None:
        self._header, self._value, self._disposition = b"", b"", b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._field = options.get(b"name", b"").decode(errors="replace")
        name = options.get(b"filename")
        if name is not None:
            self._text = None
            self.events.append(FileStart(_base_name(name.decode(errors="replace"))))
            return
        self._fields += 1
        if self._fields > _MOST_FIELDS:
            raise Problem(problems.TOO_LARGE, f"The form has more than {_MOST_FIELDS} fields.")
        self._text = bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._text is None:
            self.events.append(bytes(data[start:end]))
            return
        self._text += data[start:end]
        if len(self._text) > _LARGEST_FIELD:
            raise Problem(problems.TOO_LARGE, f"A field of the form is larger than {_LARGEST_FIELD // 1024} KiB.")

    def _end(self) -> None:
        if self._text is None:
            self.events.append(FileEnd())
        else:
            self.events.append(Field(self._field, self._text.decode(errors="replace")))


def _base_name(name: str) -> str:
    """The name without folders. Browsers send a quote in it as `%22`."""
    return name.replace("\\", "/").rsplit("/", 1)[-1].replace("%22", '"')
