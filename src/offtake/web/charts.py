"""Scales, ticks and shapes of charts as numbers; the templates draw them as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from offtake.flows.deliveries import RunBar

WIDTH: Final = 1000
_HOUR_MS: Final = 3_600_000
_LEAST_WIDTH: Final = 6
_GAP: Final = 2
_LEAST_SLOTS: Final = 30
_WIDEST_BAR: Final = 45
_SHOWN_TICKS: Final = 8
_SPARK_WIDTH: Final = 96
_SPARK_HEIGHT: Final = 24
_PAD: Final = 2
_TICK: Final = 6.0


@dataclass(frozen=True)
class TimeScale:
    """A stretch of time across the width of a chart; `ticks`: a label for each of its equal columns.

    `zone`: the name of the labels' time zone.
    """

    start_ms: int
    end_ms: int
    ticks: Sequence[str]
    zone: str

    def at(self, epoch_ms: int) -> float:
        """The place of an instant, within the chart."""
        share = (epoch_ms - self.start_ms) / (self.end_ms - self.start_ms)
        return round(min(max(share, 0.0), 1.0) * WIDTH, 1)


@dataclass(frozen=True)
class Bar:
    """A rectangle of a chart, with the run that it shows; `look`: the class of its colour."""

    x: float
    width: float
    look: str
    run: RunBar


def last_day(now_ms: int, zone: tzinfo) -> TimeScale:
    """The 24 hours until the next full hour in the zone, in columns of three hours."""
    local = datetime.fromtimestamp(now_ms / 1000, zone)
    past_hour = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    end = now_ms - round(past_hour.total_seconds() * 1000) + _HOUR_MS
    start = end - 24 * _HOUR_MS
    starts = (start + hours * _HOUR_MS for hours in range(0, 24, 3))
    ticks = [f"{datetime.fromtimestamp(one / 1000, zone):%H:%M}" for one in starts]
    return TimeScale(start, end, ticks, local.tzname() or "")


def bars(scale: TimeScale, runs: Sequence[RunBar], now_ms: int) -> list[Bar]:
    """The runs, oldest first, as rectangles that are wide enough to be seen and do not overlap.

    A run of a few seconds is wider than its time: the next ones move to the right, and at the end of the chart to the
    left.
    """
    least = min(_LEAST_WIDTH, 0.75 * WIDTH / max(1, len(runs)))
    gap = min(_GAP, 0.25 * WIDTH / max(1, len(runs)))
    spans, free = [], 0.0
    for run in sorted(runs, key=lambda one: one.started_ms):
        x = max(free, scale.at(run.started_ms))
        end = max(x + least, scale.at(run.ended_ms or now_ms))
        spans.append((x, end, run))
        free = end + gap
    found, limit = [], float(WIDTH)
    for x, end, run in reversed(spans):
        right = min(end, limit)
        left = max(0.0, min(x, right - least))
        found.append(Bar(round(left, 1), round(right - left, 1), look_of(run), run))
        limit = left - gap
    return found[::-1]


def look_of(run: RunBar) -> str:
    """The class of a run's colour: delivered, nothing new, failed, waiting, or live."""
    if run.status == "success":
        return "ok" if run.rows != 0 else "none"
    return "bad" if run.status == "failed" else "warn" if run.status == "waiting" and run.waits else "live"


@dataclass(frozen=True)
class RunColumns:
    """The rows of runs as bars, oldest at the left, and the largest number. A failed run without rows is a tick."""

    bars: Sequence[tuple[Bar, float, float]]
    most: int


def run_columns(runs: Sequence[RunBar], height: int = 80) -> RunColumns:
    """Each ended run as (bar, y, height); backfills have a colour of their own."""
    most = max((*(run.rows or 0 for run in runs), 1))
    step = WIDTH / max(len(runs), _LEAST_SLOTS)
    found = []
    for number, run in enumerate(runs):
        look = look_of(run)
        look = "accent" if look == "ok" and run.trigger != "backfill" else "backfill" if look == "ok" else look
        tall = max(_TICK if look == "bad" else 2.0, height * (run.rows or 0) / most)
        bar = Bar(round(number * step + step * 0.1, 1), round(step * 0.8, 1), look, run)
        found.append((bar, round(height - tall, 1), round(tall, 1)))
    return RunColumns(found, most)


def day_ticks(labels: Sequence[str]) -> list[str]:
    """The labels of a chart's columns, of which about eight are kept and the others are empty."""
    every = -(-len(labels) // _SHOWN_TICKS)
    last = len(labels) - 1
    return [label if (last - number) % every == 0 else "" for number, label in enumerate(labels)]


@dataclass(frozen=True)
class Columns:
    """A bar chart from zero: (x, y, width, height) of each value, and the largest value."""

    shapes: Sequence[tuple[float, float, float, float]]
    most: int


def columns(values: Sequence[int], height: int = 80) -> Columns:
    """The values as bars across the width of a chart, from zero; a value above zero is always visible."""
    most = max((*values, 1))
    step = WIDTH / max(len(values), 1)
    shapes = []
    for number, value in enumerate(values):
        tall = 0.0 if value == 0 else max(1.5, height * value / most)
        x, width = _column(number, step)
        shapes.append((x, round(height - tall, 1), width, round(tall, 1)))
    return Columns(shapes, most)


@dataclass(frozen=True)
class Stacks:
    """Stacked bars from zero: for each, its place and width, and (y, height) of each part; and the largest sum."""

    shapes: Sequence[tuple[float, float, Sequence[tuple[float, float]]]]
    most: int


def stacks(values: Sequence[Sequence[int]], height: int = 80) -> Stacks:
    """The parts of each value above each other, across the width of a chart."""
    most = max((sum(parts) for parts in values), default=0) or 1
    step = WIDTH / max(len(values), 1)
    shapes = []
    for number, parts in enumerate(values):
        top, pieces = float(height), []
        for part in parts:
            tall = height * part / most
            top -= tall
            pieces.append((round(top, 1), round(tall, 1)))
        x, width = _column(number, step)
        shapes.append((x, width, pieces))
    return Stacks(shapes, most)


def _column(number: int, step: float) -> tuple[float, float]:
    """The place and the width of a bar in the middle of its column."""
    width = min(step * 0.8, _WIDEST_BAR)
    return round((number + 0.5) * step - width / 2, 1), round(width, 1)


def spark(values: Sequence[int]) -> str:
    """The points of a line through these values, from zero, for a `polyline`; empty with fewer than two values."""
    if len(values) < 2:  # noqa: PLR2004 - a line needs two points
        return ""
    most = max(*values, 1)
    step = (_SPARK_WIDTH - 2 * _PAD) / (len(values) - 1)
    height = _SPARK_HEIGHT - 2 * _PAD
    points = ((_PAD + number * step, _PAD + height * (1 - value / most)) for number, value in enumerate(values))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
