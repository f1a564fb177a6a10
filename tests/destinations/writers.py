"""Writers that stop in the middle: held for a while, or in a process of their own that is killed."""

import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from offtake.destinations.base import Sink
from offtake.destinations.drivers.object_store import PART_BYTES
from offtake.errors import DeliveryError
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


@contextmanager
def apart(case: Case, key: str) -> Iterator[subprocess.Popen[bytes]]:
    """A writer in a process of its own, in the middle of `BEFORE` and one more byte, of which the server has some.

    A line lets it go on; it then says what became of it.
    """
    given = pickle.dumps((case.destination.name, case.credentials, case.target, case.placed, key))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.destinations.writers"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(given)
        process.stdin.flush()
        assert process.stdout.readline() == b"given\n"
        await_unfinished(case)
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


def killed(case: Case, key: str) -> None:
    """Write until the server has something of it, then die without a word."""
    with apart(case, key) as process:
        process.kill()
        assert process.wait(20) == -signal.SIGKILL


def await_unfinished(case: Case) -> None:
    until = time.monotonic() + 20
    while not case.names():
        assert time.monotonic() < until, "the server has nothing of the write"
        time.sleep(0.02)


def _main() -> None:
    name, credentials, target, site, key = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by this module

    def chunks() -> Iterator[bytes]:
        yield bytes(BEFORE)
        print("given", flush=True)
        sys.stdin.buffer.readline()
        yield b"x"

    try:
        by_name(name).open(credentials, target, site).put(key, chunks())
    except DeliveryError as error:
        print(error.code, "transient" if error.transient else "terminal", flush=True)
    else:
        print("whole", flush=True)


if __name__ == "__main__":
    _main()
