"""A process that reads users' files, one job after the other.

Whatever a file does to its reader, a fault, endless work or gigabytes of memory, happens here and not in the server.
"""

import contextlib
import math
import os
import pickle
import resource
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Final

from offtake import failpoints, logs
from offtake.engines.parser_jobs import (
    Answered,
    Asked,
    Begin,
    Begun,
    Done,
    Failed,
    Job,
    MoreTime,
    OpenLake,
    Question,
    QuestionFailedError,
    Stop,
    UnexpectedParserError,
)
from offtake.engines.resident import prefer_as_victim
from offtake.errors import CancelledError, OfftakeError
from offtake.lake.catalog import Lake

IDLE_SECONDS: Final = 300.0
"""A process that nothing is asked of for so long ends: it has some 150 MB."""
_LOOK_SECONDS: Final = 0.5
SLOWEST_BYTES: Final = 100_000
"""Of files, a second. They are read at a hundred times this speed; what takes longer does not come to an end."""


def main(descriptor: int) -> None:
    """Carry out jobs until the connection at that file descriptor is closed or silent for long.

    The first message is an `OpenLake`. The server's end is this process's end too.
    """
    logs.install()
    # Ctrl-C reaches every process of a terminal; when this one ends is for the server to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    failpoints.end_parent_too()
    prefer_as_victim()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError), Connection(descriptor) as server:
        opened: OpenLake = server.recv()
        lake = Lake(opened.catalog_url, opened.warehouse)
        while server.poll(IDLE_SECONDS):
            message = server.recv()
            # A request to stop may come when the job before has just ended.
            if isinstance(message, Begin):
                server.send(Begun())
                _bound_cpu(message.seconds)
                server.send(_carry_out(message.job, lake, _Server(server)))


class _Server:
    """The server, as a job sees it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stopped = False

    def stopped(self) -> bool:
        """Whether the server has asked to stop."""
        while not self._stopped and self._connection.poll():
            self._stopped = isinstance(self._connection.recv(), Stop)
        return self._stopped

    def ask(self, question: Question) -> bool:
        """The server's answer; raises `QuestionFailedError` and `CancelledError`."""
        self._connection.send(Asked(question))
        answer = self._connection.recv()
        if isinstance(answer, Stop):
            self._stopped = True
            raise CancelledError("The work is to stop.")
        assert isinstance(answer, Answered)  # noqa: S101 - the server sends nothing else
        if answer.failed:
            raise QuestionFailedError
        return answer.value

    def expect(self, stored_bytes: int) -> None:
        """Say that so many stored bytes are read and written too."""
        seconds = stored_bytes / SLOWEST_BYTES
        self._connection.send(MoreTime(seconds))
        _bound_cpu(seconds, more=True)


def _carry_out(job: Job, lake: Lake, server: _Server) -> Done | Failed:
    try:
        return Done(job.execute(lake, server))
    except Exception as error:  # noqa: BLE001 - the server judges what went wrong
        return Failed(as_sendable(error))


def _bound_cpu(seconds: float, *, more: bool = False) -> None:
    """Have the system end this process after so much work: where its server was killed, nobody watches it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    before, hard = resource.getrlimit(resource.RLIMIT_CPU)
    since = before if more else used.ru_utime + used.ru_stime
    until = math.ceil(since + (os.cpu_count() or 1) * seconds + 1)
    resource.setrlimit(resource.RLIMIT_CPU, (until if hard == resource.RLIM_INFINITY else min(until, hard), hard))


def as_sendable(error: Exception) -> Exception:
    """The error, or what says its kind where it does not survive being sent; the trace is a note for the log."""
    trace = "".join(traceback.format_exception(error))
    sendable = error
    try:
        survives = type(pickle.loads(pickle.dumps(error))) is type(error)  # noqa: S301 - made here
    except Exception:  # noqa: BLE001 - whatever its class does
        survives = False
    if not survives:
        sendable = UnexpectedParserError(type(error).__name__)
    if not isinstance(error, OfftakeError):
        sendable.add_note(trace)
    return sendable


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
