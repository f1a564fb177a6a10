"""The export of a registered table whose files are in a folder, in an S3 server, and in one with a round trip of 20 ms.

Measured are the parts alone, by two worker processes that have been started: planning, the manifest and the commit are
the same wherever the files are. A peer reads the same bucket in a process of its own, and writes what it can.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final

import psutil
from pyiceberg.table import Table

from bench.performance import processes, results
from bench.performance.lakes import tables
from bench.performance.lakes.peer import ROWS_READ, read_with
from bench.performance.lakes.store import serving
from bench.performance.lakes.tables import IDENTIFIER, LakeTable
from bench.performance.places import empty_folder, size_of
from offtake.destinations import data_landing_zone, schema
from offtake.destinations.base import SandboxLocation
from offtake.destinations.landing_zone.folder import FolderZones
from offtake.engines.local import LocalEngine
from offtake.exporting.part import Intent, PartTask
from offtake.exporting.target import DeliveryTarget
from offtake.lake import slicing
from offtake.lake.catalogs.opening import CatalogConfig, open_catalog
from offtake.lake.scan import TableScan
from offtake.lake.table_names import TableName
from offtake.network.egress import Network
from offtake.settings import Settings

PLACES: Final = {"disk": None, "S3": 0.0, "S3, 20 ms": 0.02}
CASES: Final = {"json": ("JSON", "GZIP"), "parquet": ("PARQUET", "GZIP")}
PROCESSES: Final = 2


class _Never:
    """A cancellation token that never stops."""

    def cancelled(self) -> bool:
        return False

    def lease_expires_at(self) -> float:
        return monotonic() + 1000


def measure(rows: int, rounds: int) -> None:
    """Time each case at each place in shuffled order, and keep the figures."""
    with ExitStack() as stack:
        catalogs = {name: stack.enter_context(_place(rows, seconds)) for name, seconds in PLACES.items()}
        engine = LocalEngine(PROCESSES)
        stack.callback(engine.close)
        for case in CASES:
            _export(engine, catalogs["disk"], case)
            samples: list[dict[str, Any]] = []
            print(f"lake-export {case}, {rows:,} rows", flush=True)
            runs: dict[str, Callable[[], dict[str, Any]]] = {
                name: partial(_export, engine, config, case) for name, config in catalogs.items()
            }
            if case == "json":
                runs |= {f"{ROWS_READ} {name}": partial(read_with, catalogs[name]) for name in PLACES}
            for number in range(rounds):
                for name in random.sample(list(runs), len(runs)):
                    load = psutil.getloadavg()[0]
                    samples.append({"tool": name, "round": number, "load": load, **runs[name]()})
                    print(
                        f"  {name:<24}{samples[-1]['wall']:>7.2f} s  {samples[-1]['cpu']:>6.2f} CPU s  load {load:.1f}",
                        flush=True,
                    )
            results.keep(f"lake-export-{case}", {"samples": samples}, rows)


@contextmanager
def _place(rows: int, seconds: float | None) -> Iterator[CatalogConfig]:
    table: LakeTable = tables.events(rows, in_bucket=seconds is not None)
    if seconds is None:
        yield _config(table.catalog() | {"warehouse": str(table.folder)})
        return
    with serving(table.folder, seconds) as properties:
        yield _config(table.catalog() | properties)


def _config(properties: dict[str, str]) -> CatalogConfig:
    return CatalogConfig("bench", "bench", "sql", properties, Network())


def _export(engine: LocalEngine, config: CatalogConfig, case: str) -> dict[str, Any]:
    with empty_folder("lake") as folder:
        tasks = _tasks(open_catalog(config).load(IDENTIFIER), _target(folder, case))
        before, began = _cpu(), monotonic()
        written = list(engine.run(tasks, _Never(), _unrecorded))
        wall, cpu = monotonic() - began, _cpu() - before
        assert sum(one.rows for one in written) == sum(one.rows for task in tasks for one in task.slices)
        return {"wall": wall, "cpu": cpu, "bytes": size_of([one for one in folder.rglob("*.*") if one.is_file()])}


def _tasks(table: Table, target: DeliveryTarget) -> list[PartTask]:
    found = TableScan(TableName("bench.events"), table)
    snapshot = found.current_snapshot
    assert snapshot is not None
    settings = Settings()
    parts = slicing.slices(found.full(snapshot).files, settings.part_bytes, settings.part_rows, found.access)
    schema_of = found.schema(snapshot)
    return [
        PartTask(number, f"out/part-{number}", tuple(part), schema_of, target, again=False, access=found.access)
        for number, part in enumerate(parts)
    ]


def _target(folder: Path, case: str) -> DeliveryTarget:
    destination = data_landing_zone.DESTINATION
    file_type, compression = CASES[case]
    params = {"datasetFileType": file_type, "compression": compression, "path": "out"}
    zones = SandboxLocation("prod", FolderZones(folder))
    return DeliveryTarget(destination.connection_spec_id, None, schema.parse_target_params(destination, params), zones)


def _unrecorded(_intent: Intent) -> None:
    """No store."""


def _cpu() -> float:
    """The processor seconds of this process and its children, the stores' servers included."""
    return sum(sum(psutil.Process(one).cpu_times()[:2]) for one in processes.family(psutil.Process().pid))
