"""PyIceberg reading the same table, as its documentation shows: `python -m bench.performance.lakes.peer PROPERTIES`."""

import json
import subprocess
import sys
from typing import Any, Final

import psutil

from offtake.lake.catalogs.opening import CatalogConfig

ROWS_READ: Final = "PyIceberg reads,"


def read_with(config: CatalogConfig) -> dict[str, Any]:
    """The seconds in which PyIceberg reads all rows, in a process that has loaded it."""
    command = [sys.executable, "-m", __name__, json.dumps(dict(config.properties))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _main(properties: dict[str, str]) -> None:
    from time import monotonic  # noqa: PLC0415 - with what is measured

    from pyiceberg.catalog.sql import SqlCatalog  # noqa: PLC0415 - as above

    table = SqlCatalog("bench", **properties).load_table(("bench", "events"))
    began = monotonic()
    rows = sum(batch.num_rows for batch in table.scan().to_arrow_batch_reader())
    wall = monotonic() - began
    cpu = sum(psutil.Process().cpu_times()[:2])
    print(json.dumps({"wall": wall, "cpu": cpu, "rows": rows}))


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
