"""Signing in through the OpenID Connect issuer: to the issuer's page, and back."""

import logging
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from offtake.access import oidc_sign_in, people, web_sessions
from offtake.access.oidc_sign_in import Attempt, IssuerSignIn, IssuerSignInError
from offtake.access.people import PersonRefusedError
from offtake.deployment.backend import Backend
from offtake.logs import same_line
from offtake.web import attempt_cookie, cookies
from offtake.web.local_paths import local_path
from offtake.web.pages.sign_in import INSECURE, enter, sign_in_page
from offtake.web.person import backend_of
from offtake.web.routes import PageRoute

_log = logging.getLogger(__name__)

router = APIRouter(route_class=PageRoute)
BackendOf = Annotated[Backend, Depends(backend_of)]

_PATH: Final = "/ui/sign-in/issuer"
_ABSENT: Final = "This server has no OpenID Connect issuer for its pages. Use an API client."


@router.get(_PATH)
def leave(request: Request, backend: BackendOf, next_page: Annotated[str, Query(alias="next")] = "") -> Response:
    """Send the browser to the issuer."""
    back, now_ms = local_path(next_page), backend.clock.now_ms()
    sign_in = backend.issuer_sign_in
    if sign_in is None:
        return sign_in_page(request, HTTPStatus.NOT_FOUND, back=back, problem=_ABSENT)
    if not cookies.may_sign_in(request):
        return sign_in_page(request, HTTPStatus.FORBIDDEN, back=back, problem=INSECURE)
    attempt = Attempt.begin(back, now_ms)
    try:
        url = sign_in.authorization_url(attempt, _return_address(request), now_ms // 1000)
    except IssuerSignInError as error:
        return _refuse(request, sign_in, back, error)
    answer = RedirectResponse(url, 303)
    answer.headers["Cache-Control"] = "no-store"
    attempt_cookie.write(request, answer, attempt)
    return answer


@router.get(f"{_PATH}/return")
def come_back(
    request: Request, backend: BackendOf, code: str = "", state: str = "", error: str = "", iss: str = ""
) -> Response:
    """Check the issuer's answer, and start a session."""
    sign_in = backend.issuer_sign_in
    if sign_in is None:
        return sign_in_page(request, HTTPStatus.NOT_FOUND, problem=_ABSENT)
    if not cookies.may_sign_in(request):
        return sign_in_page(request, HTTPStatus.FORBIDDEN, problem=INSECURE)
    attempt, now_ms = attempt_cookie.read(request), backend.clock.now_ms()
    back = local_path(attempt.back) if attempt is not None else ""
    remote = request.client.host if request.client else ""
    try:
        identity = sign_in.identify(
            attempt, oidc_sign_in.Response(code, state, error, iss), _return_address(request), now_ms, remote
        )
        with backend.database.writing() as session:
            client = people.sign_in(session, identity, now_ms, remote=remote, request_id=request.state.request_id)
            value = web_sessions.replace(session, cookies.read(request), client, now_ms)
        answer = enter(request, value, back)
    except (IssuerSignInError, PersonRefusedError) as refusal:
        answer = _refuse(request, sign_in, back, refusal)
    if attempt is not None and attempt.state == state:
        # The answer to another attempt does not end this one.
        attempt_cookie.clear(request, answer)
    return answer


def _return_address(request: Request) -> str:
    """The page that the issuer sends the browser back to, as registered there: at the origin that the browser uses."""
    return f"{request.url.scheme}://{request.url.netloc}{_PATH}/return"


def _refuse(
    request: Request, sign_in: IssuerSignIn, back: str, refusal: IssuerSignInError | PersonRefusedError
) -> Response:
    detail, status = str(refusal), HTTPStatus.FORBIDDEN
    if isinstance(refusal, IssuerSignInError):
        detail, status = refusal.detail, refusal.status
    remote = request.client.host if request.client else ""
    _log.warning(
        "sign-in through the issuer %s from %s refused: %s", sign_in.host, remote, detail, extra=same_line("issuer")
    )
    return sign_in_page(request, status, back=back, problem=str(refusal))
