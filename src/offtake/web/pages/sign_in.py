"""Signing in and out."""

import math
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from offtake.access import tokens, web_sessions
from offtake.access.client_addresses import is_loopback
from offtake.access.sign_ins import SignInRefusedError, SignIns
from offtake.deployment.backend import Backend
from offtake.store.tables import Client
from offtake.web import cookies
from offtake.web.form_body import Form, read_form, text
from offtake.web.links import SignInLinks
from offtake.web.local_paths import local_path
from offtake.web.person import backend_of, find_person
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)
BackendOf = Annotated[Backend, Depends(backend_of)]

_HOME: Final = "/ui"
INSECURE: Final = (
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
    problem = "" if cookies.may_sign_in(request) else INSECURE
    return sign_in_page(request, back=local_path(next_page), problem=problem)


@router.post("/ui/sign-in")
async def sign_in(request: Request, backend: BackendOf) -> Response:
    """Check the client's secret, and start a session."""
    sent = await read_form(request)
    client_id, back = text(sent, "client_id"), local_path(text(sent, "next"))
    if not cookies.may_sign_in(request):
        return sign_in_page(request, 403, back=back, problem=INSECURE, client_id=client_id)
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
    answer = sign_in_page(request, status, back=back, problem=problem, client_id=client_id)
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
        return sign_in_page(request, 403, problem=_USED)
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


def sign_in_page(
    request: Request, status: int = 200, *, back: str = "", problem: str = "", client_id: str = ""
) -> Response:
    """The page with the ways to sign in. `back`: the page to go to after that."""
    sign_in = request.app.state.backend.issuer_sign_in
    issuer = None if sign_in is None or not cookies.may_sign_in(request) else sign_in.host
    return page(request, None, "sign-in.html", status, next=back, problem=problem, client_id=client_id, issuer=issuer)


def _is_local(request: Request) -> bool:
    return is_loopback(request.client.host if request.client else None)


def _start(request: Request, backend: Backend, client: Client, back: str) -> Response:
    with backend.database.writing() as session:
        value = web_sessions.replace(session, cookies.read(request), client, backend.clock.now_ms())
    return enter(request, value, back)


def enter(request: Request, value: str, back: str) -> Response:
    """Lead a person whose session has begun to a page; `value`: of the session's cookie."""
    answer = RedirectResponse(back or _HOME, 303)
    cookies.write(request, answer, value)
    return answer
