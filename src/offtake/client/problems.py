"""Errors of a server as the command line shows them."""

from collections.abc import Sequence
from typing import Any, Final

from offtake.client.transport import Answer, Request
from offtake.errors import OfftakeError

_LONGEST: Final = 2000
_NOT_SERVED: Final = (404, 405, 501)
_NO_RESOURCE: Final = "-1439-404"
_IN_USE: Final = ("-1418-400", "-1447-400")


class ServerError(OfftakeError):
    """The server refused a request; the text is the server's own. `status`: of HTTP; `code`: the problem's type.

    `fields`: what is wrong with which field of the body, by JSON pointer.
    """

    def __init__(self, status: int, message: str, code: str = "", fields: Sequence[tuple[str, str]] = ()) -> None:
        self.status, self.code, self.fields = status, code, fields
        super().__init__(message)

    @property
    def is_not_served(self) -> bool:
        """Whether the server does not have this operation, such as an extension; not: the resource is missing."""
        return self.status in _NOT_SERVED and not self.is_not_found

    @property
    def is_in_use(self) -> bool:
        """Whether another resource refers to the one that should be deleted."""
        return self.code.endswith(_IN_USE)

    @property
    def is_not_found(self) -> bool:
        """Whether the resource does not exist, or the caller may not see it."""
        return self.code.endswith(_NO_RESOURCE)


def error_of(request: Request, answer: Answer) -> ServerError:
    """The error of an answer whose status is one of an error."""
    try:
        found = answer.json()
    except OfftakeError:
        found = None
    return ServerError(answer.status, _message(request, answer, found), _text(found, "type"), _fields(found))


def _fields(found: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - parsed JSON
    report = found.get("report") if isinstance(found, dict) else None
    errors = report.get("errors") if isinstance(report, dict) else None
    each = [(_text(one, "path"), _text(one, "message")) for one in errors] if isinstance(errors, list) else []
    return [(path, message) for path, message in each if path and message]


def _message(request: Request, answer: Answer, found: object) -> str:
    # The contract's services, its gateway, and OAuth (RFC 6749, 5.2) name their texts differently.
    texts = (_text(found, name) for name in ("detail", "message", "error_description", "errorMessage", "title"))
    text = next((one for one in texts if one), "")
    if not text:
        return (
            f"{request.method} {request.path} was answered with HTTP status {answer.status} and no message. "
            "Check the server's URL."
        )
    return text[:_LONGEST]


def _text(found: Any, name: str) -> str:  # noqa: ANN401 - parsed JSON
    value = found.get(name) if isinstance(found, dict) else None
    return value.strip() if isinstance(value, str) else ""
