"""Scales, ticks and shapes of charts as numbers; the templates draw them as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from offtake.flows.deliveries import RunBar

WIDTH: Final = 1000
_HOUR_MS: Final = 3_600_000
_LEAST_WIDTH: Final = 3
_SPARK_WIDTH: Final = 96
_SPARK_HEIGHT: Final = 24
_PAD: Final = 2


@dataclass(frozen=True)
class TimeScale:
    """A stretch of time across the width of a chart; `ticks`: a label for each of its equal columns."""

    start_ms: int
    end_ms: int
    ticks: Sequence[str]

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
    return TimeScale(start, end, [f"{datetime.fromtimestamp(one / 1000, zone):%H:%M}" for one in starts])


def bars(scale: TimeScale, runs: Sequence[RunBar], now_ms: int) -> list[Bar]:
    """The runs as rectangles, each wide enough to be seen."""
    found = []
    for run in runs:
        x, end = scale.at(run.started_ms), scale.at(run.ended_ms or now_ms)
        width = max(_LEAST_WIDTH, end - x)
        found.append(Bar(min(x, WIDTH - width), round(width, 1), look_of(run), run))
    return found


def look_of(run: RunBar) -> str:
    """The class of a run's colour: delivered, nothing new, failed, or live."""
    if run.status == "success":
        return "ok" if run.rows != 0 else "none"
    return "bad" if run.status == "failed" else "live"


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
        shapes.append(
            (round(number * step + step * 0.1, 1), round(height - tall, 1), round(step * 0.8, 1), round(tall, 1))
        )
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
        shapes.append((round(number * step + step * 0.1, 1), round(step * 0.8, 1), pieces))
    return Stacks(shapes, most)


def spark(values: Sequence[int]) -> str:
    """The points of a line through these values, from zero, for a `polyline`; empty with fewer than two values."""
    if len(values) < 2:  # noqa: PLR2004 - a line needs two points
        return ""
    most = max(*values, 1)
    step = (_SPARK_WIDTH - 2 * _PAD) / (len(values) - 1)
    height = _SPARK_HEIGHT - 2 * _PAD
    points = ((_PAD + number * step, _PAD + height * (1 - value / most)) for number, value in enumerate(values))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
