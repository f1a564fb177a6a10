"""What every request passes first and last: its id, its path, one line in the log."""

import logging
import secrets
import time
from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from offtake.logs import request_id, same_line
from offtake.store.write_turns import lock_wait

_log = logging.getLogger("offtake.requests")

CLIENT_ID: Final = "client_id"
"""In a request's state: the id of the client that signed in."""
_LONGEST_ID: Final = 128
_LOCK_SECONDS: Final = 5.0
"""How long a request that writes waits for other writers before it is a 503."""
_QUIET: Final = ("/healthz",)
_READING: Final = ("GET", "HEAD", "OPTIONS")


class RequestLogMiddleware:
    """Gives each request an id (the caller's own when it is a plain one) that its answer and its log lines carry."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = assign_id(scope)
        # A trailing slash means nothing (contract, section 5.7).
        scope["path"] = scope["path"].rstrip("/") or "/"
        reset = request_id.set(given)
        reset_wait = lock_wait.set(_LOCK_SECONDS)
        began, answered = time.perf_counter(), _ResponseRecorder()
        try:
            await self._app(scope, receive, answered.sending(send, given))
        finally:
            if scope["method"] not in _READING and answered.status < HTTPStatus.BAD_REQUEST:
                # There may be work now.
                scope["app"].state.backend.database.wakeup.notify()
            _write(scope, answered.status, time.perf_counter() - began)
            lock_wait.reset(reset_wait)
            request_id.reset(reset)


def assign_id(scope: Scope) -> str:
    """Give the request an id: the caller's own when it is a plain one."""
    given = _plain(Headers(scope=scope).get("x-request-id", "")) or secrets.token_hex(16)
    scope.setdefault("state", {})["request_id"] = given
    return given


class _ResponseRecorder:
    """Remembers the status, and adds the id to the answer."""

    status = 500

    def sending(self, send: Send, given: str) -> Send:
        async def with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = given
            await send(message)

        return with_id


def _write(scope: MutableMapping[str, Any], status: int, seconds: float) -> None:
    # The path alone: queries of the token call and of the landing zone hold secrets.
    path = scope["path"].encode("unicode_escape").decode()[:300]
    level = logging.DEBUG if path in _QUIET else logging.INFO
    extra = _same_line(scope, path, status) if status >= HTTPStatus.BAD_REQUEST else {}
    _log.log(level, "%s %s %d %.1f ms", scope["method"], path, status, seconds * 1000, extra=extra)


def _same_line(scope: MutableMapping[str, Any], path: str, status: int) -> dict[str, str]:
    """Which refusals are alike: those of one client by address; of callers that did not sign in, by status alone."""
    client_id = scope["state"].get(CLIENT_ID)
    return same_line(f"{status}" if client_id is None else f"{status} {client_id} {scope['method']} {path}")


def _plain(given: str) -> str:
    return given if given.isascii() and given.isprintable() and len(given) <= _LONGEST_ID else ""
