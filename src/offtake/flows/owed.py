"""Files of failed runs and of failed attempts that stay at a destination, and that Offtake still has to remove."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from offtake.access import labels
from offtake.contract.caller import VIEW_DESTINATIONS, Caller
from offtake.documents import InfoItem
from offtake.flows import deleted_flows
from offtake.flows.places import place_of
from offtake.store.disposals import REMOVING
from offtake.store.leftovers import has_leftovers
from offtake.store.tables import Connection, Flow, Run, RunPart, TargetConnection

PAGE: Final = 50
MOST_NAMES: Final = 20


@dataclass
class OwedFiles:
    """The files that a run may have left: the first 20 names or URIs, and how many there are.

    None of them for a run that left only temporary files, whose names are not recorded.
    """

    names: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, name: str) -> None:
        """Count a file."""
        self.count += 1
        if len(self.names) < MOST_NAMES:
            self.names.append(name)


@dataclass(frozen=True)
class OwedRun:
    """A run with files to remove. Times are epoch milliseconds.

    `flow_name`: also of a deleted flow; empty when it is not known. `since_ms`: when the run ended. `next_ms`: the next
    attempt; in the past when it is due. `error`: of the last attempt; None before it, or if it removed some files.
    """

    run_id: str
    flow_id: str
    flow_name: str
    is_deleted: bool
    is_delivered: bool
    connection_id: str
    connection_name: str
    place: str
    files: OwedFiles
    since_ms: int
    next_ms: int
    error: InfoItem | None


def search(session: Session, caller: Caller, first: int = 0, most: int = PAGE) -> Sequence[OwedRun]:
    """The sandbox's runs with files to remove, the longest owed first: `most` from `first`.

    Runs of flows with labels that the caller lacks are left out.
    """
    query = (
        select(Run, TargetConnection.params, Connection)
        .join(TargetConnection, TargetConnection.id == Run.target_connection_id)
        .join(Connection, Connection.id == TargetConnection.base_connection_id)
        .where(*_of(caller))
        .order_by(Run.completed_at, Run.id)
    )
    found = session.execute(query.offset(first).limit(most)).all()
    flows, gone = _names(session, caller, {run.flow_id for run, _, _ in found})
    files = _files(session, [run for run, _, _ in found])
    return [
        OwedRun(
            run_id=run.id,
            flow_id=run.flow_id,
            flow_name=flows.get(run.flow_id, gone.get(run.flow_id, "")),
            is_deleted=run.flow_id not in flows,
            is_delivered=run.failure is None,
            connection_id=connection.id,
            connection_name=connection.name,
            place=place_of(connection.connection_spec_id, params),
            files=files[run.id],
            since_ms=run.completed_at or run.updated_at,
            next_ms=run.sweep_due or 0,
            error=run.sweep_error,
        )
        for run, params, connection in found
    ]


def count(session: Session, caller: Caller) -> int:
    """The number of runs that `search` finds in all."""
    return session.scalar(select(func.count()).select_from(Run).where(*_of(caller))) or 0


def _of(caller: Caller) -> tuple[ColumnElement[bool], ...]:
    """The runs with files to remove that the caller may see, unless their destination was deleted."""
    caller.require(VIEW_DESTINATIONS)
    target = select(TargetConnection.id).where(TargetConnection.id == Run.target_connection_id).correlate(Run)
    return Run.sandbox_id == caller.sandbox_id, has_leftovers(), target.exists(), labels.visible(Run.flow_id, caller)


def _names(session: Session, caller: Caller, flow_ids: Collection[str]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The names of the flows, and of those that were deleted, by id."""
    there = dict(session.execute(select(Flow.id, Flow.name).where(Flow.id.in_(flow_ids))).all())
    gone = flow_ids - there.keys()
    return there, deleted_flows.names_of(session, caller, gone) if gone else {}


def _files(session: Session, runs: Sequence[Run]) -> Mapping[str, OwedFiles]:
    """By run id: of undecided failed runs, the files that are or may be complete; of all, those of failed attempts."""
    failed = {run.id for run in runs if run.failure is not None and run.disposal in (None, REMOVING)}
    found = {run.id: OwedFiles() for run in runs}
    unfinished = dict.fromkeys(failed, 0)
    columns = (RunPart.run_id, RunPart.key, RunPart.uri, RunPart.finished_at, RunPart.intended_at, RunPart.left)
    for run_id, key, uri, finished, intended, left in session.execute(
        select(*columns).where(RunPart.run_id.in_(found)).order_by(RunPart.run_id, RunPart.number)
    ):
        is_written = run_id in failed and (finished is not None or intended is not None)
        unfinished[run_id] = unfinished.get(run_id, 0) + (finished is None)
        for name in [
            *([uri or key] if is_written else []),
            *(one for one in left or () if one != key or not is_written),
        ]:
            found[run_id].add(name)
    for run in runs:
        # The manifest file is written when all others are complete.
        if run.id in failed and run.manifest_key and not unfinished[run.id]:
            found[run.id].add(run.manifest_key)
    return found
