"""One SSH connection with SFTP on it: who logs in, whom the server must be, and the thread that talks to it."""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from offtake.destinations.network import Network
from offtake.destinations.sftp_errors import LOST, SftpError, other_key, translate_login
from offtake.destinations.sftp_library import asyncssh
from offtake.destinations.sftp_packets import hasten
from offtake.destinations.sftp_protocol import SftpClient

T = TypeVar("T")

CONNECT_SECONDS: Final = 10.0
_LOGIN_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 5.0
_KEEPALIVE_SECONDS: Final = 15
_KEEPALIVES_LOST: Final = 4
# AES-GCM costs a fraction of what the others cost where the processor helps; older servers get what they know.
_CIPHERS: Final = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "chacha20-poly1305@openssh.com",
)
# Plain keys only: a fingerprint is of a key, and no authority for host certificates is known here. The last is for
# servers from before 2018.
_HOST_KEYS: Final = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
    "ssh-rsa",
)


@dataclass(frozen=True)
class Login:
    """Who logs in where, with one of `password` and `key` (OpenSSH's form, without passphrase).

    `fingerprint` as `SHA256:…`; None to trust whatever key the server shows.
    """

    host: str
    port: int
    username: str
    fingerprint: str | None
    password: str | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)

    @property
    def server(self) -> str:
        """The server as people write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == asyncssh.DEFAULT_PORT else f"{host}:{self.port}"


class Session:
    """A connection, made when it is first needed and again after it broke. Used from any thread."""

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
        """The fingerprint of the key that the server showed, once connected."""

    def client(self) -> SftpClient:
        """The SFTP client, connected; raises `DeliveryError`."""
        with self._lock:
            if self._client is None or self._client.ended:
                self._connect()
            assert self._client is not None  # noqa: S101 - connected above
            return self._client

    def run(self, client: SftpClient, work: Coroutine[Any, Any, T]) -> T:
        """What the work answers, done in the session's thread. A connection that broke under it is forgotten."""
        try:
            return self._run(work)
        except LOST:
            self._forget(client)
            raise

    def close(self) -> None:
        """Close the connection and end the thread."""
        with self._lock:
            self._hang_up(_closed)
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
                self._hang_up(_aborted)

    def _hang_up(self, how: Callable[[asyncssh.SSHClientConnection], Coroutine[Any, Any, None]]) -> None:
        connection, self._connection, self._client = self._connection, None, None
        if connection is not None:
            self._run(how(connection))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._over:
            work.close()
            raise asyncssh.ConnectionLost("the sink was closed")
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._started())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            # What goes wrong beside the work is told by the work that fails of it.
            self._loop.set_exception_handler(lambda _loop, _context: None)
            self._thread = threading.Thread(target=self._loop.run_forever, name="sftp", daemon=True)
            self._thread.start()
        return self._loop

    def _connect(self) -> None:
        self._hang_up(_aborted)
        left = list(_HOST_KEYS)
        shown: list[str] = []
        while True:
            owner = _Owner(self.login.fingerprint)
            try:
                self._log_in(owner, left)
            except asyncssh.HostKeyNotVerifiable:
                shown.append(owner.shown)
            except (SftpError, asyncssh.Error, OSError, ValueError) as error:
                if shown and isinstance(error, asyncssh.DisconnectError | ConnectionError):
                    # A server without a key of the kinds that are left breaks the connection off.
                    raise other_key(self.login.server, str(self.login.fingerprint), shown) from None
                raise translate_login(error, self.login.server, self.login.username) from None
            else:
                self.shown = owner.shown
                return
            # A server has keys of several kinds, and the fingerprint does not say of which it is.
            left = [one for one in left if one not in owner.algorithms]
            if not left or not owner.algorithms:
                raise other_key(self.login.server, str(self.login.fingerprint), shown)

    def _log_in(self, owner: "_Owner", host_keys: list[str]) -> None:
        login = self.login
        sock = self._network.connect(login.host, login.port, min(CONNECT_SECONDS, self._network.patience))
        try:
            self._connection, self._client = self._run(
                _opened(login, owner, host_keys, sock, min(_LOGIN_SECONDS, self._network.patience))
            )
        except BaseException:
            sock.close()
            raise


class _Owner(asyncssh.SSHClient):
    """Decides on the server's key, and remembers it."""

    def __init__(self, wanted: str | None) -> None:
        self._wanted = wanted
        self.shown = ""
        self.algorithms: tuple[str, ...] = ()

    # The library calls it with all of them.
    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
        """True for the wanted key, for any when none is wanted."""
        self.shown = key.get_fingerprint()
        self.algorithms = tuple(one.decode() for one in key.sig_algorithms)
        return self._wanted is None or self._wanted == self.shown


async def _opened(
    login: Login, owner: _Owner, host_keys: list[str], sock: socket.socket, patience: float
) -> tuple[asyncssh.SSHClientConnection, SftpClient]:
    connection = await asyncssh.connect(
        login.host,
        login.port,
        sock=sock,
        config=[],
        client_factory=lambda: owner,
        known_hosts=([], [], []),
        server_host_key_algs=host_keys,
        encryption_algs=_CIPHERS,
        compression_algs=None,
        username=login.username,
        password=login.password,
        client_keys=None if login.key is None else [asyncssh.import_private_key(login.key)],
        agent_path=None,
        login_timeout=patience,
        keepalive_interval=_KEEPALIVE_SECONDS,
        keepalive_count_max=_KEEPALIVES_LOST,
    )
    hasten(connection)
    try:
        async with asyncio.timeout(patience):
            client = SftpClient()
            await connection.create_session(lambda: client, subsystem="sftp", encoding=None)
            await client.begin()
            return connection, client
    except BaseException:
        connection.abort()
        raise


async def _closed(connection: asyncssh.SSHClientConnection) -> None:
    connection.close()
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await connection.wait_closed()
    except (TimeoutError, OSError, asyncssh.Error):
        connection.abort()


async def _aborted(connection: asyncssh.SSHClientConnection) -> None:
    connection.abort()
