"""Logging in to an SSH server: who, with what proof, under which algorithms, and whom the server must be."""

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
# After the library's own, so that they are taken only where a server has no other.
_OLD_CIPHERS: Final = ("aes256-cbc", "aes192-cbc", "aes128-cbc", "3des-cbc")
_OLD_KEY_EXCHANGES: Final = "+diffie-hellman-group-exchange-sha1,diffie-hellman-group1-sha1"
_OLD_MACS: Final = "+hmac-sha1-96,hmac-md5,hmac-md5-96"
_OLD_HOST_KEYS: Final = ("ssh-dss",)
Options = asyncssh.SSHClientConnectionOptions


@dataclass(frozen=True)
class Login:
    """Who logs in where, with `password`, `key` (OpenSSH's form, without passphrase) or both.

    `fingerprint` as `SHA256:…`; None to trust whatever key the server shows. `old_algorithms`: also those that are
    broken are used with servers that know no others.
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
        """The server as people write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == asyncssh.DEFAULT_PORT else f"{host}:{self.port}"

    @property
    def host_keys(self) -> tuple[str, ...]:
        """The kinds of keys that the server may show."""
        return _HOST_KEYS + (_OLD_HOST_KEYS if self.old_algorithms else ())


class LoginClient(asyncssh.SSHClient):
    """Judges the server's key, and answers its questions.

    `shown`: the fingerprint of the key that it showed; `unanswered`: the prompt that no answer is known to.
    """

    def __init__(self, login: Login) -> None:
        self._login = login
        self._asked = False
        self._answered = False
        self.shown = ""
        self.algorithms: tuple[str, ...] = ()
        self.unanswered: str | None = None

    # The library calls it with all of them.
    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:  # noqa: ARG002
        """True for the wanted key, for any when none is wanted."""
        self.shown = key.get_fingerprint()
        self.algorithms = tuple(one.decode() for one in key.sig_algorithms)
        return self._login.fingerprint in (None, self.shown)

    def kbdint_auth_requested(self) -> str | None:
        """Keyboard-interactive once, where there is a password to answer with."""
        if self._login.password is None or self._asked:
            return None
        self._asked = True
        return ""

    # The library calls it with all of them.
    def kbdint_challenge_received(
        self,
        name: str,  # noqa: ARG002
        instructions: str,  # noqa: ARG002
        lang: str,  # noqa: ARG002
        prompts: Sequence[tuple[str, bool]],
    ) -> list[str] | None:
        """The password for the one prompt whose answer is not echoed, in whatever language it is.

        It is given once: what is asked then, or beside it, is something else, such as a code from a telephone.
        """
        if not prompts:
            return []
        hidden = [prompt for prompt, is_echoed in prompts if not is_echoed]
        if self._answered or self._login.password is None or len(prompts) != 1 or len(hidden) != 1:
            self.unanswered = prompts[0][0]
            return None
        self._answered = True
        return [self._login.password]


def options_of(login: Login, client: LoginClient, host_keys: Sequence[str], patience: float) -> Options:
    """The library's options for a login; nothing is taken from this machine's own configuration of SSH."""
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
        login_timeout=patience,
        keepalive_interval=_KEEPALIVE_SECONDS,
        keepalive_count_max=_KEEPALIVES_LOST,
    )


def algorithms_of(login: Login) -> Algorithms:
    """What is offered to the server."""
    options = options_of(login, LoginClient(login), login.host_keys, 0)
    ciphers = _names(options.encryption_algs)
    lists = (_names(options.kex_algs), list(login.host_keys), ciphers, ciphers, _names(options.mac_algs))
    return dict(zip(KINDS, lists, strict=True))


async def log_in(
    login: Login, client: LoginClient, host_keys: list[str], sock: socket.socket, patience: float
) -> tuple[asyncssh.SSHClientConnection, SftpClient]:
    """The connection over `sock` with SFTP on it. Raises what the library raises, and `SftpError`."""
    options = options_of(login, client, host_keys, patience)
    connection = await asyncssh.connect(login.host, login.port, sock=sock, options=options)
    skip_ignore_packets(connection)
    try:
        async with asyncio.timeout(patience):
            sftp = SftpClient()
            await connection.create_session(lambda: sftp, subsystem="sftp", encoding=None)
            await sftp.begin()
            return connection, sftp
    except BaseException:
        connection.abort()
        raise


def _names(algorithms: Sequence[bytes]) -> list[str]:
    return [one.decode() for one in algorithms]
