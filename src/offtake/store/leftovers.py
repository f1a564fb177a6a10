"""Files that ended runs have left at their destinations, and that a sweep is still to remove."""

from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session

from offtake.store.disposals import REMOVING
from offtake.store.tables import Run, RunPart

_UNDECIDED: Final = or_(Run.disposal.is_(None), Run.disposal == REMOVING)


def _left_something() -> ColumnElement[bool]:
    """Files of a run that failed or was cancelled are still there, or some of attempts that do not count."""
    attempts = select(RunPart.run_id).where(RunPart.run_id == Run.id, RunPart.left.is_not(None))
    return and_(Run.sweep_due.is_not(None), or_(and_(Run.failure.is_not(None), _UNDECIDED), attempts.exists()))


def runs_with_files_at(session: Session, target_ids: Collection[str]) -> Sequence[Run]:
    """The runs that have left files where these target connections deliver to, oldest first."""
    there = Run.target_connection_id.in_(target_ids)
    return session.scalars(select(Run).where(_left_something(), there).order_by(Run.created_at, Run.id)).all()


def give_up(session: Session, target_id: str) -> None:
    """Look no more for what runs have left where the target connection delivers to."""
    theirs = Run.sweep_due.is_not(None) & (Run.target_connection_id == target_id)
    session.execute(update(Run).where(theirs).values(sweep_due=None))
