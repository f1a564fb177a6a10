"""What is sent between the server and a process that reads users' files."""

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import pyarrow as pa

from offtake.lake import ingest, table_description
from offtake.lake.catalog import Lake, TableName
from offtake.lake.commits import Attempt, Batch, CommittedBatch
from offtake.lake.ingest import DryRun
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.parsing.preview import preview

Question = Literal["may_rewrite", "before_commit"]
"""What of an attempt is done in the server: its database is not for the processes that read users' files."""


class Server(Protocol):
    """The server, as a job sees it."""

    def stopped(self) -> bool:
        """Whether the job is to stop."""
        ...

    def ask(self, question: Question) -> bool:
        """What the attempt's callable returns. Raises `QuestionFailedError` and `CancelledError`."""
        ...

    def expect(self, stored_bytes: int) -> None:
        """Say that the job reads and writes so many stored bytes too, beside its files."""
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
        """Those of that attempt."""
        return AttemptFacts(attempt.batch_id, attempt.number, attempt.replaces, attempt.evolve)

    def attempt(self, lake: Lake, table: TableName, server: Server) -> Attempt:
        """The attempt as the reading process has it."""

        def may_rewrite() -> bool:
            allowed = server.ask("may_rewrite")
            if allowed:
                server.expect(2 * table_description.size(lake, table).bytes)
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
    """Bring the files' rows into the table."""

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
    """Find out what the files would do to the table."""

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
    """An error that cannot be sent to another process, by its kind; its text may hold values of the files.

    It is here for the name of its module: the process that sends it runs its own as `__main__`.
    """


class QuestionFailedError(Exception):
    """The server could not answer; the job is to end and to leave nothing."""


@dataclass(frozen=True)
class OpenLake:
    """The tables that the process works with; the URL may hold a password."""

    catalog_url: str
    warehouse: str


@dataclass(frozen=True)
class Begin:
    """Carry out the job, which may take so many seconds."""

    job: Job
    seconds: float


@dataclass(frozen=True)
class Begun:
    """The process is up and has begun the job: from now on its seconds count."""


@dataclass(frozen=True)
class MoreTime:
    """The job may take so many seconds more: what is stored is read and written too."""

    seconds: float


@dataclass(frozen=True)
class Asked:
    """The process waits for the answer to this question, an `Answered`."""

    question: Question


@dataclass(frozen=True)
class Answered:
    """The answer to a question. `failed`: the attempt's callable raised an error, which the server will raise."""

    value: bool = False
    failed: bool = False


@dataclass(frozen=True)
class Stop:
    """The work is to stop; the process ends it with `CancelledError` as soon as it can."""


@dataclass(frozen=True)
class Done:
    """The job's result."""

    result: object


@dataclass(frozen=True)
class Failed:
    """What the job raised."""

    error: Exception
