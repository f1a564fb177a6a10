"""Sending intents from the worker processes that write files to the process with the database.

Each worker has its own connection to a Unix socket, and waits for the response. A shared lock or queue would block all
workers if one were killed while it holds it.
"""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Client, Connection, Listener
from typing import Final

from offtake.errors import CancelledError
from offtake.exporting.part import Intent, RecordIntent

_FAMILY: Final = "AF_UNIX"


@dataclass
class Recorder:
    """Records the intents of one run.

    `announced`: the numbers of the parts whose intents were received. `error`: an exception raised by `record`.
    """

    ticket: int
    record: RecordIntent
    announced: set[int] = field(default_factory=set)
    error: BaseException | None = None

    def check(self) -> None:
        """Raise the error that occurred while an intent of the run was recorded, if any."""
        if self.error is not None:
            raise self.error


class Recorders:
    """The recorders of the active runs, by ticket."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tickets = count(1)
        self._open: dict[int, Recorder] = {}

    @contextmanager
    def recording(self, record: RecordIntent) -> Iterator[Recorder]:
        """Context manager: records a run's intents; intents after the block are refused."""
        with self._lock:
            recorder = Recorder(next(self._tickets), record)
            self._open[recorder.ticket] = recorder
        try:
            yield recorder
        finally:
            with self._lock:
                del self._open[recorder.ticket]

    def record(self, ticket: int, intent: Intent) -> bool:
        """Record an intent. Returns whether it is recorded, so that the worker may complete the file."""
        with self._lock:
            recorder = self._open.get(ticket)
        if recorder is None:
            return False
        recorder.announced.add(intent.written.number)
        try:
            recorder.record(intent)
        except BaseException as error:  # noqa: BLE001 - raised again by `check`, in the run's thread
            recorder.error = error
            return False
        return True


class IntentServer:
    """Serves the workers of one pool, each in a thread. The socket is in a folder that only this user can access."""

    def __init__(self, recorders: Recorders) -> None:
        self._recorders = recorders
        self._listener = Listener(family=_FAMILY, backlog=64)
        self._closing = False
        self._answering: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, name="intents", daemon=True)
        self._accepting.start()

    @property
    def address(self) -> str:
        """The socket's path."""
        return str(self._listener.address)

    def close(self) -> None:
        """Handle all intents that the workers have sent, then close. Call it after the workers have ended."""
        self._closing = True
        # Connections are accepted in order: when this one is accepted, those of the workers are, too.
        with contextlib.suppress(OSError):
            Client(self.address, family=_FAMILY).close()
        self._accepting.join()
        for thread in self._answering:
            thread.join()

    def _accept(self) -> None:
        with self._listener:
            while True:
                connection = self._listener.accept()
                thread = threading.Thread(target=self._answer, args=(connection,), name="intents", daemon=True)
                self._answering.append(thread)
                thread.start()
                if self._closing:
                    return

    def _answer(self, connection: Connection) -> None:
        with connection, contextlib.suppress(OSError, EOFError):
            while True:
                ticket, intent = connection.recv()
                connection.send(self._recorders.record(ticket, intent))


class IntentClient:
    """The worker's side. Connects at the first intent."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._connection: Connection | None = None

    def record(self, ticket: int, intent: Intent) -> None:
        """Return when the intent is recorded. Raises `CancelledError` when it was refused."""
        try:
            if self._connection is None:
                self._connection = Client(self._address, family=_FAMILY)
            self._connection.send((ticket, intent))
            recorded = self._connection.recv()
        except (OSError, EOFError):
            recorded, self._connection = False, None
        if not recorded:
            raise CancelledError("The server did not record the intent to complete the file.")
