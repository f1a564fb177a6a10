"""A pool of parser processes: reused between jobs, supervised, and replaced after a crash."""

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

from offtake import logs
from offtake.engines import parser_process
from offtake.engines.parser_jobs import (
    Answered,
    Asked,
    AttemptFacts,
    Done,
    DryRunJob,
    Failed,
    IngestJob,
    Job,
    JobStarted,
    MoreTime,
    OpenLake,
    PreviewJob,
    Question,
    StartJob,
    Stop,
)
from offtake.engines.parser_process import SLOWEST_BYTES
from offtake.engines.resident import resident_bytes
from offtake.lake.commits import Attempt, Batch
from offtake.lake.ingest import DryRun
from offtake.lake.parsers import ParsersBusyError, UnfinishedCommitError
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.storage.access import FileAccess
from offtake.lake.table_names import TableName

_log = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.05
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 5.0
_TRIES: Final = 2
_MOST_NAMES: Final = 3
_REQUESTS_AT_ONCE: Final = 2
_REQUEST_WAIT_SECONDS: Final = 10.0
_WARM_BYTES: Final = 240 * 1024 * 1024
"""A larger process is ended after its job, because Arrow's allocator does not return memory."""


@dataclass(frozen=True)
class Limits:
    """Limits for parsing one batch. `memory`: bytes; `seconds`: in addition to the time for the files' size."""

    memory: int
    seconds: float

    def time_for(self, files: Sequence[InputFile]) -> float:
        """The time limit for the files, in seconds."""
        sizes = sum(file.path.stat().st_size for file in files if file.path.exists())
        return self.seconds + sizes / SLOWEST_BYTES


class ParserPool:
    """Implements `lake.parsers.Parsers` with processes on this machine, which are started on demand."""

    def __init__(self, catalog_url: str, warehouse: str, limits: Limits, access: FileAccess | None = None) -> None:
        self._lake = OpenLake(catalog_url, warehouse, access)
        self._limits = limits
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
        batch: Batch | None = self._execute(job, attempt)
        return batch

    def dry_run(self, table: TableName, files: Sequence[InputFile], attempt: Attempt, options: ParseOptions) -> DryRun:
        """See `Parsers.dry_run`."""
        with self._as_request():
            result: DryRun = self._execute(DryRunJob(table, tuple(files), AttemptFacts.of(attempt), options), attempt)
            return result

    def preview(self, file: InputFile, options: ParseOptions, rows: int) -> pa.Table:
        """See `Parsers.preview`."""
        with self._as_request():
            return self._execute(PreviewJob((file,), options, rows), Attempt("preview"))

    def close(self) -> None:
        """End the idle processes; busy ones end with their jobs."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.end()

    @contextmanager
    def _as_request(self) -> Iterator[None]:
        if not self._requests.acquire(timeout=_REQUEST_WAIT_SECONDS):
            raise ParsersBusyError("All parsers are busy with other requests. Retry the request in a few seconds.")
        try:
            yield
        finally:
            self._requests.release()

    def _execute(self, job: Job, attempt: Attempt) -> Any:  # noqa: ANN401 - depends on the job
        for last in range(_TRIES, 0, -1):
            process = self._take()
            execution = _JobInProcess(process, job, attempt, self._limits)
            try:
                return execution.run()
            except (_ProcessDiedError, _LimitExceededError) as error:
                _log.warning("batch %s: a parser process ended: %s", attempt.batch_id, error)
                if execution.may_have_committed:
                    raise UnfinishedCommitError(
                        f"The process that committed batch {attempt.batch_id} died before it reported the result."
                    ) from error
                if isinstance(error, _LimitExceededError):
                    raise ImportRefusedError(str(error)) from None
                if last == 1:
                    raise ImportRefusedError(
                        f"{_names(job.files)} cannot be read: the parser process crashed twice ({error}). Check the "
                        "file for damage, or split it."
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
    """The process died; the text is its exit code or signal."""


class _LimitExceededError(Exception):
    """Parsing exceeded a limit. Its process must be killed, because it may not respond any more."""


class _Process:
    """A parser process and the connection to it. `is_busy`: a job was sent and has not ended."""

    def __init__(self, lake: OpenLake) -> None:
        self.is_busy = False
        ours, theirs = socket.socketpair()
        self.connection: Connection = Connection(ours.detach())
        with theirs:
            descriptor = theirs.fileno()
            # Not with multiprocessing, which would also import all modules of the command line. -P: no imports from
            # the working directory.
            command = [sys.executable, "-P", "-m", parser_process.__name__, str(descriptor), logs.installed_format()]
            self._process = subprocess.Popen(command, pass_fds=(descriptor,), stdin=subprocess.DEVNULL)  # noqa: S603 - ours
        with contextlib.suppress(OSError):
            self.connection.send(lake)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether the process is alive and idle."""
        return not self.is_busy and self._process.poll() is None

    def death_error(self) -> _ProcessDiedError:
        """The error with the exit code or signal of the dead process."""
        try:
            code = self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return _ProcessDiedError("no response")
        return _ProcessDiedError(f"signal {-code}" if code < 0 else f"exit code {code}")

    def end(self) -> None:
        """Kill the process and close the connection."""
        self._process.kill()
        self._process.wait()
        self.connection.close()


class _JobInProcess:
    """The execution of one job in one process."""

    def __init__(self, process: _Process, job: Job, attempt: Attempt, limits: Limits) -> None:
        self._process, self._job, self._attempt, self._limits = process, job, attempt, limits
        self._seconds = limits.time_for(job.files)
        self._until = time.monotonic() + _START_SECONDS + self._seconds
        self._raised: Exception | None = None
        self._is_committing = False

    def run(self) -> Any:  # noqa: ANN401 - depends on the job
        """Execute the job and return its result.

        Raises what the job or the attempt's callables raise, `_ProcessDiedError` and `_LimitExceededError`.
        """
        self._process.is_busy = True
        try:
            self._send(StartJob(self._job, self._seconds))
            while True:
                self._attempt.raise_if_stopped()
                self._check_limits()
                message = self._receive(_POLL_SECONDS)
                if isinstance(message, Done | Failed):
                    self._process.is_busy = False
                    break
                if isinstance(message, Asked):
                    self._answer(message.question)
                elif isinstance(message, JobStarted):
                    self._until = time.monotonic() + self._seconds
                elif isinstance(message, MoreTime):
                    self._seconds += message.seconds
                    self._until += message.seconds
        except (_ProcessDiedError, _LimitExceededError):
            raise
        except BaseException:
            self._stop()
            raise
        if isinstance(message, Failed):
            raise self._raised or message.error
        return message.result

    @property
    def may_have_committed(self) -> bool:
        """Whether the process may have committed without reporting it."""
        return self._is_committing

    def _answer(self, question: Question) -> None:
        start = time.monotonic()
        function: Callable[[], bool | None] = getattr(self._attempt, question)
        try:
            answer = Answered(value=bool(function()))
            self._is_committing = question == "before_commit"
        except Exception as error:  # noqa: BLE001 - raised by `run` when the process has ended the job
            self._raised = error
            answer = Answered(failed=True)
        # The time of the server's database does not count.
        self._until += time.monotonic() - start
        self._send(answer)

    def _check_limits(self) -> None:
        if not self._is_committing and resident_bytes(self._process.pid) > self._limits.memory:
            mebibytes = self._limits.memory // 1024 // 1024
            raise _LimitExceededError(
                f"{_names(self._job.files)} cannot be read: parsing needs more than {mebibytes} MiB of memory. "
                "Send smaller values or fewer columns, or ask the operator to increase OFFTAKE_IMPORT_MEMORY_BYTES."
            )
        if time.monotonic() > self._until:
            raise _LimitExceededError(
                f"{_names(self._job.files)} cannot be read: parsing takes more than {self._seconds:.0f} seconds. "
                "Send smaller files, or ask the operator to increase OFFTAKE_IMPORT_SECONDS."
            )

    def _send(self, message: object) -> None:
        try:
            self._process.connection.send(message)
        except OSError:
            raise self._process.death_error() from None

    def _receive(self, seconds: float) -> object | None:
        """The next message, or None after the timeout."""
        try:
            return self._process.connection.recv() if self._process.connection.poll(seconds) else None
        except (EOFError, OSError):
            raise self._process.death_error() from None

    def _stop(self) -> None:
        """Ask the process to stop the job. If it does not within `_STOP_SECONDS`, it stays busy, and will be killed."""
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
