"""Reading `/metrics` as Prometheus reads it."""

import asyncio
from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from offtake.metrics.page import MetricsPage

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Series:
    """Each value by name and labels; none is there twice."""
    found: Series = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def scraped(page: MetricsPage) -> Series:
    return parsed(asyncio.run(page.render()).decode())


def value(series: Series, name: str, **labels: Any) -> float:
    return series[name, tuple(sorted(labels.items()))]


def total(series: Series, name: str, **labels: str) -> float:
    """The sum over all labels that are not given."""
    return sum(its for (one, its_labels), its in series.items() if one == name and _matches(dict(its_labels), labels))


def _matches(its: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(its.get(key) == label for key, label in wanted.items())
