"""Matrices of tests: `make test` runs a sample in which every value of every parameter is there, `make test-all` all.

A module or a test is marked with `pytest.mark.matrix`. Of its parameters the one with the most values leads; each of
its values meets one combination of the others, in turn.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run every combination of the matrices, not a sample")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is not of the sample."""
    if config.getoption("--all"):
        return
    groups: dict[str, list[pytest.Function]] = defaultdict(list)
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("matrix") and hasattr(item, "callspec"):
            groups[item.nodeid.partition("[")[0]].append(item)
    left_out = {item for group in groups.values() for item in _left_out(group)}
    if left_out:
        config.hook.pytest_deselected(items=sorted(left_out, key=lambda item: item.nodeid))
        items[:] = [item for item in items if item not in left_out]


def sample(combinations: Sequence[tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    """Some of the combinations, of parameters in the same order: every value of every parameter is among them."""
    if not combinations:
        return set()
    values = [list(dict.fromkeys(column)) for column in zip(*combinations, strict=True)]
    lead = max(range(len(values)), key=lambda at: len(values[at]))
    others = list(dict.fromkeys(one[:lead] + one[lead + 1 :] for one in combinations))
    wanted = max(len(values[lead]), len(others))
    chosen = ((values[lead][n % len(values[lead])], others[n % len(others)]) for n in range(wanted))
    made = {(*other[:lead], value, *other[lead:]) for value, other in chosen}
    found = made & set(combinations)
    # Where not every combination exists, what is missing still is taken from those that do.
    for at, column in enumerate(values):
        for value in column:
            if all(one[at] != value for one in found):
                found.add(next(one for one in combinations if one[at] == value))
    return found


def _left_out(group: Sequence[pytest.Function]) -> list[pytest.Function]:
    keys = [tuple(repr(value) for value in item.callspec.params.values()) for item in group]
    chosen = sample(keys)
    return [item for item, key in zip(group, keys, strict=True) if key not in chosen]
