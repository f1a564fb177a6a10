"""Verifies that a flow's runs deliver a table's history without gap or overlap.

Each run that moves a flow's position covers a range of snapshots, (from, to]; together they must form one chain that
starts with a full export and ends at the flow's position. The chain follows positions, not times: clocks may have been
set back. Then each snapshot in the table's remaining history is checked against it.

Runs that do not move the position (backfills, requested full exports), that delivered nothing, or that found nothing
new are not part of the chain.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from offtake.lake.snapshot_history import SnapshotStep


@dataclass(frozen=True)
class DeliveredRange:
    """What one run delivered of one dataset: `to` in full, or the rows added after `start`.

    `position`: the flow's position before the run. `explained`: the run has a warning why it exported in full again.
    """

    run_id: str
    full: bool
    position: int | None
    start: int | None
    to: int
    explained: bool
    completed_at: int


@dataclass(frozen=True)
class ContinuityFault:
    """A gap or an overlap; the message has run ids and snapshot ids."""

    kind: Literal["gap", "overlap"]
    message: str


@dataclass
class Continuity:
    """The result for one dataset of a flow.

    `ranges`: the chain, oldest first. `checked`: the number of the table's snapshots that are in exactly one run.
    `pending`: the number of snapshots not delivered yet; None when the next run exports in full, because the position
    is not (or no longer) in the table's history. `pending_rows`: their rows.
    """

    ranges: list[DeliveredRange]
    faults: list[ContinuityFault] = field(default_factory=list)
    checked: int = 0
    pending: int | None = 0
    pending_rows: int = 0


def check_continuity(
    ranges: Sequence[DeliveredRange], position: int | None, history: Sequence[SnapshotStep], restarts: int
) -> Continuity:
    """Check the ranges that moved a flow's position against the table's history, oldest first.

    `restarts`: how often changes of the flow reset its position.
    """
    moving = [run for run in ranges if run.full or run.start != run.to]
    if position is None:
        return Continuity([], pending=len(history), pending_rows=sum(step.rows for step in history))
    chain = _chain(moving, position, restarts)
    others = [run for run in moving if run not in chain]
    continuity = Continuity(chain, [*_faults_of_chain(chain, position), *_faults_of_restarts(moving, restarts)])
    _check_coverage(continuity, others, position, history)
    return continuity


def _chain(ranges: Iterable[DeliveredRange], position: int, restarts: int) -> list[DeliveredRange]:
    """Follow the ranges from the position back to the flow's start: each starts where the previous one ended."""
    left = list(ranges)
    chain: list[DeliveredRange] = []
    end: int | None = position
    while end is not None:
        found = [run for run in left if run.to == end]
        if not found:
            break
        # After a reset, an earlier chain may contain the same snapshot. Without a reset, the chain may contain it
        # several times if the table was rolled back: then its start is taken last.
        run = max(found, key=lambda one: ((one.position is None) == bool(restarts), one.completed_at))
        left.remove(run)
        chain.append(run)
        end = run.position
    return chain[::-1]


def _faults_of_chain(chain: Sequence[DeliveredRange], position: int) -> Iterator[ContinuityFault]:
    if not chain:
        yield ContinuityFault("gap", f"the flow's position is snapshot {position}, but no run has delivered up to it")
        return
    first = chain[0]
    if not first.full and first.position is None:
        yield ContinuityFault(
            "gap", f"run {first.run_id} starts after snapshot {first.start}, but no run had delivered up to it"
        )
    elif first.position is not None and not first.explained:
        yield ContinuityFault(
            "gap", f"run {first.run_id} started at snapshot {first.position}, but no run had delivered up to it"
        )
    for before, run in pairwise(chain):
        if not run.full and run.start != before.to:
            starts = f"run {run.run_id} starts after snapshot {run.start}"
            yield ContinuityFault("gap", f"{starts}, but run {before.run_id} had delivered up to snapshot {before.to}")
        elif run.full and not run.explained:
            again = f"run {run.run_id} delivered snapshot {run.to} in full again without a reason"
            yield ContinuityFault("overlap", f"{again}; run {before.run_id} had delivered up to snapshot {before.to}")


def _faults_of_restarts(ranges: Sequence[DeliveredRange], restarts: int) -> Iterator[ContinuityFault]:
    """Only the first export is in full; each further one needs a reason."""
    fresh = [run.run_id for run in ranges if run.full and run.position is None and not run.explained]
    if len(fresh) > 1 + restarts:
        resets = f"the flow's position was reset {restarts} time(s)"
        yield ContinuityFault("overlap", f"runs {', '.join(fresh)} each exported in full, but {resets}")


def _check_coverage(
    continuity: Continuity, others: Sequence[DeliveredRange], position: int, history: Sequence[SnapshotStep]
) -> None:
    """Each snapshot after the chain's last full export, up to the position, must be in exactly one range."""
    at = {step.snapshot_id: index for index, step in enumerate(history)}
    last_full = max((index for index, run in enumerate(continuity.ranges) if run.full), default=-1)
    begun = at.get(continuity.ranges[last_full].to, -1) if last_full >= 0 else -1
    end = at.get(position, begun)
    increments = [run for run in (*continuity.ranges[last_full + 1 :], *others) if not run.full]
    covered = _covered(increments, at)
    for index in range(begun + 1, end + 1):
        if len(covered.get(index, ())) == 1:
            continuity.checked += 1
        elif index not in covered:
            step = history[index]
            continuity.faults.append(
                ContinuityFault("gap", f"snapshot {step.snapshot_id} with {step.rows:,} rows is in no run")
            )
    twice = {ranges for index, ranges in covered.items() if index > begun and len(ranges) > 1}
    twice |= set(_same_start(continuity.ranges, others, at))
    continuity.faults += [
        ContinuityFault("overlap", f"delivered twice: {_named(ranges)}") for ranges in sorted(twice, key=_named)
    ]
    ahead = {run for index, ranges in covered.items() if index > end for run in ranges if position in at}
    for run in sorted(ahead, key=lambda one: one.run_id):
        text = f"run {run.run_id} delivered up to snapshot {run.to}, but the flow's position is {position}"
        continuity.faults.append(ContinuityFault("overlap", f"{text}: its rows will be delivered again"))
    waiting = history[end + 1 :]
    continuity.pending = len(waiting) if position in at else None
    continuity.pending_rows = sum(step.rows for step in waiting) if position in at else 0


def _covered(increments: Iterable[DeliveredRange], at: Mapping[int, int]) -> dict[int, tuple[DeliveredRange, ...]]:
    """The ranges that contain each snapshot, by its index in the history. Expired snapshots come before index 0."""
    covered: dict[int, tuple[DeliveredRange, ...]] = {}
    for run in increments:
        before = -1 if run.start is None else at.get(run.start, -1)
        for index in range(before + 1, at.get(run.to, -1) + 1):
            covered[index] = (*covered.get(index, ()), run)
    return covered


def _same_start(
    chain: Sequence[DeliveredRange], others: Sequence[DeliveredRange], at: Mapping[int, int]
) -> Iterator[tuple[DeliveredRange, ...]]:
    """Pairs of ranges that start after the same expired snapshot."""
    for run in chain:
        for other in others:
            if not run.full and not other.full and run.start == other.start and run.start not in at:
                yield run, other


def _named(ranges: Sequence[DeliveredRange]) -> str:
    return ", ".join(f"run {run.run_id} (snapshots after {run.start} up to {run.to})" for run in ranges)
