"""`lake.parsers.Parsers` in the calling process; processes take a second to start, and few tests are about them."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from offtake.deployment.storage_settings import warehouse_access
from offtake.lake import ingest
from offtake.lake.catalog import Lake
from offtake.lake.ingest import Attempt, Batch, DryRun
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.parsing.preview import preview
from offtake.lake.table_names import TableName
from offtake.network.egress import Network
from offtake.settings import Settings


@dataclass(frozen=True)
class LocalParsers:
    """Reads files where it is called."""

    lake: Lake

    @staticmethod
    def of(settings: Settings) -> "LocalParsers":
        access = warehouse_access(settings, Network())
        return LocalParsers(Lake(settings.lake_catalog_url, settings.lake_warehouse, access=access))

    def ingest(
        self,
        table: TableName,
        files: Sequence[InputFile],
        attempt: Attempt,
        options: ParseOptions,
        *,
        refuse_empty: bool = False,
    ) -> Batch | None:
        return ingest.ingest(self.lake, table, files, attempt, options, refuse_empty=refuse_empty)

    def dry_run(self, table: TableName, files: Sequence[InputFile], attempt: Attempt, options: ParseOptions) -> DryRun:
        return ingest.dry_run(self.lake, table, files, attempt, options)

    def preview(self, file: InputFile, options: ParseOptions, rows: int) -> pa.Table:
        return preview(file, options, rows)

    def close(self) -> None:
        self.lake.close()
