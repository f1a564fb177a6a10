"""Checks references before a deletion: an entity in use cannot be deleted (contract, section 19)."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from offtake.contract import problems
from offtake.contract.problems import Problem
from offtake.store import leftovers
from offtake.store.conditions import LIVE_RUN
from offtake.store.tables import Connection, Flow, Run, SourceConnection, TargetConnection

_NAMED: Final = 10


def check_connection_unused(session: Session, row: Connection) -> None:
    """Raise 1418 while flows use the base connection, 1447 while source or target connections do."""
    through = or_(TargetConnection.base_connection_id == row.id, SourceConnection.base_connection_id == row.id)
    flows = _flows(session, through)
    if flows:
        raise Problem(
            problems.BASE_IN_USE,
            f"Flows still use connection {row.id}: {_names(flows)}. First delete them, or move them to another "
            f"connection.",
            "connections",
            row.id,
        )
    for table, kind in ((TargetConnection, "target"), (SourceConnection, "source")):
        users = session.scalars(select(table.id).where(table.base_connection_id == row.id).limit(_NAMED)).all()
        if users:
            raise _in_use("connections", row.id, f"{kind} connections still refer to it: {', '.join(users)}")


def check_source_unused(session: Session, row: SourceConnection) -> None:
    """Raise 1447 while flows use the source connection."""
    flows = _flows(session, SourceConnection.id == row.id)
    if flows:
        raise _in_use("sourceConnections", row.id, f"active flows still contain it: {_names(flows)}")


def check_target_unused(session: Session, row: TargetConnection) -> None:
    """Raise 1447 while flows or a live run use the target connection."""
    flows = _flows(session, TargetConnection.id == row.id)
    if flows:
        raise _in_use("targetConnections", row.id, f"active flows still contain it: {_names(flows)}")
    run = session.scalar(select(Run.id).where(Run.target_connection_id == row.id, LIVE_RUN).limit(1))
    if run:
        raise _in_use("targetConnections", row.id, f"run {run} has not ended yet; retry in a few seconds")


def check_nothing_left(session: Session, row: TargetConnection) -> None:
    """Raise 1447 while files of runs are still to be removed at the destination."""
    left = [run.id for run in leftovers.runs_with_files_at(session, [row.id])]
    if left:
        more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
        raise _in_use(
            "targetConnections",
            row.id,
            f"files of runs {', '.join(left[:_NAMED])}{more} are still to be removed at the destination, as soon as "
            "it can be reached. Use force=true to leave them there",
        )


def _flows(session: Session, condition: ColumnElement[bool]) -> Sequence[tuple[str, str]]:
    found = (
        select(Flow.id, Flow.name)
        .join(SourceConnection, SourceConnection.id == Flow.source_connection_id)
        .join(TargetConnection, TargetConnection.id == Flow.target_connection_id)
        .where(condition)
        .order_by(Flow.id)
        .limit(_NAMED)
    )
    return [(row[0], row[1]) for row in session.execute(found)]


def _names(flows: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({flow_id})" for flow_id, name in flows)


def _in_use(resource: str, row_id: str, why: str) -> Problem:
    return Problem(problems.IN_USE, f"{resource} {row_id} cannot be deleted: {why}.", resource, row_id)
