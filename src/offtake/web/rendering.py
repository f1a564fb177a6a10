"""Renders templates to pages: Jinja with every value escaped, and the filters that all pages share."""

import functools
import gzip
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import jinja2
from fastapi import Request, Response
from lucide.jinja import lucide
from markupsafe import Markup

from offtake.web import batch_states, column_form, forms, navigation, static_files, times
from offtake.web.person import Person
from offtake.web.typed_names import name_to_type

_HIDDEN: Final[dict[str, object]] = {"class": "icon", "aria-hidden": "true", "focusable": "false"}
_COMPRESSED_FROM: Final = 1024
_NONE: Final = "\N{EN DASH}"
_KILO: Final = 1000.0
_EXACT_BELOW: Final = 10_000
_BYTE_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")
_COUNT_UNITS: Final = ("", " k", " M", " bn", " tn")
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def page(request: Request, person: Person | None, template: str, status: int = 200, **values: Any) -> Response:  # noqa: ANN401 - a template's values
    """The page of a template, with its security headers; compressed if the browser supports it."""
    shared = {
        "request": request,
        "path": request.url.path,
        "query": request.url.query,
        "request_id": request.state.request_id,
        "person": person,
        "rail": navigation.rail(person, request.url.path) if person else (),
        "now_ms": person.now_ms if person else 0,
        "zone": person.zone if person else UTC,
        **values,
    }
    content = environment().get_template(template).render(shared).encode(errors="replace")
    headers = {**HEADERS, "Vary": "Accept-Encoding"}
    if len(content) >= _COMPRESSED_FROM and "gzip" in request.headers.get("accept-encoding", ""):
        content = gzip.compress(content, 5, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(content, status, headers, "text/html; charset=utf-8")


@functools.cache
def environment() -> jinja2.Environment:
    """The templates of the package. An undefined value is an error; every value is escaped."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("offtake.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    found.globals |= {"icon": icon, "static": static_files.url_of, "batch_look": batch_states.look_of_status}
    found.globals |= {"name_to_type": name_to_type}
    found.filters |= {
        "number": number,
        "short": short_number,
        "size": size,
        "iso": iso,
        "ago": times.ago,
        "ahead": times.ahead,
        "exact": times.exact,
        "local": times.local,
        "in_utc": times.in_utc,
        "clock": times.clock,
        "duration": times.duration,
        "quoted": quoted,
        "files_in_words": forms.files_in_words,
        "columns_in_words": column_form.in_words,
    }
    return found


@functools.cache
def icon(name: str, size: int = 16) -> Markup:
    """An icon as SVG, hidden from screen readers: a word always stands with it."""
    return Markup(" ".join(lucide(name, size=size, **_HIDDEN).split()))  # noqa: S704 - the package's own SVG


def number(value: float | None) -> str:
    """A number with thousands separators; a dash for None."""
    return _NONE if value is None else f"{value:,}"


def short_number(value: int | None) -> str:
    """A number of at most three digits and a unit, for headlines: `1.25 M`."""
    if value is None:
        return _NONE
    return number(value) if abs(value) < _EXACT_BELOW else _scaled(value, _COUNT_UNITS)


def size(value: int | None) -> str:
    """A number of bytes with a decimal unit, as disks and networks are measured: `3.2 MB`."""
    if value is None:
        return _NONE
    return f"{value} B" if abs(value) < _KILO else _scaled(value, tuple(f" {unit}" for unit in _BYTE_UNITS))


def _scaled(value: float, units: tuple[str, ...]) -> str:
    scaled, unit = float(value), 0
    # 999.6 would be shown as 1000 of the unit.
    while abs(scaled) >= _KILO - 0.5 and unit < len(units) - 1:
        scaled, unit = scaled / _KILO, unit + 1
    digits = 0 if abs(scaled) >= 100 else 1 if abs(scaled) >= 10 else 2  # noqa: PLR2004 - three significant digits
    return f"{scaled:.{digits}f}{units[unit]}"


def iso(epoch_ms: int) -> str:
    """The instant for machines, in ISO 8601."""
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def quoted(text: str) -> str:
    """The text as one segment of a URL's path or query."""
    return quote(text, safe="")
