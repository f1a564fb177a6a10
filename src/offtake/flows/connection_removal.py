"""Removes flows with the connections that only they use, and accounts with their unused places, as the pages do.

The API deletes each by itself (contract, section 19).
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.contract import problems
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, Caller
from offtake.contract.problems import Problem
from offtake.flows import connections, flow_changes, queries, source_connections, target_connections
from offtake.store.tables import Flow, TargetConnection

_MOST_REMOVED: Final = 1000


def delete_flow(session: Session, caller: Caller, row_id: str, now_ms: int) -> None:
    """Delete a flow, and its source and target connection if nothing else uses them.

    The target connection stays while a run has not ended, or files of runs are still to be removed there.
    """
    flow = flow_changes.delete(session, caller, row_id, now_ms)
    session.flush()
    _delete_unused(partial(source_connections.delete, session, caller, flow.source_connection_id, now_ms))
    _delete_unused(partial(target_connections.delete, session, caller, flow.target_connection_id, now_ms))


def remove_unused_places(session: Session, caller: Caller, row_id: str, now_ms: int) -> int:
    """Delete the account's target connections that no flow, run or file still needs; returns how many stay unused."""
    caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    row = queries.connection(session, caller, row_id)
    without_flow = ~select(Flow.id).where(Flow.target_connection_id == TargetConnection.id).exists()
    unused = select(TargetConnection.id).where(TargetConnection.base_connection_id == row.id, without_flow)
    ids = session.scalars(unused.order_by(TargetConnection.id).limit(_MOST_REMOVED)).all()
    deleted = [_delete_unused(partial(target_connections.delete, session, caller, one, now_ms)) for one in ids]
    session.flush()
    return deleted.count(False)


def delete_account(session: Session, caller: Caller, row_id: str, now_ms: int) -> None:
    """Delete an account with its unused places; raises 1418 and 1447 while it is used."""
    remove_unused_places(session, caller, row_id, now_ms)
    connections.delete(session, caller, row_id, now_ms)


def _delete_unused(delete: Callable[[], object]) -> bool:
    """Whether it was deleted; not while it is in use, or when another request deleted it."""
    try:
        delete()
    except Problem as problem:
        if problem.code not in (problems.IN_USE, problems.NOT_FOUND):
            raise
        return False
    return True
