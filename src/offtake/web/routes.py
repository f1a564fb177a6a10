"""The route class of all pages: where requests come from, and errors as pages instead of JSON."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from offtake.access import permissions
from offtake.contract import bodies, problems
from offtake.contract.caller import PermissionMissingError
from offtake.contract.problems import Problem
from offtake.errors import OfftakeError, disk_error, exhaustion
from offtake.flows.connection_checks import ChecksBusyError
from offtake.invalid_values import message_of
from offtake.lake.parsers import ParsersBusyError
from offtake.logs import same_line
from offtake.store.database import StoreBusyError, StoreConflictError, StoreFullError
from offtake.web import cookies
from offtake.web.person import NoRoleError, Person, SignedOutError, find_person
from offtake.web.rendering import HEADERS, page

_log = logging.getLogger(__name__)

_LONGEST_NEXT: Final = 20_000
"""Longer than the address of an export of 500 datasets."""
_STATUSES: Final[tuple[tuple[type[Exception], int], ...]] = (
    (StoreBusyError, 503),
    (ParsersBusyError, 503),
    (ChecksBusyError, 503),
    (StoreFullError, 507),
    (StoreConflictError, 409),
)
_TITLES: Final = {
    400: "The request is not valid",
    403: "Not allowed",
    404: "Not found",
    405: "Not allowed",
    409: "It was changed meanwhile",
    412: "It was changed meanwhile",
    413: "Too large",
    422: "The request is not valid",
    503: "The server is busy",
    507: "The server's disk is full",
}


class PageRoute(APIRoute):
    """Serves a page. Refuses requests of other sites; shows errors as pages, with the request's id."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler."""
        handle = super().get_route_handler()

        async def serve(request: Request) -> Response:
            answer = await _answer(request, handle)
            for name, value in HEADERS.items():
                answer.headers.setdefault(name, value)
            return answer

        return serve


async def _answer(request: Request, handle: Callable[[Request], Coroutine[Any, Any, Response]]) -> Response:
    try:
        if cookies.is_cross_site(request):
            return page(request, None, "error.html", 403, title="Not allowed", message=_CROSS_SITE)
        _check_query(request)
        return await handle(request)
    except SignedOutError:
        return to_sign_in(request)
    except NoRoleError as error:
        return page(request, None, "no-role.html", 403, who=error)
    except Exception as error:  # noqa: BLE001 - every error becomes a page
        return await run_in_threadpool(_error_page, request, error)


def _check_query(request: Request) -> None:
    """Raise 1452 for text in the address that no database stores."""
    bodies.check_text(request.url.path, "/path")
    for name, value in request.query_params.multi_items():
        bodies.check_text(name + value, "/query")


_CROSS_SITE: Final = "The request came from another site. Open this page here, and try again."


def to_sign_in(request: Request) -> Response:
    """Lead to the sign-in page, and from there back to a page that was read."""
    here = f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path
    back = here if request.method == "GET" and len(here) < _LONGEST_NEXT else ""
    if request.headers.get("x-requested-with"):
        return Response("Your session has ended. Sign in again.", 401)
    return RedirectResponse(f"/ui/sign-in?next={quote(back, safe='')}" if back else "/ui/sign-in", 303)


def _error_page(request: Request, error: Exception) -> Response:
    person = _person(request)
    status, message = _explain(request, person, error)
    title = _TITLES.get(status, "Something went wrong")
    return page(request, person, "error.html", status, title=title, message=message)


def _explain(request: Request, person: Person | None, error: Exception) -> tuple[int, str]:
    if isinstance(error, Problem):
        return error.code.status, _in_words(person, error)
    if isinstance(error, (HTTPException, RequestValidationError)):
        return 400, _unreadable(error)
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 400)
    if isinstance(error, OfftakeError):
        return status, str(error)
    full = disk_error(error) if isinstance(error, OSError) else None
    if full is not None:
        _log.error("a file cannot be written: %s", full, extra=same_line("a file cannot be written"))
        return 507, f"Cannot write to the server's disk: {full}. Nothing was stored. Free space, then try again."
    cause = exhaustion(error)
    if cause is not None:
        _log.error("out of resources, page refused: %s", cause, extra=same_line(cause))
        return 503, f"The server is out of resources: {cause}. Try again in a few seconds."
    name = type(error).__name__
    _log.error("unexpected %s", name, exc_info=error, extra=same_line(f"unexpected {name} {request.url.path}"))
    return 500, "An unexpected error occurred in the server; its log has the details under this request's id."


def _unreadable(error: HTTPException | RequestValidationError) -> str:
    if isinstance(error, HTTPException):
        return f"The form cannot be read: {error.detail}"
    return "; ".join(f"{one['loc'][-1]}: {message_of(one)}" for one in error.errors())


def _in_words(person: Person | None, error: Problem) -> str:
    if error.code == problems.NOT_FOUND:
        return not_found_words(error)
    if not isinstance(error, PermissionMissingError):
        return str(error)
    is_here = person is not None and person.sandbox.name == error.sandbox
    return permissions.refusal(error, person.sandbox.title if person is not None and is_here else error.sandbox)


_KINDS: Final = {
    "flows": "dataflow",
    "runs": "run",
    "connections": "account",
    "targetConnections": "target connection",
    "sourceConnections": "source connection",
    "dataSets": "dataset",
    "batches": "import",
    "files": "file",
    "roles": "role",
    "clients": "client",
    "alertChannels": "channel",
    "alertRules": "rule",
    "alertMessages": "message",
}


def not_found_words(error: Problem) -> str:
    """The error 1439 in the words of the pages."""
    kind = _KINDS.get(error.resource_type or "", "thing")
    return f"This {kind} does not exist. It was deleted, your roles do not show it, or the address is wrong."


def _person(request: Request) -> Person | None:
    """The person for the page around an error; None when that cannot be found out either."""
    try:
        return find_person(request, request.app.state.backend, request.path_params.get("sandbox"))
    except Exception:  # noqa: BLE001 - the error itself is shown without the rail
        try:
            return find_person(request, request.app.state.backend, None)
        except Exception:  # noqa: BLE001 - as above
            return None
