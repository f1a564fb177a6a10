"""Row lineage of format version 3: an increment holds exactly the rows that were last updated in its range."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Operation

from offtake.lake import scan
from offtake.lake.catalog import Lake
from offtake.lake.locations import local_path
from offtake.lake.manifests import Manifests
from offtake.lake.parts import FileSlice, slices_from_json, slices_to_json
from tests.lake.format_3 import FIRST_ROW_ID, upgrade, writing_format_3
from tests.lake.lakes import TABLE, add, full, lake_in, read
from tests.lake.other_writers import data_files, delete_by_vectors, delete_keys, rewrite
from tests.matrix import examples

EXAMPLES = int(os.environ.get("OFFTAKE_TEST_HISTORIES", examples(30)))
ROW_ID, UPDATED = 2147483540, 2147483539
SCHEMA = pa.schema([("n", pa.int64()), ("v", pa.int64())])
STORED = pa.schema(
    [
        pa.field("n", pa.int64(), metadata={"PARQUET:field_id": "1"}),
        pa.field("v", pa.int64(), metadata={"PARQUET:field_id": "2"}),
        pa.field("_row_id", pa.int64(), metadata={"PARQUET:field_id": str(ROW_ID)}),
        pa.field("_last_updated_sequence_number", pa.int64(), metadata={"PARQUET:field_id": str(UPDATED)}),
    ]
)


@dataclass
class Row:
    n: int
    v: int
    row_id: int | None
    updated: int | None


@dataclass
class Lineage:
    """A table of version 3, and the rows that are due: by number, the newest version."""

    lake: Lake
    newest: int = 0
    rows: dict[int, int] = field(default_factory=dict)
    due: set[int] = field(default_factory=set)
    kept: bool = True
    position: int = 0

    def __post_init__(self) -> None:
        add(self.lake, [{"n": 0, "v": 0}], SCHEMA)
        self.rows[0] = 0
        upgrade(self.table)
        self.append(2)
        self.position, self.due = self.current, set()

    @property
    def table(self) -> Table:
        return self.lake.load(TABLE)

    @property
    def current(self) -> int:
        snapshot = self.table.current_snapshot()
        assert snapshot is not None
        return snapshot.snapshot_id

    def append(self, bits: int) -> None:
        numbers = range(self.newest + 1, self.newest + 2 + bits % 3)
        self.newest = numbers[-1]
        with writing_format_3():
            add(self.lake, [{"n": n, "v": n} for n in numbers], SCHEMA)
        self.rows |= {n: n for n in numbers}
        self.due |= set(numbers)

    def stored(self, path: str) -> list[Row]:
        """The live rows of a data file, with the lineage that readers give them."""
        snapshot = self.table.current_snapshot()
        assert snapshot is not None
        (entry,) = (one for one in Manifests(self.table).live(snapshot) if one.data_file.file_path == path)
        found = []
        for at, row in enumerate(pq.read_table(local_path(path)).to_pylist()):
            stored_id, updated = row.get("_row_id"), row.get("_last_updated_sequence_number")
            row_id = entry.data_file[FIRST_ROW_ID] + at if stored_id is None else stored_id
            updated = entry.sequence_number if updated is None else updated
            if self.rows.get(row["n"]) == row["v"]:
                found.append(Row(row["n"], row["v"], row_id, updated))
        return found

    def chosen(self, bits: int) -> list[str]:
        ordered = sorted(data_files(self.table), key=lambda path: [(row.n, row.v) for row in self.stored(path)])
        return [path for index, path in enumerate(ordered) if bits >> (index % 10) & 1] or ordered[:1]

    def copy_on_write(self, bits: int) -> None:
        """Rewrite files: some rows are changed, some deleted, others keep their numbers."""
        paths = self.chosen(bits)
        found = [row for path in paths for row in self.stored(path)]
        for index, row in enumerate(list(found)):
            if bits >> (index % 14) & 1 == 0:
                continue
            if bits >> (index % 7) & 2:
                found.remove(row)
                del self.rows[row.n]
                self.due.discard(row.n)
            else:
                row.v, row.updated = row.v + 1000, None
                self.rows[row.n] = row.v
                self.due.add(row.n)
        self.write(paths, found, Operation.OVERWRITE)

    def compact(self, bits: int, *, keep: bool = True) -> None:
        """Rewrite files without changes; by default as of the snapshot before, as Spark does."""
        paths = self.chosen(bits)
        found = [row for path in paths for row in self.stored(path)]
        snapshot = self.table.current_snapshot()
        assert snapshot is not None
        self.write(paths, found, Operation.REPLACE, keep=keep, sequence=snapshot.sequence_number if bits & 1 else None)

    def compact_without_lineage(self, bits: int) -> None:
        if bits % 4 == 0:
            self.kept = False
            self.compact(bits, keep=False)

    def write(
        self, paths: list[str], rows: list[Row], operation: Operation, *, keep: bool = True, sequence: int | None = None
    ) -> None:
        values = [(one.n, one.v, one.row_id, one.updated) for one in rows]
        stored = pa.Table.from_pylist([dict(zip(STORED.names, one, strict=True)) for one in values], STORED)
        made = [written(self.table, stored if keep else stored.select(["n", "v"]))] if rows else []
        with writing_format_3(data_sequence=sequence):
            rewrite(self.table, paths, made, operation)

    def delete_by_vectors(self, bits: int) -> None:
        deleted: dict[str, list[int]] = {}
        for path in self.chosen(bits):
            numbers = [(row["n"], row["v"]) for row in pq.read_table(local_path(path)).to_pylist()]
            live = [at for at, (n, v) in enumerate(numbers) if self.rows.get(n) == v]
            at = live[bits % len(live)] if live else None
            if at is not None:
                deleted[path] = [at]
                self.rows.pop(numbers[at][0])
                self.due.discard(numbers[at][0])
        if deleted:
            delete_by_vectors(self.table, deleted)

    def upsert(self, bits: int) -> None:
        numbers = sorted({1 + (bits >> shift) % (self.newest + 1) for shift in (0, 5)})
        values = {n: self.rows.get(n, n) + 5000 for n in numbers}
        self.newest = max(self.newest, *numbers)
        rows = pa.Table.from_pylist([{"n": n, "v": v} for n, v in values.items()], self.table.schema().as_arrow())
        with writing_format_3():
            delete_keys(self.table, pa.table({"n": pa.array(numbers, pa.int64())}), rows=rows)
        self.rows |= values
        self.due |= set(numbers)

    def export(self, _: int = 0) -> None:
        at = self.current
        plan = scan.open_table(self.lake, TABLE).increment(self.position, at)
        found = [(row["n"], row["v"]) for row in read(self.lake, plan.files, at, most_rows=2)]
        expected = {(n, self.rows[n]) for n in self.due}
        assert len(found) == len(set(found))
        assert expected <= set(found) <= set(self.rows.items())
        if self.kept:
            event("by lineage")
            assert plan.kind == "incremental"
            assert set(found) == expected
        assert sorted((row["n"], row["v"]) for row in full(self.lake)) == sorted(self.rows.items())
        self.position, self.due, self.kept = at, set(), True


def written(table: Table, rows: pa.Table) -> DataFile:
    path = local_path(table.location()) / "data" / f"{uuid4().hex}.parquet"
    pq.write_table(rows, path)
    made = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=f"file://{path}",
        file_format=FileFormat.PARQUET,
        partition=next(iter(data_files(table).values())).partition,
        record_count=rows.num_rows,
        file_size_in_bytes=path.stat().st_size,
    )
    made.spec_id = table.spec().spec_id
    return made


ACT: dict[str, Callable[[Lineage, int], None]] = {
    "append": Lineage.append,
    "copy_on_write": Lineage.copy_on_write,
    "compact": Lineage.compact,
    "compact_without_lineage": Lineage.compact_without_lineage,
    "delete_by_vectors": Lineage.delete_by_vectors,
    "upsert": Lineage.upsert,
    "export": Lineage.export,
}


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=set(Phase) - {Phase.explain},  # which would take minutes
)
@given(st.lists(st.tuples(st.sampled_from([*ACT, "copy_on_write", "compact"]), st.integers(0, 2**16 - 1)), max_size=10))
def test_increments_have_exactly_the_rows_that_were_last_updated_in_their_range(actions: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lineage = Lineage(lake_in(Path(folder)))
        try:
            for action, bits in actions:
                if lineage.rows:
                    ACT[action](lineage, bits)
            lineage.export()
        finally:
            lineage.lake.close()


def test_stored_slices_keep_the_range_of_updates() -> None:
    piece = FileSlice("a", 0, None, 1, 2, updated=(7, 4))
    assert slices_from_json(slices_to_json([piece])) == (piece,)


def test_rows_of_an_append_are_new_even_with_an_older_sequence_number(tmp_path: Path) -> None:
    lineage = Lineage(lake_in(tmp_path))
    lineage.append(1)
    start = lineage.current
    with writing_format_3(data_sequence=1):
        lineage.append(2)
    plan = scan.open_table(lineage.lake, TABLE).increment(start, lineage.current)
    assert sorted(row["n"] for row in read(lineage.lake, plan.files, lineage.current)) == [6, 7, 8]
    lineage.lake.close()


def test_rows_of_an_appended_copy_are_new_even_with_older_numbers_in_the_file(tmp_path: Path) -> None:
    """The file of another table is appended, with the numbers that its rows had there."""
    lineage = Lineage(lake_in(tmp_path))
    lineage.append(0)
    start, known = lineage.current, set(data_files(lineage.table))
    lineage.append(2)
    (path,) = set(data_files(lineage.table)) - known
    rows = pq.read_table(local_path(path)).select(["n", "v"])
    numbers = pa.array([1] * (rows.num_rows - 1) + [None], pa.int64())
    stored = pa.table([*rows.columns, pa.nulls(rows.num_rows, pa.int64()), numbers], schema=STORED)
    pq.write_table(stored, local_path(path))
    plan = scan.open_table(lineage.lake, TABLE).increment(start, lineage.current)
    found = sorted(row["n"] for row in read(lineage.lake, plan.files, lineage.current))
    assert found == sorted(rows["n"].to_pylist())
    lineage.lake.close()
