"""OpenPGP encryption of a stream (RFC 4880, section 11.3) by GnuPG as a child process, through pipes.

Measured with 512 MiB of random bytes in chunks of 1 MiB, RSA-3072, AES-256, two cores: gpg 2.2.40 encrypts 420-450 MB/s
at 3.4 CPU seconds per GB (with the producer) and 5 MB of memory in the child. Libraries cannot stream: pysequoia 0.1.35
takes all bytes at once (169 MB/s, 1 GB of memory) or a file name; PGPy 0.6 takes all bytes, 96 MB/s, 11 s per GB.
"""

import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from offtake.errors import EXPORT_FAILED, KEY_UNUSABLE, DeliveryError

EXTENSION: Final = ".gpg"
"""Appended to the format's own extension in the names of encrypted files."""

_BEGIN: Final = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_END: Final = b"-----END PGP PUBLIC KEY BLOCK-----"
_SECRET: Final = b"-----BEGIN PGP PRIVATE KEY BLOCK-----"
_CHUNK: Final = 1024 * 1024
_CHECK_SECONDS: Final = 10
_NOT_INSTALLED: Final = "cannot be used: gpg (GnuPG 2.2.8 or newer) is not installed on this server"


def encrypt(chunks: Iterable[bytes], key: bytes) -> Generator[bytes, None, None]:
    """The bytes as one binary OpenPGP message for an armored public key, in chunks of about 1 MiB.

    Memory is bounded. Not deterministic: each message has its own session key. The child process ends with this
    generator. Raises `DeliveryError`: EXPORT-2004-400 for an unusable key or a missing gpg, a transient error when gpg
    ends early. Raises what `chunks` raise.
    """
    with _start_process(key) as (child, stderr):
        complete = yield from _pipe_through(chunks, child)
        status = child.wait()
        if not complete or status != 0:
            stderr.seek(0)
            raise _ended_early(key, status, stderr.read(_CHUNK))


def check_key(key: bytes) -> str | None:
    """The problem of an armored public key as a predicate ("has expired on …"), or None when it is usable now."""
    try:
        return _check(key)
    except FileNotFoundError:
        return _NOT_INSTALLED
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"could not be checked: gpg did not respond ({type(error).__name__}); retry"


# The stream


def _pipe_through(chunks: Iterable[bytes], child: "subprocess.Popen[bytes]") -> Generator[bytes, None, bool]:
    """Write the chunks to the child and yield its output. Returns False when it closed a pipe before the end.

    One thread serves both pipes as they become ready, so that neither blocks the other.
    """
    assert child.stdin is not None  # noqa: S101 - both are pipes
    assert child.stdout is not None  # noqa: S101 - both are pipes
    stdin, stdout = child.stdin.fileno(), child.stdout.fileno()
    os.set_blocking(stdin, False)
    pending = bytearray()
    with selectors.DefaultSelector() as pipes:
        pipes.register(stdout, selectors.EVENT_READ)
        pipes.register(stdin, selectors.EVENT_WRITE)
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                ready = {event.fd for event, _ in pipes.select()}
                if stdout in ready:
                    output = os.read(stdout, _CHUNK)
                    if not output:
                        return False
                    pending += output
                if stdin in ready:
                    try:
                        rest = rest[os.write(stdin, rest) :]
                    except BrokenPipeError:
                        return False
                if len(pending) >= _CHUNK:
                    yield bytes(pending)
                    pending.clear()
    child.stdin.close()
    while output := os.read(stdout, _CHUNK):
        pending += output
        if len(pending) >= _CHUNK:
            yield bytes(pending)
            pending.clear()
    yield bytes(pending)
    return True


@contextmanager
def _start_process(key: bytes) -> "Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]":
    """Context manager: a gpg process that reads its input from stdin, and a file with its stderr. Kills it at exit."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(_key_folder(key))
            stderr = stack.enter_context((folder / "stderr").open("w+b"))
            child = stack.enter_context(_child(_encryption_command(folder), stderr))
        except FileNotFoundError:
            raise _unusable_key(_NOT_INSTALLED) from None
        except OSError as error:
            raise _gpg_failed(f"could not be started: {os.strerror(error.errno or 0)}") from None
        yield child, stderr


@contextmanager
def _child(command: Sequence[str], stderr: IO[bytes]) -> "Iterator[subprocess.Popen[bytes]]":
    # In a new session, so that Ctrl-C in a terminal reaches only the server, which then stops its parts in order.
    with subprocess.Popen(  # noqa: S603 - fixed words and a folder's name
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        bufsize=0,
        env=_environment(),
        start_new_session=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def _ended_early(key: bytes, status: int, stderr: bytes) -> DeliveryError:
    lines = stderr.decode("utf-8", "replace").splitlines()
    last = "".join(one for one in lines[-1][:200] if one.isprintable()) if lines else "no output"
    failure = _gpg_failed(f"ended early, with status {status}: {last}")
    if status <= 0:  # killed by a signal, or ended without an error: the key is not the cause
        return failure
    try:
        problem = _check(key)
    except (OSError, subprocess.TimeoutExpired):
        return failure
    return _unusable_key(problem) if problem else failure


def _unusable_key(problem: str) -> DeliveryError:
    return DeliveryError(
        KEY_UNUSABLE,
        f"The public key for encrypting files {problem}.",
        "Renew or replace the key in the base connection, then run the flow again.",
    )


def _gpg_failed(what: str) -> DeliveryError:
    return DeliveryError(
        EXPORT_FAILED,
        f"The encryption program gpg {what}.",
        "The export is retried. If it keeps failing, check the server's memory and temporary folder.",
        transient=True,
    )


# The key


def _check(key: bytes) -> str | None:
    """`check_key`, but raises `OSError` and `TimeoutExpired`. The last check is to encrypt an empty message."""
    key = key.strip()
    if key.startswith(_SECRET):
        return _IS_SECRET
    if not key.startswith(_BEGIN) or not key.endswith(_END):
        return f"must be an armored public key: it starts with {_BEGIN.decode()} and ends with {_END.decode()}"
    with _key_folder(key) as folder:
        listed = _run_gpg([*_gpg_command(folder), "--with-colons", "--show-keys", "--", str(folder / "key")])
        lines = [line.split(":") for line in listed.stdout.decode("utf-8", "replace").splitlines()]
        keys = [_KeyListing(line) for line in lines if line[0] in ("pub", "sec", "sub", "ssb")]
        primary = [one for one in keys if one.kind in ("pub", "sec")]
        if any(one.kind in ("sec", "ssb") for one in keys):
            return _IS_SECRET
        if not primary:
            return "does not contain a readable OpenPGP key"
        if len(primary) > 1:
            return f"contains {len(primary)} keys; send only the one for encrypting files"
        return None if _run_gpg(_encryption_command(folder)).returncode == 0 else _unusable_reason(keys)


_IS_SECRET: Final = "is a secret key, which must never be sent: send the public key"  # noqa: S105 - a message


class _KeyListing:
    """A key or subkey in gpg's colon listing (GnuPG's doc/DETAILS): validity, times, its own capabilities."""

    def __init__(self, fields: Sequence[str]) -> None:
        self.kind, self.validity = fields[0], fields[1]
        self.created, self.expires = int(fields[5] or 0), int(fields[6] or 0)
        self.encrypts = "e" in fields[11]

    def problem(self, now: float) -> str | None:
        if self.validity == "r":
            return "is revoked"
        if self.validity == "e" or 0 < self.expires <= now:
            return f"has expired on {_day(self.expires)}"
        if self.created > now:
            return f"is dated {_day(self.created)}, which is in the future by this server's clock"
        return None


def _unusable_reason(keys: Sequence[_KeyListing]) -> str:
    now = time.time()
    own = keys[0].problem(now)
    if own is not None:
        return own
    for one in keys:
        problem = one.problem(now) if one.encrypts else None
        if problem is not None:
            return f"has an encryption subkey that {problem}"
    if not any(one.encrypts for one in keys):
        return "has no key or subkey for encryption, only for signing"
    return "is refused by gpg for encryption"


def _day(epoch_seconds: int) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).date().isoformat()


# gpg


def _encryption_command(folder: Path) -> list[str]:
    # Exported files are compressed already, and gpg's compression would cost five sixths of the speed. Without an
    # explicit cipher, gpg uses 3DES for keys without preferences.
    return [
        *_gpg_command(folder),
        *("--compress-algo", "none", "--cipher-algo", "AES256", "--set-filename", ""),
        *("--trust-model", "always", "--recipient-file", str(folder / "key"), "--encrypt"),
    ]


def _gpg_command(folder: Path) -> list[str]:
    """The gpg command with its own home folder, without the settings, keyrings and agents of the server's user."""
    return [
        *("gpg", "--batch", "--no-tty", "--quiet", "--no-options", "--no-autostart", "--no-keyring"),
        *("--no-random-seed-file", "--homedir", str(folder)),
    ]


def _run_gpg(command: Sequence[str]) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(  # noqa: S603 - fixed words and a folder's name
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=_environment(),
        timeout=_CHECK_SECONDS,
        check=False,
        start_new_session=True,
    )


def _environment() -> dict[str, str]:
    # Only these variables: the server's environment can contain the vault's key.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


@contextmanager
def _key_folder(key: bytes) -> Iterator[Path]:
    """Context manager: a temporary folder with the key in the file `key`."""
    with tempfile.TemporaryDirectory(prefix="offtake-pgp-") as folder:
        path = Path(folder)
        (path / "key").write_bytes(key)
        yield path
