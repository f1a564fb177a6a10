"""Messages between the server and a parser process."""

from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

import pyarrow as pa

from offtake.lake import ingest, table_description
from offtake.lake.catalog import Lake
from offtake.lake.commits import Attempt, Batch
from offtake.lake.committed_batch import CommittedBatch
from offtake.lake.ingest import DryRun
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.parsing.preview import preview
from offtake.lake.storage.access import FileAccess
from offtake.lake.table_names import TableName

Question = Literal["may_rewrite", "before_commit"]
"""Callables of an attempt that run in the server, because parser processes have no access to its database."""


class Server(Protocol):
    """A job's interface to the server."""

    def stopped(self) -> bool:
        """Whether the job must stop."""
        ...

    def ask(self, question: Question) -> bool:
        """Call the attempt's callable in the server and return its result.

        Raises `QuestionFailedError` and `CancelledError`.
        """
        ...

    def extend_time(self, stored_bytes: int) -> None:
        """Report that the job also reads and writes so many stored bytes, and gets more time for them."""
        ...


@dataclass(frozen=True)
class AttemptFacts:
    """The plain values of an `Attempt`."""

    batch_id: str
    number: int
    replaces: tuple[CommittedBatch, ...]
    evolve: bool

    @staticmethod
    def of(attempt: Attempt) -> "AttemptFacts":
        """The plain values of the attempt."""
        return AttemptFacts(attempt.batch_id, attempt.number, attempt.replaces, attempt.evolve)

    def attempt(self, lake: Lake, table: TableName, server: Server) -> Attempt:
        """The attempt in the parser process, with callables that call the server."""

        def may_rewrite() -> bool:
            allowed = server.ask("may_rewrite")
            if allowed:
                server.extend_time(2 * table_description.size(lake, table).bytes)
            return allowed

        def before_commit() -> None:
            server.ask("before_commit")

        return Attempt(
            self.batch_id,
            self.number,
            self.replaces,
            server.stopped,
            evolve=self.evolve,
            may_rewrite=may_rewrite,
            before_commit=before_commit,
        )


@dataclass(frozen=True)
class IngestJob:
    """Import the files' rows into the table."""

    table: TableName
    files: tuple[InputFile, ...]
    attempt: AttemptFacts
    options: ParseOptions
    refuse_empty: bool

    def execute(self, lake: Lake, server: Server) -> Batch | None:
        """See `ingest.ingest`."""
        attempt = self.attempt.attempt(lake, self.table, server)
        return ingest.ingest(lake, self.table, self.files, attempt, self.options, refuse_empty=self.refuse_empty)


@dataclass(frozen=True)
class DryRunJob:
    """Find out how the files would change the table."""

    table: TableName
    files: tuple[InputFile, ...]
    attempt: AttemptFacts
    options: ParseOptions

    def execute(self, lake: Lake, server: Server) -> DryRun:
        """See `ingest.dry_run`."""
        attempt = self.attempt.attempt(lake, self.table, server)
        return ingest.dry_run(lake, self.table, self.files, attempt, self.options)


@dataclass(frozen=True)
class PreviewJob:
    """Read a file's first rows."""

    files: tuple[InputFile]
    options: ParseOptions
    rows: int

    def execute(self, lake: Lake, server: Server) -> pa.Table:
        """See `preview.preview`."""
        del lake, server
        return preview(self.files[0], self.options, self.rows)


Job: TypeAlias = IngestJob | DryRunJob | PreviewJob


class UnexpectedParserError(Exception):
    """Replaces an error that cannot be pickled; the message is its class, because its text may have values of files.

    Defined here and not in `parser_process`, which is `__main__` in the sending process and so cannot be unpickled.
    """


class QuestionFailedError(Exception):
    """An attempt's callable failed in the server; the job must end without a commit."""


@dataclass(frozen=True)
class OpenLake:
    """The lake for the process; the URL and the access can contain secrets."""

    catalog_url: str
    warehouse: str
    access: FileAccess | None = field(default=None, repr=False)


@dataclass(frozen=True)
class StartJob:
    """Request: execute the job within so many seconds."""

    job: Job
    seconds: float


@dataclass(frozen=True)
class JobStarted:
    """Response: the process has started the job; its time limit counts from now on."""


@dataclass(frozen=True)
class MoreTime:
    """Response: the job needs so many more seconds, because it also reads and writes stored data."""

    seconds: float


@dataclass(frozen=True)
class Asked:
    """Request to the server: call this callable of the attempt. The process waits for an `Answered`."""

    question: Question


@dataclass(frozen=True)
class Answered:
    """The result of a callable. `failed`: it raised an error, which the server will raise when the job has ended."""

    value: bool = False
    failed: bool = False


@dataclass(frozen=True)
class Stop:
    """Request: stop the job; it ends with `CancelledError` as soon as possible."""


@dataclass(frozen=True)
class Done:
    """Response: the job's result."""

    result: object


@dataclass(frozen=True)
class Failed:
    """Response: the error that the job raised."""

    error: Exception
