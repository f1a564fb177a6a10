"""Attempts at parts that are written under their final names: each has its own, and the losing ones are removed."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import null, select, update
from sqlalchemy.orm import Session

from offtake.store import runs
from offtake.store.database import Database
from offtake.store.runs import Lease
from offtake.store.tables import RunPart

_MOST_NAMES: Final = 20


def begin(database: Database, lease: Lease, keys: Mapping[int, str]) -> None:
    """Give parts, by number, the names of their next attempts; what the last ones have left is to be removed.

    Raises `LeaseLostError` when another worker holds the run.
    """
    with database.writing() as session:
        runs.held_run(session, lease)
        for number, key in keys.items():
            part = session.get_one(RunPart, (lease.run_id, number))
            part.left = [*(part.left or []), part.key]
            part.key = key


def note_removed(database: Database, run_id: str, removed: Mapping[int, str] | None = None) -> None:
    """Forget the name of an attempt, by the part's number; without names, all that attempts of the run have left."""
    with database.writing() as session:
        if removed is None:
            session.execute(update(RunPart).where(RunPart.run_id == run_id).values(left=null()))
        for number, key in (removed or {}).items():
            part = session.get_one(RunPart, (run_id, number))
            part.left = [one for one in part.left or [] if one != key] or None


def left_by(session: Session, run_ids: Collection[str]) -> dict[str, list[str]]:
    """The names under which failed attempts may have left files that are still to be removed, by the run's id."""
    columns = select(RunPart.run_id, RunPart.left).where(RunPart.run_id.in_(run_ids), RunPart.left.is_not(None))
    found: dict[str, list[str]] = {}
    for run_id, left in session.execute(columns.order_by(RunPart.run_id, RunPart.number)):
        found.setdefault(run_id, []).extend(left or ())
    return found


def describe(left: Sequence[str]) -> str:
    """What is still to be removed, for people."""
    more = f" and {len(left) - _MOST_NAMES} more" if len(left) > _MOST_NAMES else ""
    return (
        f"{len(left)} file(s) of failed attempts, with rows that other files have too, are still to be removed: "
        f"{', '.join(left[:_MOST_NAMES])}{more}"
    )
