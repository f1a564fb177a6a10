"""Attempts at parts written directly under their final names: each attempt has its own name; losers are removed."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.store import run_leases, run_states
from offtake.store.database import Database
from offtake.store.run_leases import Lease
from offtake.store.tables import Run, RunPart

_MAX_NAMES: Final = 20


def begin(database: Database, lease: Lease, keys: Mapping[int, str]) -> None:
    """Record the file names of an attempt, by part number, before anything is written under them.

    Until a part's file is complete, its name and those of earlier attempts are recorded as files to remove, because the
    process may die at any moment. Raises `LeaseLostError` when another worker holds the run.
    """
    with database.writing() as session:
        run_leases.lock_run(session, lease)
        for number, key in keys.items():
            part = session.get_one(RunPart, (lease.run_id, number))
            part.left = list(dict.fromkeys([*(part.left or ()), part.key, key]))
            part.key = key


def note_removed(database: Database, run_id: str, removed: Mapping[int, Collection[str]]) -> None:
    """Forget file names of attempts, by part number: the files no longer exist."""
    with database.writing() as session:
        for number, keys in removed.items():
            part = session.get_one(RunPart, (run_id, number))
            part.left = [key for key in part.left or () if key not in keys] or None


def leftover_names(session: Session, run_ids: Collection[str]) -> dict[str, list[str]]:
    """The names of files that failed attempts may have left and that are still to be removed, by run id.

    For a live run, the names that it is writing now are left out.
    """
    columns = select(RunPart.run_id, RunPart.left, RunPart.key, Run.status).join(Run, Run.id == RunPart.run_id)
    query = columns.where(RunPart.run_id.in_(run_ids), RunPart.left.is_not(None))
    names_of: dict[str, list[str]] = {}
    for run_id, left, key, status in session.execute(query.order_by(RunPart.run_id, RunPart.number)):
        names = [name for name in left or () if name != key or status not in run_states.LIVE]
        if names:
            names_of.setdefault(run_id, []).extend(names)
    return names_of


def describe(left: Sequence[str]) -> str:
    """A message for users: the files that are still to be removed."""
    more = f" and {len(left) - _MAX_NAMES} more" if len(left) > _MAX_NAMES else ""
    return (
        f"{len(left)} file(s) of failed attempts, whose rows are delivered by other files, are still to be removed: "
        f"{', '.join(left[:_MAX_NAMES])}{more}"
    )
