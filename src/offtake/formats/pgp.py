"""OpenPGP encryption of a stream (RFC 4880, section 11.3): GnuPG as a child process, from pipe to pipe.

Measured with 512 MiB of random bytes in chunks of 1 MiB, RSA-3072, AES-256, two cores: gpg 2.2.40 makes 420-450 MB/s
at 3.4 CPU seconds a GB (producer included) and 5 MB of memory in the child. Libraries cannot stream: pysequoia 0.1.35
takes all bytes at once (169 MB/s, 1 GB of memory) or a file by name; PGPy 0.6 takes all bytes at 96 MB/s, 11 s a GB.
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
"""What the names of encrypted files end in, after their format's own extension."""

_BEGIN: Final = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_END: Final = b"-----END PGP PUBLIC KEY BLOCK-----"
_SECRET: Final = b"-----BEGIN PGP PRIVATE KEY BLOCK-----"
_CHUNK: Final = 1024 * 1024
_CHECK_SECONDS: Final = 10
_NOT_INSTALLED: Final = "cannot be used: gpg (GnuPG 2.2.8 or newer) is not installed on this server"


def encrypt(chunks: Iterable[bytes], key: bytes) -> Generator[bytes, None, None]:
    """The bytes as one binary OpenPGP message to the owner of an armored public key, in chunks of about 1 MiB.

    Memory is bounded, whatever the length. No two messages are alike, not even of the same bytes. The child process
    has ended when this generator has. Raises `DeliveryError`: EXPORT-2004-400 for a key that cannot be encrypted to
    now or a missing gpg, a transient error when gpg ends early; what `chunks` raise passes through.
    """
    with _start_process(key) as (child, said):
        whole = yield from _pipe_through(chunks, child)
        status = child.wait()
        if not whole or status != 0:
            said.seek(0)
            raise _ended_early(key, status, said.read(_CHUNK))


def check_key(key: bytes) -> str | None:
    """What is wrong with an armored public key, as the rest of a sentence; None when it can be encrypted to now."""
    try:
        return _check(key)
    except FileNotFoundError:
        return _NOT_INSTALLED
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"could not be checked: gpg did not answer ({type(error).__name__}); try again"


# The stream


def _pipe_through(chunks: Iterable[bytes], child: "subprocess.Popen[bytes]") -> Generator[bytes, None, bool]:
    """Feed the child and take what it gives; False when it has stopped before it took everything.

    One thread serves whichever pipe is ready: neither can block the other, and `chunks` run where they always did.
    """
    assert child.stdin is not None  # noqa: S101 - both are pipes
    assert child.stdout is not None  # noqa: S101 - both are pipes
    into, out = child.stdin.fileno(), child.stdout.fileno()
    os.set_blocking(into, False)
    pending = bytearray()
    with selectors.DefaultSelector() as pipes:
        pipes.register(out, selectors.EVENT_READ)
        pipes.register(into, selectors.EVENT_WRITE)
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                ready = {event.fd for event, _ in pipes.select()}
                if out in ready:
                    taken = os.read(out, _CHUNK)
                    if not taken:
                        return False
                    pending += taken
                if into in ready:
                    try:
                        rest = rest[os.write(into, rest) :]
                    except BrokenPipeError:
                        return False
                if len(pending) >= _CHUNK:
                    yield bytes(pending)
                    pending.clear()
    child.stdin.close()
    while taken := os.read(out, _CHUNK):
        pending += taken
        if len(pending) >= _CHUNK:
            yield bytes(pending)
            pending.clear()
    yield bytes(pending)
    return True


@contextmanager
def _start_process(key: bytes) -> "Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]":
    """gpg, waiting for what it is to encrypt, and the file that holds what it says. It is gone afterwards."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(_key_folder(key))
            said = stack.enter_context((folder / "said").open("w+b"))
            child = stack.enter_context(_child(_encryption(folder), said))
        except FileNotFoundError:
            raise _unusable_key(_NOT_INSTALLED) from None
        except OSError as error:
            raise _interrupt(f"could not be started: {os.strerror(error.errno or 0)}") from None
        yield child, said


@contextmanager
def _child(command: Sequence[str], said: IO[bytes]) -> "Iterator[subprocess.Popen[bytes]]":
    # A session of its own: Ctrl-C in a terminal is for the server, which then ends its parts in order.
    with subprocess.Popen(  # noqa: S603 - the command is made here, of fixed words and a folder's name
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        bufsize=0,
        env=_environment(),
        start_new_session=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def _ended_early(key: bytes, status: int, said: bytes) -> DeliveryError:
    lines = said.decode("utf-8", "replace").splitlines()
    last = "".join(one for one in lines[-1][:200] if one.isprintable()) if lines else "nothing was said"
    ended = _interrupt(f"ended early, with status {status}: {last}")
    if status <= 0:  # killed, or gone without a word: that is not the key's doing
        return ended
    try:
        problem = _check(key)
    except (OSError, subprocess.TimeoutExpired):
        return ended
    return _unusable_key(problem) if problem else ended


def _unusable_key(problem: str) -> DeliveryError:
    return DeliveryError(
        KEY_UNUSABLE,
        f"The public key that files are to be encrypted with {problem}.",
        "Put the key in order, or give the base connection another one, then run the flow again.",
    )


def _interrupt(what: str) -> DeliveryError:
    return DeliveryError(
        EXPORT_FAILED,
        f"The program that encrypts files, gpg, {what}.",
        "Check the server's memory and temporary folder; the export is tried again.",
        transient=True,
    )


# The key


def _check(key: bytes) -> str | None:
    """As `check_key`; gpg has the last word: it encrypts nothing to the key, as it would a file."""
    key = key.strip()
    if key.startswith(_SECRET):
        return _IS_SECRET
    if not key.startswith(_BEGIN) or not key.endswith(_END):
        return f"must be an armored public key: it begins with {_BEGIN.decode()} and ends with {_END.decode()}"
    with _key_folder(key) as folder:
        listed = _answer([*_gpg(folder), "--with-colons", "--show-keys", "--", str(folder / "key")])
        lines = [line.split(":") for line in listed.stdout.decode("utf-8", "replace").splitlines()]
        keys = [_KeyListing(line) for line in lines if line[0] in ("pub", "sec", "sub", "ssb")]
        primary = [one for one in keys if one.kind in ("pub", "sec")]
        if any(one.kind in ("sec", "ssb") for one in keys):
            return _IS_SECRET
        if not primary:
            return "holds no OpenPGP key that can be read"
        if len(primary) > 1:
            return f"holds {len(primary)} keys; give the one that files are to be encrypted with"
        return None if _answer(_encryption(folder)).returncode == 0 else _unusable_reason(keys)


_IS_SECRET: Final = "is a secret key, which must never be sent: give the public one"  # noqa: S105 - a sentence


class _KeyListing:
    """A key or sub-key as gpg lists it with colons (GnuPG's doc/DETAILS): validity, times, own capabilities."""

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
            return f"has a sub-key for encryption that {problem}"
    if not any(one.encrypts for one in keys):
        return "has no key or sub-key for encryption, only for signing"
    return "is not one that gpg can encrypt to"


def _day(epoch_seconds: int) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).date().isoformat()


# gpg


def _encryption(folder: Path) -> list[str]:
    # What is exported is compressed already; gpg's own compression costs five sixths of the speed. Without the
    # cipher's name, keys that state no preference get 3DES.
    return [
        *_gpg(folder),
        *("--compress-algo", "none", "--cipher-algo", "AES256", "--set-filename", ""),
        *("--trust-model", "always", "--recipient-file", str(folder / "key"), "--encrypt"),
    ]


def _gpg(folder: Path) -> list[str]:
    """The program with nothing but that folder: no settings, keyrings or agents of whoever runs the server."""
    return [
        *("gpg", "--batch", "--no-tty", "--quiet", "--no-options", "--no-autostart", "--no-keyring"),
        *("--no-random-seed-file", "--homedir", str(folder)),
    ]


def _answer(command: Sequence[str]) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(  # noqa: S603 - the command is made here, of fixed words and a folder's name
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=_environment(),
        timeout=_CHECK_SECONDS,
        check=False,
        start_new_session=True,
    )


def _environment() -> dict[str, str]:
    # Nothing else of ours: the vault's key may be in it.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


@contextmanager
def _key_folder(key: bytes) -> Iterator[Path]:
    """A folder of its own with the key in it, away afterwards."""
    with tempfile.TemporaryDirectory(prefix="offtake-pgp-") as folder:
        path = Path(folder)
        (path / "key").write_bytes(key)
        yield path
