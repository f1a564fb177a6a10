"""Attempts at parts that are written under their final names: each has its own, and the losing ones are removed."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.store import run_leases, run_states
from offtake.store.database import Database
from offtake.store.run_leases import Lease
from offtake.store.tables import Run, RunPart

_MOST_NAMES: Final = 20


def begin(database: Database, lease: Lease, keys: Mapping[int, str]) -> None:
    """Record the names that parts, by number, are written under from now on.

    Until a part's file counts, its name is noted as one to be removed, as are those of earlier attempts: a process can
    die at any moment after this. Raises `LeaseLostError` when another worker holds the run.
    """
    with database.writing() as session:
        run_leases.held_run(session, lease)
        for number, key in keys.items():
            part = session.get_one(RunPart, (lease.run_id, number))
            part.left = list(dict.fromkeys([*(part.left or ()), part.key, key]))
            part.key = key


def note_removed(database: Database, run_id: str, removed: Mapping[int, Collection[str]]) -> None:
    """Forget names of attempts, by the part's number: nothing is left under them."""
    with database.writing() as session:
        for number, keys in removed.items():
            part = session.get_one(RunPart, (run_id, number))
            part.left = [one for one in part.left or () if one not in keys] or None


def left_by(session: Session, run_ids: Collection[str]) -> dict[str, list[str]]:
    """The names under which failed attempts may have left files that are still to be removed, by the run's id.

    Of a live run, what it is writing now is not among them.
    """
    columns = select(RunPart.run_id, RunPart.left, RunPart.key, Run.status).join(Run, Run.id == RunPart.run_id)
    wanted = columns.where(RunPart.run_id.in_(run_ids), RunPart.left.is_not(None))
    found: dict[str, list[str]] = {}
    for run_id, left, key, status in session.execute(wanted.order_by(RunPart.run_id, RunPart.number)):
        names = [one for one in left or () if one != key or status not in run_states.LIVE]
        if names:
            found.setdefault(run_id, []).extend(names)
    return found


def describe(left: Sequence[str]) -> str:
    """What is still to be removed, for people."""
    more = f" and {len(left) - _MOST_NAMES} more" if len(left) > _MOST_NAMES else ""
    return (
        f"{len(left)} file(s) of failed attempts, whose rows are delivered by other files, are still to be removed: "
        f"{', '.join(left[:_MOST_NAMES])}{more}"
    )
