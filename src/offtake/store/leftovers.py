"""Finds runs that have left files at their destinations; a sweep removes them later."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session

from offtake.store.disposals import REMOVING
from offtake.store.tables import Run, RunPart

_UNDECIDED: Final = or_(Run.disposal.is_(None), Run.disposal == REMOVING)


def has_leftovers() -> ColumnElement[bool]:
    """The condition that files of a failed or cancelled run, or of a losing attempt, may still exist."""
    attempts = select(RunPart.run_id).where(RunPart.run_id == Run.id, RunPart.left.is_not(None))
    return and_(Run.sweep_due.is_not(None), or_(and_(Run.failure.is_not(None), _UNDECIDED), attempts.exists()))


def runs_with_files_at(session: Session, target_ids: Collection[str]) -> Sequence[Run]:
    """The runs that have left files at the destinations of these target connections, oldest first."""
    delivers_there = Run.target_connection_id.in_(target_ids)
    return session.scalars(select(Run).where(has_leftovers(), delivers_there).order_by(Run.created_at, Run.id)).all()


def count_by_sandbox(session: Session) -> Mapping[str, int]:
    """How many runs have left files at their destinations, by sandbox id; sandboxes without such runs are left out."""
    # Not grouped by the database: SQLite would read an index of all runs, by sandbox.
    return Counter(session.scalars(select(Run.sandbox_id).where(has_leftovers())))


def give_up(session: Session, target_id: str) -> None:
    """Cancel the sweeps of all runs that delivered to the target connection."""
    pending = Run.sweep_due.is_not(None) & (Run.target_connection_id == target_id)
    session.execute(update(Run).where(pending).values(sweep_due=None))
