"""The measured tables: the events' data files, in a table whose files are in a folder, and in one in a bucket."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io import PY_IO_IMPL

from bench.performance import data
from bench.performance.places import DATA
from offtake.cli.sample_data import SAMPLE_SCHEMA
from offtake.lake.parsing.columns import iceberg_schema
from tests import bucket_io
from tests.bucket_io import ROOT

IDENTIFIER: Final = ("bench", "events")


@dataclass(frozen=True)
class LakeTable:
    """A table, by its catalog's database; `folder`: with its files."""

    folder: Path
    rows: int

    def catalog(self) -> dict[str, str]:
        """Properties of the catalog of type `sql` in Offtake."""
        return {"uri": f"sqlite:///{self.folder}/catalog.db", "catalog-name": "bench"}


def writer(folder: Path, warehouse: str) -> SqlCatalog:
    """The catalog as those who write its tables open it."""
    properties = {"uri": f"sqlite:///{folder}/catalog.db", "warehouse": warehouse, "folder": str(folder)}
    return SqlCatalog("bench", **properties, **{PY_IO_IMPL: bucket_io.NAME})


def events(rows: int, *, in_bucket: bool) -> LakeTable:
    """The events in one file with row groups of 65,536 rows, zstd, as the research had them."""
    folder = DATA / f"lake-{'s3' if in_bucket else 'disk'}-{rows}"
    if not (folder / "made").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "catalog.db").unlink(missing_ok=True)
        catalog = writer(folder, ROOT.rstrip("/") if in_bucket else str(folder))
        catalog.create_namespace(IDENTIFIER[0])
        table = catalog.create_table(IDENTIFIER, iceberg_schema(SAMPLE_SCHEMA))
        file = folder / "events.parquet"
        with pq.ParquetWriter(file, SAMPLE_SCHEMA, compression="zstd") as target:
            for first in range(0, rows, data.MILLION):
                batches = data.some_events(first, min(data.MILLION, rows - first))
                target.write_table(pa.Table.from_batches(batches), row_group_size=65_536)
        table.add_files([f"{ROOT}{file.name}" if in_bucket else str(file)], check_duplicate_files=False)
        (folder / "made").touch()
    return LakeTable(folder, rows)
