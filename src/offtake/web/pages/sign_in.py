"""Signing in and out."""

import math
from typing import Annotated, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from offtake.access import tokens, web_sessions
from offtake.access.sign_ins import SignInRefusedError, SignIns
from offtake.deployment.backend import Backend
from offtake.store.tables import Client
from offtake.web import cookies
from offtake.web.form_body import Form, read_form, text
from offtake.web.links import SignInLinks
from offtake.web.person import backend_of, find_person
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)
BackendOf = Annotated[Backend, Depends(backend_of)]

_HOME: Final = "/ui"
_INSECURE: Final = (
    "Signing in needs HTTPS, because the password and the session would cross the network unencrypted. "
    "Open this server by its https:// address, or on its own machine by http://127.0.0.1."
)
_WRONG: Final = "The client id or the secret is wrong."
_USED: Final = "The link was used already, is older than ten minutes, or is from before the server's last start."


@router.get("/")
@router.get("/ui")
def entrance(request: Request, backend: BackendOf) -> Response:
    """Lead to the deliveries of the person's first sandbox."""
    person = find_person(request, backend, None)
    return RedirectResponse(person.url(), 303)


@router.get("/ui/sign-in")
def form(request: Request, next_page: Annotated[str, Query(alias="next")] = "") -> Response:
    """The form to sign in."""
    problem = "" if cookies.may_sign_in(request) else _INSECURE
    return page(request, None, "sign-in.html", next=local_path(next_page), problem=problem, client_id="")


@router.post("/ui/sign-in")
async def sign_in(request: Request, backend: BackendOf) -> Response:
    """Check the client's secret, and start a session."""
    sent = await read_form(request)
    client_id, back = text(sent, "client_id"), local_path(text(sent, "next"))
    if not cookies.may_sign_in(request):
        return page(request, None, "sign-in.html", 403, next=back, problem=_INSECURE, client_id=client_id)
    sign_ins: SignIns = request.app.state.sign_ins
    remote = request.client.host if request.client else ""
    status, headers = 401, {}
    try:
        client = await sign_ins.check(backend.database, client_id, text(sent, "client_secret"), remote)
        return await run_in_threadpool(_start, request, backend, client, back)
    except tokens.BadCredentialsError:
        problem = _WRONG
    except SignInRefusedError as error:
        problem, status = error.message, error.status
        headers = {"Retry-After": str(math.ceil(error.retry_after))}
    answer = page(request, None, "sign-in.html", status, next=back, problem=problem, client_id=client_id)
    answer.headers.update(headers)
    return answer


@router.get("/ui/sign-in/link")
def by_link(request: Request, key: str = "") -> Response:
    """Ask before the link is used: programs that preview links must not use it up."""
    return page(request, None, "sign-in-link.html", key=key, is_local=_is_local(request))


@router.post("/ui/sign-in/link")
async def redeem(request: Request, backend: BackendOf) -> Response:
    """Sign the operator in with a link from the terminal. Its key is not in the path, which is logged."""
    key = text(await read_form(request), "key")
    return await run_in_threadpool(_redeem, request, backend, key)


def _redeem(request: Request, backend: Backend, key: str) -> Response:
    links: SignInLinks = request.app.state.sign_in_links
    client_id = links.redeem(key) if _is_local(request) else None
    client = tokens.find(backend.database, client_id) if client_id else None
    if client is None or client.revoked_at is not None:
        return page(request, None, "sign-in.html", 403, next="", problem=_USED, client_id="")
    return _start(request, backend, client, "")


@router.post("/ui/sign-out")
def sign_out(request: Request, backend: BackendOf, _form: Form) -> Response:
    """End the session."""
    value = cookies.read(request)
    with backend.database.writing() as session:
        web_sessions.end(session, value or "")
    answer = RedirectResponse("/ui/sign-in", 303)
    cookies.clear(request, answer)
    return answer


def local_path(sent: str) -> str:
    """A path of the pages to go back to; empty for anything else, such as another site's address."""
    split = urlsplit(sent)
    is_local = not split.scheme and not split.netloc and (split.path == "/ui" or split.path.startswith("/ui/"))
    return sent if is_local and sent.isprintable() and "\\" not in sent else ""


def _is_local(request: Request) -> bool:
    return cookies.is_loopback(request.client.host if request.client else None)


def _start(request: Request, backend: Backend, client: Client, back: str) -> Response:
    with backend.database.writing() as session:
        previous = cookies.read(request)
        if previous is not None:
            web_sessions.end(session, previous)
        value = web_sessions.start(session, client, backend.clock.now_ms())
    answer = RedirectResponse(back or _HOME, 303)
    cookies.write(request, answer, value)
    return answer
