"""The label `sandbox`: names instead of ids, and a limited number of them."""

from collections.abc import Iterable, Mapping
from typing import Final

from offtake.telemetry import definitions
from offtake.telemetry.counts import Labels
from offtake.telemetry.definitions import OTHER, Metric

MOST_SANDBOXES: Final = 100
"""Sandboxes with a label of their own, the oldest first; the others together are `other`."""
_LABEL: Final = "sandbox"
_GREATEST: Final = (definitions.LATENESS, definitions.QUEUE_AGE)
"""Metrics of which the greatest value counts, where several sandboxes have one label."""


class SandboxLabels:
    """The label of each sandbox; it never changes during the life of a process."""

    def __init__(self) -> None:
        self._known = False
        self._labels: dict[str, str] = {}
        self._taken: set[str] = set()

    def learn(self, names: Mapping[str, str]) -> None:
        """Give labels to sandboxes that have none yet. `names`: by id, the oldest first, without duplicates."""
        self._known = True
        for sandbox_id, name in names.items():
            is_new = sandbox_id not in self._labels
            # A sandbox that was deleted and created again has another id, and continues the values of the first.
            if is_new and (name in self._taken or len(self._taken) < MOST_SANDBOXES):
                self._labels[sandbox_id] = name
                self._taken.add(name)

    def apply(self, metric: Metric, values: Mapping[Labels, float]) -> Mapping[Labels, float]:
        """The values with names for ids, where the metric has the label.

        Values of sandboxes that are not known yet are left out: they get their label with the next page.
        """
        if not metric.labels or metric.labels[-1] != _LABEL:
            return values
        found: dict[Labels, float] = {}
        for labels, value in values.items():
            label = self._label(labels[-1])
            if label is None:
                continue
            key = (*labels[:-1], label)
            found[key] = max(found.get(key, value), value) if metric in _GREATEST else found.get(key, 0) + value
        return found

    def _label(self, sandbox_id: str) -> str | None:
        label = self._labels.get(sandbox_id)
        is_full = len(self._taken) >= MOST_SANDBOXES
        return label if label is not None or not (self._known and is_full) else OTHER


def unique_names(rows: Iterable[tuple[str, str, str]]) -> dict[str, str]:
    """Names by id, from (id, name, organisation's id), the oldest first.

    Where organisations have sandboxes of one name, the oldest has it alone; others are `name@organisation`.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for sandbox_id, name, org_id in rows:
        label = name if name not in taken else f"{name}@{org_id.partition('@')[0]}"
        found[sandbox_id] = label
        taken.add(label)
    return found
