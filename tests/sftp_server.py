"""SFTP servers with rules that OpenSSH's cannot have, by asyncssh; the user is `u` with the password `secret`."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh

from tests.event_loops import loop_in_thread
from tests.servers import free_port

USER, PASSWORD = "u", "secret"
_EXCLUSIVE = 0x20


@dataclass
class Rules:
    """What a server allows. `refused`: requests that it denies; `reason`: in which words, by `refusal`.

    `dots`: names may begin with one; `exclusive`: it knows that flag; `broken_writes`: so many more writes fail, and
    `breaks_once`: the next one of such bytes, halfway; `failing`: is called then. `vague`: it says no more than Failure
    of a file that is to be removed and is missing.
    `prompts`: of keyboard-interactive, each round a list of texts with whether the answer is echoed; None for a plain
    password.
    """

    refused: tuple[str, ...] = ()
    reason: str = "Permission denied"
    refusal: Callable[[str], asyncssh.SFTPError] = asyncssh.SFTPPermissionDenied
    dots: bool = True
    broken_writes: int = 0
    breaks_once: bytes | None = None
    failing: Callable[[], None] = lambda: None
    vague: bool = False
    exclusive: bool = True
    prompts: list[list[tuple[str, bool]]] | None = None
    log: list[str] = field(default_factory=list)
    """Requests that were carried out or refused, with the names of their files."""
    answers: list[list[str]] = field(default_factory=list)
    """What was answered to the prompts."""
    connections: int = 0


@contextmanager
def ruled_server(root: Path, rules: Rules, **options: Any) -> Iterator[dict[str, object]]:
    """A server of the folder under these rules; the params of a connection to it. `options` are asyncssh's."""
    root.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with listening(port, partial(_RuledFiles, root=root, rules=rules), _login(rules), **options):
        yield {"domain": "127.0.0.1", "port": port, "username": USER, "password": PASSWORD}


@contextmanager
def listening(
    port: int,
    files: Callable[[Any], asyncssh.SFTPServer],
    login: type[asyncssh.SSHServer] | None = None,
    keys: list[asyncssh.SSHKey] | None = None,
    **options: Any,
) -> Iterator[None]:
    """A server on that port, in a thread of its own."""

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            port,
            server_host_keys=keys or [asyncssh.generate_private_key("ssh-ed25519")],
            server_factory=login or _login(Rules()),
            sftp_factory=files,
            **options,
        )

    with loop_in_thread() as loop:
        server = asyncio.run_coroutine_threadsafe(listen(), loop).result(30)
        try:
            yield
        finally:
            loop.call_soon_threadsafe(server.close)  # asyncio's servers know no other thread than the loop's


def _login(rules: Rules) -> type[asyncssh.SSHServer]:
    class Login(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:  # noqa: ARG002 - the library calls it so
            rules.connections += 1
            self._left = list(rules.prompts or ())

        def password_auth_supported(self) -> bool:
            return rules.prompts is None

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == (USER, PASSWORD)

        def kbdint_auth_supported(self) -> bool:
            return rules.prompts is not None

        def get_kbdint_challenge(self, *_: str) -> Any:
            return ("", "", "", self._left.pop(0)) if self._left else False

        def validate_kbdint_response(self, username: str, responses: Any) -> Any:
            rules.answers.append(list(responses))
            if self._left:
                return ("", "", "", self._left.pop(0))
            return username == USER and [PASSWORD] in rules.answers

    return Login


class _RuledFiles(asyncssh.SFTPServer):
    def __init__(self, chan: Any, root: Path, rules: Rules) -> None:
        super().__init__(chan, chroot=os.fsencode(root))
        self._rules = rules

    def _judge(self, request: str, *paths: bytes) -> None:
        self._rules.log.append(" ".join((request, *(path.decode().rpartition("/")[2] for path in paths))))
        if request in self._rules.refused:
            raise self._rules.refusal(self._rules.reason)

    def open(self, path: bytes, pflags: int, attrs: Any) -> object:
        self._judge("write" if pflags & asyncssh.FXF_WRITE else "read", path)
        if not self._rules.dots and path.rpartition(b"/")[2].startswith(b"."):
            raise asyncssh.SFTPPermissionDenied("Prohibited file name")
        if not self._rules.exclusive and pflags & _EXCLUSIVE:
            raise asyncssh.SFTPOpUnsupported("EXCL is not supported")
        return super().open(path, pflags, attrs)

    def write(self, file_obj: object, offset: int, data: bytes) -> int | Awaitable[int]:
        once = self._rules.breaks_once is not None and self._rules.breaks_once in data
        if once or self._rules.broken_writes > 0:
            self._rules.broken_writes = max(0, self._rules.broken_writes - 1)
            self._rules.breaks_once = None if once else self._rules.breaks_once
            super().write(file_obj, offset, data[: len(data) // 2])
            self._rules.failing()
            raise asyncssh.SFTPFailure("The volume is busy")
        return super().write(file_obj, offset, data)

    def stat(self, path: bytes) -> Any:
        self._judge("stat", path)
        return super().stat(path)

    def lstat(self, path: bytes) -> Any:
        self._judge("stat", path)
        return super().lstat(path)

    def fstat(self, file_obj: object) -> Any:
        self._judge("fstat")
        return super().fstat(file_obj)

    async def scandir(self, path: bytes) -> Any:
        self._judge("list", path)
        async for one in super().scandir(path):
            yield one

    def mkdir(self, path: bytes, attrs: Any) -> Any:
        self._judge("mkdir", path)
        return super().mkdir(path, attrs)

    def remove(self, path: bytes) -> Any:
        self._judge("remove", path)
        try:
            return super().remove(path)
        except FileNotFoundError:
            raise asyncssh.SFTPFailure("Failure") if self._rules.vague else asyncssh.SFTPNoSuchFile("gone") from None

    def rename(self, oldpath: bytes, newpath: bytes) -> Any:
        self._judge("rename", oldpath, newpath)
        return super().rename(oldpath, newpath)

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> Any:
        self._judge("posix_rename", oldpath, newpath)
        return super().posix_rename(oldpath, newpath)
