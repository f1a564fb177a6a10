"""The cookie of a sign-in at the issuer: it binds the issuer's answer to the browser that began the sign-in."""

import base64
import json
from dataclasses import asdict, fields, replace
from typing import Any, Final

from fastapi import Request, Response

from offtake.access.oidc_sign_in import ATTEMPT_MS, Attempt
from offtake.web import cookies

_NAME: Final = "offtake-sign-in"
_LONGEST: Final = 3500
"""Browsers drop cookies from 4096 characters on."""


def write(request: Request, response: Response, attempt: Attempt) -> None:
    """Set the cookie; without the page to go back to if that is too long for a cookie."""
    value = _encode(attempt)
    if len(value) > _LONGEST:
        value = _encode(replace(attempt, back=""))
    cookies.set_strictly(request, response, _NAME, value, ATTEMPT_MS // 1000)


def read(request: Request) -> Attempt | None:
    """The browser's attempt; None without a well-formed one. Another program of the person may have written it."""
    value = cookies.value_of(request, _NAME)
    try:
        document: Any = json.loads(base64.urlsafe_b64decode(value.encode()))
        attempt = Attempt(**document)
    except (ValueError, TypeError, RecursionError):
        return None
    is_well_formed = all(type(document[one.name]) is one.type for one in fields(attempt))
    return attempt if is_well_formed else None


def clear(request: Request, response: Response) -> None:
    """Remove the cookie."""
    cookies.remove(request, response, _NAME)


def _encode(attempt: Attempt) -> str:
    return base64.urlsafe_b64encode(json.dumps(asdict(attempt)).encode()).decode()
