"""The page docs/performance.md: its figures between two marks, and its plot."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench.performance import copying, goals, peers, results
from bench.performance.exports import FLOOR, OURS
from bench.performance.goals import millions
from bench.performance.members import KINDS
from bench.performance.places import REPOSITORY
from bench.performance.spread import of_tool, ratios
from offtake.formats.gzip_stream import MEMBERS

Json = dict[str, Any]

_PAGE: Final = REPOSITORY / "docs" / "performance.md"
_PLOT: Final = REPOSITORY / "docs" / "performance.svg"
_BEGIN: Final = "<!-- figures: begin; written by python -m bench.performance -->"
_END: Final = "<!-- figures: end -->"
_CASES: Final = {
    "json-gzip": "Gzipped NDJSON",
    "json-gzip-small": "Gzipped NDJSON, no larger than Polars'",
    "parquet-gzip": "Parquet, gzip",
    "parquet-none": "Parquet without compression, from zstd",
}
_MET: Final = {True: "yes", False: "no", None: ""}


def goals_text() -> str:
    """The goals as a terminal shows them."""
    return "\n".join(f"{_MET[one.met]:<13}{one.work}: {one.goal}: {one.figure}" for one in goals.lines())


def write() -> None:
    """Write the figures into the page, and the plot next to it."""
    page = _PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    _PAGE.write_text(f"{before}{_BEGIN}\n{_figures()}\n{_END}{after}", encoding="utf-8")
    _plot()


def _figures() -> str:
    table = _table(
        ("Work", "Goal", "Measured", "Met"),
        [(one.work, one.goal, one.figure, _MET[one.met]) for one in goals.lines()],
    )
    return "\n\n".join(["", table, *_machines(), *_compared(), *_levels(), *_members(), *_copies(), ""])


def _machines() -> list[str]:
    """On what it was measured: a sentence for all parts, of the newest."""
    found = results.every()
    if not found:
        return []
    newest = max((one["machine"] for one in found), key=lambda machine: str(machine["at"]))
    libraries = ", ".join(f"{name} {version}" for name, version in newest["libraries"].items())
    commits = sorted({str(one["machine"]["commit"]) for one in found})
    machine = (
        f"{newest['cpu']}, {newest['cores']} cores, {newest['memory'] / 2**30:.0f} GiB of memory, {newest['system']}"
    )
    when = f"up to {newest['at']} UTC, Offtake at {', '.join(commits)}"
    return [f"Measured on {machine}, Python {newest['python']}; {libraries}; {when}."]


def _compared() -> list[str]:
    found = []
    for case, title in _CASES.items():
        for one in results.latest(case):
            found += [f"### {title}, {millions(one['rows'])} rows", _tools(one), *_notes(one)]
    return found


def _tools(one: Json) -> str:
    samples = one["samples"]
    tools = sorted({each["tool"] for each in samples} - {FLOOR}, key=lambda tool: _middle(samples, tool, "wall"))
    header = ("Tool", "s", "times ours", "CPU s", "times ours", "rows/s", "MB out", "files", "peak MB (RSS)")
    rows = [
        (
            _name(tool, one),
            _text(samples, tool, "wall"),
            _times(samples, tool, "wall"),
            _text(samples, tool, "cpu"),
            _times(samples, tool, "cpu"),
            f"{one['rows'] / _middle(samples, tool, 'wall'):,.0f}",
            f"{_middle(samples, tool, 'bytes') / 1e6:,.1f}",
            f"{_middle(samples, tool, 'files'):.0f}",
            f"{_middle(samples, tool, 'pss') / 1e6:,.0f} ({_middle(samples, tool, 'rss') / 1e6:,.0f})",
        )
        for tool in tools
    ]
    return _table(header, rows)


def _notes(one: Json) -> list[str]:
    samples, notes = one["samples"], []
    own = of_tool(samples, OURS, "own")
    if own:
        notes.append(f"The run itself, from its start to its commit: {own.text()} s; the rest is waiting to be begun.")
    floor = [each for each in samples if each["tool"] == FLOOR]
    if floor:
        steps = ", ".join(
            f"{step} {_median([each['steps'][step] for each in floor]):.2f}" for step in floor[0]["steps"]
        )
        seconds = _median([each["cpu"] for each in floor])
        cores = one["machine"]["cores"]
        notes.append(f"The floor: {steps}, together {seconds:.2f} CPU s, {seconds / cores:.2f} s on {cores} cores.")
    forms = [f"{_name(tool, one)} ({', '.join(other)})" for tool, other in one["checks"].items() if other]
    if forms:
        notes.append(f"Same rows, other forms than the source's: {'; '.join(forms)}.")
    failed = [_name(tool, one) for tool, other in one["checks"].items() if other is None]
    if failed:
        notes.append(f"Failed: {', '.join(failed)}.")
    case = one["part"].removesuffix("-small")
    absent = [peer.name for tool, peer in peers.PEER.items() if case in peer.cases and tool not in one["checks"]]
    if absent:
        notes.append(f"Not run here: {', '.join(absent)}.")
    settings = ", ".join(f"`{name}={value}`" for name, value in one["settings"].items())
    return [" ".join([*notes, *([f"Offtake's settings: {settings}."] if settings else [])])]


def _levels() -> list[str]:
    found = []
    for case in goals.CURVES:
        for one in results.latest(f"levels-{case}"):
            rows = [
                (_name(each.tool, one), str(each.level or ""), f"{each.bytes / 1e6:.1f}", f"{each.seconds:.2f}")
                for each in sorted(goals.level_points(one["samples"]), key=lambda each: each.bytes)
            ]
            found += [
                f"### {_CASES[case]}, by level, {millions(one['rows'])} rows",
                _table(("Tool", "Level", "MB out", "s"), rows),
            ]
    return found


def _members() -> list[str]:
    header = ("Level", "One member: CPU s", "MB", "peak MB", "Many: CPU s", "MB", "peak MB")
    found = []
    for one in results.latest("members"):
        for kind in KINDS:
            rows = []
            for level in sorted({each["level"] for each in one["samples"]}):
                samples = goals.samples_of(one["samples"], kind, level)
                figures = [
                    (
                        _text(samples, members, "cpu"),
                        f"{_middle(samples, members, 'bytes') / 1e6:.1f}",
                        f"{_middle(samples, members, 'peak') / 1e6:.0f}",
                    )
                    for members in MEMBERS
                ]
                rows.append((str(level), *(text for each in figures for text in each)))
            found += [f"### A part of gzipped NDJSON as one gzip member and as many, {kind}", _table(header, rows)]
    return found


def _copies() -> list[str]:
    found = []
    for one in results.latest("copy"):
        samples = one["samples"]
        rows = [
            (
                "Offtake" if tool == OURS else tool,
                _text(samples, tool, "wall"),
                _text(samples, tool, "cpu"),
                f"{one['bytes'] / 1e6:,.0f}",
            )
            for tool in copying.TOOLS
        ]
        found += [
            f"### Uncompressed Parquet as it stands, {millions(one['rows'])} rows",
            _table(("Tool", "s", "CPU s", "MB"), rows),
        ]
        own = of_tool(samples, OURS, "own")
        if own:
            found.append(f"The run itself, from its start to its commit: {own.text()} s.")
    return found


def _name(tool: str, one: Json) -> str:
    return "Offtake" if tool == OURS else f"{peers.PEER[tool].name} {one['versions'][tool]}"


def _plain_name(tool: str) -> str:
    return "Offtake" if tool == OURS else peers.PEER[tool].name


def _text(samples: Sequence[Json], tool: str, figure: str) -> str:
    found = of_tool(samples, tool, figure)
    return found.text() if found else "—"


def _times(samples: Sequence[Json], tool: str, figure: str) -> str:
    """How many times ours a peer's figure is."""
    found = ratios(samples, tool, OURS, figure)
    return found.text() if found and tool != OURS else ""


def _middle(samples: Sequence[Json], tool: str, figure: str) -> float:
    found = of_tool(samples, tool, figure)
    return found.middle if found else 0.0


def _median(figures: list[float]) -> float:
    return sorted(figures)[len(figures) // 2]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows))


def _plot() -> None:
    """Draw it by matplotlib, in an environment of its own."""
    drawn = []
    for case in ("json-gzip", "parquet-gzip"):
        for one in results.latest(case):
            for tool in sorted({each["tool"] for each in one["samples"]} - {FLOOR}):
                figures = {name: _middle(one["samples"], tool, name) for name in ("wall", "pss")}
                drawn.append({"case": case, "rows": one["rows"], "tool": _plain_name(tool), **figures})
    curves = [
        {"case": case, "tool": _plain_name(each.tool), "wall": each.seconds, "bytes": each.bytes}
        for case in goals.CURVES
        for one in results.latest(f"levels-{case}")
        for each in goals.level_points(one["samples"])
    ]
    if not drawn:
        return
    script = Path(__file__).with_name("plot.py")
    python = peers.python("plot", script.with_suffix(".txt"))
    subprocess.run(
        [python, "-P", script, _PLOT], input=json.dumps({"compared": drawn, "levels": curves}), text=True, check=True
    )
