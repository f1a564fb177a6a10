"""OpenSSH's own server for the tests, with a user of its own; nothing outside its mount namespace is changed."""

import base64
import os
import secrets
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.servers import await_port, free_port

PROGRAM = Path("/usr/sbin/sshd")
UID = 4711
LOGIN = "drop"
"""The user's name, and the folder that the user's sessions begin in, below the server's root."""
SMALL = f"/{LOGIN}/small"
"""A folder of the server with 4 MiB of space."""

_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/ed25519
HostKey {folder}/rsa
PidFile none
AuthorizedKeysFile /run/authorized_keys
UsePAM no
StrictModes no
UseDNS no
LogLevel VERBOSE
MaxStartups 100
MaxSessions 100
ChrootDirectory /srv
Subsystem sftp internal-sftp
{more}
"""
# The accounts are changed in this namespace only. The chroot is at a place whose parents are root's.
_NAMESPACE = """
set -e
mount -t tmpfs tmpfs /run
mkdir /run/sshd
cat /etc/passwd {folder}/passwd > /run/passwd
cat /etc/shadow {folder}/shadow > /run/shadow
chmod 600 /run/shadow
mount --bind /run/passwd /etc/passwd
mount --bind /run/shadow /etc/shadow
touch /run/authorized_keys
mount --bind {folder}/authorized_keys /run/authorized_keys
mount --bind {folder}/top /srv
mount -t tmpfs -o size=4m,uid={user} tmpfs /srv{small}
exec {program} -D -e -f {folder}/config
"""


@dataclass(frozen=True)
class SshServer:
    """A running server. `top` is its root as seen from here; the user's sessions begin in `root`, the user's own."""

    host: str
    port: int
    username: str
    password: str
    key: str
    """The user's private key as connections take it: Base64 of OpenSSH's form."""
    fingerprint: str
    """Of the key that clients take first, an Ed25519 one; `rsa_fingerprint` is of the other."""
    rsa_fingerprint: str
    top: Path
    root: Path
    pid: int

    def params(self) -> dict[str, object]:
        """Params of a connection that logs in by key."""
        return self.login() | {"sshKey": self.key}

    def login(self) -> dict[str, object]:
        """What both ways to log in share."""
        return {"domain": self.host, "port": self.port, "username": self.username}

    def sessions(self) -> list[psutil.Process]:
        """The processes of the sessions that are open now."""
        return psutil.Process(self.pid).children(recursive=True)

    def authorize(self, public_key: str, rules: str = "") -> None:
        """Let one more key in, under rules as authorized_keys states them."""
        with (self.top.parent / "authorized_keys").open("a") as file:
            file.write(f"{rules} {public_key}\n".lstrip())

    def within(self, name: str, options: str = "") -> "SshServer":
        """The same server for a key whose sessions begin in an empty folder of their own.

        `options` are internal-sftp's: `-P remove` denies a request, `-P posix-rename` makes an old server of it.
        """
        root = self.root / name
        root.mkdir()
        os.chown(root, UID, UID)
        private, public = key_pair()
        self.authorize(public, f'command="internal-sftp -d /{LOGIN}/{name} {options}"')
        return replace(self, key=private, root=root)


@contextmanager
def sshd(folder: Path, more: str = "") -> Iterator[SshServer]:
    """A server whose files are below `folder`; `more` goes into its configuration."""
    assert os.geteuid() == 0, "OpenSSH's server with a user and a disk of its own needs root"
    assert PROGRAM.exists(), "OpenSSH's server is not installed; run: sh tests/install-servers.sh"
    root = _folders(folder)
    password = secrets.token_urlsafe(12)
    private, public = key_pair()
    _accounts(folder, password)
    shown, other = _host_key(folder, "ed25519"), _host_key(folder, "rsa")
    (folder / "authorized_keys").write_text(f"{public}\n")
    port = free_port()
    (folder / "config").write_text(_CONFIG.format(port=port, folder=folder, more=more))
    script = _NAMESPACE.format(folder=shlex.quote(str(folder)), user=UID, small=SMALL, program=PROGRAM)
    with tempfile.TemporaryFile() as log:
        command = ["unshare", "--mount", "sh", "-c", script]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            await_port(port, process)
            yield SshServer("127.0.0.1", port, LOGIN, password, private, shown, other, root.parent, root, process.pid)
        finally:
            _end(process)
            log.seek(max(0, log.tell() - 20_000))
            print(log.read().decode(errors="replace"))  # pytest shows it with a failure


def _folders(folder: Path) -> Path:
    root = folder / "top" / LOGIN
    (root / "small").mkdir(parents=True)
    root.parent.chmod(0o755)
    os.chown(root, UID, UID)
    return root


def key_pair() -> tuple[str, str]:
    """Base64 of a private key's file, and a line of authorized_keys."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return base64.b64encode(private).decode(), public.decode()


def _accounts(folder: Path, password: str) -> None:
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=password.encode(), capture_output=True, check=True
    ).stdout.decode()
    (folder / "passwd").write_text(f"{LOGIN}:x:{UID}:{UID}::/{LOGIN}:/bin/sh\n")
    (folder / "shadow").write_text(f"{LOGIN}:{hashed.strip()}:19000:0:99999:7:::\n")
    (folder / "shadow").chmod(0o600)


def _host_key(folder: Path, kind: str) -> str:
    """Make a key of that kind; its fingerprint."""
    file = folder / kind
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", file], check=True)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", file], check=True, capture_output=True)
    return shown.stdout.decode().split()[1]


def _end(process: subprocess.Popen[bytes]) -> None:
    sessions = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    process.wait(20)
    for session in sessions:
        if session.is_running():
            session.kill()  # a stopped one would not end by itself
