"""Checks of file transfers: `Range`, `Content-Range` and `Content-Type` headers, and the length of URLs."""

import re
from dataclasses import dataclass
from typing import Final

from offtake.catalog.uploaded_files import UploadedRange, check_range
from offtake.contract import problems
from offtake.contract.problems import Problem

_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


@dataclass(frozen=True)
class ByteRange:
    """`length` bytes of a file, from byte `first` on."""

    first: int
    length: int


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Parse a `Range` header; None for the whole file or an invalid header. Raises 3416."""
    match = _RANGE.fullmatch((header or "").strip())
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
    else:
        first, last = max(0, size - int(match[2])), size - 1
    if first > last:
        raise Problem(problems.BAD_RANGE, f"The range {match[0]} is outside of the file, which has {size} bytes.")
    return ByteRange(first, last - first + 1)


_LONGEST_URL: Final = 2000
_BYTES: Final = "application/octet-stream"
_CONTENT_RANGE: Final = re.compile(r"bytes[ =]\s*([0-9]{1,12})\s*-\s*([0-9]{1,12})\s*/\s*([0-9]{1,12}|\*)")


def parse_content_range(header: str | None, length: str | None) -> UploadedRange:
    """Parse a `Content-Range` header: the bytes that the request contains. Raises 1452, 3413 and 3416."""
    match = _CONTENT_RANGE.fullmatch((header or "").strip())
    if match is None:
        raise problems.of_field("/Content-Range", "must be bytes first-last/total", missing=not header)
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if first > last or (total is not None and last >= total):
        raise Problem(problems.BAD_RANGE, f"The range {match[0]} is outside of the file.")
    found = UploadedRange(first, last, total)
    check_range(found)
    if length is not None and length.isdecimal() and length.isascii() and int(length[:20]) != found.size:
        raise problems.of_field("/Content-Range", f"is {found.size} bytes long, but the body has {length[:20]} bytes")
    return found


def check_address(url: str) -> None:
    """Raise 3414 for a URL of more than 2000 characters."""
    if len(url) > _LONGEST_URL:
        raise Problem(problems.URL_TOO_LONG, f"The URL is longer than {_LONGEST_URL} characters.")


def check_type(content_type: str) -> None:
    """Raise 3415 when a file's content type is not `application/octet-stream`."""
    if content_type.partition(";")[0].strip().lower() not in ("", _BYTES):
        raise Problem(problems.MEDIA_TYPE, f"Send files with Content-Type: {_BYTES}.")
