"""What was measured, kept as JSON: the page is made of the latest of each part."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil

from bench.performance.places import REPOSITORY, RESULTS

Json = dict[str, Any]

_OURS: Final = ("pyarrow", "pyiceberg", "arro3-io", "deflate", "isal", "zlib-ng")


def keep(part: str, figures: Json, rows: int | None = None) -> None:
    """Keep what a part measured, in place of what it measured before with as many rows."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    name = part if rows is None else f"{part}-{rows}"
    document = {"part": part, "rows": rows, "machine": _machine(), **figures}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1), encoding="utf-8")


def latest(part: str) -> list[Json]:
    """What the part measured last, by ascending rows."""
    return sorted((one for one in every() if one["part"] == part), key=lambda one: one["rows"] or 0)


def every() -> list[Json]:
    """What all parts measured last."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]


def _machine() -> Json:
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _OURS},
        "commit": _version(),
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
    }


def _version() -> str:
    """The newest commit that changed the code that is measured, and whether it has been changed since."""
    last = _git("log", "-1", "--format=%h", "--", "src") or "unknown"
    return f"{last} with changes" if _git("status", "--porcelain", "--", "src") else last


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
