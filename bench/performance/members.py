"""JSON files of one gzip member and of many, at every level: a whole part in a process of its own, in turns."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from bench.performance import results
from bench.performance.data import MILLION, events
from bench.performance.places import REPOSITORY
from bench.performance.wide import wide_file
from offtake.formats.gzip_stream import MEMBERS

KINDS: Final = ("events", "wide rows")
_CASE: Final = "json-gzip"
_LEVELS: Final = range(1, 10)
_WIDE_ROWS: Final = MILLION // 2


def measure(rows: int, rounds: int) -> None:
    """Time a part of the events and one of half a million wide rows, and keep the figures."""
    files = dict(zip(KINDS, (events(rows).files, [wide_file(_WIDE_ROWS)]), strict=True))
    points = [(kind, level, members) for kind in files for level in _LEVELS for members in MEMBERS]
    samples: list[dict[str, Any]] = []
    for number in range(rounds):
        for kind, level, members in random.sample(points, len(points)):
            one = _part(files[kind], level, members)
            samples.append({"kind": kind, "level": level, "members": members, "round": number, **one})
            print(f"  {kind:<10}{level} {members:<7}{one['cpu']:>7.2f} CPU s {one['bytes'] / 1e6:>7.1f} MB", flush=True)
    results.keep("members", {"samples": samples}, rows)


def _part(files: list[Path], level: int, members: str) -> dict[str, Any]:
    """Processor seconds, bytes and peak memory of one part."""
    options = ["--level", str(level), "--members", members]
    command = [sys.executable, "-m", "bench.performance.one_part", _CASE, *map(str, files), *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=REPOSITORY)
    used: dict[str, Any] = json.loads(done.stdout)
    return used
