"""Size against time: each tool at the levels of gzip that it has, in turns."""

import random
from typing import Any, Final

from bench.performance import peers, results
from bench.performance.data import Table, events
from bench.performance.exports import FORMATS, OURS
from bench.performance.places import empty_folder, size_of
from bench.performance.server import delivering, serving

SETTING: Final = {"json-gzip": "OFFTAKE_JSON_GZIP_LEVEL", "parquet-gzip": "OFFTAKE_PARQUET_GZIP_LEVEL"}
_OWN: Final = (1, 2, 3, 4, 5, 6, 7)
_THEIRS: Final = (1, 3, 6, 9)
_TOOLS: Final[dict[str, dict[str, tuple[int | None, ...]]]] = {
    # DuckDB's writers know no levels.
    "json-gzip": {OURS: _OWN, "polars": _THEIRS, "datafusion": _THEIRS, "duckdb": (None,)},
    "parquet-gzip": {OURS: _OWN, "polars": _THEIRS, "datafusion": _THEIRS, "pyarrow": (1, 6), "duckdb": (None,)},
}


def measure(rows: int, rounds: int) -> None:
    """Time every tool at every level, and keep the figures."""
    table = events(rows)
    for case, tools in _TOOLS.items():
        print(f"levels, {case}, {rows:,} rows", flush=True)
        peers.install([tool for tool in tools if tool != OURS])
        points = [(tool, level) for tool, known in tools.items() for level in known]
        samples: list[dict[str, Any]] = []
        for number in range(rounds):
            for tool, level in random.sample(points, len(points)):
                figures = _ours(case, table, level) if tool == OURS else _peers(tool, case, table, level)
                samples.append({"tool": tool, "level": level, "round": number, **figures})
                print(
                    f"  {tool:<12}{level or '':<4}{figures['wall']:>7.2f} s {figures['bytes'] / 1e6:>7.1f} MB",
                    flush=True,
                )
        versions = {tool: peers.version(tool) for tool in tools if tool != OURS}
        results.keep(f"levels-{case}", {"samples": samples, "versions": versions}, rows)


def _ours(case: str, table: Table, level: int | None) -> dict[str, Any]:
    with serving(table.folder, {SETTING[case]: str(level)}) as server:
        with delivering(server, table, *FORMATS[case]):
            # Starts the worker processes.
            pass
        with delivering(server, table, *FORMATS[case]) as (one, _):
            return dict(vars(one))


def _peers(tool: str, case: str, table: Table, level: int | None) -> dict[str, Any]:
    with empty_folder(tool) as target:
        used = peers.run(tool, case, table.source, target, level)
        return {**vars(used), "bytes": size_of(peers.outputs(target, case))}
