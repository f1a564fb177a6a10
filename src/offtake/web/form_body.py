"""Reads the form of a request: small, and only with the session's token."""

import asyncio
from typing import Annotated, Final

from fastapi import Depends, Request
from starlette.datastructures import FormData
from starlette.requests import ClientDisconnect

from offtake.contract import bodies, problems
from offtake.contract.problems import Problem
from offtake.errors import FieldProblem, InvalidInputError
from offtake.web import cookies
from offtake.web.person import SignedOutError

_LARGEST: Final = 256 * 1024
_MOST_FIELDS: Final = 2000
_SECONDS: Final = 20
"""How long a form may take to arrive: a browser sends it at once."""
TOKEN: Final = "csrf"  # noqa: S105 - the name of the field


async def form_body(request: Request) -> FormData:
    """The form's fields. Raises 3413 when it is too large, 2120 without the session's token, `SignedOutError`."""
    form = await read_form(request)
    value = cookies.read(request)
    if value is None:
        raise SignedOutError("not signed in")
    sent = form.get(TOKEN)
    if not isinstance(sent, str) or not cookies.is_csrf_token(value, sent):
        message = "The form is from another session. Reload the page, then send it again."
        raise Problem(problems.FORBIDDEN, message)
    return form


async def read_form(request: Request) -> FormData:
    """The form's fields without files; raises 3413 when it is too large, 1452 for bad text or half a form."""
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdecimal()) or int(length[:18]) > _LARGEST:
        raise Problem(problems.TOO_LARGE, f"The form is larger than {_LARGEST // 1024} KiB.")
    try:
        async with asyncio.timeout(_SECONDS):
            form = await request.form(max_files=0, max_fields=_MOST_FIELDS)
    except TimeoutError:
        raise Problem(
            problems.BAD_VALUE, f"The form did not arrive within {_SECONDS} seconds. Send it again."
        ) from None
    except ClientDisconnect:
        # A browser that cancels a preview, or a person who leaves the page.
        raise Problem(problems.BAD_VALUE, "The connection closed before the whole form arrived.") from None
    for name, value in form.multi_items():
        bodies.check_text(f"{name}{value}", name[:100].replace("\0", ""))
    return form


Form = Annotated[FormData, Depends(form_body)]
Looked = Annotated[FormData, Depends(read_form)]
"""The form of a preview, which changes nothing: without the token, which must not get into a URL with the fields."""


def require(form: FormData, *names: str) -> None:
    """Raise 1455 for fields that were not sent: a browser sends all, and absent ones must not reset what is stored."""
    message = "was not sent: reload the page, then send the form"
    lacking = [FieldProblem(f"/{name}", message, missing=True) for name in names if name not in form]
    if lacking:
        raise problems.of_fields(InvalidInputError(lacking))


def text(form: FormData, name: str) -> str:
    """A field's text without surrounding spaces; empty when it was not sent."""
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""


def texts(form: FormData, name: str) -> list[str]:
    """All values of a field that was sent several times."""
    return [one for one in form.getlist(name) if isinstance(one, str)]
