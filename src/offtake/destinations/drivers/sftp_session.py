"""One SSH connection with SFTP, and the thread with its event loop."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from offtake.destinations.drivers.asyncssh_logging import asyncssh
from offtake.destinations.drivers.sftp_errors import LOST, SftpError
from offtake.destinations.drivers.sftp_login import Login, LoginClient, algorithms_of, log_in
from offtake.destinations.drivers.sftp_login_errors import nothing_in_common, other_key, translate_login
from offtake.destinations.drivers.sftp_offer import missing_kind, read_offer
from offtake.destinations.drivers.sftp_protocol import SftpClient
from offtake.errors import DeliveryError
from offtake.network.egress import Network

T = TypeVar("T")

CONNECT_SECONDS: Final = 10.0
_LOGIN_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 5.0


class SftpConnection:
    """A connection, opened at first use and reopened after it was lost. Thread-safe."""

    def __init__(self, login: Login, network: Network) -> None:
        self.login = login
        self._network = network
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._client: SftpClient | None = None
        self._over = False
        self.shown = ""
        """The fingerprint of the server's host key, once connected."""

    def client(self) -> SftpClient:
        """The SFTP client, connected; raises `DeliveryError`."""
        with self._lock:
            if self._client is None or self._client.ended:
                self._connect()
            assert self._client is not None  # noqa: S101 - connected above
            return self._client

    def run(self, client: SftpClient, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in the connection's thread and return its result. A lost connection is dropped."""
        try:
            return self._run(work)
        except LOST:
            self._forget(client)
            raise

    def close(self) -> None:
        """Close the connection and end the thread."""
        with self._lock:
            self._hang_up(_connection_closed)
            self._over = True
            if self._loop is None or self._thread is None:
                return
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._loop, self._thread = None, None

    def _forget(self, client: SftpClient) -> None:
        with self._lock:
            if self._client is client:
                self._hang_up(_connection_aborted)

    def _hang_up(self, how: Callable[[asyncssh.SSHClientConnection], Coroutine[Any, Any, None]]) -> None:
        connection, self._connection, self._client = self._connection, None, None
        if connection is not None:
            self._run(how(connection))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._over:
            work.close()
            raise asyncssh.ConnectionLost("the sink was closed")
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._start_loop())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _start_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            # Errors outside of `work` also fail the `work` that depends on them, so they are not logged.
            self._loop.set_exception_handler(lambda _loop, _context: None)
            self._thread = threading.Thread(target=self._loop.run_forever, name="sftp", daemon=True)
            self._thread.start()
        return self._loop

    def _connect(self) -> None:
        self._hang_up(_connection_aborted)
        left = list(self.login.host_keys)
        shown: list[str] = []
        while True:
            client = LoginClient(self.login)
            try:
                self._log_in(client, left)
            except asyncssh.HostKeyNotVerifiable:
                shown.append(client.shown)
            except (SftpError, asyncssh.Error, OSError, ValueError) as error:
                if shown and isinstance(error, asyncssh.DisconnectError | ConnectionError):
                    # A server without a key of the remaining types closes the connection.
                    raise other_key(self.login.server, str(self.login.fingerprint), shown) from None
                if not client.shown and isinstance(error, asyncssh.DisconnectError | ConnectionError):
                    self._compare_algorithms()
                raise translate_login(error, self.login, client.unanswered) from None
            else:
                self.shown = client.shown
                return
            # A server has keys of several types, and the fingerprint does not tell its type: try the remaining types.
            left = [one for one in left if one not in client.algorithms]
            if not left or not client.algorithms:
                raise other_key(self.login.server, str(self.login.fingerprint), shown)

    def _compare_algorithms(self) -> None:
        """Raise `DeliveryError` if the server disconnected because it has no algorithm in common with the client."""
        timeout = min(CONNECT_SECONDS, self._network.read_timeout)
        try:
            with self._network.connect(self.login.host, self.login.port, timeout) as sock:
                theirs = read_offer(sock, timeout)
        except DeliveryError:
            return
        ours = algorithms_of(self.login)
        kind = missing_kind(theirs, ours)
        if kind is not None:
            raise nothing_in_common(self.login, kind, theirs[kind], ours[kind])

    def _log_in(self, client: LoginClient, host_keys: list[str]) -> None:
        login = self.login
        sock = self._network.connect(login.host, login.port, min(CONNECT_SECONDS, self._network.read_timeout))
        try:
            self._connection, self._client = self._run(
                log_in(login, client, host_keys, sock, min(_LOGIN_SECONDS, self._network.read_timeout))
            )
        except BaseException:
            sock.close()
            raise


async def _connection_closed(connection: asyncssh.SSHClientConnection) -> None:
    connection.close()
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await connection.wait_closed()
    except (TimeoutError, OSError, asyncssh.Error):
        connection.abort()


async def _connection_aborted(connection: asyncssh.SSHClientConnection) -> None:
    connection.abort()
