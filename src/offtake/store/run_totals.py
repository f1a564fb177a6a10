"""The rows and bytes that each run delivered, stored with the run, so that lists need not add up its files."""

from collections.abc import Iterator
from typing import Final

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from offtake.store.database import Database
from offtake.store.run_states import SUCCESS
from offtake.store.tables import Run, RunDataset, RunPart

_STEP: Final = 200


def record(session: Session, run: Run) -> bool:
    """Set the totals of a run whose finished files are delivered, before or after it ends.

    Returns whether earlier attempts left files under other names.
    """
    session.flush()
    finished = RunPart.finished_at.is_not(None)
    totals = select(
        func.sum(RunPart.rows).filter(finished), func.sum(RunPart.bytes).filter(finished), func.count(RunPart.left)
    )
    rows, size, left = session.execute(totals.where(RunPart.run_id == run.id)).one()
    # PostgreSQL adds up to decimals.
    run.rows, run.bytes = int(rows or 0), int(size or 0)
    return bool(left)


def fill_in(database: Database) -> Iterator[None]:
    """Set the totals of runs that a version without them ended; yields after each step of 200 runs."""
    missing = select(Run.id).where(Run.rows.is_(None), Run.completed_at.is_not(None)).order_by(Run.id).limit(_STEP)
    while database.finds(missing):
        with database.writing() as session:
            ids = session.scalars(missing).all()
            values = {"rows": _delivered(RunPart.rows), "bytes": _delivered(RunPart.bytes)}
            session.execute(update(Run).where(Run.id.in_(ids)).values(values))
        yield


def _delivered(column: InstrumentedAttribute[int | None]) -> ColumnElement[int]:
    """The sum of a column over the files of the run that stay delivered; 0 for a run that failed whole."""
    files = select(func.sum(column)).where(RunPart.run_id == Run.id, RunPart.finished_at.is_not(None))
    partly = select(RunDataset.run_id).where(RunDataset.run_id == Run.id, RunDataset.error.is_not(None))
    files = files.where(or_(Run.status == SUCCESS, Run.disposal == "kept", partly.exists()))
    return func.coalesce(files.correlate(Run).scalar_subquery(), 0)
