"""Counters, gauges and histograms of this process, in memory. Thread-safe; adding takes about a microsecond."""

import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from offtake.telemetry.definitions import OTHER, Metric

Labels = tuple[str, ...]
MOST_SERIES: Final = 2000
"""Label values of one metric in one process; further ones are counted as `other`. A limit of last resort."""


@dataclass
class Distribution:
    """The values of a histogram. `counts`: how many fell into each bucket; the last one has no upper bound."""

    counts: list[int]
    total: float = 0.0


@dataclass
class Counts:
    """The metrics of a process."""

    _values: dict[Metric, dict[Labels, float]] = field(default_factory=dict)
    _distributions: dict[Metric, dict[Labels, Distribution]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Increase a counter or a gauge; a gauge may also decrease."""
        with self._lock:
            series = self._values.setdefault(metric, {})
            key = _bounded(series, labels)
            series[key] = series.get(key, 0) + by

    def set(self, metric: Metric, *labels: str, to: float) -> None:
        """Set a gauge."""
        with self._lock:
            series = self._values.setdefault(metric, {})
            series[_bounded(series, labels)] = to

    def observe(self, metric: Metric, *labels: str, value: float) -> None:
        """Add a value to a histogram."""
        with self._lock:
            series = self._distributions.setdefault(metric, {})
            key = _bounded(series, labels)
            found = series.get(key)
            if found is None:
                found = series[key] = Distribution([0] * (len(metric.buckets) + 1))
            found.counts[bisect_left(metric.buckets, value)] += 1
            found.total += value

    def values(self, metric: Metric) -> dict[Labels, float]:
        """A copy of the values of a counter or gauge."""
        with self._lock:
            return dict(self._values.get(metric, {}))

    def distributions(self, metric: Metric) -> dict[Labels, Distribution]:
        """A copy of the values of a histogram."""
        with self._lock:
            found = self._distributions.get(metric, {})
            return {labels: Distribution(list(one.counts), one.total) for labels, one in found.items()}


def _bounded(series: Mapping[Labels, object], labels: Labels) -> Labels:
    return labels if labels in series or len(series) < MOST_SERIES else (OTHER,) * len(labels)


COUNTS: Final = Counts()
"""The metrics of this process."""
