"""Increment after increment, whatever is done to the table: together they are what a consumer must have."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.types import LongType

from offtake.lake import scan
from offtake.lake.catalog import Lake
from tests.lake.lakes import TABLE, add, full, increment, lake_in, numbered
from tests.lake.others import compact

ACTIONS = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 4)),
    st.tuples(st.just("delete"), st.integers(0, 12)),
    st.tuples(st.just("compact"), st.just(0)),
    st.tuples(st.just("export"), st.just(0)),
    st.tuples(st.just("evolve"), st.just(0)),
)


@settings(max_examples=20)
@given(st.lists(ACTIONS, max_size=9))
def test_each_increment_is_what_came_since_the_last_and_is_still_there(actions: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = lake_in(Path(folder))
        try:
            _follow(lake, [*actions, ("export", 0)])
        finally:
            lake.close()


def _follow(lake: Lake, actions: list[tuple[str, int]]) -> None:
    """Carries out the actions on the table, and on a model: the rows of each of its files, and those that are due."""
    position = add(lake, numbered(0, 1))
    files, due, newest = [{0, 1}], set[int](), 1
    for number, (action, argument) in enumerate(actions):
        if action == "append":
            fresh = set(range(newest + 1, newest + 1 + argument))
            newest += argument
            add(lake, numbered(*sorted(fresh)))
            files.append(fresh)
            due |= fresh
        elif action == "delete":
            kept = [{n for n in file if n < argument} for file in files]
            # A file that loses some of its rows is written anew without them, and goes out again.
            anew = [after for before, after in zip(files, kept, strict=True) if after and after != before]
            if kept != files:
                lake.load(TABLE).delete(f"n >= {argument}")
            files = [file for file in kept if file]
            due = {n for n in due if n < argument}.union(*anew)
        elif action == "compact" and files:
            compact(lake.load(TABLE))
            files = [set().union(*files)]
        elif action == "evolve":
            with lake.load(TABLE).update_schema() as update:
                update.add_column(f"added_{number}", LongType())
        elif action == "export":
            at = scan.current_snapshot(lake, TABLE)
            assert at is not None
            assert sorted(increment(lake, position, at)) == sorted(due)
            position, due = at, set()
    assert sorted(row["n"] for row in full(lake)) == sorted(set().union(*files))
