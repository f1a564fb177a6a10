"""The cookie of a session, its CSRF token, and the check of where a request comes from."""

import hashlib
import hmac
import ipaddress
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request, Response

from offtake.access.web_sessions import LONGEST_MS

_SECURE: Final = "__Host-offtake"
_ON_LOOPBACK: Final = "offtake"
_ZONE: Final = "offtake-zone"
_READING: Final = frozenset(("GET", "HEAD", "OPTIONS"))
_SAME: Final = frozenset(("same-origin", "none"))


def may_sign_in(request: Request) -> bool:
    """Whether a cookie would be safe: over HTTPS, or on this machine."""
    return request.url.scheme == "https" or is_loopback(request.url.hostname)


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine itself."""
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def read(request: Request) -> str | None:
    """The value of the session's cookie; None without one."""
    return request.cookies.get(_name(request)) or None


def write(request: Request, response: Response, value: str) -> None:
    """Set the cookie: not for scripts, not for other sites' requests, and not for plain HTTP except on loopback."""
    secure = _name(request) == _SECURE
    response.set_cookie(
        _name(request), value, max_age=LONGEST_MS // 1000, path="/", secure=secure, httponly=True, samesite="lax"
    )


def clear(request: Request, response: Response) -> None:
    """Remove the cookie."""
    response.delete_cookie(_name(request), path="/", secure=_name(request) == _SECURE, httponly=True, samesite="lax")


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
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host", "")


def _name(request: Request) -> str:
    return _SECURE if request.url.scheme == "https" else _ON_LOOPBACK
