"""What the server and the command line ask of those who read users' files; the engine's processes carry it out."""

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from offtake.errors import OfftakeError
from offtake.lake.catalog import TableName
from offtake.lake.commits import Attempt, Batch
from offtake.lake.ingest import DryRun
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.options import ParseOptions


class ParsersBusyError(OfftakeError):
    """As many files as may be read for requests are being read; the request can be sent again."""


class UnfinishedCommitError(OfftakeError):
    """The process that committed a batch ended before it could say whether the batch is in its table."""


class Parsers(Protocol):
    """Read users' files. Safe for threads. What the callables of an attempt do is done in the calling process."""

    def ingest(
        self,
        table: TableName,
        files: Sequence[InputFile],
        attempt: Attempt,
        options: ParseOptions,
        *,
        refuse_empty: bool = False,
    ) -> Batch | None:
        """See `ingest.ingest`. Raises `ImportRefusedError` too when reading exceeds a bound, or ends its process.

        Raises `UnfinishedCommitError` when the process ends in the commit.
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
