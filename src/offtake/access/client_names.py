"""Names of clients, to show who did something."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.contract.caller import ENGINE, OPERATOR
from offtake.store.tables import Client

_BUILT_IN: Final = {OPERATOR: "Command line", ENGINE: "Offtake (the server)"}
"""Actors that are not clients; the second one for changes that the server makes by itself."""


def names_of(session: Session, client_ids: Collection[str]) -> dict[str, str]:
    """The names by client id; without clients that do not exist."""
    named = session.execute(select(Client.id, Client.name).where(Client.id.in_(set(client_ids))))
    return _BUILT_IN | {row.id: row.name for row in named}


def name_of(session: Session, client_id: str, account_id: str) -> str:
    """The name of one client; its account id if the client does not exist."""
    return names_of(session, [client_id]).get(client_id, account_id)


def built_in(name: str) -> str | None:
    """The id of the actor with that name, in any case, if it is not a client."""
    return next((one for one, shown in _BUILT_IN.items() if shown.lower() == name.lower()), None)
