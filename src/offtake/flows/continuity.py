"""The proof that a flow's runs deliver a table's history without gap or overlap.

Each run that moves a flow's position leads from one snapshot to another, (from, to]; together they must be one chain
that starts with everything and ends at the flow's position. The chain is followed by positions, never by times: clocks
may have been set back. What the table still knows of its history is then laid over it, snapshot by snapshot.

Runs that do not move the position (backfills, full exports that somebody asked for), runs that delivered nothing, and
those that found nothing new stand beside the chain.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from offtake.lake.snapshot_history import SnapshotStep


@dataclass(frozen=True)
class DeliveredRange:
    """What one run delivered of one dataset: all of `to`, or what came after `start`. `position`: where it began.

    `explained`: the run says why it delivered everything, though something had been delivered before.
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
    """A gap or an overlap, in a sentence with run ids and snapshot ids."""

    kind: Literal["gap", "overlap"]
    message: str


@dataclass
class Continuity:
    """What is proven for one dataset of a flow, and what is not.

    `legs`: the chain, oldest first. `checked`: how many snapshots of the table lie in exactly one run of it.
    `pending`: snapshots that no run has delivered yet, and their rows; None when the next run is to deliver everything,
    as the position is not (any more) in the table's history.
    """

    legs: list[DeliveredRange]
    faults: list[ContinuityFault] = field(default_factory=list)
    checked: int = 0
    pending: int | None = 0
    pending_rows: int = 0


def check_continuity(
    legs: Sequence[DeliveredRange], position: int | None, history: Sequence[SnapshotStep], restarts: int
) -> Continuity:
    """Lay the legs that moved a flow's position over the table's history, oldest first.

    `restarts`: how often somebody has had the flow begin anew since it was made.
    """
    moving = [leg for leg in legs if leg.full or leg.start != leg.to]
    if position is None:
        return Continuity([], pending=len(history), pending_rows=sum(step.rows for step in history))
    chain = _chain(moving, position, restarts)
    beside = [leg for leg in moving if leg not in chain]
    tiling = Continuity(chain, [*_faults_of_chain(chain, position), *_faults_of_restarts(moving, restarts)])
    _check_coverage(tiling, beside, position, history)
    return tiling


def _chain(legs: Iterable[DeliveredRange], position: int, restarts: int) -> list[DeliveredRange]:
    """From the position back to where the flow began: each leg began where the one before ended."""
    left = list(legs)
    chain: list[DeliveredRange] = []
    wanted: int | None = position
    while wanted is not None:
        found = [leg for leg in left if leg.to == wanted]
        if not found:
            break
        # A flow that began anew may have come past the same snapshot in an earlier life. One that never did may have
        # come past it several times, when its table was rolled back: its beginning comes last.
        leg = max(found, key=lambda one: ((one.position is None) == bool(restarts), one.completed_at))
        left.remove(leg)
        chain.append(leg)
        wanted = leg.position
    return chain[::-1]


def _faults_of_chain(chain: Sequence[DeliveredRange], position: int) -> Iterator[ContinuityFault]:
    if not chain:
        yield ContinuityFault(
            "gap", f"the flow's position is snapshot {position}, and no run has delivered up to there"
        )
        return
    first = chain[0]
    if not first.full and first.position is None:
        yield ContinuityFault(
            "gap", f"run {first.run_id} begins after snapshot {first.start}, and no run had delivered up to there"
        )
    elif first.position is not None and not first.explained:
        yield ContinuityFault(
            "gap", f"run {first.run_id} began at snapshot {first.position}, and no run had delivered up to there"
        )
    for before, leg in pairwise(chain):
        if not leg.full and leg.start != before.to:
            begins = f"run {leg.run_id} begins after snapshot {leg.start}"
            yield ContinuityFault("gap", f"{begins}, and run {before.run_id} had delivered up to snapshot {before.to}")
        elif leg.full and not leg.explained:
            again = f"run {leg.run_id} delivered all of snapshot {leg.to} again and does not say why"
            yield ContinuityFault("overlap", f"{again}; run {before.run_id} had delivered up to snapshot {before.to}")


def _faults_of_restarts(legs: Sequence[DeliveredRange], restarts: int) -> Iterator[ContinuityFault]:
    """The first export is in full; every further one needs a reason."""
    fresh = [leg.run_id for leg in legs if leg.full and leg.position is None and not leg.explained]
    if len(fresh) > 1 + restarts:
        told = f"somebody had the flow begin anew {restarts} time(s)"
        yield ContinuityFault("overlap", f"runs {', '.join(fresh)} each delivered everything, and {told}")


def _check_coverage(
    tiling: Continuity, beside: Sequence[DeliveredRange], position: int, history: Sequence[SnapshotStep]
) -> None:
    """Every snapshot after the chain's last full export must lie in exactly one leg, up to the position."""
    at = {step.snapshot_id: index for index, step in enumerate(history)}
    last_full = max((index for index, leg in enumerate(tiling.legs) if leg.full), default=-1)
    begun = at.get(tiling.legs[last_full].to, -1) if last_full >= 0 else -1
    end = at.get(position, begun)
    increments = [leg for leg in (*tiling.legs[last_full + 1 :], *beside) if not leg.full]
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
    twice |= set(_same_start(tiling.legs, beside, at))
    tiling.faults += [
        ContinuityFault("overlap", f"delivered twice: {_named(legs)}") for legs in sorted(twice, key=_named)
    ]
    ahead = {leg for index, legs in covered.items() if index > end for leg in legs if position in at}
    for leg in sorted(ahead, key=lambda one: one.run_id):
        told = f"run {leg.run_id} delivered up to snapshot {leg.to}, and the flow's position is {position}"
        tiling.faults.append(ContinuityFault("overlap", f"{told}: its rows will be delivered again"))
    waiting = history[end + 1 :]
    tiling.pending = len(waiting) if position in at else None
    tiling.pending_rows = sum(step.rows for step in waiting) if position in at else 0


def _covered(increments: Iterable[DeliveredRange], at: Mapping[int, int]) -> dict[int, tuple[DeliveredRange, ...]]:
    """By place in the history: the legs that a snapshot lies in. What has expired lies before all that is known."""
    covered: dict[int, tuple[DeliveredRange, ...]] = {}
    for leg in increments:
        before = -1 if leg.start is None else at.get(leg.start, -1)
        for index in range(before + 1, at.get(leg.to, -1) + 1):
            covered[index] = (*covered.get(index, ()), leg)
    return covered


def _same_start(
    chain: Sequence[DeliveredRange], beside: Sequence[DeliveredRange], at: Mapping[int, int]
) -> Iterator[tuple[DeliveredRange, ...]]:
    """Legs that went on from one snapshot, of whose history nothing is known any more."""
    for leg in chain:
        for other in beside:
            if not leg.full and not other.full and leg.start == other.start and leg.start not in at:
                yield leg, other


def _named(legs: Sequence[DeliveredRange]) -> str:
    return ", ".join(f"run {leg.run_id} (snapshots after {leg.start} up to {leg.to})" for leg in legs)
