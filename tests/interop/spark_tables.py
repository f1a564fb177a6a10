"""The tables that Spark wrote (`spark/cases.py`), opened as registered tables whose files are in an S3 bucket.

The bucket is a folder here: Offtake's store is replaced by one over the folder, the rest of the way is its own. A table
of `archives/` has its files as they are in the bucket, and `expected.json`: what Spark read from each snapshot.
"""

import json
import tarfile
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from offtake.formats.parquet import plain_pages
from offtake.formats.parquet_pages.footer import NotRecompressibleError
from offtake.lake import reading, scan, slicing
from offtake.lake.catalogs.opening import CatalogConfig
from offtake.lake.parts import TableSchema
from offtake.lake.registered import RegisteredTables
from offtake.lake.scan import ScanPlan, TableScan
from offtake.lake.table_names import RegisteredTable, TableName
from tests.interop.values import plain

ARCHIVES = Path(__file__).parent / "archives"
BUCKET = "offtake-interop"
Rows = Counter[str]
"""Rows as JSON text, with the number of times each is there."""
Key = tuple[int, Any]
"""The number of a row, and of its version."""


def names() -> list[str]:
    """The tables, by name and version of the format."""
    return sorted(path.name.removesuffix(".tar.xz") for path in ARCHIVES.glob("*.tar.xz"))


@dataclass(frozen=True)
class Snapshot:
    """A snapshot as Spark read it. `added`: the positions in `rows` of those in files that the snapshot added."""

    id: int
    parent: int | None
    operation: str
    rows: list[dict[str, Any]]
    added: list[int]
    lineage: list[list[int | None]] | None = None

    @cached_property
    def full(self) -> Rows:
        return counted(self.rows)

    @cached_property
    def written(self) -> set[Key]:
        """The rows that the snapshot added to the table, or wrote again."""
        return {key(self.rows[at]) for at in self.added} if self.operation != "replace" else set()


@dataclass(frozen=True)
class SparkTable:
    """A table, opened, and what Spark read of it."""

    scan: TableScan
    snapshots: dict[int, Snapshot]
    main: list[int]
    version: int

    def written(self, after: int, upto: int) -> Rows:
        """The rows that the snapshots after `after`, an ancestor, wrote and that `upto` still has.

        No snapshot has two rows with one key; a row that was written in the range was written there for the last time.
        """
        assert len(set(map(key, self.snapshots[upto].rows))) == len(self.snapshots[upto].rows)
        written: set[Key] = set()
        at = upto
        while at != after:
            written |= self.snapshots[at].written
            at = self.snapshots[at].parent or 0
        return counted(row for row in self.snapshots[upto].rows if key(row) in written)

    def has_lineage(self, after: int, upto: int) -> bool:
        """Whether all snapshots after `after` up to `upto` have row lineage: a table can be upgraded to format 3."""
        at = upto
        while at != after:
            if self.snapshots[at].lineage is None:
                return False
            at = self.snapshots[at].parent or 0
        return True

    def last_updated(self, after: int, upto: int) -> Rows:
        """The rows of `upto` that were updated after `after`, as row lineage (format 3) tells."""
        first = self.scan.table.snapshot_by_id(after)
        lineage = self.snapshots[upto].lineage
        assert first is not None
        assert lineage is not None
        rows = zip(self.snapshots[upto].rows, lineage, strict=True)
        return counted(row for row, (_, sequence) in rows if (sequence or 0) > (first.sequence_number or 0))

    def delivered(self, plan: ScanPlan) -> Rows:
        """The rows that an export of the plan delivers."""
        schema = self.scan.schema(plan.snapshot_id)
        parts = slicing.slices(plan.files, 2**62, 2, self.scan.access)
        return counted(row for part in parts for piece in part for row in self._rows(piece, schema))

    def _rows(self, piece: Any, schema: TableSchema) -> list[dict[str, Any]]:
        """The rows of a slice; asserts that its bytes, if they can be delivered unchanged, have the same rows."""
        access = self.scan.access
        rows = [row for batch in reading.read([piece], schema, access) for row in to_rows(batch)]
        with reading.unchanged_row_groups([piece], schema, access) as stored:
            if stored is not None:
                with suppress(NotRecompressibleError):
                    _, chunks = plain_pages(schema.arrow_schema, stored)
                    paged = pq.read_table(pa.BufferReader(b"".join(chunks)))
                    assert [row for batch in paged.to_batches() for row in to_rows(batch)] == rows
        return rows


def unpack(name: str, folder: Path) -> dict[str, Any]:
    """Put the table's files into the folder, which is the store's. Returns what Spark read."""
    with tarfile.open(ARCHIVES / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    expected: dict[str, Any] = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    return expected


def catalog_config(properties: dict[str, str]) -> CatalogConfig:
    """A catalog of tables that are named by their metadata."""
    return CatalogConfig("1", "spark", "files", properties)


def open_spark_table(name: str, folder: Path, properties: dict[str, str]) -> SparkTable:
    """The table, unpacked into the folder and registered."""
    expected = unpack(name, folder)
    tables = RegisteredTables(lambda _id: catalog_config(properties))
    identifier = (expected["metadata"],)
    loaded = tables.load(RegisteredTable("1", identifier, tables.find_uuid("1", identifier)))
    snapshots = {one["id"]: Snapshot(**one) for one in expected["snapshots"]}
    main = list[int]()
    at = expected["refs"].get("main", {}).get("snapshot")
    while at is not None and loaded.snapshot_by_id(at) is not None:
        main.insert(0, at)
        at = snapshots[at].parent
    return SparkTable(scan.TableScan(TableName(name), loaded), snapshots, main, expected["version"])


def key(row: dict[str, Any]) -> Key:
    """What tells the row from all others; a table of the cases renames `v` to `w`."""
    return row["id"], row.get("v", row.get("w"))


def counted(rows: Iterable[dict[str, Any]]) -> Rows:
    """The rows as they can be compared."""
    return Counter(json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows)


def to_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """The rows of a batch, with values as `spark/make_tables.py` writes them."""
    columns = [_microseconds(column).to_pylist() for column in batch.columns]
    return [
        {name: plain(value) for name, value in zip(batch.schema.names, values, strict=True)}
        for values in zip(*columns, strict=True)
    ]


def _microseconds(column: pa.Array) -> pa.Array:
    """Spark has no nanoseconds."""
    kind = column.type
    return column.cast(pa.timestamp("us", kind.tz)) if pa.types.is_timestamp(kind) and kind.unit == "ns" else column
