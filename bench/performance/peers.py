"""The tools that are compared with: an environment for each, and their runs as processes of their own."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.performance import processes
from bench.performance.places import PEERS, SCRIPTS
from bench.performance.processes import Used


@dataclass(frozen=True)
class Peer:
    """A tool: its name in prose, its package, and the cases it has, with those that take it long."""

    name: str
    package: str
    cases: frozenset[str]
    slow: frozenset[str] = frozenset()


_JSON: Final = "json-gzip"
_GZIP: Final = "parquet-gzip"
_NONE: Final = "parquet-none"
PEER: Final = {
    "polars": Peer("Polars", "polars", frozenset({_JSON, _GZIP, _NONE})),
    "duckdb": Peer("DuckDB", "duckdb", frozenset({_JSON, _GZIP, _NONE}), frozenset({_JSON})),
    "datafusion": Peer("DataFusion", "datafusion", frozenset({_JSON, _GZIP, _NONE})),
    "pyarrow": Peer("pyarrow", "pyarrow", frozenset({_GZIP, _NONE}), frozenset({_GZIP})),
    "spark": Peer("Spark", "pyspark", frozenset({_JSON, _GZIP, _NONE}), frozenset({_JSON, _GZIP, _NONE})),
    "dlt": Peer("dlt", "dlt", frozenset({_JSON}), frozenset({_JSON})),
}


def for_case(case: str, rows: int, slow_rows: int) -> list[str]:
    """The peers that have the case; those that take long with it, up to so many rows only."""
    return [name for name, peer in PEER.items() if case in peer.cases and (rows <= slow_rows or case not in peer.slow)]


def version(tool: str) -> str:
    """The version of a peer that is pinned."""
    pinned = _pins(tool).read_text(encoding="ascii")
    found = re.search(rf"^{PEER[tool].package}(?:\[[^]]*\])?==(\S+)", pinned, re.MULTILINE)
    return found[1] if found else "?"


def install(tools: list[str]) -> None:
    """Make the tools' environments, where they are not there as pinned."""
    for tool in tools:
        if tool == "spark" and not (shutil.which("java") or os.environ.get("JAVA_HOME")):
            raise SystemExit("Spark needs Java 17 or newer, and there is none: apt-get install openjdk-17-jre-headless")
        python(tool, _pins(tool))


def python(name: str, pins: Path) -> Path:
    """The Python of an environment that holds what is pinned, and nothing else; made when it is not there."""
    home = PEERS / name
    wanted = hashlib.sha256(pins.read_bytes()).hexdigest()
    mark = home / "pins.sha256"
    if not mark.exists() or mark.read_text() != wanted:
        print(f"installing {name} …", flush=True)
        shutil.rmtree(home, ignore_errors=True)
        home.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        pip: list[str | Path] = [
            home / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, "--require-hashes", "-r", pins], check=True)
        mark.write_text(wanted)
    return home / "bin" / "python"


def run(tool: str, case: str, source: Path, target: Path, level: int | None = None) -> Used:
    """Have a peer write a case's output, at a level of gzip if it knows any; raises `ProcessFailedError`."""
    command: list[str | Path] = [PEERS / tool / "bin" / "python", "-P", SCRIPTS / f"{tool}.py", case, source, target]
    command += [] if level is None else [str(level)]
    # Spark would look its own host up, and dlt would tell its makers that it was used.
    quiet = {"SPARK_LOCAL_IP": "127.0.0.1", "RUNTIME__DLTHUB_TELEMETRY": "false"}
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return processes.run(command, kept | quiet)


def outputs(target: Path, case: str) -> list[Path]:
    """The data files that a peer wrote, without its marker files and checksums."""
    endings = (".parquet",) if case != _JSON else (".json", ".gz", ".jsonl")
    found = (path for path in target.rglob("*") if path.is_file() and path.name.endswith(endings))
    return sorted(
        path for path in found if not any(part.startswith(("_", ".")) for part in path.relative_to(target).parts)
    )


def _pins(tool: str) -> Path:
    return SCRIPTS / f"{tool}.txt"
