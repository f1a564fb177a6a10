"""The cookie of a session, its CSRF token, and the check of where a request comes from."""

import hashlib
import hmac
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request, Response

from offtake.access.client_addresses import is_loopback
from offtake.access.web_sessions import LONGEST_MS

_SESSION: Final = "offtake"
_SECURE_PREFIX: Final = "__Host-"
_ZONE: Final = "offtake-zone"
_READING: Final = frozenset(("GET", "HEAD", "OPTIONS"))
_SAME: Final = frozenset(("same-origin", "none"))


def may_sign_in(request: Request) -> bool:
    """Whether a cookie would be safe: over HTTPS, or on this machine."""
    return request.url.scheme == "https" or is_loopback(request.url.hostname)


def read(request: Request) -> str | None:
    """The value of the session's cookie; None without one."""
    return value_of(request, _SESSION) or None


def write(request: Request, response: Response, value: str) -> None:
    """Set the session's cookie."""
    set_strictly(request, response, _SESSION, value, LONGEST_MS // 1000)


def clear(request: Request, response: Response) -> None:
    """Remove the session's cookie."""
    remove(request, response, _SESSION)


def value_of(request: Request, name: str) -> str:
    """The value of a cookie that `set_strictly` has set; empty without one."""
    return request.cookies.get(_full_name(request, name), "")


def set_strictly(request: Request, response: Response, name: str, value: str, seconds: int) -> None:
    """Set a cookie: not for scripts, not for other sites' requests, and not for plain HTTP except on loopback."""
    response.set_cookie(
        _full_name(request, name),
        value,
        max_age=seconds,
        path="/",
        secure=_is_secure(request),
        httponly=True,
        samesite="lax",
    )


def remove(request: Request, response: Response, name: str) -> None:
    """Remove a cookie that `set_strictly` has set."""
    response.delete_cookie(
        _full_name(request, name), path="/", secure=_is_secure(request), httponly=True, samesite="lax"
    )


def zone_name(request: Request) -> str:
    """The browser's time zone, as the script of the pages found it; empty when it is not known."""
    return request.cookies.get(_ZONE, "")


def csrf_token(value: str) -> str:
    """The token that forms of the session with that cookie send."""
    return hmac.digest(value.encode(errors="surrogatepass"), b"offtake csrf", hashlib.sha256).hex()


def is_csrf_token(value: str, sent: str) -> bool:
    """Whether a form sent the session's token."""
    return hmac.compare_digest(csrf_token(value).encode(), sent.encode(errors="surrogatepass"))


def is_cross_site(request: Request) -> bool:
    """Whether another site's page sent a request that may change something.

    By `Sec-Fetch-Site`, and for browsers without it by `Origin`: the rule of Go's CrossOriginProtection.
    """
    if request.method in _READING:
        return False
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in _SAME
    origin = request.headers.get("origin")
    return origin is not None and _host_of(origin) != request.headers.get("host", "")


def _host_of(origin: str) -> str | None:
    """The host and port of an origin; None when it is not a URL."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _full_name(request: Request, name: str) -> str:
    return _SECURE_PREFIX + name if _is_secure(request) else name


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"
