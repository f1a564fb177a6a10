"""Has planning measured: increments with a short and a long history, and a full export of many files."""

import json
import random
import subprocess
import sys
from contextlib import ExitStack
from typing import Any, Final

import psutil

from bench.performance import results
from bench.performance.lakes import history
from bench.performance.lakes.store import serving
from bench.performance.server import environment

SHORT, LONG, FILES = 30, 3000, 10_000
CASES: Final = {
    f"increment, {SHORT} snapshots": (SHORT, 1, "increment"),
    f"increment, {LONG} snapshots": (LONG, 1, "increment"),
    f"full, {FILES} files": (history.APPENDS + FILES // 1000, 1000, "full"),
}
ROUND_TRIPS: Final = {"": 0.0, ", 20 ms": 0.02}


def measure(rounds: int) -> None:
    """Time each case without and with a round trip, and keep the figures."""
    samples: list[dict[str, Any]] = []
    with ExitStack() as stack:
        servers = {
            f"{case}{suffix}": (stack.enter_context(serving(history.table(snapshots, files), seconds)), kind)
            for case, (snapshots, files, kind) in CASES.items()
            for suffix, seconds in ROUND_TRIPS.items()
        }
        for number in range(rounds):
            for name in random.sample(list(servers), len(servers)):
                properties, kind = servers[name]
                load = psutil.getloadavg()[0]
                first, again, process = _run(properties["s3.endpoint"], kind)
                figures = {**first, **process, "again": again["wall"], "load": load}
                samples.append({"tool": name, "round": number, **figures})
                print(
                    f"  {name:<36}{first['wall']:>6.3f} s {first['cpu']:>6.3f} CPU s, again {again['wall']:>6.3f} s, "
                    f"{process['peak'] / 1e6:.0f} MB",
                    flush=True,
                )
    results.keep("lake-planning", {"samples": samples})


def _run(endpoint: str, kind: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "bench.performance.lakes.planning", endpoint, kind]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment())
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found
