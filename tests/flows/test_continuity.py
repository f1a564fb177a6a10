"""The proof that runs tile a history: it holds for every sound history, and for none that is not."""

from dataclasses import dataclass, replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from offtake.flows.continuity import Continuity, DeliveredRange, check_continuity
from offtake.lake.snapshot_history import SnapshotStep


@dataclass(frozen=True)
class Story:
    """A table's snapshots, what of them is still known, and the ranges that delivered them up to a position."""

    history: list[SnapshotStep]
    ranges: list[DeliveredRange]
    known_from: int

    @property
    def position(self) -> int:
        return self.ranges[-1].to

    def prove(self, ranges: list[DeliveredRange] | None = None, restarts: int = 0) -> Continuity:
        return check_continuity(ranges or self.ranges, self.position, self.history[self.known_from :], restarts)


@st.composite
def stories(draw: st.DrawFn, least_legs: int = 1) -> Story:
    count = draw(st.integers(least_legs, 12))
    ids = draw(st.permutations(range(100, 100 + count)))
    ends = sorted(draw(st.sets(st.integers(0, count - 1), min_size=least_legs, max_size=count)))
    times = draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))  # clocks jump
    ranges: list[DeliveredRange] = []
    for number, end in enumerate(ends):
        before = ranges[-1].to if ranges else None
        lost = before is not None and draw(st.integers(0, 5)) == 0
        full = before is None or lost
        ranges.append(
            DeliveredRange(f"run-{number}", full, before, None if full else before, ids[end], lost, times[number])
        )
    return Story([SnapshotStep(one, 0, 10) for one in ids], ranges, draw(st.integers(0, count - 1)))


@given(stories(), st.randoms())
def test_a_sound_history_is_proven(story: Story, random: Random) -> None:
    ranges = [*story.ranges]
    nothing_new = DeliveredRange("empty", False, story.position, story.position, story.position, False, 9)
    ranges.insert(0, nothing_new)
    random.shuffle(ranges)
    result = story.prove(ranges)
    assert result.faults == []
    assert result.ranges == story.ranges
    known = [step.snapshot_id for step in story.history[story.known_from :]]
    if story.position not in known:
        assert result.pending is None
        return
    after = known.index(story.position) + 1
    assert (result.pending, result.pending_rows) == (len(known) - after, 10 * (len(known) - after))
    last_full = next(run for run in reversed(story.ranges) if run.full)
    begun = known.index(last_full.to) + 1 if last_full.to in known else 0
    assert result.checked == after - begun


@given(stories(), st.data())
def test_a_run_that_is_lacking_is_a_gap(story: Story, data: st.DataObject) -> None:
    lacking = data.draw(st.sampled_from(story.ranges))
    result = check_continuity(
        [run for run in story.ranges if run != lacking], story.position, story.history[story.known_from :], 0
    )
    after = story.ranges[story.ranges.index(lacking) + 1 :]
    if after and after[0].full:
        return  # what comes after delivers everything, and says why
    assert "gap" in {flaw.kind for flaw in result.faults}


@given(stories(), st.data())
def test_a_range_that_is_delivered_twice_is_an_overlap(story: Story, data: st.DataObject) -> None:
    twice = data.draw(st.sampled_from(story.ranges))
    result = story.prove([*story.ranges, replace(twice, run_id="again")])
    if twice.explained:
        return  # everything, in full, and the run says why
    last_full = max(index for index, run in enumerate(story.ranges) if run.full)
    if not twice.full and story.ranges.index(twice) < last_full:
        return  # an increment of before the last full export, of which the history may tell nothing
    assert "overlap" in {flaw.kind for flaw in result.faults}


@given(stories(least_legs=3), st.data())
def test_an_increment_that_begins_elsewhere_is_a_gap(story: Story, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, len(story.ranges) - 1))
    run = story.ranges[number]
    if run.full:
        return
    elsewhere = data.draw(st.sampled_from([step.snapshot_id for step in story.history]))
    if elsewhere in (run.start, run.to):
        return
    ranges = [*story.ranges]
    ranges[number] = replace(run, start=elsewhere)
    result = story.prove(ranges)
    assert any(flaw.kind == "gap" and run.run_id in flaw.message for flaw in result.faults)


@given(stories())
def test_a_flow_that_started_over_needs_a_recorded_restart(story: Story) -> None:
    fresh = DeliveredRange("fresh", True, None, None, story.position, False, 9)
    assert story.prove([*story.ranges, fresh], restarts=1).faults == []
    (flaw,) = story.prove([*story.ranges, fresh]).faults
    assert flaw.kind == "overlap"
    assert "fresh" in flaw.message


@given(stories(least_legs=2))
def test_an_increment_is_no_beginning(story: Story) -> None:
    run = story.ranges[1]
    if run.full:
        return
    ranges = [replace(run, position=None), *story.ranges[2:]]
    result = story.prove(ranges)
    assert any(flaw.kind == "gap" and run.run_id in flaw.message for flaw in result.faults)


def test_a_flow_comes_past_a_snapshot_again_when_its_table_is_rolled_back() -> None:
    """Every time the same increment begins there, which is known no more; none of them is delivered twice."""
    ranges = [DeliveredRange("first", True, None, None, 1, False, 0)]
    for time, end in enumerate((2, 3, 4), start=1):
        ranges.append(DeliveredRange(f"increment {end}", False, 1, 1, end, False, time))
        ranges.append(DeliveredRange(f"rolled back from {end}", True, end, None, 1, True, time))
    for times in ([0] * 7, list(range(7)), list(range(7))[::-1]):
        timed = [replace(run, completed_at=time) for run, time in zip(ranges, times, strict=True)]
        assert check_continuity(timed[:-1], 4, [SnapshotStep(4, 0, 10)], 0).faults == []
        twice = check_continuity([*timed[:-1], replace(timed[-2], run_id="again")], 4, [SnapshotStep(4, 0, 10)], 0)
        assert any("again" in flaw.message for flaw in twice.faults)
