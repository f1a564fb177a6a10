"""What planning a full export takes, in a process that does nothing else.

`python -m bench.performance.planning FOLDER TABLE` prints the processor seconds of planning a table of a data
directory, from opening it to the parts, and the process's peak memory, the interpreter and all it has loaded included.
So it loads no more of the benchmark than this.
"""

import json
import sys
import time
from pathlib import Path

import offtake.__main__  # noqa: F401 - as in our processes: hides numpy and pandas from Arrow
from offtake.lake import scan, slicing
from offtake.lake.catalog import Lake
from offtake.lake.table_names import TableName
from offtake.settings import Settings


def _main(folder: Path, table: TableName) -> None:
    settings = Settings(data_dir=folder)
    lake = Lake(settings.lake_catalog_url, settings.lake_warehouse)
    began, at = time.process_time(), time.perf_counter()
    snapshot = scan.open_table(lake, table).current_snapshot
    assert snapshot is not None
    plan = scan.open_table(lake, table).full(snapshot)
    scan.open_table(lake, table).schema(snapshot)
    parts = slicing.slices(plan.files, settings.part_bytes, settings.part_rows)
    cpu, wall = time.process_time() - began, time.perf_counter() - at
    lake.close()
    print(json.dumps({"files": len(plan.files), "parts": len(parts), "cpu": cpu, "wall": wall, "peak": _peak()}))


def _peak() -> int:
    # The kernel's peak for this process alone; getrusage may include that of the parent process.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


if __name__ == "__main__":
    _main(Path(sys.argv[1]), TableName(sys.argv[2]))
