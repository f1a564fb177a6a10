"""How soon the server answers and the command line helps, and what an idle server holds."""

import subprocess
import sys
import time
from typing import Final

from bench.performance import results
from bench.performance.places import empty_folder
from bench.performance.processes import cpu_seconds
from bench.performance.server import environment, idle, serving

_IDLE_SECONDS: Final = 5.0


def measure(rounds: int) -> None:
    """Measure, and keep the figures."""
    samples = []
    for _ in range(rounds):
        with empty_folder("start") as folder:
            with serving(folder) as server:
                first = server.started
                cpu = cpu_seconds(server.pid)
            with serving(folder) as server:
                time.sleep(1)
                before = cpu_seconds(server.pid)
                time.sleep(_IDLE_SECONDS)
                busy = (cpu_seconds(server.pid) - before) / _IDLE_SECONDS
                rss, pss = idle(server)
                samples.append(
                    {"first": first, "again": server.started, "rss": rss, "pss": pss, "busy": busy, "cpu": cpu}
                )
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "offtake", "--help"], check=True, capture_output=True, env=environment())
        samples[-1]["help"] = time.perf_counter() - began
        print(
            f"start: {first:.2f} s ({cpu:.2f} CPU s), again {samples[-1]['again']:.2f} s, idle {rss / 1e6:.0f} MB and "
            f"{busy:.1%} of a core; --help {samples[-1]['help']:.2f} s",
            flush=True,
        )
    results.keep("start", {"samples": samples})
