"""Throughput by tool, time and memory by rows, time by size, as SVG.

`python plot.py FILE`, with the figures as JSON on its input.

It is run by the Python of an environment that has matplotlib (`plot.txt`), and imports nothing else of the benchmark.
"""

import json
import sys
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, StrMethodFormatter

TITLES = {"json-gzip": "gzipped NDJSON", "parquet-gzip": "Parquet, gzip"}
COLOURS = {
    "Offtake": "#d1495b",
    "Polars": "#00798c",
    "DuckDB": "#edae49",
    "DataFusion": "#66a182",
    "pyarrow": "#2e4057",
    "Spark": "#8d96a3",
    "dlt": "#a06cd5",
}


def main(path: str, figures: list[dict[str, Any]], levels: list[dict[str, Any]]) -> None:
    """Draw and write."""
    # The same figures give the same bytes.
    mpl.rcParams.update(
        {
            "svg.hashsalt": "offtake",
            "svg.fonttype": "none",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
    drawing, axes = plt.subplots(2, 4, figsize=(16, 6.5), layout="constrained")
    for row, (case, title) in zip(axes, TITLES.items(), strict=True):
        mine = [one for one in figures if one["case"] == case]
        throughput(row[0], title, mine)
        by_rows(row[1], f"{title}: seconds", mine, "wall", 1)
        by_rows(row[2], f"{title}: peak memory, MB", mine, "pss", 1e6)
        curve(row[3], f"{title}: size and time by level", [one for one in levels if one["case"] == case])
    drawing.savefig(path, metadata={"Date": None, "Creator": None})


def curve(axis: Any, title: str, points: list[dict[str, Any]]) -> None:  # noqa: ANN401 - matplotlib's own
    """Lines: seconds and size of each tool at its levels."""
    for tool, colour in COLOURS.items():
        mine = sorted((one["bytes"] / 1e6, one["wall"]) for one in points if one["tool"] == tool)
        if mine:
            axis.plot(*zip(*mine, strict=True), marker="o", color=colour, label=tool)
    axis.set(title=title, xlabel="MB", ylabel="s", yscale="log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.minorticks_off()
    if points:
        axis.legend(frameon=False, fontsize=7)


def throughput(axis: Any, title: str, figures: list[dict[str, Any]]) -> None:  # noqa: ANN401 - matplotlib's own
    """Bars: rows per second of each tool, with the fewest rows, which all were run with."""
    fewest = min((one["rows"] for one in figures), default=0)
    shown = sorted((one for one in figures if one["rows"] == fewest), key=lambda one: float(one["wall"]), reverse=True)
    speeds = [one["rows"] / one["wall"] / 1e6 for one in shown]
    bars = axis.barh([one["tool"] for one in shown], speeds, color=[COLOURS[one["tool"]] for one in shown])
    axis.bar_label(bars, fmt="%.2f", padding=3)
    axis.set_title(f"{title}: million rows per second ({fewest / 1e6:g} M rows)")


def by_rows(axis: Any, title: str, figures: list[dict[str, Any]], figure: str, unit: float) -> None:  # noqa: ANN401 - as above
    """Lines: a figure of each tool by rows."""
    for tool, colour in COLOURS.items():
        points = sorted((one["rows"] / 1e6, one[figure] / unit) for one in figures if one["tool"] == tool)
        if points:
            axis.plot(*zip(*points, strict=True), marker="o", color=colour, label=tool)
    sizes = sorted({one["rows"] / 1e6 for one in figures})
    axis.set(title=title, xlabel="million rows", xscale="log", yscale="log", xticks=sizes)
    axis.set_xticklabels([f"{size:g}" for size in sizes])
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.minorticks_off()
    if figures:
        axis.legend(frameon=False, fontsize=7)


if __name__ == "__main__":
    given = json.load(sys.stdin)
    main(sys.argv[1], given["compared"], given["levels"])
