"""A parser process: parses users' files, one job after the other.

It isolates the server from files that make their parser crash, run for ever or take gigabytes of memory.
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
    Done,
    Failed,
    Job,
    JobStarted,
    MoreTime,
    OpenLake,
    Question,
    QuestionFailedError,
    StartJob,
    Stop,
    UnexpectedParserError,
)
from offtake.engines.resident import prefer_as_victim
from offtake.errors import CancelledError, OfftakeError
from offtake.lake.catalog import Lake
from offtake.logs import LogFormat

IDLE_SECONDS: Final = 300.0
"""Idle timeout, after which the process ends, because it takes about 150 MB of memory."""
_PARENT_POLL_SECONDS: Final = 0.5
SLOWEST_BYTES: Final = 100_000
"""Minimum parsing speed in bytes per second, a hundredth of the usual speed; slower jobs are considered stuck."""


def main(descriptor: int, log_format: LogFormat) -> None:
    """Execute jobs until the connection at the file descriptor is closed, or for the idle timeout without a job.

    The first message is an `OpenLake`. The process also ends when its parent process, the server, ends.
    """
    logs.install(log_format)
    # Ctrl-C reaches every process of a terminal, but the server decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    failpoints.end_parent_too()
    prefer_as_victim()
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError), Connection(descriptor) as server:
        opened: OpenLake = server.recv()
        lake = Lake(opened.catalog_url, opened.warehouse, access=opened.access)
        while server.poll(IDLE_SECONDS):
            message = server.recv()
            # A `Stop` can arrive when its job has just ended; ignore it.
            if isinstance(message, StartJob):
                server.send(JobStarted())
                _limit_cpu(message.seconds)
                server.send(_execute(message.job, lake, _Server(server)))


class _Server:
    """A job's interface to the server; see `parser_jobs.Server`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stopped = False

    def stopped(self) -> bool:
        """Whether the server has requested to stop."""
        while not self._stopped and self._connection.poll():
            self._stopped = isinstance(self._connection.recv(), Stop)
        return self._stopped

    def ask(self, question: Question) -> bool:
        """Call an attempt's callable in the server. Raises `QuestionFailedError` and `CancelledError`."""
        self._connection.send(Asked(question))
        answer = self._connection.recv()
        if isinstance(answer, Stop):
            self._stopped = True
            raise CancelledError("The server requested to stop.")
        assert isinstance(answer, Answered)  # noqa: S101 - the server sends nothing else
        if answer.failed:
            raise QuestionFailedError
        return answer.value

    def extend_time(self, stored_bytes: int) -> None:
        """Extend the job's time limit for reading and writing so many stored bytes."""
        seconds = stored_bytes / SLOWEST_BYTES
        self._connection.send(MoreTime(seconds))
        _limit_cpu(seconds, more=True)


def _execute(job: Job, lake: Lake, server: _Server) -> Done | Failed:
    try:
        return Done(job.execute(lake, server))
    except Exception as error:  # noqa: BLE001 - the server handles it
        return Failed(as_sendable(error))


def _limit_cpu(seconds: float, *, more: bool = False) -> None:
    """Limit this process's CPU time (RLIMIT_CPU), because a killed server cannot supervise it any more.

    `more`: add the seconds to the current limit, instead of starting from the time used so far.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    before, hard = resource.getrlimit(resource.RLIMIT_CPU)
    since = before if more else used.ru_utime + used.ru_stime
    until = math.ceil(since + (os.cpu_count() or 1) * seconds + 1)
    resource.setrlimit(resource.RLIMIT_CPU, (until if hard == resource.RLIM_INFINITY else min(until, hard), hard))


def as_sendable(error: Exception) -> Exception:
    """The error, or `UnexpectedParserError` if it cannot be pickled. The traceback is added as a note for the log."""
    trace = "".join(traceback.format_exception(error))
    sendable = error
    try:
        is_picklable = type(pickle.loads(pickle.dumps(error))) is type(error)  # noqa: S301 - pickled here
    except Exception:  # noqa: BLE001 - its class can raise anything
        is_picklable = False
    if not is_picklable:
        sendable = UnexpectedParserError(type(error).__name__)
    if not isinstance(error, OfftakeError):
        sendable.add_note(trace)
    return sendable


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), "json" if sys.argv[2:] == ["json"] else "text")
