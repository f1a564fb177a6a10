"""A lake in a folder, and short helper functions for its tests."""

import json
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from offtake.formats.parquet import plain_pages
from offtake.formats.parquet_pages.footer import NotRecompressibleError
from offtake.lake import ingest, reading, scan, slicing, table_files
from offtake.lake.catalog import Lake
from offtake.lake.column_choice import ColumnChoice
from offtake.lake.ingest import Attempt, Batch
from offtake.lake.parsing.files import input_file
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.parts import FileSlice, TableSchema
from offtake.lake.relocation import Move, relocate_tables
from offtake.lake.scan import DataFile
from offtake.lake.storage.access import FileAccess
from offtake.lake.table_names import TableName

TABLE = TableName("sales.orders")
Row = dict[str, Any]


def lake_in(folder: Path) -> Lake:
    """The lake of a folder; it can be opened several times."""
    return Lake(f"sqlite:///{folder / 'catalog.db'}", f"file://{folder / 'warehouse'}")


def move_warehouse(lake: Lake, old: Path, new: Path) -> tuple[Lake, Move]:
    """Move a lake's warehouse to another folder, as a restore does. Returns the moved lake."""
    with tempfile.TemporaryDirectory() as between:
        shutil.move(old, f"{between}/warehouse")
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(f"{between}/warehouse", new)
    move, catalog = Move(f"file://{old}", f"file://{new}"), Path(str(lake.catalog.engine.url.database))
    lake.close()
    relocate_tables(table_files.metadata_locations(catalog), move)
    table_files.set_locations(catalog, move.new_location)
    return Lake(f"sqlite:///{catalog}", move.new), move


def add_files(
    lake: Lake, *files: Path, table: TableName = TABLE, options: ParseOptions | None = None, **attempt: Any
) -> Batch:
    """Import files as one batch, by default with `evolve`."""
    attempted = Attempt(uuid4().hex, **{"evolve": True, **attempt})
    made = ingest.ingest(lake, table, [input_file(file) for file in files], attempted, options, refuse_empty=True)
    assert made is not None
    return made


def add(lake: Lake, rows: Iterable[Row], schema: pa.Schema | None = None, table: TableName = TABLE) -> int:
    """Append rows as one batch. Returns its snapshot id."""
    batch = pa.RecordBatch.from_pylist(list(rows), schema)
    return ingest.append(lake, table, [batch], batch.schema, uuid4().hex).snapshot_id


def numbered(*numbers: int) -> list[Row]:
    """Rows that differ by `n`."""
    return [{"n": n, "city": f"town {n}"} for n in numbers]


def read(
    lake: Lake,
    files: Iterable[DataFile],
    snapshot: int,
    most_rows: int = 2**62,
    table: TableName = TABLE,
    choice: ColumnChoice | None = None,
) -> list[Row]:
    """The rows that an export of these files delivers, with the snapshot's schema; maps as dicts."""
    opened, access = scan.open_table(lake, table), lake.access(table)
    schema = opened.schema(snapshot, None if choice is None else opened.select(snapshot, choice))
    pieces = [piece for part in slicing.slices(files, 2**62, most_rows, access) for piece in part]
    return [row for piece in pieces for row in _rows(piece, schema, access)]


def _rows(piece: FileSlice, schema: TableSchema, access: FileAccess | None) -> list[Row]:
    """The rows of a slice; asserts that decoding and, if possible, recompressing give the same rows."""
    rows = [row for batch in reading.read([piece], schema, access) for row in batch.to_pylist(maps_as_pydicts="strict")]
    with reading.unchanged_row_groups([piece], schema, access) as stored:
        if stored is not None:
            with suppress(NotRecompressibleError):
                _, chunks = plain_pages(schema.arrow_schema, stored)
                paged = pq.read_table(pa.BufferReader(b"".join(chunks))).to_pylist(maps_as_pydicts="strict")
                assert repr(paged) == repr(rows)
    return rows


def full(lake: Lake, snapshot: int | None = None, choice: ColumnChoice | None = None) -> list[Row]:
    """The rows that a full export of the snapshot (default: the current one) delivers."""
    at = snapshot or scan.open_table(lake, TABLE).current_snapshot
    assert at is not None
    return read(lake, scan.open_table(lake, TABLE).full(at).files, at, choice=choice)


def increment(lake: Lake, after: int, upto: int | None = None, key: str = "n") -> list[int]:
    """The numbers of the rows that an incremental export delivers, in order."""
    to = upto or scan.open_table(lake, TABLE).current_snapshot
    assert to is not None
    plan = scan.open_table(lake, TABLE).increment(after, to)
    assert plan.kind == "incremental"
    assert plan.snapshot_id == to
    return [row[key] for row in read(lake, plan.files, to)]


def everything_in(folder: Path) -> set[Path]:
    """Every file and folder in the lake, except the catalog's database files."""
    return {path for path in folder.rglob("*") if not path.name.startswith("catalog.db")}


def ndjson(path: Path, rows: Iterable[Row]) -> Path:
    """A file of JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
