"""Values as Prometheus's text format. The library for it is loaded with the first page, not at the start."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from offtake.telemetry.counts import Distribution, Labels
from offtake.telemetry.definitions import METRICS, Metric

if TYPE_CHECKING:
    from prometheus_client import Metric as Family

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
Values = Mapping[Metric, Mapping[Labels, float]]
Distributions = Mapping[Metric, Mapping[Labels, Distribution]]


def render(values: Values, distributions: Distributions) -> bytes:
    """All metrics, in the order of their definitions, and the usual ones of the process (on Linux)."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - see above
    from prometheus_client.process_collector import ProcessCollector  # noqa: PLC0415 - see above

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(values, distributions))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Collected:
    """What the library's registry takes."""

    def __init__(self, values: Values, distributions: Distributions) -> None:
        self._values, self._distributions = values, distributions

    def collect(self) -> Iterator["Family"]:
        from prometheus_client.core import (  # noqa: PLC0415 - see above
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        for metric in METRICS:
            if metric.kind == "histogram":
                histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
                bounds = [*map(str, metric.buckets), "+Inf"]
                for labels, found in sorted(self._distributions.get(metric, {}).items()):
                    sums = [sum(found.counts[: number + 1]) for number in range(len(found.counts))]
                    histogram.add_metric(labels, list(zip(bounds, sums, strict=True)), found.total)
                yield histogram
                continue
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(metric.name, metric.help, labels=metric.labels)
            for labels, value in sorted(self._values.get(metric, {}).items()):
                family.add_metric(labels, value)
            yield family
