"""Responses in the formats of the Azure Blob service's REST API."""

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
from offtake.formats.names import MEDIA_TYPES

VERSION: Final = "2022-11-02"
_XML: Final = "application/xml"
_HEAD: Final = '<?xml version="1.0" encoding="utf-8"?>'
# Characters that XML 1.0 does not allow, or that a parser would change.
_UNSAFE: Final = re.compile(r"[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error in the Blob service's format."""
    body = f"{_HEAD}<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
    return Response(body, status, {"x-ms-error-code": code, **(headers or {})}, _XML)


def listing(
    entries: Sequence[Entry], following: str | None, service: str, container: str, query: Mapping[str, str]
) -> Response:
    """A page of a listing, which repeats the parameters of the request's `query`."""
    echoed = "".join(
        f"<{tag}>{escape(_UNSAFE.sub('', query[name]))}</{tag}>"
        for tag, name in (
            ("Prefix", "prefix"),
            ("Marker", "marker"),
            ("MaxResults", "maxresults"),
            ("Delimiter", "delimiter"),
        )
        if query.get(name)
    )
    blobs = "".join(map(_entry, entries))
    attributes = f'ServiceEndpoint={quoteattr(service)} ContainerName="{container}"'
    return Response(
        f"{_HEAD}<EnumerationResults {attributes}>{echoed}<Blobs>{blobs}</Blobs>"
        f"<NextMarker>{marker(following)}</NextMarker></EnumerationResults>",
        media_type=_XML,
    )


def properties(file: ZoneFile) -> dict[str, str]:
    """A file's headers, without its length."""
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
    """When the file was last modified, as an HTTP date."""
    return format_datetime(datetime.fromtimestamp(file.modified_ns // 1_000_000_000, UTC), usegmt=True)


def content_type(name: str) -> str:
    """The media type for the name's suffix. A `.gz` has no content encoding: clients would decompress it."""
    return next((kind for end, kind in MEDIA_TYPES.items() if name.endswith(end)), "application/octet-stream")


def marker(name: str | None) -> str:
    """The token with which a listing continues after that name."""
    return "" if name is None else opaque_tokens.encode_bytes(name.encode())


def read_marker(text: str) -> str | None:
    """The name after which a listing continues; None for an invalid token."""
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
    if _UNSAFE.search(name):
        return f'<Name Encoded="true">{quote(name)}</Name>'
    return f"<Name>{escape(name)}</Name>"
