"""Files copied unchanged: a run over uncompressed Parquet, compared with `cp` of the same files."""

import random
from typing import Any, Final

from bench.performance import processes, results
from bench.performance.data import uncompressed
from bench.performance.exports import OURS
from bench.performance.places import empty_folder, size_of
from bench.performance.server import delivering, serving

_SHELL: Final = {
    "cp": ("sh", "-c", 'cp "$0"/*.parquet "$1"'),
    # What we deliver is on the disk before it becomes visible; `cp` leaves that to the system.
    "cp and sync": ("sh", "-c", 'cp "$0"/*.parquet "$1" && sync "$1"/*.parquet'),
}
TOOLS: Final = (*_SHELL, OURS)


def measure(rows: int, rounds: int) -> None:
    """Time both, and keep the figures."""
    table = uncompressed(rows)
    size = size_of(table.files)
    print(f"copy, {rows:,} rows, {size / 1e9:.2f} GB without compression", flush=True)
    samples: list[dict[str, Any]] = []
    with serving(table.folder) as server:
        with delivering(server, table, "PARQUET", "NONE"):
            pass
        for number in range(rounds):
            for tool in random.sample(TOOLS, len(TOOLS)):
                if tool == OURS:
                    with delivering(server, table, "PARQUET", "NONE") as (one, _):
                        figures = dict(vars(one))
                else:
                    with empty_folder("cp") as target:
                        figures = vars(processes.run([*_SHELL[tool], table.source, target])) | {"bytes": size}
                samples.append({"tool": tool, "round": number, **figures})
                speed = figures["bytes"] / figures["wall"] / 1e6
                print(
                    f"  {tool:<12}{figures['wall']:>7.2f} s {figures['cpu']:>7.2f} CPU s {speed:>7.0f} MB/s", flush=True
                )
    results.keep("copy", {"samples": samples, "bytes": size}, rows)
