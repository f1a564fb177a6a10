"""Answers in the shapes of the Blob service's REST interface."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from fastapi import Response

from offtake.contract import opaque_tokens
from offtake.destinations.landing_zone.files import Entry, ZoneFile

VERSION: Final = "2022-11-02"
_XML: Final = "application/xml"
_HEAD: Final = '<?xml version="1.0" encoding="utf-8"?>'
# What XML 1.0 cannot hold, and what a parser would change.
_UNFIT: Final = re.compile(r"[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TYPES: Final = {".json": "application/json", ".gz": "application/gzip", ".parquet": "application/vnd.apache.parquet"}


def error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error that clients of the Blob service understand."""
    body = f"{_HEAD}<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return Response(body, status, {"x-ms-error-code": code, **(headers or {})}, _XML)


def listing(
    entries: Sequence[Entry], following: str | None, service: str, container: str, asked: Mapping[str, str]
) -> Response:
    """A page of a listing; `asked` holds the query parameters that it repeats."""
    echoed = "".join(
        f"<{tag}>{escape(_UNFIT.sub('', asked[name]))}</{tag}>"
        for tag, name in (
            ("Prefix", "prefix"),
            ("Marker", "marker"),
            ("MaxResults", "maxresults"),
            ("Delimiter", "delimiter"),
        )
        if asked.get(name)
    )
    blobs = "".join(map(_entry, entries))
    where = f'ServiceEndpoint={quoteattr(service)} ContainerName="{container}"'
    return Response(
        f"{_HEAD}<EnumerationResults {where}>{echoed}<Blobs>{blobs}</Blobs>"
        f"<NextMarker>{marker(following)}</NextMarker></EnumerationResults>",
        media_type=_XML,
    )


def properties(file: ZoneFile) -> dict[str, str]:
    """A file's headers, but for its length."""
    return {
        "ETag": file.etag,
        "Last-Modified": http_date(file),
        "Content-Type": content_type(file.name),
        "Accept-Ranges": "bytes",
        "x-ms-blob-type": "BlockBlob",
        "x-ms-lease-status": "unlocked",
        "x-ms-lease-state": "available",
    }


def http_date(file: ZoneFile) -> str:
    """When the file was last written, as HTTP dates things."""
    return format_datetime(datetime.fromtimestamp(file.modified_ns // 1_000_000_000, UTC), usegmt=True)


def content_type(name: str) -> str:
    """By the end of the name. A `.gz` is served as it is: a content encoding would have clients unpack it."""
    return next((kind for end, kind in _TYPES.items() if name.endswith(end)), "application/octet-stream")


def marker(name: str | None) -> str:
    """The token that leads on after that name."""
    return "" if name is None else opaque_tokens.encode_bytes(name.encode())


def read_marker(text: str) -> str | None:
    """The name that a token leads on after; None for what is no token."""
    try:
        return opaque_tokens.decode_bytes(text).decode()
    except ValueError:
        return None


def _entry(entry: Entry) -> str:
    if not isinstance(entry, ZoneFile):
        return f"<BlobPrefix>{_name(entry.name)}</BlobPrefix>"
    return (
        f"<Blob>{_name(entry.name)}<Properties><Last-Modified>{http_date(entry)}</Last-Modified>"
        f"<Etag>{escape(entry.etag.strip(chr(34)))}</Etag><Content-Length>{entry.size}</Content-Length>"
        f"<Content-Type>{content_type(entry.name)}</Content-Type><Content-Encoding/><BlobType>BlockBlob</BlobType>"
        "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState></Properties></Blob>"
    )


def _name(name: str) -> str:
    if _UNFIT.search(name):
        return f'<Name Encoded="true">{quote(name)}</Name>'
    return f"<Name>{escape(name)}</Name>"
