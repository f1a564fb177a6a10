"""Where a part's time goes: a flame graph for each format, `docs/flames-CASE.svg`, drawn by py-spy.

C and Rust are looked into as far as libraries tell their functions' names.
"""

import subprocess
import sys
from pathlib import Path
from typing import Final

from bench.performance.one_part import CASES
from bench.performance.peers import python
from bench.performance.places import REPOSITORY, empty_folder

_PINS: Final = Path(__file__).with_name("flames.txt")
_RATE: Final = 200


def draw(file: Path) -> None:
    """Write the graphs of a part that is the whole of a Parquet file of the table."""
    spy = python("flames", _PINS).with_name("py-spy")
    for case in CASES:
        with empty_folder("flames") as folder:
            drawn = folder / "flames.svg"
            command: list[str | Path] = [spy, "record", "--native", "--rate", str(_RATE), "--output", drawn, "--"]
            part: list[str | Path] = [sys.executable, "-m", "bench.performance.one_part", case, str(file)]
            subprocess.run([*command, *part], check=True, capture_output=True, cwd=REPOSITORY)
            target = REPOSITORY / "docs" / f"flames-{case}.svg"
            target.write_text(drawn.read_text(encoding="utf-8").replace(str(REPOSITORY), "."), encoding="utf-8")
        print(f"written: {target.relative_to(REPOSITORY)}", flush=True)
