"""Interface for parsing users' files; the engine runs it in separate processes."""

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from offtake.errors import BusyError, OfftakeError
from offtake.lake.commits import Attempt, Batch
from offtake.lake.ingest import DryRun
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.table_names import TableName


class ParsersBusyError(BusyError):
    """All parser processes for requests are busy; the request can be retried."""


class UnfinishedCommitError(OfftakeError):
    """The process that committed a batch died before it reported whether the batch is in its table."""


class Parsers(Protocol):
    """Parses users' files. Thread-safe. The callables of an attempt run in the calling process."""

    def ingest(
        self,
        table: TableName,
        files: Sequence[InputFile],
        attempt: Attempt,
        options: ParseOptions,
        *,
        refuse_empty: bool = False,
    ) -> Batch | None:
        """See `ingest.ingest`. Raises `ImportRefusedError` too when parsing exceeds a limit or kills its process.

        Raises `UnfinishedCommitError` when the process dies during the commit.
        """
        ...

    def dry_run(self, table: TableName, files: Sequence[InputFile], attempt: Attempt, options: ParseOptions) -> DryRun:
        """See `ingest.dry_run`. Raises as `ingest` does, and `ParsersBusyError`."""
        ...

    def preview(self, file: InputFile, options: ParseOptions, rows: int) -> pa.Table:
        """See `preview.preview`. Raises as `dry_run` does."""
        ...

    def close(self) -> None:
        """End the processes."""
        ...
