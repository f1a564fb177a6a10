"""Runs that read metadata alone: an increment with nothing new, and the planning of many files."""

import json
import subprocess
import sys
from statistics import median
from typing import Any, Final

from bench.performance import results
from bench.performance.data import TABLE, many_files
from bench.performance.server import environment

INCREMENT_FILES: Final = 1000
PLANNED_FILES: Final = 10_000


def increment(times: int) -> None:
    """Have an increment measured that finds nothing new, and keep the figures."""
    table = many_files(INCREMENT_FILES)
    seconds = _run_module("increment", str(table.folder), str(times))
    print(f"increment with nothing new, {INCREMENT_FILES:,} files: {median(seconds) * 1000:.0f} CPU ms", flush=True)
    results.keep("increment", {"files": INCREMENT_FILES, "seconds": seconds})


def planning(rounds: int) -> None:
    """Have planning measured, and keep the figures."""
    table = many_files(PLANNED_FILES)
    samples = []
    for _ in range(rounds):
        samples.append(_run_module("planning", str(table.folder), TABLE))
        assert samples[-1]["files"] == PLANNED_FILES
        print(f"planning {PLANNED_FILES:,} files: {samples[-1]['cpu']:.2f} CPU s, {samples[-1]['peak'] / 1e6:.0f} MB")
    results.keep("planning", {"files": PLANNED_FILES, "samples": samples})


def _run_module(module: str, *arguments: str) -> Any:  # noqa: ANN401 - JSON of either
    command = [sys.executable, "-m", f"bench.performance.{module}", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment())
    return json.loads(done.stdout)
