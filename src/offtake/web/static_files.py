"""The stylesheet, the script and the icon: few and small, so they are held in memory, plain and compressed."""

import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request, Response

router = APIRouter()

_YEAR: Final = "public, max-age=31536000, immutable"
_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


@dataclass(frozen=True)
class StaticFile:
    """A file with its compressed form; `version` changes with its content."""

    content: bytes
    compressed: bytes
    media_type: str
    version: str


def _load() -> dict[str, StaticFile]:
    folder = files("offtake.web") / "static"
    found = {}
    for one in folder.iterdir():
        media_type = _TYPES.get(one.name.rpartition(".")[2])
        if media_type is not None:
            content = one.read_bytes()
            version = hashlib.sha256(content).hexdigest()[:12]
            found[one.name] = StaticFile(content, gzip.compress(content, mtime=0), media_type, version)
    return found


FILES: Final = _load()


def url_of(name: str) -> str:
    """The URL of a file; it changes when the file does, so browsers may keep the file for a year."""
    return f"/ui/static/{name}?v={FILES[name].version}"


@router.get("/ui/static/{name}")
async def static_file(request: Request, name: str) -> Response:
    """A static file."""
    found = FILES.get(name)
    if found is None:
        return Response(status_code=404)
    headers = {"Cache-Control": _YEAR, "X-Content-Type-Options": "nosniff", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.compressed, headers=headers | {"Content-Encoding": "gzip"}, media_type=found.media_type)
    return Response(found.content, headers=headers, media_type=found.media_type)
