"""Whole runs against what users could write instead, in turns: time, processors, memory and size of the same rows."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench.performance import checking, peers, results
from bench.performance.data import MILLION, Table, events
from bench.performance.places import empty_folder, size_of
from bench.performance.processes import ProcessFailedError
from bench.performance.server import Server, delivering, environment, parts, serving

OURS: Final = "offtake"
FLOOR: Final = "floor"
FORMATS: Final = {
    "json-gzip": ("JSON", "GZIP"),
    "json-gzip-small": ("JSON", "GZIP"),
    "parquet-gzip": ("PARQUET", "GZIP"),
    "parquet-none": ("PARQUET", "NONE"),
}
_MANY: Final = 20 * MILLION

Sample = dict[str, Any]


def compare(
    case: str, rows: int, rounds: int, *, slow_rows: int, only: Sequence[str] = (), settings: Mapping[str, str] = {}
) -> None:
    """Check the output of every tool, then time them in shuffled turns, and keep the figures.

    `settings`: of our server, where they are not to be the defaults. Twenty million rows and more go once only.
    """
    work = case.removesuffix("-small")
    tools = [one for one in peers.for_case(work, rows, slow_rows) if not only or one in only]
    peers.install(tools)
    table = events(rows)
    print(f"{case}, {rows:,} rows", flush=True)
    with serving(table.folder, settings) as server:
        checks = _checked(work, table, server, tools)
        turns = [tool for tool in (OURS, *tools) if checks[tool] is not None]
        samples: list[Sample] = []
        versions = {tool: peers.version(tool) for tool in tools}
        figures = {"samples": samples, "checks": checks, "versions": versions, "settings": dict(settings)}
        for number in range(1 if rows >= _MANY else rounds):
            for tool in _shuffled([*turns, FLOOR] if work == "json-gzip" else turns):
                samples.append({"tool": tool, "round": number, **_sample(tool, work, table, server)})
                _say(samples[-1])
            results.keep(case, figures, rows)


def _shuffled(tools: list[str]) -> list[str]:
    return random.sample(tools, len(tools))


def _checked(case: str, table: Table, server: Server, tools: list[str]) -> dict[str, list[str] | None]:
    """By tool, in which forms its values differ from the source's; None for a tool that failed.

    It warms everything up as well: the files are in memory then, and our worker processes have started.
    """
    source = checking.held("parquet", table.files)
    with delivering(server, table, *FORMATS[case]) as (_, folder):
        checks: dict[str, list[str] | None] = {
            OURS: checking.differences(source, checking.held(case, parts(folder)), OURS)
        }
    for tool in tools:
        with empty_folder(tool) as target:
            try:
                peers.run(tool, case, table.source, target)
            except ProcessFailedError as error:
                print(f"{tool} failed, and is left out: {error}", flush=True)
                checks[tool] = None
                continue
            output = checking.held(case, peers.outputs(target, case))
            checks[tool] = checking.differences(source, output, tool)
            print(f"  {tool}: the same rows; differing in form: {', '.join(checks[tool] or ['nothing'])}", flush=True)
    return checks


def _sample(tool: str, case: str, table: Table, server: Server) -> Sample:
    if tool == OURS:
        with delivering(server, table, *FORMATS[case]) as (one, _):
            return dict(vars(one))
    if tool == FLOOR:
        return floor_of(table)
    with empty_folder(tool) as target:
        used = peers.run(tool, case, table.source, target)
        files = peers.outputs(target, case)
        return {**vars(used), "bytes": size_of(files), "files": len(files)}


def floor_of(table: Table) -> Sample:
    """The CPU seconds of the unavoidable steps, and their sum."""
    command = [sys.executable, "-m", "bench.performance.floor", str(table.source)]
    began = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment())
    steps = json.loads(done.stdout)
    size = steps.pop("bytes")
    return {"wall": time.perf_counter() - began, "cpu": sum(steps.values()), "steps": steps, "bytes": size}


def _say(sample: Sample) -> None:
    memory = f"{sample['rss'] / 1e6:>7.0f} MB RSS" if "rss" in sample else ""
    times = f"{sample['wall']:>8.2f} s {sample['cpu']:>8.2f} CPU s"
    print(f"  {sample['tool']:<12}{times}{sample['bytes'] / 1e6:>9.1f} MB out {memory}", flush=True)
