"""Writers that stop in the middle: held for a while, or in a process of their own that is killed."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, Final

from offtake.destinations.base import Sink
from offtake.destinations.drivers.object_store import PART_BYTES
from offtake.errors import DeliveryError
from tests.commands import Forked, context
from tests.destinations.cases import Case, by_name

BEFORE: Final = 2 * PART_BYTES
"""How much a writer has been given when it stops."""


class Held:
    """A writer that waits in the middle of its content until it is let go."""

    def __init__(self, sink: Sink, key: str, content: bytes) -> None:
        self._content = content
        self._given, self._go = threading.Event(), threading.Event()
        self._threads = ThreadPoolExecutor(1)
        self._writing: Future[int] = self._threads.submit(sink.put, key, self._slowly())

    def await_begun(self, case: Case) -> None:
        """Until the server has something of it."""
        assert self._given.wait(30)
        await_unfinished(case)

    def let_go(self) -> BaseException | None:
        """What became of it: None when it has written everything."""
        self._go.set()
        return self._writing.exception(60)

    def end(self) -> None:
        self._go.set()
        self._threads.shutdown()

    def _slowly(self) -> Iterator[bytes]:
        yield self._content[:BEFORE]
        self._given.set()
        assert self._go.wait(60)
        yield self._content[BEFORE:]


@contextmanager
def held(case: Case, key: str, content: bytes) -> Iterator[Held]:
    writer = Held(case.open(), key, content)
    try:
        writer.await_begun(case)
        yield writer
    finally:
        writer.end()


class Apart:
    """A writer in a process of its own, in the middle of `BEFORE` and one more byte."""

    def __init__(self, case: Case, key: str) -> None:
        self._connection, theirs = context.Pipe()
        given = (case.destination.name, case.credentials, case.target, case.placed, key)
        self._process = Forked(_write, theirs, dict(os.environ), *given)
        theirs.close()

    def await_begun(self, case: Case) -> None:
        """Until the server has something of it."""
        assert self._connection.poll(30)
        assert self._connection.recv() == "given"
        await_unfinished(case)

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def let_go(self) -> str:
        """What became of it: a code, and whether it is transient, or `whole`."""
        self._connection.send("go on")
        assert self._connection.poll(60)
        reply: str = self._connection.recv()
        return reply

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(20)
        self._connection.close()


@contextmanager
def apart(case: Case, key: str) -> Iterator[Apart]:
    """A writer in a process of its own, of which the server has something."""
    writer = Apart(case, key)
    try:
        writer.await_begun(case)
        yield writer
    finally:
        writer.kill()


def killed(case: Case, key: str) -> None:
    """Write until the server has something of it, then die without a word."""
    with apart(case, key):
        pass


def await_unfinished(case: Case) -> None:
    until = time.monotonic() + 20
    while not case.names():
        assert time.monotonic() < until, "the server has nothing of the write"
        time.sleep(0.02)


def _write(
    connection: Connection,
    environment: dict[str, str],
    name: str,
    credentials: Any,
    target: Any,
    sandbox_location: Any,
    key: str,
) -> None:
    os.environ.update(environment)

    def chunks() -> Iterator[bytes]:
        yield bytes(BEFORE)
        connection.send("given")
        connection.recv()
        yield b"x"

    try:
        by_name(name).open(credentials, target, sandbox_location).put(key, chunks())
    except DeliveryError as error:
        connection.send(f"{error.code} {'transient' if error.transient else 'terminal'}")
    else:
        connection.send("whole")
