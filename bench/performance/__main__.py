"""`python -m bench.performance`: measure, print, and write docs/performance.md's table and plot.

    python -m bench.performance [--rows 1,5,20] [--rounds 3] [--only PART,…] [--peers TOOL,…] [--slow-rows 1]
                                [--small OFFTAKE_NAME=VALUE] [--report]

Parts: json-gzip, json-gzip-small, parquet-gzip, parquet-none, levels, members, copy, increment, planning, memory,
growth, start, lake-export, lake-planning, flames. What a part measured is kept in `.bench/results`; the page is made of
the latest of each. Data (3 GB) and the peers' environments (2 GB) are made at the first run, and kept in `.bench`.
"""

import argparse
from collections.abc import Callable
from typing import Final

from bench.performance import copying, data, exports, flames, levels, members, metadata, peers, report, shapes, start
from bench.performance.data import MILLION
from bench.performance.lakes import exports as lake_exports
from bench.performance.lakes import metadata as lake_metadata
from bench.performance.places import alone

COMPARED: Final = ("json-gzip", "json-gzip-small", "parquet-gzip", "parquet-none")
PARTS: Final = (
    *COMPARED,
    "levels",
    "members",
    "copy",
    "increment",
    "planning",
    "memory",
    "growth",
    "start",
    "lake-export",
    "lake-planning",
    "flames",
)
_LARGEST_COPY: Final = 10 * MILLION
_LARGEST_LAKE: Final = 5 * MILLION
_INCREMENTS: Final = 30
_SMALL: Final = "OFFTAKE_JSON_GZIP_LEVEL=5"


def main() -> None:
    """Measure what is asked for, and write the page."""
    asked = _asked()
    if not asked.report:
        with alone():
            for part in asked.only:
                _measure(part, asked)
    print("\n" + report.render_goals())
    report.write()


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.performance", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=_sizes, default=_sizes("1,5,20"), help="millions, with commas")
    parser.add_argument("--rounds", type=int, default=3, help="of 20 million rows and more there is one")
    parser.add_argument("--only", type=_parts, default=list(PARTS), help="parts, with commas")
    parser.add_argument("--peers", type=lambda text: text.split(","), default=[], help="some of the peers only")
    parser.add_argument("--slow-rows", type=float, default=1, help="millions that slow peers are run with, at most")
    parser.add_argument(
        "--small", metavar="NAME=VALUE", default=_SMALL, help="the server's setting for the smaller output"
    )
    parser.add_argument("--report", action="store_true", help="write the page alone")
    asked = parser.parse_args()
    unknown = [tool for tool in asked.peers if tool not in peers.PEER]
    if unknown:
        parser.error(f"no such peer: {', '.join(unknown)}; there are {', '.join(peers.PEER)}")
    return asked


def _measure(part: str, asked: argparse.Namespace) -> None:
    if part in COMPARED:
        _compare(part, asked)
        return
    least, most, rounds = min(asked.rows), max(asked.rows), asked.rounds
    measures: dict[str, Callable[[], None]] = {
        "levels": lambda: levels.measure(least, rounds),
        "members": lambda: members.measure(least, rounds),
        "copy": lambda: copying.measure(min(most, _LARGEST_COPY), rounds),
        "increment": lambda: metadata.increment(_INCREMENTS),
        "planning": lambda: metadata.planning(rounds),
        "memory": lambda: shapes.memory(asked.rows),
        "growth": lambda: shapes.growth(asked.rows, rounds),
        "start": lambda: start.measure(rounds),
        "lake-export": lambda: lake_exports.measure(min(most, _LARGEST_LAKE), rounds),
        "lake-planning": lambda: lake_metadata.measure(rounds),
        "flames": lambda: flames.draw(data.events(least).files[0]),
    }
    measures[part]()


def _compare(part: str, asked: argparse.Namespace) -> None:
    settings: dict[str, str] = {}
    only = asked.peers
    if part == "json-gzip-small":
        name, _, value = asked.small.partition("=")
        settings, only = {name: value}, ["polars", "datafusion"]
    for rows in asked.rows:
        exports.compare(
            part, rows, asked.rounds, slow_rows=round(asked.slow_rows * MILLION), only=only, settings=settings
        )


def _sizes(text: str) -> list[int]:
    return sorted(round(float(one) * MILLION) for one in text.split(","))


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return parts


if __name__ == "__main__":
    main()
