"""The base connections to choose from when datasets are exported."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.contract import entities
from offtake.contract.caller import VIEW_DESTINATIONS, Caller
from offtake.contract.problems import Problem
from offtake.flows.connections import KIND
from offtake.store.tables import Connection


def find(session: Session, caller: Caller, account_id: str) -> Connection | None:
    """The caller's base connection with that id; None when there is none."""
    caller.require(VIEW_DESTINATIONS)
    try:
        return entities.find(session, caller, Connection, KIND, account_id)
    except Problem:
        return None


def of_destination(session: Session, caller: Caller, spec_id: str, most: int) -> Sequence[Connection]:
    """The base connections to that destination, the newest first, at most `most`."""
    caller.require(VIEW_DESTINATIONS)
    query = select(Connection).filter_by(sandbox_id=caller.sandbox_id, connection_spec_id=spec_id)
    return session.scalars(query.order_by(Connection.updated_at.desc(), Connection.id).limit(most)).all()
