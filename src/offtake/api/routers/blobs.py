"""The landing zone's files: list, read and delete, as in the Azure Blob service's REST API (contract, section 21)."""

import re
from dataclasses import replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.convertors import PathConvertor, register_url_convertor

from offtake.api import blob_xml
from offtake.api.dependencies import BackendOf
from offtake.deployment.backend import Backend
from offtake.destinations.landing_zone import files
from offtake.destinations.landing_zone.files import ZoneFile
from offtake.destinations.zones import CONTAINERS
from offtake.landing_zone import keys
from offtake.landing_zone.keys import BadSignatureError, Zone


class _BlobName(PathConvertor):
    """A path with any characters, including line breaks."""

    regex = r"[\s\S]*"


register_url_convertor("blob", _BlobName())

Answers = dict[int | str, dict[str, Any]]

router = APIRouter(tags=["landing zone files"])


def _parameter(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": {"type": "string"}, "description": description}


_PAGE: Final = 5000
_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_READING: Final = ("GET", "HEAD")
_OTHERS: Final = ["HEAD", "PUT", "POST", "PATCH", "DELETE"]
_DELETE: Final = "DELETE"
_XML: Final = {"application/xml": {"schema": {"type": "string"}}}
_BYTES: Final = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
_LISTED: Final[Answers] = {200: {"description": "A page of names, and the marker of the next page.", "content": _XML}}
_FETCHED: Final[Answers] = {
    200: {"description": "The whole file.", "content": _BYTES},
    206: {"description": "The requested range.", "content": _BYTES},
    304: {"description": "The file has the ETag in If-None-Match."},
    404: {"description": "The file does not exist.", "content": _XML},
    412: {"description": "A condition of the request is not met.", "content": _XML},
    416: {"description": "The range is outside of the file.", "content": _XML},
}
_DELETED: Final[Answers] = {
    202: {"description": "The file is deleted; it counts as collected."},
    404: _FETCHED[404],
    412: _FETCHED[412],
}
_REFUSED: Final[Answers] = {
    400: {"description": "A parameter is invalid.", "content": _XML},
    401: {"description": "The signature is missing.", "content": _XML},
    403: {"description": "The signature is invalid, or does not allow this.", "content": _XML},
}
_SIGNED: Final = [_parameter(name, "Part of the SASToken.") for name in ("sv", "si", "sr", "sp", "se", "sig")]
_BLOB_PARAMETERS: Final = [
    {"name": "Range", "in": "header", "required": False, "schema": {"type": "string"}, "example": "bytes=0-99"},
    *_SIGNED,
]
_DELETE_PARAMETERS: Final = [
    {"name": "If-Match", "in": "header", "required": False, "schema": {"type": "string"}, "example": '"0x1"'},
    *_SIGNED,
]
_LIST_PARAMETERS: Final = [
    _parameter("restype", "container"),
    _parameter("comp", "list"),
    _parameter("prefix", "The first characters of the names."),
    _parameter("delimiter", "/ for one entry per folder."),
    _parameter("marker", "From the previous page."),
    _parameter("maxresults", "Entries per page, 1 to 5000."),
    *_SIGNED,
]


def container(request: Request, backend: BackendOf) -> Response:
    """List files: `restype=container&comp=list`, with `prefix`, `delimiter=/`, `marker` and `maxresults`."""
    zone = _zone(request, backend)
    return _versioned(request, zone if isinstance(zone, Response) else _list(request, zone))


def blob(request: Request, backend: BackendOf) -> Response:
    """Download a file or a range of it; HEAD returns its properties."""
    zone = _zone(request, backend)
    return _versioned(request, zone if isinstance(zone, Response) else _fetch(request, zone))


def delete(request: Request, backend: BackendOf) -> Response:
    """Delete a collected file; with `If-Match`, only if it has not changed."""
    zone = _zone(request, backend)
    return _versioned(request, zone if isinstance(zone, Response) else _delete(request, backend, zone))


def _routes() -> None:
    """Add the routes without an account first: a folder of one container may have the other container's name."""
    for account in ("", "/{account}"):
        for name in CONTAINERS.values():
            for path, serve, answers in (("", container, _LISTED), ("/{blob:blob}", blob, _FETCHED)):
                url, documented = f"{account}/{name}{path}", not account
                router.add_api_route(
                    url,
                    serve,
                    methods=["GET"],
                    name=f"{serve.__name__}-{name}",
                    responses={**answers, **_REFUSED},
                    response_class=Response,
                    include_in_schema=documented,
                    openapi_extra={"parameters": _LIST_PARAMETERS if serve is container else _BLOB_PARAMETERS},
                )
                others = [method for method in _OTHERS if serve is container or method != _DELETE]
                router.add_api_route(url, serve, methods=others, include_in_schema=False)
            router.add_api_route(
                f"{account}/{name}/{{blob:blob}}",
                delete,
                methods=[_DELETE],
                name=f"delete-{name}",
                status_code=202,
                responses={**_DELETED, **_REFUSED},
                response_class=Response,
                include_in_schema=not account,
                openapi_extra={"parameters": _DELETE_PARAMETERS},
            )


_routes()


def _zone(request: Request, backend: Backend) -> Zone | Response:
    """Verify the signature: the zone it gives access to, or the error response."""
    sent = dict(request.query_params)
    if not sent.get("sig"):
        challenge = {"WWW-Authenticate": "Bearer"}
        return blob_xml.error(401, "NoAuthenticationInformation", "A shared access signature is required.", challenge)
    name = next(step for step in request.url.path.split("/") if step in CONTAINERS.values())
    if not backend.settings.has_zone_folders:
        return blob_xml.error(404, "ContainerNotFound", "The specified container does not exist.")
    with backend.database.reading() as session:
        try:
            zone = keys.verify_signature(session, backend.vault, backend.zones, name, sent, backend.clock.now_ms())
        except BadSignatureError as error:
            return blob_xml.error(403, "AuthenticationFailed", str(error))
    if request.path_params.get("account", zone.account) != zone.account:
        return blob_xml.error(403, "AuthenticationFailed", "The signature is for another account.")
    is_deletion = request.method == _DELETE and bool(request.path_params.get("blob")) and zone.deletes
    if request.method not in _READING and not is_deletion:
        allowed = "read, list and delete files" if zone.deletes else "read and list"
        return blob_xml.error(403, "AuthorizationPermissionMismatch", f"The signature only allows to {allowed}.")
    return zone


def _list(request: Request, zone: Zone) -> Response:
    query = dict(request.query_params)
    if query.get("restype") != "container" or query.get("comp") != "list" or request.method != "GET":
        return blob_xml.error(
            403, "AuthorizationPermissionMismatch", "The query must have restype=container&comp=list."
        )
    limit, after = query.get("maxresults") or str(_PAGE), blob_xml.read_marker(query.get("marker", ""))
    if not limit.isascii() or not limit.isdecimal() or not int(limit[:9]):
        return blob_xml.error(400, "OutOfRangeQueryParameterValue", "maxresults must be an integer from 1.")
    if after is None or query.get("delimiter", "/") not in ("", "/"):
        return blob_xml.error(
            400, "InvalidQueryParameterValue", "marker must come from a previous page; delimiter must be /."
        )
    folded = query.get("delimiter") == "/"
    count = min(int(limit[:9]), _PAGE)
    entries, following = files.page(zone.folder, query.get("prefix", ""), after, count, folded=folded)
    service = str(request.url.replace(query="")).partition(f"/{zone.container}")[0]
    return blob_xml.listing(entries, following, f"{service}/", zone.container, query)


def _fetch(request: Request, zone: Zone) -> Response:
    file = files.find(zone.folder, request.path_params["blob"])
    if file is None:
        return _not_found()
    if request.query_params.get("comp"):
        return blob_xml.error(403, "AuthorizationPermissionMismatch", "Only whole blobs and ranges are served.")
    unmet = _unmet(request, file)
    if unmet is not None or request.method == "HEAD":
        return unmet or Response(headers=blob_xml.properties(file) | {"Content-Length": str(file.size)})
    byte_range = _range(request.headers.get("x-ms-range") or request.headers.get("range") or "", file.size)
    return _content(zone, file, byte_range)


def _delete(request: Request, backend: Backend, zone: Zone) -> Response:
    file = files.find(zone.folder, request.path_params["blob"])
    if file is None:
        return _not_found()
    if any(request.query_params.get(name) for name in ("comp", "snapshot", "versionid")):
        return blob_xml.error(403, "AuthorizationPermissionMismatch", "Only whole blobs are deleted.")
    # A read whose condition is not met may be a 304; a deletion is always a 412.
    if _unmet(request, file) is not None:
        return _condition_not_met()
    if not _remove(request, backend, zone, file):
        changed = files.find(zone.folder, file.name) is not None
        return _condition_not_met() if changed else _not_found()
    return Response(status_code=202, headers={"x-ms-delete-type-permanent": "true"})


def _remove(request: Request, backend: Backend, zone: Zone, file: ZoneFile) -> bool:
    """Delete the file and record that in the audit log, both or neither (except for a crash in between)."""
    remote = request.client.host if request.client else ""
    client = replace(zone.client, remote=remote, request_id=request.state.request_id)
    with backend.database.writing() as session:
        removed = files.remove(zone.folder, file)
        if removed:
            keys.record_deletion(session, replace(zone, client=client), file.name, file.size, backend.clock.now_ms())
    return removed


def _content(zone: Zone, file: ZoneFile, byte_range: tuple[int, int] | None) -> Response:
    """The bytes of a range, by first byte and length, or of the whole file."""
    if byte_range is not None and not byte_range[1]:
        wrong = {"Content-Range": f"bytes */{file.size}"}
        return blob_xml.error(416, "InvalidRange", "The range is outside of the blob.", wrong)
    first, length = byte_range or (0, file.size)
    headers = blob_xml.properties(file) | {"Content-Length": str(length)}
    if byte_range is not None:
        headers["Content-Range"] = f"bytes {first}-{first + length - 1}/{file.size}"
    try:
        opened = files.open_file(zone.folder, file.name)
    except OSError:
        return _not_found()
    return StreamingResponse(files.chunks(opened, first, length), 200 if byte_range is None else 206, headers)


def _not_found() -> Response:
    return blob_xml.error(404, "BlobNotFound", "The specified blob does not exist.")


def _condition_not_met() -> Response:
    return blob_xml.error(412, "ConditionNotMet", "The condition of the request is not met.")


def _range(text: str, size: int) -> tuple[int, int] | None:
    """First byte and length of the requested range; None for the whole file, length 0 for a range outside of it."""
    match = _RANGE.fullmatch(text.strip())
    if match is None or match.groups() == ("", ""):
        return None
    begin, end = match.groups()
    if not begin:
        length = min(int(end), size)
        return size - length, length
    first, last = int(begin), min(int(end), size - 1) if end else size - 1
    return first, max(0, last - first + 1)


def _unmet(request: Request, file: ZoneFile) -> Response | None:
    """The response if a condition of the request is not met."""
    if_match, if_none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
    if (if_match and not _matches(if_match, file)) or _unmodified_since(request, "if-unmodified-since", file) is False:
        return _condition_not_met()
    is_same = if_none_match and _matches(if_none_match, file)
    if is_same or (not if_none_match and _unmodified_since(request, "if-modified-since", file)):
        return Response(status_code=304, headers={"ETag": file.etag, "x-ms-error-code": "ConditionNotMet"})
    return None


def _matches(etags: str, file: ZoneFile) -> bool:
    return etags.strip() == "*" or file.etag.strip('"') in [one.strip().strip('"') for one in etags.split(",")]


def _unmodified_since(request: Request, header: str, file: ZoneFile) -> bool | None:
    """Whether the file was not written after the header's date; None without a date."""
    try:
        date = parsedate_to_datetime(request.headers.get(header, ""))
    except (ValueError, TypeError):
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return file.modified_ns // 1_000_000_000 <= aware.timestamp()


def _versioned(request: Request, response: Response) -> Response:
    response.headers["x-ms-version"] = blob_xml.VERSION
    response.headers["x-ms-request-id"] = request.state.request_id
    return response
