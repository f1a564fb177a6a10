"""The goals, each with its latest measured figure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from bench.performance import results
from bench.performance.exports import FLOOR, OURS
from bench.performance.members import KINDS
from bench.performance.peers import PEER
from bench.performance.spread import Spread, ratios, spread
from offtake.formats.ndjson import LEVEL

Json = dict[str, Any]

_RIVALS: Final = ("duckdb", "polars", "datafusion", "pyarrow", "spark")
_WITHIN_MEMORY: Final = 0.05
_SMALL_LEVEL: Final = 5
"""That of `json-gzip-small`."""
CURVES: Final = ("json-gzip", "parquet-gzip")
LAKE_PLACES: Final = ("disk", "S3", "S3, 20 ms")
LAKE_PLANS: Final = {"increment, 30 snapshots": 0.5, "increment, 3000 snapshots": 0.5, "full, 10000 files": 1.5}


@dataclass(frozen=True)
class Line:
    """A goal, what was measured, and whether that meets it; None where nothing was measured."""

    work: str
    goal: str
    figure: str
    met: bool | None


@dataclass(frozen=True)
class _Bound:
    """A number that a figure must reach, or must not pass."""

    limit: float
    at_least: bool = True

    def met(self, figure: float) -> bool:
        return figure >= self.limit if self.at_least else figure <= self.limit


def lines() -> list[Line]:
    """Every goal."""
    json = [*_json(), *_small(), *_members(), *_curve()]
    return [*json, *_parquet(), *_copy(), *_metadata(), *_memory(), *_growth(), *_start(), *_lakes(), *_lake_plans()]


def _json() -> list[Line]:
    work = "Parquet lake → `.json.gz`, whole run through the API"
    found = results.latest("json-gzip")
    faster = [("polars", 4), ("duckdb", 10), ("spark", 10), ("dlt", 25)]
    return [
        *(
            _by_size(work, f"≥ {limit} times {PEER[tool].name}", found, _times(tool), _Bound(limit))
            for tool, limit in faster
        ),
        _by_size(work, "output ≤ 1.15 times Polars'", found, _size("polars"), _Bound(1.15, at_least=False)),
        _by_size(work, "≤ 1.25 times the floor", found, _over_floor("wall"), _Bound(1.25, at_least=False)),
        _by_size(
            "The same, from the run's start to its commit",
            "≤ 1.25 times the floor",
            found,
            _over_floor("own"),
            _Bound(1.25, at_least=False),
        ),
    ]


def _small() -> list[Line]:
    work = "The same, output no larger than Polars'"
    found = results.latest("json-gzip-small")
    return [
        _by_size(work, "≥ 1.7 times Polars", found, _times("polars"), _Bound(1.7)),
        _by_size(work, "output ≤ 1 times Polars'", found, _size("polars"), _Bound(1, at_least=False)),
    ]


def _members() -> list[Line]:
    found = results.latest("members")
    samples: list[Json] = found[-1]["samples"] if found else []
    made = []
    for level, limit in ((LEVEL, 1.05), (_SMALL_LEVEL, 1.2)):
        work = f"A part of `.json.gz` as one gzip member, level {level}"
        for figure, goal in (("cpu", limit), ("bytes", 1.0)):
            values = {kind: ratios(samples_of(samples, kind, level), "single", "many", figure) for kind in KINDS}
            known = {kind: value for kind, value in values.items() if value is not None}
            text = "; ".join(f"{kind}: {value.text()}" for kind, value in known.items())
            met = all(_Bound(goal, at_least=False).met(value.middle) for value in known.values()) if known else None
            name = "CPU" if figure == "cpu" else "size"
            made.append(Line(work, f"{name} ≤ {goal:g} times that of many members", text or "—", met))
    return made


def samples_of(samples: Sequence[Json], kind: str, level: int) -> list[Json]:
    """What was measured of rows of a kind at a level, with `tool` for `members`."""
    return [{**one, "tool": one["members"]} for one in samples if (one["kind"], one["level"]) == (kind, level)]


def _curve() -> list[Line]:
    made = []
    for case in CURVES:
        found = results.latest(f"levels-{case}")
        points = level_points(found[-1]["samples"]) if found else []
        before = [
            f"{PEER[one.tool].name} at {f'level {one.level}' if one.level else 'its only level'}"
            for one in ahead(points)
        ]
        theirs = sum(one.tool != OURS for one in points)
        names = f": {', '.join(before)}" if before else ""
        figure = f"{len(before)} of {theirs} peer levels{names}" if points else "—"
        made.append(
            Line(
                f"Output size and time, `{case}`", "no peer ahead at any level", figure, not before if points else None
            )
        )
    return made


@dataclass(frozen=True)
class Point:
    """A tool at a level of gzip, None where it knows none: median seconds and bytes."""

    tool: str
    level: int | None
    seconds: float
    bytes: float


def level_points(samples: list[Json]) -> list[Point]:
    """What tools took at their levels, over all rounds."""
    found = []
    for tool, level in dict.fromkeys((one["tool"], one["level"]) for one in samples):
        mine = [one for one in samples if (one["tool"], one["level"]) == (tool, level)]
        found.append(Point(tool, level, median(one["wall"] for one in mine), median(one["bytes"] for one in mine)))
    return found


def ahead(points: list[Point]) -> list[Point]:
    """The points of peers for which Offtake has no point that is both as fast and as small."""
    ours = [one for one in points if one.tool == OURS]
    return [
        peer
        for peer in points
        if peer.tool != OURS and not any(own.seconds <= peer.seconds and own.bytes <= peer.bytes for own in ours)
    ]


def _parquet() -> list[Line]:
    work = "Parquet lake → `.gz.parquet`"
    found = results.latest("parquet-gzip")
    return [
        _by_size(work, "≥ 5 times the fastest peer", found, lambda one: _times(_fastest(one))(one), _Bound(5)),
        _by_size(
            work,
            "files ≤ 1.1 times that peer's",
            found,
            lambda one: _size(_fastest(one))(one),
            _Bound(1.1, at_least=False),
        ),
    ]


def _copy() -> list[Line]:
    work = "Parquet lake → `.parquet`, files copied unchanged"
    found = results.latest("copy")

    def cpu(one: Json) -> Spread | None:
        return spread(each["cpu"] / one["bytes"] * 1e9 for each in one["samples"] if each["tool"] == OURS)

    return [
        _by_size(work, "≥ 0.8 times `cp`", found, _times("cp"), _Bound(0.8)),
        _by_size(work, "≥ 0.8 times `cp` and `sync`", found, _times("cp and sync"), _Bound(0.8)),
        _by_size(work, "≤ 0.3 CPU s per GB", found, cpu, _Bound(0.3, at_least=False)),
    ]


def _metadata() -> list[Line]:
    increments, plans = results.latest("increment"), results.latest("planning")
    samples = plans[-1]["samples"] if plans else []
    return [
        _line(
            "An increment with nothing new, 1,000 files",
            "≤ 50 ms of CPU",
            spread(seconds * 1000 for one in increments for seconds in one["seconds"]),
            _Bound(50, at_least=False),
            digits=0,
        ),
        _line(
            "Planning 10,000 data files",
            "≤ 1.5 s of CPU",
            spread(one["cpu"] for one in samples),
            _Bound(1.5, at_least=False),
        ),
        _line(
            "Planning 10,000 data files",
            "≤ 200 MB",
            spread(one["peak"] / 1e6 for one in samples),
            _Bound(200, at_least=False),
            digits=0,
        ),
    ]


def _memory() -> list[Line]:
    found = results.latest("memory")
    samples: list[Json] = found[-1]["samples"] if found else []
    made = []
    for case in dict.fromkeys(one["case"] for one in samples) or ("json-gzip", "parquet-gzip"):
        sizes = sorted((one for one in samples if one["case"] == case and one["table"] != "one group"), key=_rows)
        large = [one for one in samples if one["case"] == case and one["table"] == "one group"]
        growing = spread([sizes[-1]["pss"] / sizes[0]["pss"]] if len(sizes) > 1 else [])
        named = f" ({millions(sizes[-1]['rows'])} compared with {millions(sizes[0]['rows'])})" if len(sizes) > 1 else ""
        work = f"Memory of the server and its workers, `{case}`"
        limit = _Bound(512, at_least=False)
        flat = _Bound(1 + _WITHIN_MEMORY, at_least=False)
        made += [
            _line(work, f"flat: within 5 %{named}", growing, flat),
            _line(work, "≤ 512 MB", spread([sizes[-1]["pss"] / 1e6] if sizes else []), limit, digits=0),
            _line(
                work, "≤ 512 MB with a row group of 2 GB", spread(one["pss"] / 1e6 for one in large), limit, digits=0
            ),
        ]
    return made


def _growth() -> list[Line]:
    found = results.latest("growth")
    samples: list[Json] = found[-1]["samples"] if found else []
    made = []
    for case in dict.fromkeys(one["case"] for one in samples) or ("json-gzip", "parquet-gzip"):
        mine = [one for one in samples if one["case"] == case]
        plain = [{**one, "tool": one["rows"], "each": one["own"] / one["rows"]} for one in mine if not one["workers"]]
        sizes = sorted({one["rows"] for one in plain})
        growing = ratios(plain, sizes[-1], sizes[0], "each") if len(sizes) > 1 else None
        named = f" ({millions(sizes[-1])} compared with {millions(sizes[0])})" if len(sizes) > 1 else ""
        crews = [{**one, "tool": one["workers"]} for one in mine if one["workers"]]
        made += [
            _line(f"Time per row, `{case}`", f"within 10 %{named}", growing, _Bound(1.1, at_least=False)),
            _line(
                f"Two workers on two cores, `{case}`", "≥ 1.8 times one worker", ratios(crews, 1, 2, "own"), _Bound(1.8)
            ),
        ]
    hardware = ratios(found[-1]["floors"], 1, 2, "own") if found else None
    if hardware:
        made.append(Line("Two cores, the floor in two processes", "—", f"{hardware.text()} times one process", None))
    return made


def _start() -> list[Line]:
    found = results.latest("start")
    samples: list[Json] = found[-1]["samples"] if found else []
    helped = spread(one["help"] for one in samples if "help" in one)
    serve = "`offtake serve`"
    return [
        _line(serve, "answers within 1.5 s", spread(one["again"] for one in samples), _Bound(1.5, at_least=False)),
        _line(
            serve,
            "first start: answers within 1.5 s",
            spread(one["first"] for one in samples),
            _Bound(1.5, at_least=False),
        ),
        _line(
            serve,
            "idle RSS ≤ 200 MB",
            spread(one["rss"] / 1e6 for one in samples),
            _Bound(200, at_least=False),
            digits=0,
        ),
        _line("`offtake --help`", "≤ 0.3 s", helped, _Bound(0.3, at_least=False)),
    ]


def _times(tool: str) -> Callable[[Json], Spread | None]:
    """A tool's time divided by Offtake's."""
    return lambda one: ratios(one["samples"], tool, OURS, "wall")


def _size(tool: str) -> Callable[[Json], Spread | None]:
    """Offtake's output size divided by a tool's."""
    return lambda one: ratios(one["samples"], OURS, tool, "bytes")


def _over_floor(figure: str) -> Callable[[Json], Spread | None]:
    def ratio(one: Json) -> Spread | None:
        cores = one["machine"]["cores"]
        samples = [{**each, figure: each["cpu"] / cores} if each["tool"] == FLOOR else each for each in one["samples"]]
        return ratios(samples, OURS, FLOOR, figure)

    return ratio


def _fastest(one: Json) -> str:
    times = {tool: ratios(one["samples"], tool, OURS, "wall") for tool in _RIVALS}
    known = {tool: found.middle for tool, found in times.items() if found}
    return min(known, key=lambda tool: known[tool], default="")


def _by_size(work: str, goal: str, found: list[Json], figure: Callable[[Json], Spread | None], bound: _Bound) -> Line:
    """A goal that must be met at every size."""
    values = [(one["rows"], value) for one in found if (value := figure(one)) is not None]
    text = "; ".join(f"{millions(rows)}: {value.text()}" for rows, value in values)
    return Line(work, goal, text or "—", all(bound.met(value.middle) for _, value in values) if values else None)


def _line(work: str, goal: str, value: Spread | None, bound: _Bound, digits: int = 2) -> Line:
    if value is None:
        return Line(work, goal, "—", None)
    return Line(work, goal, value.text(digits), bound.met(value.middle))


def _rows(sample: Json) -> int:
    rows: int = sample["rows"]
    return rows


def millions(rows: int) -> str:
    """`5 M`."""
    return f"{rows / 1e6:g} M"


def _lakes() -> list[Line]:
    made = []
    for case, name, limits in (("json", "`.json.gz`", (1.1, 1.2)), ("parquet", "`.gz.parquet`", (1.4, 1.6))):
        found = results.latest(f"lake-export-{case}")
        for place, limit in zip(LAKE_PLACES[1:], limits, strict=True):
            figure = _lowest(found[-1]["samples"], place, LAKE_PLACES[0]) if found else None
            work = f"Table in an object store ({place}) → {name}"
            made.append(_at_most(work, f"≤ {limit:g} times the same from disk", figure, limit))
    return made


def _lake_plans() -> list[Line]:
    found = results.latest("lake-planning")
    samples: list[Json] = found[-1]["samples"] if found else []
    made = []
    for case, limit in LAKE_PLANS.items():
        of_case = [one for one in samples if one["tool"] == case]
        work = f"Planning a table of a REST catalog: {case}"
        figure = min((one["wall"] for one in of_case), default=None)
        made.append(_at_most(work, f"≤ {limit:g} s", figure, limit))
        if case.startswith("full"):
            peak = max((one["peak"] / 1e6 for one in of_case), default=None)
            made.append(_at_most(work, "≤ 200 MB", peak, 200))
    return made


def _lowest(samples: Sequence[Json], tool: str, other: str) -> float | None:
    """The shortest time of a tool divided by the other's: what else the machine did lengthened the other rounds."""
    times = [[one["wall"] for one in samples if one["tool"] == name] for name in (tool, other)]
    return min(times[0]) / min(times[1]) if all(times) else None


def _at_most(work: str, goal: str, figure: float | None, limit: float) -> Line:
    text = "—" if figure is None else f"{figure:.0f}" if figure >= 100 else f"{figure:.2f}"
    return Line(work, goal, text, None if figure is None else figure <= limit)
