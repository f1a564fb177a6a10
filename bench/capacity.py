"""What runs and imports leave behind: bytes in the database and in the warehouse, and the memory of idle processes.

python -m bench.capacity [--runs 200]
"""

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psutil

from offtake.engines.local import LocalEngine
from tests.deployment import WITH_MANIFEST, Deployment, deployment, rows
from tests.fake_clock import FakeClock
from tests.servers import await_port, free_port


def used(file: Path) -> int:
    """The bytes in use of an SQLite database."""
    with closing(sqlite3.connect(file)) as connection:
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


def stored(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Measure, and print one figure a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as work, closing(LocalEngine(processes=1)) as engine:
        with deployment(Path(work, "one"), FakeClock(time.time_ns() // 1_000_000), engine, part_bytes=1) as deployed:
            _growth(deployed, runs)
        _memory(Path(work, "served"))


def _growth(deployed: Deployment, runs: int) -> None:
    folder = deployed.backend.settings.data_dir
    store, lake = folder / "offtake.db", folder / "lake"
    dataset = deployed.import_rows("events", rows(0, 1))
    deployed.flow(dataset, params=WITH_MANIFEST)
    deployed.run_due()
    before, lake_before = used(store), stored(lake / "warehouse")
    for number in range(runs):
        deployed.import_rows("events", rows(number + 1, 1))
    imported, lake_after = used(store), stored(lake / "warehouse")
    print(f"{runs} imports of one row: {(imported - before) / runs:.0f} bytes each in the database")
    print(f"{(lake_after - lake_before) / runs:.0f} bytes each in the warehouse")
    deployed.clock.advance(hours=3)
    deployed.run_due()
    parts = used(store)
    print(f"one run of {runs} files: {(parts - imported) / runs:.0f} bytes per file in the database")
    manifest = deployed.manifest_files()[-1].stat().st_size
    print(f"its manifest file: {manifest / runs:.0f} bytes per file")
    for number in range(runs):
        deployed.import_rows("events", rows(10_000 + number, 1))
        deployed.clock.advance(hours=3)
        deployed.run_due()
    per_run = (used(store) - parts - (imported - before)) / runs
    print(f"{runs} runs of one file: {per_run:.0f} bytes each in the database, without their imports")


def _memory(folder: Path) -> None:
    environment = {**os.environ, "OFFTAKE_DATA_DIR": str(folder), "OFFTAKE_MULTI_USER": "false"}
    port = free_port()
    for words in (["serve", "--port", str(port), "--no-worker"], ["worker"]):
        process = subprocess.Popen(
            [sys.executable, "-m", "offtake", *words], env=environment, stdout=subprocess.DEVNULL
        )
        try:
            if words[0] == "serve":
                await_port(port, process)
            time.sleep(20)
            own = psutil.Process(process.pid)
            memory = [one.memory_full_info().pss / 1e6 for one in (own, *own.children(recursive=True))]
            print(f"{' '.join(words[:1])}: {sum(memory):.0f} MB in {len(memory)} processes, idle")
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
