"""What planning a full export of ten thousand data files takes, in a process of its own.

`python -m bench.performance.planning FOLDER` prints the processor seconds of planning the table in a data directory,
from opening it to the parts, and the process's peak memory, the interpreter and all it has loaded included.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from bench.performance import results
from bench.performance.data import TABLE, many_files
from bench.performance.server import environment
from offtake.lake import reading, scan
from offtake.lake.catalog import Lake
from offtake.settings import Settings

FILES: Final = 10_000


def measure(rounds: int) -> None:
    """Have it measured, and keep the figures."""
    table = many_files(FILES)
    command = [sys.executable, "-m", "bench.performance.planning", str(table.folder)]
    samples = []
    for _ in range(rounds):
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment())
        samples.append(json.loads(done.stdout))
        print(f"planning {FILES:,} files: {samples[-1]['cpu']:.2f} CPU s, {samples[-1]['peak'] / 1e6:.0f} MB")
    results.keep("planning", {"files": FILES, "samples": samples})


def _main(folder: Path) -> None:
    settings = Settings(data_dir=folder)
    lake = Lake(settings.lake_catalog_url, settings.lake_warehouse)
    began, at = time.process_time(), time.perf_counter()
    snapshot = scan.current_snapshot(lake, TABLE)
    assert snapshot is not None
    plan = scan.plan_full(lake, TABLE, snapshot)
    reading.table_schema(lake, TABLE, snapshot)
    parts = reading.slices(plan.files, settings.part_bytes, settings.part_rows)
    cpu, wall = time.process_time() - began, time.perf_counter() - at
    assert len(plan.files) == FILES
    assert parts
    lake.close()
    print(json.dumps({"cpu": cpu, "wall": wall, "peak": _peak()}))


def _peak() -> int:
    # The kernel's own peak of this process alone; getrusage may tell that of whoever started it.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
