"""The web server: its sockets, the timeouts of its connections, and its shutdown."""

import asyncio
import functools
import socket
from typing import Any, Final, cast

import uvicorn
from fastapi import FastAPI

from offtake import logs
from offtake.api.serving.limits import ConnectionCounts, limits_of
from offtake.api.serving.protocol import BoundedProtocol, Gate
from offtake.settings import Settings

_BATCHES: Final = 32
"""One in 32 of the connections that may be open is accepted at once, before they are counted."""
_WAITING_TO_BE_ACCEPTED: Final = 2048
_FINISH_SECONDS: Final = 1.5
_STOP_SECONDS: Final = 2


class BoundedServer(uvicorn.Server):
    """Serves an application within the limits of its settings; stops within seconds, also with open connections."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, with a backlog that is larger than the number of connections accepted at once."""
        await super().startup(sockets)
        for server in self.servers if self.started else []:
            for listener in server.sockets:
                with socket.socket(fileno=listener.dup().detach()) as same:
                    same.listen(_WAITING_TO_BE_ACCEPTED)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait 1.5 seconds for requests in flight, then close all connections."""
        closing = asyncio.get_running_loop().call_later(_FINISH_SECONDS, self._close_all)
        try:
            await super().shutdown(sockets)
        finally:
            closing.cancel()
            self._close_all()

    def _close_all(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, BoundedProtocol):
                connection.drop()

    async def look_after_connections(self) -> None:
        """Close connections whose timeouts have expired; called about once a second."""
        now = asyncio.get_running_loop().time()
        for connection in list(self.server_state.connections):
            if isinstance(connection, BoundedProtocol):
                connection.check(now)
        logs.write_left_out()


def server_for(app: FastAPI, settings: Settings, host: str, port: int) -> BoundedServer:
    """Create a server of the application; it does not listen yet."""
    limits = limits_of(settings)
    gate = Gate(ConnectionCounts(limits), settings.trusted_proxies, settings.error_type_prefix)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=cast("Any", functools.partial(BoundedProtocol, gate)),
        ws="none",
        log_config=None,
        access_log=False,
        # uvicorn trusts forwarding headers from localhost: any local program could claim any address.
        proxy_headers=False,
        backlog=max(1, limits.connections // _BATCHES),
        timeout_graceful_shutdown=_STOP_SECONDS,
        timeout_notify=1,
    )
    server = BoundedServer(config)
    config.callback_notify = server.look_after_connections
    return server
