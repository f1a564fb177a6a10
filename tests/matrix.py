"""What `make test` runs a sample of, and `make test-all` all.

Matrices: a module or a test is marked with `pytest.mark.matrix`, and of its combinations a sample is run in which every
value of every parameter is there. The parameter with the most values leads; each of its values meets one combination of
the others, in turn. With `one_in=N`, one in N of the sample is run, another one for each test: for what is slow, and
differs little.

Turns: the modules in `slow_modules` take much of the time. A commit runs one in N of their tests: its hash decides
which, so that every test runs every few commits. `--turn K` chooses.

Searches: a test that Hypothesis runs, or that is marked with `pytest.mark.search`, tries many generated examples;
`examples` decides how many.

`--all` runs everything, `--rest` what is left of that once `make test` has run; `--part 1/2` the second half of it.
"""

import subprocess
import zlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest

from tests.slow_modules import SLOW

T = TypeVar("T")
SHARE = 8
"""Of the examples of a search, `make test` tries one in so many."""
_whole: list[bool] = []
_turn: list[int] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run every combination of the matrices, and whole searches")
    parser.addoption("--rest", action="store_true", help="run only what --all adds")
    parser.addoption("--turn", type=int, help="which part of the slow modules runs; default: by the commit")
    parser.addoption("--part", default="0/1", help="of what --rest runs, part K of N, counted from 0: K/N")


def pytest_configure(config: pytest.Config) -> None:
    """Decide how long searches are, before the modules with tests are imported."""
    _whole[:] = [bool(config.getoption("--all") or config.getoption("--rest"))]
    chosen = config.getoption("--turn")
    _turn[:] = [_turn_of_commit() if chosen is None else chosen]
    # A busy machine is not a failure: the timeout of tests finds what hangs.
    too_slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile(
        "offtake", deadline=None, suppress_health_check=too_slow, database=None, max_examples=examples(100)
    )
    hypothesis.settings.load_profile("offtake")


def whole() -> bool:
    """Whether searches are whole: this run has `--all` or `--rest`."""
    return _whole == [True]


def in_turn(cases: Sequence[T], one_in: int) -> Sequence[T]:
    """One in so many of the cases, at the next commit others; all of them when searches are whole."""
    return cases if whole() else cases[_turn[0] % one_in :: one_in]


def examples(all_of_them: int) -> int:
    """How many examples a search tries in this run."""
    return all_of_them if whole() else max(1, all_of_them // SHARE)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what this run leaves out."""
    if config.getoption("--all"):
        return
    groups: dict[str, list[pytest.Function]] = defaultdict(list)
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("matrix") and hasattr(item, "callspec"):
            groups[item.nodeid.partition("[")[0]].append(item)
    left_out: set[pytest.Item] = {item for named in groups.items() for item in _left_out(*named)}
    left_out |= {item for item in items if not _is_its_turn(item)}
    if config.getoption("--rest"):
        searches = {item for item in items for name in ("search", "hypothesis") if item.get_closest_marker(name)}
        part, parts = map(int, str(config.getoption("--part")).split("/"))
        added = {one for one in searches | left_out if zlib.crc32(one.nodeid.encode()) % parts == part}
        out = [item for item in items if item not in added]
    else:
        out = [item for item in items if item in left_out]
    if out:
        config.hook.pytest_deselected(items=out)
        gone = set(out)
        items[:] = [item for item in items if item not in gone]


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


def share(name: str, chosen: Sequence[T], one_in: int) -> list[T]:
    """One in so many of the combinations of the test with that name, and at least one."""
    offset = zlib.crc32(name.encode()) % min(one_in, len(chosen))
    return list(chosen[offset::one_in])


def _left_out(name: str, group: Sequence[pytest.Function]) -> list[pytest.Function]:
    keys = [tuple(repr(value) for value in item.callspec.params.values()) for item in group]
    in_sample = sample(keys)
    chosen = [item for item, key in zip(group, keys, strict=True) if key in in_sample]
    marker = group[0].get_closest_marker("matrix")
    kept = set(share(name, chosen, marker.kwargs.get("one_in", 1) if marker else 1))
    return [item for item in group if item not in kept]


def _is_its_turn(item: pytest.Item) -> bool:
    one_in = SLOW.get(item.nodeid.partition("::")[0], 1)
    return zlib.crc32(item.nodeid.encode()) % one_in == _turn[0] % one_in


def _turn_of_commit() -> int:
    """A number that differs from commit to commit; 0 outside of a repository."""
    command = ["git", "rev-parse", "HEAD"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return int(found.stdout[:8], 16) if found.returncode == 0 else 0
