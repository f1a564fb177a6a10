"""One HTTP connection: timeouts for slow clients, and limits on its requests."""

import asyncio
import functools
import json
import logging
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, cast

import h11
from h11._connection import DEFAULT_MAX_INCOMPLETE_EVENT_SIZE
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from offtake.access.client_addresses import group_of
from offtake.api import errors, request_log
from offtake.api.serving.forwarded import Networks, is_trusted, origin_of
from offtake.api.serving.limits import ConnectionCounts
from offtake.logs import same_line
from offtake.telemetry.counts import COUNTS
from offtake.telemetry.definitions import HTTP_CONNECTIONS, HTTP_REFUSED

_log = logging.getLogger(__name__)

_UNLIMITED: Final = ("/healthz", "/readyz")
_SIGN_IN: Final = "/ui/sign-"
_SESSIONS: Final = (b"offtake=", b"__Host-offtake=")
_UNREAD_SECONDS: Final = 300.0
"""Timeout for a client that reads nothing of a response. Socket buffers hide slow readers for minutes."""
_CLOSING_SECONDS: Final = 10.0
_REJECTED: Final = {
    400: "The request is not valid HTTP.",
    414: "The URL of the request is too long.",
    431: "The headers of the request are too long.",
}
_TOO_MANY: Final = {
    "address": "%d requests of this address are in flight, which is the limit. Retry in a few seconds.",
    "server": "The limit is %d requests in flight, and half of them without a token. Retry in a few seconds.",
}


@dataclass(frozen=True)
class Gate:
    """State that all connections of one server share."""

    connections: ConnectionCounts
    trusted: Networks = ()
    error_type_prefix: str = ""


class BoundedProtocol(H11Protocol):
    """Closes its connection when the client stalls, and counts towards the limits of the client's address.

    A request over a limit gets a 503 here.
    """

    def __init__(
        self,
        gate: Gate,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._gate = gate
        self._application: ASGIApp = cast(ASGIApp, self.app)
        self.app = cast(ASGI3Application, self._admit)
        self._peer = self._group = ""
        self._head_since: float | None = None
        self._heard = self._written = 0.0
        self._unsent = 0
        self._rejected = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # asyncio gives nothing else
        """Count the connection, and start its timeouts."""
        super().connection_made(transport)
        COUNTS.add(HTTP_CONNECTIONS)
        self._peer = self.client[0] if self.client else ""
        self._group = group_of(self._peer)
        now = self.loop.time()
        self._head_since = self._heard = self._written = now
        if self._gate.connections.enter(self, self._group, shared=is_trusted(self._peer, self._gate.trusted)):
            _log.warning(
                "too many open connections: idle ones are closed for new ones, the latest from %s",
                self._peer,
                extra=same_line("connections closed for new ones"),
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection from the counts."""
        self._gate.connections.leave(self, self._group)
        COUNTS.add(HTTP_CONNECTIONS, by=-1)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handle received bytes, and restart the timeouts."""
        self._heard = self.loop.time()
        if self._rejected:
            return
        if self._head_since is None and not self._is_answering() and not self._is_mid_body():
            self._head_since = self._heard
        super().data_received(data)
        if self._is_answering():
            self._head_since = None

    def on_response_complete(self) -> None:
        """Wait for the next request, whose first bytes may be buffered already."""
        self._heard = self.loop.time()
        super().on_response_complete()
        waiting = not self._is_answering() and not self._is_mid_body() and self.conn.trailing_data[0]
        self._head_since = self._heard if waiting else None

    def send_400_response(self, msg: str) -> None:
        """Answer an unreadable request, and keep reading: a client that still sends would miss the response."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.drop()
            return
        status = self._rejection()
        if self._is_answering():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = json.dumps({"status": status, "title": msg, "type": "about:blank", "detail": _REJECTED[status]}).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        for event in (
            h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode()),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self._rejected, self._head_since = True, self.loop.time()
        self.transport.write_eof()

    def _rejection(self) -> int:
        waiting = self.conn.trailing_data[0]
        if len(waiting) <= DEFAULT_MAX_INCOMPLETE_EVENT_SIZE:
            return 400
        return 431 if b"\n" in waiting[:DEFAULT_MAX_INCOMPLETE_EVENT_SIZE] else 414

    def resume_writing(self) -> None:
        """Restart the timeout of the response: the client has read."""
        self._written = self.loop.time()
        super().resume_writing()

    def drop(self) -> None:
        """Close immediately; unsent data is lost."""
        self.transport.abort()

    def check(self, now: float) -> None:
        """Close the connection if a timeout has expired; called about once a second. `now`: the loop's time."""
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent or not unsent:
            self._unsent, self._written = unsent, now
        stalled = self._is_stalled(now)
        if stalled is not None:
            _log.info("closed a connection from %s: %s", self._peer, stalled, extra=same_line(stalled))
            self.drop()

    def _is_stalled(self, now: float) -> str | None:
        limits = self._gate.connections.limits
        if now - self._written > (_CLOSING_SECONDS if self.transport.is_closing() else _UNREAD_SECONDS):
            return "timeout: the client did not read the response"
        if self._head_since is not None and now - self._head_since > limits.head_seconds:
            return "timeout: no complete request head"
        if self._is_waiting_for_us():
            self._heard = now
        elif self._is_mid_body() and now - self._heard > limits.body_seconds:
            return "timeout: no progress of a request's body"
        return None

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _is_mid_body(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY

    def _is_waiting_for_us(self) -> bool:
        """Whether the client cannot send more now, because the server does not read."""
        return self.flow.read_paused or (self._is_answering() and self.cycle.waiting_for_100_continue)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the application, or answer it with a 503."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        gate = self._gate
        origin = origin_of(self._peer, scope["headers"], gate.trusted)
        if origin.address != self._peer:
            scope["client"] = (origin.address, 0)
        scope["scheme"] = origin.scheme or scope["scheme"]
        if scope["path"] in _UNLIMITED:
            await self._application(scope, receive, send)
            return
        caller = group_of(origin.address)
        signed = is_signed(scope)
        reason = gate.connections.begin(self, self._group, caller, signed=signed)
        if reason is not None:
            await self._refuse(reason, origin.address, scope, receive, send)
            return
        ended = functools.partial(gate.connections.end, self, self._group, caller)
        with ExitStack() as counted:
            counted.callback(ended)
            try:
                await self._application(scope, receive, self._drain_before_close(scope, receive, send, counted.close))
            except asyncio.CancelledError:
                # The server is stopping and has closed the connection; the request's thread ends with the process.
                if not self.transport.is_closing():
                    raise
                _log.warning("a request was aborted because the server stops: %s", scope["method"])

    def _drain_before_close(self, scope: Scope, receive: Receive, send: Send, ended: Callable[[], None]) -> Send:
        """A `send` that reads the rest of the request's body before the connection closes.

        A client that still sends when the connection is closed would miss the response.
        """

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body") and self._is_cut_short(scope):
                await send({**message, "more_body": True})
                ended()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._gate.connections.limits.body_seconds):
                        while self._is_mid_body() and (await receive())["type"] == "http.request":
                            pass
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        return answer

    def _is_cut_short(self, scope: Scope) -> bool:
        closes = CLOSE_HEADER in scope["headers"] or scope["http_version"] == "1.0"
        return closes and self._is_mid_body() and not self.cycle.waiting_for_100_continue

    async def _refuse(self, reason: str, address: str, scope: Scope, receive: Receive, send: Send) -> None:
        limits = self._gate.connections.limits
        COUNTS.add(HTTP_REFUSED, reason)
        message = _TOO_MANY[reason] % (limits.requests_of_one if reason == "address" else limits.requests)
        _log.warning("refused a request from %s: %s", address, message, extra=same_line(f"refused: {reason}"))
        request_log.assign_id(scope)
        answer = errors.overloaded(Request(scope, receive), self._gate.error_type_prefix, message)
        await answer(scope, receive, send)


def is_signed(scope: Scope) -> bool:
    """Whether the request says who sends it: with a token, or with the cookie of a session of the pages.

    Both may be made up: such a request is refused before its body is read. Signing in is the exception.
    """
    if scope["path"].startswith(_SIGN_IN):
        return False
    return any(name == b"authorization" or _has_session(name, value) for name, value in scope["headers"])


def _has_session(name: bytes, value: bytes) -> bool:
    cookies = value.split(b";") if name == b"cookie" else ()
    return any(one.strip().startswith(_SESSIONS) for one in cookies)
