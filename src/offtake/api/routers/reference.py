"""The API reference as an HTML page, without scripts or resources of other origins."""

import base64
import hashlib
import json
from collections.abc import Iterator
from html import escape
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from offtake.documents import Json

router = APIRouter(tags=["health"])

_STYLE: Final = """
:root { color-scheme: light dark; --muted: color-mix(in srgb, currentColor 60%, transparent); }
body { font: 14px/1.45 system-ui, sans-serif; max-width: 1100px; margin: 0 auto; padding: 16px; }
nav a { margin-right: 12px; } h2 { margin-top: 32px; } summary { cursor: pointer; padding: 6px 0; }
details { border-bottom: 1px solid color-mix(in srgb, currentColor 15%, transparent); }
.method { display: inline-block; width: 56px; font-weight: 600; } .note { color: var(--muted); }
table { border-collapse: collapse; } td { padding: 2px 16px 2px 0; vertical-align: top; }
pre { overflow: auto; max-height: 320px; padding: 8px; background: color-mix(in srgb, currentColor 6%, transparent); }
"""
_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'"


@router.get("/docs", include_in_schema=False)
def page(request: Request) -> HTMLResponse:
    """Show every operation with its parameters, examples and responses; needs no token, contains no data."""
    document = request.app.openapi()
    return HTMLResponse("".join(_page(document)), headers={"content-security-policy": _POLICY})


def _page(document: Json) -> Iterator[str]:
    info = document["info"]
    tags = list(dict.fromkeys(tag for _, _, one in _operations(document) for tag in one["tags"]))
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])} API</title>"
    yield f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
    yield f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>"
    yield "<p>OpenAPI document: <a href=/openapi.json>/openapi.json</a></p><nav>"
    yield from (f"<a href='#{_anchor(tag)}'>{escape(tag)}</a>" for tag in tags)
    yield "</nav>"
    for tag in tags:
        yield f"<h2 id='{_anchor(tag)}'>{escape(tag)}</h2>"
        for path, method, operation in _operations(document):
            if tag in operation["tags"]:
                yield from _operation(path, method, operation)


def _operation(path: str, method: str, operation: Json) -> Iterator[str]:
    yield f"<details id='{escape(operation['operationId'])}'><summary><span class=method>{method.upper()}</span> "
    yield f"<code>{escape(path)}</code> <span class=note>{escape(operation.get('summary', ''))}</span></summary>"
    if operation.get("parameters"):
        yield "<h4>Parameters</h4><table>"
        for one in operation["parameters"]:
            needed = "required" if one.get("required") else ""
            description = escape(one.get("description", ""))
            yield f"<tr><td><code>{escape(one['name'])}</code><td>{one['in']}<td>{needed}<td>{description}"
        yield "</table>"
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<h4>Body <span class=note>{escape(kind)}</span></h4>"
        yield _example(content.get("example"))
    yield "<h4>Responses</h4><table>"
    for status, answer in operation["responses"].items():
        yield f"<tr><td>{escape(status)}<td>{escape(answer['description'])}"
    yield "</table>"
    for answer in operation["responses"].values():
        for content in answer.get("content", {}).values():
            yield _example(content.get("example"))
    yield "</details>"


def _example(example: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    if example is None:
        return ""
    return f"<pre>{escape(json.dumps(example, indent=2, ensure_ascii=False))}</pre>"


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _anchor(tag: str) -> str:
    return escape(tag.replace(" ", "-"))
