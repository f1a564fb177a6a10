"""Whether the files of a folder come in and go out with every value as it was.

    python -m bench.corpus FOLDER [--most N] [--keep] [--json FILE]

Each Parquet, NDJSON, JSON, CSV and TSV file below the folder becomes a dataset of a temporary deployment, and is
exported by flows as NDJSON and as Parquet. Both deliveries are compared with the original, value by value, read by
DuckDB and Python's own modules. A file's verdict is `equal`; `documented`, for changes that docs/types.md states;
`refused`, which left nothing behind; or `wrong`. Exits with 1 if any file is wrong.

Memory: a JSON file's text is held whole, all else is streamed; some hundred megabytes a file are well. Disk: about
three times the files.
"""

import argparse
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.corpus import report
from bench.corpus.judging import Verdict, judge, judge_refusal, kind_of
from bench.corpus.pipeline import Imported, Pipeline, pipeline

_AT_ONCE: Final = 25
"""Files whose datasets go out by one flow."""


def files_in(folder: Path, most: int | None = None) -> list[Path]:
    """The files of kinds that come in, sorted by path."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and kind_of(path) is not None)
    return list(found)[:most]


def verdicts_on(files: Sequence[Path], through: Pipeline) -> Iterator[Verdict]:
    """Bring each file in and out, and judge it."""
    for start in range(0, len(files), _AT_ONCE):
        came_in: list[Imported] = []
        for file in files[start : start + _AT_ONCE]:
            found = through.bring_in(file)
            if isinstance(found, Imported):
                came_in.append(found)
            else:
                yield judge_refusal(found)
        deliveries = through.take_out([one.dataset_id for one in came_in]) if came_in else {}
        for one in came_in:
            yield judge(one, deliveries[one.dataset_id])
        through.clear()


def main(arguments: Sequence[str]) -> int:
    """Judge the files of a folder; 1 if any is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.corpus", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--most", type=int, help="judge so many files at most")
    parser.add_argument("--keep", action="store_true", help="keep the deployment, and say where it is")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all verdicts to a file")
    options = parser.parse_args(arguments)
    files = files_in(options.folder, options.most)
    place = Path(tempfile.mkdtemp(prefix="offtake-corpus-"))
    verdicts: list[Verdict] = []
    try:
        with pipeline(place / "data") as through:
            for verdict in verdicts_on(files, through):
                verdicts.append(verdict)
                if verdict.outcome in ("refused", "wrong"):
                    print(report.details(verdict), flush=True)
    finally:
        if not options.keep:
            shutil.rmtree(place, ignore_errors=True)
    print(report.table(verdicts))
    if options.keep:
        print(f"The deployment is in {place}.")
    if options.json:
        report.write_json(verdicts, options.json)
    return int(any(verdict.outcome == "wrong" for verdict in verdicts))


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    sys.exit(main(sys.argv[1:]))
