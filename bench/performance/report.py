"""Writes the figures of docs/performance.md, between two marker comments, and the plot next to it."""

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


def render_goals() -> str:
    """The goals as lines of text for a terminal."""
    return "\n".join(f"{_MET[one.met]:<13}{one.work}: {one.goal}: {one.figure}" for one in goals.lines())


def write() -> None:
    """Write the figures into the page, and the plot next to it."""
    page = _PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    _PAGE.write_text(f"{before}{_BEGIN}\n{_render_figures()}\n{_END}{after}", encoding="utf-8")
    _plot()


def _render_figures() -> str:
    table = _table(
        ("Work", "Goal", "Measured", "Met"),
        [(one.work, one.goal, one.figure, _MET[one.met]) for one in goals.lines()],
    )
    return "\n\n".join(
        [
            "",
            table,
            *_describe_machine(),
            *_render_comparisons(),
            *_render_levels(),
            *_render_members(),
            *_render_copies(),
            *_render_lakes(),
            *_render_lake_plans(),
            "",
        ]
    )


def _describe_machine() -> list[str]:
    """One sentence, or none without results: the newest measurement's machine, and the commits of all."""
    found = results.every()
    if not found:
        return []
    newest = max((one["machine"] for one in found), key=lambda machine: str(machine["at"]))
    libraries = ", ".join(f"{name} {version}" for name, version in newest["libraries"].items())
    commits = sorted({str(one["machine"]["commit"]) for one in found})
    machine = (
        f"{newest['cpu']}, {newest['cores']} cores, {newest['memory'] / 2**30:.0f} GiB of memory, {newest['system']}"
    )
    when = f"last measurement at {newest['at']} UTC; Offtake commits {', '.join(commits)}"
    return [f"Measured on {machine}, Python {newest['python']}; {libraries}; {when}."]


def _render_comparisons() -> list[str]:
    found = []
    for case, title in _CASES.items():
        for one in results.latest(case):
            found += [f"### {title}, {millions(one['rows'])} rows", _comparison_table(one), *_comparison_notes(one)]
    return found


def _comparison_table(one: Json) -> str:
    samples = one["samples"]
    tools = sorted({each["tool"] for each in samples} - {FLOOR}, key=lambda tool: _middle(samples, tool, "wall"))
    header = ("Tool", "s", "ratio", "CPU s", "ratio", "rows/s", "output MB", "files", "peak MB: PSS (RSS)")
    rows = [
        (
            _name(tool, one),
            _format_figure(samples, tool, "wall"),
            _format_ratio(samples, tool, "wall"),
            _format_figure(samples, tool, "cpu"),
            _format_ratio(samples, tool, "cpu"),
            f"{one['rows'] / _middle(samples, tool, 'wall'):,.0f}",
            f"{_middle(samples, tool, 'bytes') / 1e6:,.1f}",
            f"{_middle(samples, tool, 'files'):.0f}",
            f"{_middle(samples, tool, 'pss') / 1e6:,.0f} ({_middle(samples, tool, 'rss') / 1e6:,.0f})",
        )
        for tool in tools
    ]
    return _table(header, rows)


def _comparison_notes(one: Json) -> list[str]:
    samples, notes = one["samples"], []
    own = of_tool(samples, OURS, "own")
    if own:
        notes.append(f"The run takes {own.text()} s from start to commit; before that it waits in the queue.")
    floor = [each for each in samples if each["tool"] == FLOOR]
    if floor:
        steps = ", ".join(
            f"{step} {_median([each['steps'][step] for each in floor]):.2f}" for step in floor[0]["steps"]
        )
        seconds = _median([each["cpu"] for each in floor])
        cores = one["machine"]["cores"]
        notes.append(f"The floor: {steps}; sum {seconds:.2f} CPU s, or {seconds / cores:.2f} s on {cores} cores.")
    forms = [f"{_name(tool, one)} ({', '.join(other)})" for tool, other in one["checks"].items() if other]
    if forms:
        notes.append(f"Same rows, but values in another form than the source's: {'; '.join(forms)}.")
    failed = [_name(tool, one) for tool, other in one["checks"].items() if other is None]
    if failed:
        notes.append(f"Failed: {', '.join(failed)}.")
    case = one["part"].removesuffix("-small")
    absent = [peer.name for tool, peer in peers.PEER.items() if case in peer.cases and tool not in one["checks"]]
    if absent:
        notes.append(f"Not measured: {', '.join(absent)}.")
    settings = ", ".join(f"`{name}={value}`" for name, value in one["settings"].items())
    return [" ".join([*notes, *([f"Settings of Offtake: {settings}."] if settings else [])])]


def _render_levels() -> list[str]:
    found = []
    for case in goals.CURVES:
        for one in results.latest(f"levels-{case}"):
            rows = [
                (_name(each.tool, one), str(each.level or ""), f"{each.bytes / 1e6:.1f}", f"{each.seconds:.2f}")
                for each in sorted(goals.level_points(one["samples"]), key=lambda each: each.bytes)
            ]
            found += [
                f"### {_CASES[case]}, by level, {millions(one['rows'])} rows",
                _table(("Tool", "Level", "output MB", "s"), rows),
            ]
    return found


def _render_members() -> list[str]:
    header = ("Level", "One member: CPU s", "MB", "peak MB", "Many members: CPU s", "MB", "peak MB")
    found = []
    for one in results.latest("members"):
        for kind in KINDS:
            rows = []
            for level in sorted({each["level"] for each in one["samples"]}):
                samples = goals.samples_of(one["samples"], kind, level)
                figures = [
                    (
                        _format_figure(samples, members, "cpu"),
                        f"{_middle(samples, members, 'bytes') / 1e6:.1f}",
                        f"{_middle(samples, members, 'peak') / 1e6:.0f}",
                    )
                    for members in MEMBERS
                ]
                rows.append((str(level), *(text for each in figures for text in each)))
            found += [
                f"### One part of gzipped NDJSON, as one gzip member and as many members, {kind}",
                _table(header, rows),
            ]
    return found


def _render_copies() -> list[str]:
    found = []
    for one in results.latest("copy"):
        samples = one["samples"]
        rows = [
            (
                "Offtake" if tool == OURS else tool,
                _format_figure(samples, tool, "wall"),
                _format_figure(samples, tool, "cpu"),
                f"{one['bytes'] / 1e6:,.0f}",
            )
            for tool in copying.TOOLS
        ]
        found += [
            f"### Uncompressed Parquet, copied unchanged, {millions(one['rows'])} rows",
            _table(("Tool", "s", "CPU s", "MB"), rows),
        ]
        own = of_tool(samples, OURS, "own")
        if own:
            found.append(f"The run takes {own.text()} s from start to commit.")
    return found


def _name(tool: str, one: Json) -> str:
    return "Offtake" if tool == OURS else f"{peers.PEER[tool].name} {one['versions'][tool]}"


def _plain_name(tool: str) -> str:
    return "Offtake" if tool == OURS else peers.PEER[tool].name


def _format_figure(samples: Sequence[Json], tool: str, figure: str) -> str:
    found = of_tool(samples, tool, figure)
    return found.text() if found else "—"


def _format_ratio(samples: Sequence[Json], tool: str, figure: str) -> str:
    """A peer's figure divided by Offtake's of the same round; empty for Offtake."""
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
    """Draw the plot with matplotlib, in a separate environment."""
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


def _render_lakes() -> list[str]:
    made = []
    for case, title in (("json", "gzipped NDJSON"), ("parquet", "Parquet, gzip")):
        for one in results.latest(f"lake-export-{case}")[-1:]:
            samples = one["samples"]
            tools = sorted({each["tool"] for each in samples})
            rows = [
                (
                    tool,
                    f"{min(each['wall'] for each in samples if each['tool'] == tool):.2f}",
                    _format_figure(samples, tool, "wall"),
                    _format_figure(samples, tool, "cpu"),
                )
                for tool in tools
            ]
            made += [
                f"### Table in an object store to {title}, {millions(one['rows'])} rows",
                _table(("Files", "shortest s", "s", "CPU s"), rows),
                _describe_load(samples),
            ]
    return made


def _render_lake_plans() -> list[str]:
    found = results.latest("lake-planning")
    if not found:
        return []
    samples = found[-1]["samples"]
    rows = [
        (
            tool,
            f"{min(each['wall'] for each in samples if each['tool'] == tool):.3f}",
            _format_figure(samples, tool, "wall"),
            _format_figure(samples, tool, "cpu"),
            f"{min(each['again'] for each in samples if each['tool'] == tool):.3f}",
            f"{_middle(samples, tool, 'peak') / 1e6:.0f}",
        )
        for tool in sorted({each["tool"] for each in samples})
    ]
    header = ("Plan", "shortest s", "s", "CPU s", "again, shortest s", "peak MB")
    return ["### Planning a table of a REST catalog", _table(header, rows), _describe_load(samples)]


def _describe_load(samples: Sequence[Json]) -> str:
    loads = [each["load"] for each in samples]
    return f"Load average before each run: {min(loads):.1f} to {max(loads):.1f}."
