"""Planning a registered table of a REST catalog in an S3 server, each time in a process of its own.

`python -m bench.performance.lakes.planning ENDPOINT KIND` prints what one process takes: the first plan, and the next
one of the same table, as after another flow's. KIND is `increment`, of the last ten snapshots, or `full`.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import offtake.__main__  # noqa: F401 - as in our processes: hides numpy and pandas from Arrow
from offtake.lake import slicing
from offtake.lake.catalogs.opening import CatalogConfig
from offtake.lake.registered import RegisteredTables
from offtake.lake.scan import ScanPlan, TableScan
from offtake.lake.table_names import RegisteredTable, TableName
from offtake.network.egress import Network
from offtake.settings import Settings

IDENTIFIER: Final = ("bench", "events")
_SNAPSHOTS: Final = 10


def _main(endpoint: str, kind: str) -> None:
    keys = {"s3.access-key-id": "bench", "s3.secret-access-key": "bench", "s3.endpoint": endpoint}
    config = CatalogConfig("1", "bench", "rest", {"uri": endpoint, "token": "x", **keys}, Network())
    tables = RegisteredTables(lambda _id: config)
    uuid = tables.find_uuid("1", IDENTIFIER)
    # What the process does once, such as importing and connecting, is not counted, nor is this table then cached.
    _forget()
    print(json.dumps([_planned(tables, uuid, kind) for _ in range(2)] + [{"peak": _peak()}]))


def _planned(tables: RegisteredTables, uuid: str, kind: str) -> dict[str, Any]:
    began, cpu = time.perf_counter(), time.process_time()
    scan = TableScan(TableName("bench.events"), tables.load(RegisteredTable("1", IDENTIFIER, uuid)))
    plan = _plan(scan, kind)
    scan.schema(plan.snapshot_id)
    settings = Settings()
    parts = slicing.slices(plan.files, settings.part_bytes, settings.part_rows, scan.access)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {"wall": wall, "cpu": cpu, "files": len(plan.files), "parts": len(parts)}


def _plan(scan: TableScan, kind: str) -> ScanPlan:
    snapshots = scan.table.metadata.snapshots
    if kind == "full":
        return scan.full(snapshots[-1].snapshot_id)
    return scan.increment(snapshots[-1 - _SNAPSHOTS].snapshot_id, snapshots[-1].snapshot_id)


def _forget() -> None:
    from offtake.lake import manifest_cache  # noqa: PLC0415 - with its use
    from offtake.lake.catalogs import metadata_cache  # noqa: PLC0415 - as above

    manifest_cache.forget()
    metadata_cache.forget()


def _peak() -> int:
    # The kernel's peak for this process alone; getrusage may include that of the parent process.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2])
