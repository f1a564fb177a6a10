"""Which run a worker takes next."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from offtake.store import health
from offtake.store.conditions import HELD_RUN
from offtake.store.health import IN_QUEUE, Admission
from offtake.store.tables import DestinationHealth, Run

_TRIES: Final = 20
"""Runs of as many destinations that turn out to be held: after so many, the worker looks again later."""


@dataclass(frozen=True)
class Taken:
    """A run, locked, and what is known of its destination; `away`: it did not answer when it was asked last."""

    run: Run
    admission: Admission
    away: bool


def take(session: Session, silent: Mapping[str, int], now_ms: int, *, ask_away: bool = True) -> Taken | None:
    """The oldest run that is free; None when there is none.

    Of runs that wait, those that have been tried least come first. `is_expired`: runs whose holders have fallen silent,
    with their beats. Each look reads the first entries of three indexes, however many runs wait.
    `ask_away`: whether the worker may ask a destination that did not answer before.
    """
    for _ in range(_TRIES):
        run = _oldest(session, silent, now_ms)
        if run is None:
            return None
        away = run.address is not None and health.is_away(session.get(DestinationHealth, run.address))
        if run.cancel_requested or run.failure is not None:
            return Taken(run, "known", away)
        admission = health.admit(session, run, now_ms, ask_away=ask_away)
        if admission != "held":
            return Taken(run, admission, away)
        if run.status == "processing":
            # It has begun, and its holder is gone: it goes on, but asks its destination first.
            return Taken(run, "probe", away)
        session.expire(run)
    return None


def _oldest(session: Session, silent: Mapping[str, int], now_ms: int) -> Run | None:
    free = [
        Run.heartbeat_counter == 0,
        *((Run.id == run_id) & (Run.heartbeat_counter == beat) for run_id, beat in silent.items()),
    ]
    by_age = (Run.created_at, Run.id)
    looks = (
        select(Run).where(HELD_RUN, or_(*free)).order_by(*by_age),
        select(Run).where(IN_QUEUE, Run.not_before.is_(None)).order_by(*by_age),
        select(Run).where(IN_QUEUE, Run.not_before <= now_ms).order_by(Run.not_before, Run.fence, *by_age),
    )
    found = (session.scalar(look.limit(1).with_for_update(skip_locked=True)) for look in looks)
    return min((run for run in found if run is not None), key=lambda run: (run.created_at, run.id), default=None)
