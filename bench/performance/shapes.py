"""How a run's memory and its time per row change with the table, and its time with the number of workers."""

import json
import random
import subprocess
import sys
from typing import Any, Final

from bench.performance import results
from bench.performance.data import MILLION, Table, events, one_group
from bench.performance.exports import FORMATS
from bench.performance.server import Delivered, delivering, environment, serving

CASES: Final = ("json-gzip", "parquet-gzip")
SMALL: Final = 5 * MILLION
"""The size that memory at the largest one is compared with, at most."""


def memory(sizes: list[int], *, large_group: bool = True) -> None:
    """The peak of one run by a fresh server, for each size and format, and for a single large row group."""
    tables = [(f"{rows}", events(rows)) for rows in _ends([rows for rows in sizes if rows >= SMALL] or sizes)]
    tables += [("one group", one_group())] if large_group else []
    samples = []
    for case in CASES:
        for name, table in tables:
            one = _fresh(table, case)
            samples.append({"case": case, "table": name, "rows": table.rows, **vars(one)})
            print(
                f"memory, {case}, {name}: {one.pss / 1e6:.0f} MB ({one.rss / 1e6:.0f} MB RSS), {one.wall:.1f} s",
                flush=True,
            )
    results.keep("memory", {"samples": samples})


def _fresh(table: Table, case: str) -> Delivered:
    with serving(table.folder) as server, delivering(server, table, *FORMATS[case]) as (one, _):
        return one


def growth(sizes: list[int], rounds: int) -> None:
    """Time per row at the smallest and the largest size, and there with one worker process and two, in turns."""
    samples: list[dict[str, Any]] = []
    floors: list[dict[str, Any]] = []
    for number in range(rounds):
        floors += [{"tool": count, "round": number, "own": _floors(events(min(sizes)), count)} for count in (1, 2)]
        turns = [(rows, 0) for rows in _ends(sizes)]
        turns += [(max(sizes), workers) for workers in (1, 2)]
        for rows, workers in random.sample(turns, len(turns)):
            for case, one in _warm(events(rows), workers).items():
                samples.append({"case": case, "rows": rows, "workers": workers, "round": number, **vars(one)})
                crew = f"{workers} worker(s)" if workers else "default workers"
                print(f"growth, {case}, {rows:,} rows, {crew}: {one.own:.2f} s, {one.cpu:.2f} CPU s", flush=True)
    results.keep("growth", {"samples": samples, "floors": floors})


def _floors(table: Table, count: int) -> float:
    """Seconds for the floor of a table by so many processes, each of which does the whole of it at the same time.

    What this falls short of half with two, is what two of the machine's cores are short of two.
    """
    command = [sys.executable, "-m", "bench.performance.floor", str(table.source)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) for _ in range(count)]
    steps = [json.loads(one.communicate()[0]) for one in running]
    return sum(sum(seconds for name, seconds in one.items() if name != "bytes") for one in steps) / count / count


def _warm(table: Table, workers: int) -> dict[str, Delivered]:
    """A run of each case by a server whose worker processes have started, on a table that is in memory."""
    settings = {"OFFTAKE_EXPORT_PROCESSES": str(workers)} if workers else {}
    found = {}
    with serving(table.folder, settings) as server:
        with delivering(server, table, *FORMATS[CASES[0]]):
            pass
        for case in CASES:
            with delivering(server, table, *FORMATS[case]) as (one, _):
                found[case] = one
    return found


def _ends(sizes: list[int]) -> list[int]:
    return sorted({min(sizes), max(sizes)})
