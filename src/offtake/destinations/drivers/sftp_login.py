"""Logging in to an SSH server: credentials, algorithms, and host key verification."""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from offtake.destinations.drivers.asyncssh_logging import asyncssh
from offtake.destinations.drivers.gcm_patch import skip_ignore_packets
from offtake.destinations.drivers.sftp_offer import KINDS, Algorithms
from offtake.destinations.drivers.sftp_protocol import SftpClient

_KEEPALIVE_SECONDS: Final = 15
_KEEPALIVES_LOST: Final = 4
# AES-GCM is much faster with hardware support; the others are for older servers.
_CIPHERS: Final = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "chacha20-poly1305@openssh.com",
)
# Plain keys only: a fingerprint identifies a key, and there is no authority for host certificates. The last one is for
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
# After the library's defaults, so that they are used only if the server supports no other.
_CBC: Final = "-cbc"
_OLD_CIPHERS: Final = ("aes256-cbc", "aes192-cbc", "aes128-cbc", "3des-cbc")
_OLD_KEY_EXCHANGES: Final = "+diffie-hellman-group-exchange-sha1,diffie-hellman-group1-sha1"
_OLD_MACS: Final = "+hmac-sha1-96,hmac-md5,hmac-md5-96"
_OLD_HOST_KEYS: Final = ("ssh-dss",)
Options = asyncssh.SSHClientConnectionOptions


@dataclass(frozen=True)
class Login:
    """A login with `password`, `key` (OpenSSH format, without passphrase) or both.

    `fingerprint` as `SHA256:…`; None to trust any host key. `old_algorithms`: also allow weak algorithms, for servers
    that support no others.
    """

    host: str
    port: int
    username: str
    fingerprint: str | None
    password: str | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    old_algorithms: bool = False

    @property
    def server(self) -> str:
        """The server for messages: host, and port if it is not 22."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == asyncssh.DEFAULT_PORT else f"{host}:{self.port}"

    @property
    def host_keys(self) -> tuple[str, ...]:
        """The allowed types of host keys."""
        return _HOST_KEYS + (_OLD_HOST_KEYS if self.old_algorithms else ())


class LoginClient(asyncssh.SSHClient):
    """Verifies the server's host key and answers its prompts.

    `shown`: the fingerprint of the server's key; `unanswered`: the prompt that has no known answer.
    """

    def __init__(self, login: Login) -> None:
        self._login = login
        self._requested = False
        self._answered = False
        self.shown = ""
        self.algorithms: tuple[str, ...] = ()
        self.unanswered: str | None = None

    # The library calls it with all of them.
    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
        """True for the expected key; for any key when none is expected."""
        self.shown = key.get_fingerprint()
        self.algorithms = tuple(one.decode() for one in key.sig_algorithms)
        return self._login.fingerprint in (None, self.shown)

    def kbdint_auth_requested(self) -> str | None:
        """Try keyboard-interactive once, if there is a password."""
        if self._login.password is None or self._requested:
            return None
        self._requested = True
        return ""

    # The library calls it with all of them.
    def kbdint_challenge_received(
        self,
        name: str,  # noqa: ARG002
        instructions: str,  # noqa: ARG002
        lang: str,  # noqa: ARG002
        prompts: Sequence[tuple[str, bool]],
    ) -> list[str] | None:
        """The password for a single hidden prompt, in any language.

        It is sent once: a second prompt asks for something else, such as a one-time code.
        """
        if not prompts:
            return []
        hidden = [prompt for prompt, is_echoed in prompts if not is_echoed]
        if self._answered or self._login.password is None or len(prompts) != 1 or len(hidden) != 1:
            self.unanswered = prompts[0][0]
            return None
        self._answered = True
        return [self._login.password]


def options_of(login: Login, client: LoginClient, host_keys: Sequence[str], timeout: float) -> Options:
    """The library's options for a login; this machine's SSH configuration is ignored."""
    return asyncssh.SSHClientConnectionOptions(
        config=[],
        client_factory=lambda: client,
        known_hosts=([], [], []),
        server_host_key_algs=host_keys,
        encryption_algs=_CIPHERS + (_OLD_CIPHERS if login.old_algorithms else ()),
        kex_algs=_OLD_KEY_EXCHANGES if login.old_algorithms else (),
        mac_algs=_OLD_MACS if login.old_algorithms else (),
        compression_algs=None,
        username=login.username,
        password=login.password,
        client_keys=None if login.key is None else [asyncssh.import_private_key(login.key)],
        agent_path=None,
        login_timeout=timeout,
        keepalive_interval=_KEEPALIVE_SECONDS,
        keepalive_count_max=_KEEPALIVES_LOST,
    )


def algorithms_of(login: Login) -> Algorithms:
    """The algorithms offered to the server, by kind."""
    options = options_of(login, LoginClient(login), login.host_keys, 0)
    ciphers = _names(options.encryption_algs)
    lists = (_names(options.kex_algs), list(login.host_keys), ciphers, ciphers, _names(options.mac_algs))
    return dict(zip(KINDS, lists, strict=True))


async def log_in(
    login: Login, client: LoginClient, host_keys: list[str], sock: socket.socket, timeout: float
) -> tuple[asyncssh.SSHClientConnection, SftpClient]:
    """Log in over `sock` and start SFTP. Raises the library's errors, and `SftpError`."""
    options = options_of(login, client, host_keys, timeout)
    connection = await asyncssh.connect(login.host, login.port, sock=sock, options=options)
    if not connection.get_extra_info("send_cipher").endswith(_CBC):
        skip_ignore_packets(connection)
    try:
        async with asyncio.timeout(timeout):
            sftp = SftpClient()
            await connection.create_session(lambda: sftp, subsystem="sftp", encoding=None)
            await sftp.begin()
            return connection, sftp
    except BaseException:
        connection.abort()
        raise


def _names(algorithms: Sequence[bytes]) -> list[str]:
    return [one.decode() for one in algorithms]
