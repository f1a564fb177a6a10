"""Processes that read users' files, kept warm, watched, and replaced after a fault."""

import contextlib
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Final

import pyarrow as pa

from offtake.engines import parser_process
from offtake.engines.parser_jobs import (
    Answered,
    Asked,
    AttemptFacts,
    Begin,
    Begun,
    Done,
    DryRunJob,
    Failed,
    IngestJob,
    Job,
    MoreTime,
    OpenLake,
    PreviewJob,
    Question,
    Stop,
)
from offtake.engines.parser_process import SLOWEST_BYTES
from offtake.engines.resident import resident_bytes
from offtake.lake.catalog import TableName
from offtake.lake.commits import Attempt, Batch
from offtake.lake.ingest import DryRun
from offtake.lake.parsers import ParsersBusyError, UnfinishedCommitError
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.options import ParseOptions

_log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.05
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 5.0
_TRIES: Final = 2
_MOST_NAMES: Final = 3
_REQUESTS_AT_ONCE: Final = 2
_REQUEST_WAIT_SECONDS: Final = 10.0
_WARM_BYTES: Final = 240 * 1024 * 1024
"""A process that has grown beyond this ends after its job: Arrow's allocator keeps what it once had."""


@dataclass(frozen=True)
class Bounds:
    """What reading the files of one batch may take: bytes of memory, and seconds beside those for the files' size."""

    memory: int
    seconds: float

    def time_for(self, files: Sequence[InputFile]) -> float:
        """Seconds that the files may take."""
        sizes = sum(file.path.stat().st_size for file in files if file.path.exists())
        return self.seconds + sizes / SLOWEST_BYTES


class ParserPool:
    """`lake.parsers.Parsers` by processes of this machine, started when they are needed."""

    def __init__(self, catalog_url: str, warehouse: str, bounds: Bounds) -> None:
        self._lake = OpenLake(catalog_url, warehouse)
        self._bounds = bounds
        self._idle: list[_Process] = []
        self._lock = threading.Lock()
        self._requests = threading.BoundedSemaphore(_REQUESTS_AT_ONCE)

    def ingest(
        self,
        table: TableName,
        files: Sequence[InputFile],
        attempt: Attempt,
        options: ParseOptions,
        *,
        refuse_empty: bool = False,
    ) -> Batch | None:
        """See `Parsers.ingest`."""
        job = IngestJob(table, tuple(files), AttemptFacts.of(attempt), options, refuse_empty)
        made: Batch | None = self._carry_out(job, attempt)
        return made

    def dry_run(self, table: TableName, files: Sequence[InputFile], attempt: Attempt, options: ParseOptions) -> DryRun:
        """See `Parsers.dry_run`."""
        with self._as_request():
            found: DryRun = self._carry_out(DryRunJob(table, tuple(files), AttemptFacts.of(attempt), options), attempt)
            return found

    def preview(self, file: InputFile, options: ParseOptions, rows: int) -> pa.Table:
        """See `Parsers.preview`."""
        with self._as_request():
            return self._carry_out(PreviewJob((file,), options, rows), Attempt("preview"))

    def close(self) -> None:
        """End the processes that wait; those at work end with their jobs."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.end()

    @contextmanager
    def _as_request(self) -> Iterator[None]:
        if not self._requests.acquire(timeout=_REQUEST_WAIT_SECONDS):
            raise ParsersBusyError("Other files are being read for requests. Ask again in a moment.")
        try:
            yield
        finally:
            self._requests.release()

    def _carry_out(self, job: Job, attempt: Attempt) -> Any:  # noqa: ANN401 - each job has a result of its own
        for last in range(_TRIES, 0, -1):
            process = self._take()
            course = _JobInProcess(process, job, attempt, self._bounds)
            try:
                return course.run()
            except (_ProcessDiedError, _BoundError) as error:
                _log.warning("batch %s: a process that reads files ended: %s", attempt.batch_id, error)
                if course.may_have_committed:
                    raise UnfinishedCommitError(f"The process that commits batch {attempt.batch_id} ended.") from error
                if isinstance(error, _BoundError):
                    raise ImportRefusedError(str(error)) from None
                if last == 1:
                    raise ImportRefusedError(
                        f"{_names(job.files)} cannot be read: the process that reads files died of it, twice ({error})."
                    ) from None
            finally:
                self._give_back(process)
        raise AssertionError

    def _take(self) -> "_Process":
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.is_ready:
                    return process
                process.end()
        return _Process(self._lake)

    def _give_back(self, process: "_Process") -> None:
        if process.is_ready and resident_bytes(process.pid) <= _WARM_BYTES:
            with self._lock:
                self._idle.append(process)
        else:
            process.end()


class _ProcessDiedError(Exception):
    """The process ended by itself; the text says how."""


class _BoundError(Exception):
    """The files took more than they may; their process is to be ended, for it may not hear any more."""


class _Process:
    """One process, and the connection to it. `is_busy`: a job was sent to it whose end has not come."""

    def __init__(self, lake: OpenLake) -> None:
        self.is_busy = False
        ours, theirs = socket.socketpair()
        self.connection: Connection = Connection(ours.detach())
        with theirs:
            descriptor = theirs.fileno()
            # Not by multiprocessing, which would import all of the command line's modules too. -P: nothing is imported
            # from the working directory.
            command = [sys.executable, "-P", "-m", parser_process.__name__, str(descriptor)]
            self._process = subprocess.Popen(command, pass_fds=(descriptor,), stdin=subprocess.DEVNULL)  # noqa: S603 - ours
        with contextlib.suppress(OSError):
            self.connection.send(lake)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether the next job can be sent to it."""
        return not self.is_busy and self._process.poll() is None

    def died(self) -> _ProcessDiedError:
        """The error that says how it ended."""
        try:
            code = self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return _ProcessDiedError("no answer")
        return _ProcessDiedError(f"signal {-code}" if code < 0 else f"exit code {code}")

    def end(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        self.connection.close()


class _JobInProcess:
    """One job in one process, from being sent to its end."""

    def __init__(self, process: _Process, job: Job, attempt: Attempt, bounds: Bounds) -> None:
        self._process, self._job, self._attempt, self._bounds = process, job, attempt, bounds
        self._seconds = bounds.time_for(job.files)
        self._until = time.monotonic() + _START_SECONDS + self._seconds
        self._raised: Exception | None = None
        self._is_committing = False

    def run(self) -> Any:  # noqa: ANN401 - each job has a result of its own
        """The job's result. Raises what it raised, what the attempt's callables raise, and `_ProcessDiedError`."""
        self._process.is_busy = True
        try:
            self._send(Begin(self._job, self._seconds))
            while True:
                self._attempt.raise_if_stopped()
                self._check_bounds()
                message = self._receive(_POLL_SECONDS)
                if isinstance(message, Done | Failed):
                    self._process.is_busy = False
                    break
                if isinstance(message, Asked):
                    self._answer(message.question)
                elif isinstance(message, Begun):
                    self._until = time.monotonic() + self._seconds
                elif isinstance(message, MoreTime):
                    self._seconds += message.seconds
                    self._until += message.seconds
        except (_ProcessDiedError, _BoundError):
            raise
        except BaseException:
            self._stop()
            raise
        if isinstance(message, Failed):
            raise self._raised or message.error
        return message.result

    @property
    def may_have_committed(self) -> bool:
        """Whether what the process did last may be visible, though it did not say so."""
        return self._is_committing

    def _answer(self, question: Question) -> None:
        begun = time.monotonic()
        act: Callable[[], bool | None] = getattr(self._attempt, question)
        try:
            answer = Answered(value=bool(act()))
            self._is_committing = question == "before_commit"
        except Exception as error:  # noqa: BLE001 - raised when the process has ended the job for it
            self._raised = error
            answer = Answered(failed=True)
        # The server's database may have been slow.
        self._until += time.monotonic() - begun
        self._send(answer)

    def _check_bounds(self) -> None:
        if not self._is_committing and resident_bytes(self._process.pid) > self._bounds.memory:
            mebibytes = self._bounds.memory // 1024 // 1024
            raise _BoundError(
                f"{_names(self._job.files)} cannot be read: that takes more than {mebibytes} MiB of memory. "
                "Send smaller values or fewer columns, or have the operator set OFFTAKE_IMPORT_MEMORY_BYTES higher."
            )
        if time.monotonic() > self._until:
            raise _BoundError(
                f"{_names(self._job.files)} cannot be read: that takes more than {self._seconds:.0f} seconds. "
                "Send smaller files, or have the operator set OFFTAKE_IMPORT_SECONDS higher."
            )

    def _send(self, message: object) -> None:
        try:
            self._process.connection.send(message)
        except OSError:
            raise self._process.died() from None

    def _receive(self, seconds: float) -> object | None:
        """The next message; None when there is none in that time."""
        try:
            return self._process.connection.recv() if self._process.connection.poll(seconds) else None
        except (EOFError, OSError):
            raise self._process.died() from None

    def _stop(self) -> None:
        """Have the process end the job; where it does not, soon, it stays busy, and is ended."""
        until = time.monotonic() + _STOP_SECONDS
        with contextlib.suppress(_ProcessDiedError):
            self._send(Stop())
            while self._process.is_busy and (left := until - time.monotonic()) > 0:
                self._process.is_busy = not isinstance(self._receive(left), Done | Failed)


def _names(files: Sequence[InputFile]) -> str:
    if len(files) == 1:
        return files[0].name
    more = f" and {len(files) - _MOST_NAMES} more" if len(files) > _MOST_NAMES else ""
    return f"One of {', '.join(file.name for file in files[:_MOST_NAMES])}{more}"
