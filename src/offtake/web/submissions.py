"""Forms that must not be carried out twice, also by another process or after a restart.

What a form creates gets an id that is computed from the form itself. When it is sent again, the id exists already, and
leads to the first result; a form with other content creates something else.
"""

import hashlib
import secrets
from typing import Final
from uuid import UUID

from fastapi import Request
from starlette.datastructures import FormData

from offtake.web import cookies

_NOT_CONTENT: Final = ("csrf", "act", "do", "step", "q")


def id_of(request: Request, form: FormData) -> str:
    """The id of what the form creates.

    The session's cookie is part of it: without it, an id would tell whether a secret in the form was guessed right.
    """
    content = hashlib.sha256((cookies.read(request) or "").encode(errors="surrogatepass"))
    for name, value in form.multi_items():
        if isinstance(value, str) and name not in _NOT_CONTENT:
            content.update(f"{len(name)}:{name}{len(value)}:{value}".encode(errors="surrogatepass"))
    return str(UUID(bytes=content.digest()[:16], version=4))


def new_key() -> str:
    """A key for a form that is shown, so that the same content can be sent on purpose once more."""
    return secrets.token_urlsafe(12)
