"""Errors of a server as the command line shows them."""

from typing import Any

from offtake.client.transport import Answer, Request
from offtake.errors import OfftakeError

_LONGEST = 1000


class ServerError(OfftakeError):
    """The server refused a request; the text is the server's own. `status`: of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


def error_of(request: Request, answer: Answer) -> ServerError:
    """The error of an answer whose status is one of an error."""
    return ServerError(answer.status, _message(request, answer))


def _message(request: Request, answer: Answer) -> str:
    try:
        found = answer.json()
    except OfftakeError:
        found = None
    # The contract's services, its gateway, and OAuth (RFC 6749, 5.2) name their texts differently.
    texts = (_text(found, name) for name in ("detail", "message", "error_description", "errorMessage", "title"))
    text = next((one for one in texts if one), "")
    if not text:
        return f"{request.method} {request.path} was answered with HTTP status {answer.status}."
    return text[:_LONGEST]


def _text(found: Any, name: str) -> str:  # noqa: ANN401 - parsed JSON
    value = found.get(name) if isinstance(found, dict) else None
    return value.strip() if isinstance(value, str) else ""
