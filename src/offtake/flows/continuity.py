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

    `legs`: the chain, oldest first. `checked`: the number of the table's snapshots that are in exactly one run.
    `pending`: the number of snapshots not delivered yet; None when the next run exports in full, because the position
    is not (or no longer) in the table's history. `pending_rows`: their rows.
    """

    legs: list[DeliveredRange]
    faults: list[ContinuityFault] = field(default_factory=list)
    checked: int = 0
    pending: int | None = 0
    pending_rows: int = 0


def check_continuity(
    legs: Sequence[DeliveredRange], position: int | None, history: Sequence[SnapshotStep], restarts: int
) -> Continuity:
    """Check the ranges that moved a flow's position against the table's history, oldest first.

    `restarts`: how often changes of the flow reset its position.
    """
    moving = [leg for leg in legs if leg.full or leg.start != leg.to]
    if position is None:
        return Continuity([], pending=len(history), pending_rows=sum(step.rows for step in history))
    chain = _chain(moving, position, restarts)
    others = [leg for leg in moving if leg not in chain]
    tiling = Continuity(chain, [*_faults_of_chain(chain, position), *_faults_of_restarts(moving, restarts)])
    _check_coverage(tiling, others, position, history)
    return tiling


def _chain(legs: Iterable[DeliveredRange], position: int, restarts: int) -> list[DeliveredRange]:
    """Follow the ranges from the position back to the flow's start: each starts where the previous one ended."""
    left = list(legs)
    chain: list[DeliveredRange] = []
    end: int | None = position
    while end is not None:
        found = [leg for leg in left if leg.to == end]
        if not found:
            break
        # After a reset, an earlier chain may contain the same snapshot. Without a reset, the chain may contain it
        # several times if the table was rolled back: then its start is taken last.
        leg = max(found, key=lambda one: ((one.position is None) == bool(restarts), one.completed_at))
        left.remove(leg)
        chain.append(leg)
        end = leg.position
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
    for before, leg in pairwise(chain):
        if not leg.full and leg.start != before.to:
            starts = f"run {leg.run_id} starts after snapshot {leg.start}"
            yield ContinuityFault("gap", f"{starts}, but run {before.run_id} had delivered up to snapshot {before.to}")
        elif leg.full and not leg.explained:
            again = f"run {leg.run_id} delivered snapshot {leg.to} in full again without a reason"
            yield ContinuityFault("overlap", f"{again}; run {before.run_id} had delivered up to snapshot {before.to}")


def _faults_of_restarts(legs: Sequence[DeliveredRange], restarts: int) -> Iterator[ContinuityFault]:
    """Only the first export is in full; each further one needs a reason."""
    fresh = [leg.run_id for leg in legs if leg.full and leg.position is None and not leg.explained]
    if len(fresh) > 1 + restarts:
        resets = f"the flow's position was reset {restarts} time(s)"
        yield ContinuityFault("overlap", f"runs {', '.join(fresh)} each exported in full, but {resets}")


def _check_coverage(
    tiling: Continuity, others: Sequence[DeliveredRange], position: int, history: Sequence[SnapshotStep]
) -> None:
    """Each snapshot after the chain's last full export, up to the position, must be in exactly one range."""
    at = {step.snapshot_id: index for index, step in enumerate(history)}
    last_full = max((index for index, leg in enumerate(tiling.legs) if leg.full), default=-1)
    begun = at.get(tiling.legs[last_full].to, -1) if last_full >= 0 else -1
    end = at.get(position, begun)
    increments = [leg for leg in (*tiling.legs[last_full + 1 :], *others) if not leg.full]
    covered = _covered(increments, at)
    for index in range(begun + 1, end + 1):
        if len(covered.get(index, ())) == 1:
            tiling.checked += 1
        elif index not in covered:
            step = history[index]
            tiling.faults.append(
                ContinuityFault("gap", f"snapshot {step.snapshot_id} with {step.rows:,} rows is in no run")
            )
    twice = {legs for index, legs in covered.items() if index > begun and len(legs) > 1}
    twice |= set(_same_start(tiling.legs, others, at))
    tiling.faults += [
        ContinuityFault("overlap", f"delivered twice: {_named(legs)}") for legs in sorted(twice, key=_named)
    ]
    ahead = {leg for index, legs in covered.items() if index > end for leg in legs if position in at}
    for leg in sorted(ahead, key=lambda one: one.run_id):
        text = f"run {leg.run_id} delivered up to snapshot {leg.to}, but the flow's position is {position}"
        tiling.faults.append(ContinuityFault("overlap", f"{text}: its rows will be delivered again"))
    waiting = history[end + 1 :]
    tiling.pending = len(waiting) if position in at else None
    tiling.pending_rows = sum(step.rows for step in waiting) if position in at else 0


def _covered(increments: Iterable[DeliveredRange], at: Mapping[int, int]) -> dict[int, tuple[DeliveredRange, ...]]:
    """The ranges that contain each snapshot, by its index in the history. Expired snapshots come before index 0."""
    covered: dict[int, tuple[DeliveredRange, ...]] = {}
    for leg in increments:
        before = -1 if leg.start is None else at.get(leg.start, -1)
        for index in range(before + 1, at.get(leg.to, -1) + 1):
            covered[index] = (*covered.get(index, ()), leg)
    return covered


def _same_start(
    chain: Sequence[DeliveredRange], others: Sequence[DeliveredRange], at: Mapping[int, int]
) -> Iterator[tuple[DeliveredRange, ...]]:
    """Pairs of ranges that start after the same expired snapshot."""
    for leg in chain:
        for other in others:
            if not leg.full and not other.full and leg.start == other.start and leg.start not in at:
                yield leg, other


def _named(legs: Sequence[DeliveredRange]) -> str:
    return ", ".join(f"run {leg.run_id} (snapshots after {leg.start} up to {leg.to})" for leg in legs)
