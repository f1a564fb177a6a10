"""Middleware of every request: its id, its path without a trailing slash, one log line, metrics and a span."""

import logging
import re
import secrets
import time
from collections.abc import MutableMapping
from http import HTTPStatus
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from offtake.api.error_types import service_prefix
from offtake.deployment.backend import Backend
from offtake.logs import request_id, same_line, with_fields
from offtake.store.write_turns import lock_wait
from offtake.telemetry import tracing
from offtake.telemetry.counts import COUNTS
from offtake.telemetry.definitions import HTTP_IN_FLIGHT, HTTP_REQUESTS, HTTP_SECONDS, OTHER

_log = logging.getLogger("offtake.requests")

CLIENT_ID: Final = "client_id"
"""The key in a request's state of the authenticated client's id."""
_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
"""No spaces or quotes: the id is part of log lines."""
_LOCK_SECONDS: Final = 5.0
"""How long a writing request waits for other writers before it gets a 503."""
_QUIET: Final = ("/healthz", "/readyz")
_METRICS: Final = "/metrics"
_UNTRACED: Final = (*_QUIET, _METRICS)
_METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
_READING: Final = ("GET", "HEAD", "OPTIONS")
_LOOKING: Final = ("check", "preview")
"""Values of `x-requested-with` with which the script of the pages sends forms as a person types."""
_REPEATED: Final = (*_LOOKING, "live", "search")


class RequestLogMiddleware:
    """Gives each request an id, which its response and its log lines contain; see `assign_id`. Counts and traces it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identifier = assign_id(scope)
        # A trailing slash is ignored (contract, section 5.7).
        scope["path"] = scope["path"].rstrip("/") or "/"
        reset = request_id.set(identifier)
        reset_wait = lock_wait.set(_LOCK_SECONDS)
        began, recorder = time.perf_counter(), _ResponseRecorder()
        COUNTS.add(HTTP_IN_FLIGHT)
        try:
            if tracing.is_on() and scope["path"] not in _UNTRACED:
                await self._traced(scope, receive, recorder, identifier, send)
            else:
                await self._app(scope, receive, recorder.wrap_send(send, identifier))
        finally:
            if _may_create_work(scope) and recorder.status < HTTPStatus.BAD_REQUEST:
                backend: Backend = scope["app"].state.backend
                backend.database.wakeup.notify()
            seconds = time.perf_counter() - began
            _count(scope, recorder.status, seconds)
            _write(scope, recorder.status, seconds)
            lock_wait.reset(reset_wait)
            request_id.reset(reset)

    async def _traced(
        self, scope: Scope, receive: Receive, recorder: "_ResponseRecorder", identifier: str, send: Send
    ) -> None:
        """Handle the request in a span, below the caller's. It has the path's template, and no query."""
        method = scope["method"] if scope["method"] in _METHODS else OTHER
        attributes = {"http.request.method": method, "offtake.request_id": identifier}
        parent = Headers(scope=scope).get("traceparent")
        with tracing.span(method, attributes, kind="server", parent=parent) as span:
            try:
                await self._app(scope, receive, recorder.wrap_send(send, identifier))
            finally:
                route = route_of(scope)
                span.rename(f"{method} {route}")
                span.set({"http.route": route, "http.response.status_code": recorder.status})
                if recorder.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    span.fail(str(recorder.status))


def _count(scope: Scope, status: int, seconds: float) -> None:
    method = scope["method"] if scope["method"] in _METHODS else OTHER
    route = route_of(scope)
    COUNTS.add(HTTP_IN_FLIGHT, by=-1)
    COUNTS.add(HTTP_REQUESTS, method, route, f"{status // 100}xx")
    COUNTS.observe(HTTP_SECONDS, method, route, value=seconds)


def route_of(scope: Scope) -> str:
    """The template of the request's path; `other` for paths that no route has, which could be anything."""
    template: str | None = getattr(scope.get("route"), "path", None)
    if template is None:
        return OTHER
    prefix = service_prefix(scope["path"])
    return template if template.startswith(prefix) else prefix + template


def _may_create_work(scope: Scope) -> bool:
    """Whether the request may have created work for the scheduler and the workers; not a page's check or preview."""
    return scope["method"] not in _READING and Headers(scope=scope).get("x-requested-with") not in _LOOKING


def assign_id(scope: Scope) -> str:
    """Set and return the request's id: the caller's `x-request-id` if that is a plain word (`_ID`)."""
    identifier = _accept_id(Headers(scope=scope).get("x-request-id", "")) or secrets.token_hex(16)
    scope.setdefault("state", {})["request_id"] = identifier
    return identifier


class _ResponseRecorder:
    """Records the status, and adds the id to the response."""

    status = 500

    def wrap_send(self, send: Send, identifier: str) -> Send:
        async def with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = identifier
            await send(message)

        return with_id


def _write(scope: MutableMapping[str, Any], status: int, seconds: float) -> None:
    # Without the query: those of the token call and of the landing zone hold secrets.
    path = scope["path"].encode("unicode_escape").decode()[:300]
    is_repeated = path == _METRICS or _is_look_at_page(scope, path)
    is_quiet = path in _QUIET or (status < HTTPStatus.BAD_REQUEST and is_repeated)
    level = logging.DEBUG if is_quiet else logging.INFO
    extra: dict[str, object] = {}
    if status >= HTTPStatus.BAD_REQUEST:
        extra |= _same_line(scope, path, status)
    extra |= with_fields(method=scope["method"], path=path, status=status, seconds=round(seconds, 4))
    _log.log(level, "%s %s %d %.1f ms", scope["method"], path, status, seconds * 1000, extra=extra)


def _is_look_at_page(scope: MutableMapping[str, Any], path: str) -> bool:
    """Whether a person looks at a page, or its script repeats a request, every two seconds or as a person types."""
    is_repeated = Headers(scope=scope).get("x-requested-with") in _REPEATED
    return path.startswith("/ui/") and (is_repeated or scope["method"] in _READING)


def _same_line(scope: MutableMapping[str, Any], path: str, status: int) -> dict[str, str]:
    """Group refusals for the log: of an authenticated client by method and path, of others by status."""
    client_id = scope["state"].get(CLIENT_ID)
    return same_line(f"{status}" if client_id is None else f"{status} {client_id} {scope['method']} {path}")


def _accept_id(sent: str) -> str:
    return sent if _ID.fullmatch(sent) else ""
