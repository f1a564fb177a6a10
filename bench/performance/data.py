"""The tables that are measured: the main job's nested events, made once and kept.

Each is a data directory of its own with one dataset. `events` is written as batches are brought in (zstd, row groups
of 65,536 rows); the other ones hold the same rows in files of another shape, added to the table as they are.
"""

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from bench.performance.places import DATA
from offtake.access import access, clients
from offtake.catalog import batches, datasets
from offtake.cli.sample_data import SAMPLE_SCHEMA, customer_events
from offtake.clock import Clock
from offtake.contract.caller import Caller
from offtake.deployment.backend import Backend, open_backend
from offtake.lake import ingest, scan
from offtake.lake.catalog import Lake
from offtake.lake.parsing.columns import iceberg_schema
from offtake.lake.table_names import TableName
from offtake.settings import Settings
from offtake.store.batches import CommittedRows, claim_batch, complete

DATASET: Final = "0" * 24
TABLE: Final = TableName("bench.events")
MILLION: Final = 1_000_000
_START_MS: Final = 1_767_225_600_000
_GROUP_ROWS: Final = 65_536
_MADE: Final = "made.json"
_BIG_BYTES: Final = 2_000_000_000
_BULKY: Final = {"compression": "none", "use_dictionary": False}
_TINY_ROWS: Final = 10
_FORM: Final = 2
"""The version of the tables; a change generates them again. 2: dictionaries only where values repeat."""


@dataclass(frozen=True)
class Table:
    """A data directory with one table: its rows, and the folder with its data files, which are all live."""

    folder: Path
    rows: int

    @property
    def source(self) -> Path:
        """The folder with the table's data files and nothing else."""
        return self.folder / "lake" / "warehouse" / "bench" / "events" / "data"

    @property
    def files(self) -> list[Path]:
        """The data files."""
        return sorted(self.source.glob("*.parquet"))


@contextmanager
def deployment(folder: Path, clock: Clock | None = None) -> Iterator[tuple[Backend, Caller]]:
    """The deployment in a folder, and who may do everything there."""
    backend = open_backend(Settings(data_dir=folder), clock or Clock())
    try:
        clients.create_organisation(backend.database, backend.clock)
        yield backend, access.operator_caller(backend.database)
    finally:
        backend.close()


def events(rows: int) -> Table:
    """As many events, brought in a million a batch."""
    return _kept(f"events-{rows}", rows, _bring_in)


def uncompressed(rows: int) -> Table:
    """The same events in files with neither dictionaries nor compression, half a million rows each."""
    return _kept(f"uncompressed-{rows}", rows, _add_uncompressed)


def one_group() -> Table:
    """A single file of two gigabytes whose rows are one row group.

    It has neither dictionaries nor compression: the rows repeat so much that with them it would take ninety million.
    """
    mark = DATA / "one-group" / _MADE
    rows: int = json.loads(mark.read_text())["rows"] if mark.exists() else _rows_of(_BIG_BYTES)
    return _kept("one-group", rows, _add_one_group)


def many_files(count: int) -> Table:
    """So many tiny files, a thousand a commit."""
    return _kept(f"files-{count}", count * _TINY_ROWS, _add_tiny)


def _kept(name: str, rows: int, fill: Callable[[Path, int], None]) -> Table:
    """The table of that name, made in a process of its own if it is not there yet: this one stays small."""
    folder = DATA / name
    # Iceberg's metadata name their files in full: tables do not survive that the repository is moved.
    made = {"rows": rows, "folder": str(folder), "form": _FORM}
    mark = folder / _MADE
    if not mark.exists() or not _same(json.loads(mark.read_text()), made):
        print(f"making {name} …", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        maker = multiprocessing.get_context("spawn").Process(target=fill, args=(folder, rows))
        maker.start()
        maker.join()
        if maker.exitcode != 0:
            raise SystemExit(f"The data of {name} could not be made.")
        mark.write_text(json.dumps(made))
    return Table(folder, rows)


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether both are the same table in the same form; the folder may be reached by several ways."""
    return (
        all(one.get(key) == other[key] for key in ("rows", "form"))
        and Path(one["folder"]).resolve() == Path(other["folder"]).resolve()
    )


def some_events(first: int, rows: int) -> Iterator[pa.RecordBatch]:
    """The events from number `first` on."""
    return customer_events(rows, seed=1, first_row=first, start_ms=_START_MS)


def _bring_in(folder: Path, rows: int) -> None:
    with deployment(folder) as (backend, caller):
        for first in range(0, rows, MILLION):
            some = some_events(first, min(MILLION, rows - first))
            ingest.append(backend.lake, TABLE, some, SAMPLE_SCHEMA, f"batch-{first // MILLION:05d}")
        _name(backend, caller, rows)


def _add_uncompressed(folder: Path, rows: int) -> None:
    with deployment(folder) as (backend, caller):
        each = MILLION // 2
        files = []
        for first in range(0, rows, each):
            files.append(_data(folder) / f"plain-{first // each:05d}.parquet")
            with pq.ParquetWriter(files[-1], SAMPLE_SCHEMA, **_BULKY) as writer:
                batches = some_events(first, min(each, rows - first))
                writer.write_table(pa.Table.from_batches(batches), row_group_size=_GROUP_ROWS)
        _add(backend.lake, [files])
        _name(backend, caller, rows)


def _add_one_group(folder: Path, rows: int) -> None:
    # A row group is written from a whole table: its rows lie on the disk meanwhile, and need no memory.
    spill = folder / "rows.arrow"
    with pa.OSFile(str(spill), "wb") as sink, pa.ipc.new_file(sink, SAMPLE_SCHEMA) as rows_out:
        for batch in some_events(0, rows):
            rows_out.write_batch(batch)
    file = _data(folder) / "one-group.parquet"
    with pa.memory_map(str(spill)) as mapped, pa.ipc.open_file(mapped) as rows_in:
        pq.write_table(rows_in.read_all(), file, row_group_size=rows, **_BULKY)
    spill.unlink()
    with deployment(folder) as (backend, caller):
        _add(backend.lake, [[file]])
        _name(backend, caller, rows)


def _rows_of(size: int) -> int:
    """As many rows as make a file of that size; how large a row is, a small file tells."""
    some = MILLION // 5
    sample = DATA / "sample.parquet"
    sample.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_batches(some_events(0, some)), sample, row_group_size=some, **_BULKY)
    rows = some * size // sample.stat().st_size
    sample.unlink()
    return rows


def _add_tiny(folder: Path, rows: int) -> None:
    with deployment(folder) as (backend, caller):
        data = _data(folder)
        first = data / "tiny-00000.parquet"
        pq.write_table(pa.Table.from_batches(some_events(0, _TINY_ROWS)), first, compression="zstd")
        files = [data / f"tiny-{number:05d}.parquet" for number in range(rows // _TINY_ROWS)]
        for file in files[1:]:
            os.link(first, file)
        _add(backend.lake, [files[start : start + 1000] for start in range(0, len(files), 1000)])
        _name(backend, caller, rows)


def _data(folder: Path) -> Path:
    data = Table(folder, 0).source
    data.mkdir(parents=True, exist_ok=True)
    return data


def _name(backend: Backend, caller: Caller, rows: int) -> None:
    """Make the dataset that stands for the table, and the batch that its rows came in with."""
    now = backend.clock.now_ms()
    with backend.database.writing() as session:
        made = datasets.create(session, caller, {"name": "events"}, now)
        made.id, made.table_name = DATASET, TABLE
        session.flush()
        batch = batches.new(DATASET, caller, now)
        session.add(batch)
        lease = claim_batch(session, batch, "bench", now, 60_000)
    snapshot = scan.open_table(backend.lake, TABLE).current_snapshot
    complete(backend.database, lease, CommittedRows(snapshot, rows, 0, rows, 0), backend.clock.now_ms())


def _add(lake: Lake, commits: Sequence[Sequence[Path]]) -> None:
    """Make the table of files that lie where its data lie."""
    lake.catalog.create_namespace_if_not_exists(TABLE.split(".")[0])
    table = lake.catalog.create_table(
        TABLE, iceberg_schema(SAMPLE_SCHEMA), location=lake.location(TABLE), properties={"format-version": "2"}
    )
    for files in commits:
        table.add_files([file.as_uri() for file in files], check_duplicate_files=False)
