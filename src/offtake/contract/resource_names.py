"""Names of resources that are unique in their sandbox: catalogs, channels and rules."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake import plain_names
from offtake.contract import problems
from offtake.contract.caller import Caller
from offtake.contract.problems import Problem
from offtake.errors import FieldProblem
from offtake.store.tables import AlertChannel, AlertRule, LakeCatalog


def find_problems(name: str) -> list[FieldProblem]:
    """What is wrong with a name; empty for a valid one."""
    return [] if plain_names.is_plain(name) else [FieldProblem("/name", plain_names.RULE)]


def check_free(
    session: Session, caller: Caller, table: type[AlertChannel | AlertRule | LakeCatalog], name: str, word: str
) -> None:
    """Raise 3409 if another resource of the table has the name. `word`: for it, with its article."""
    taken: Any = select(table.id).filter_by(sandbox_id=caller.sandbox_id, name=name)
    if session.scalar(taken) is not None:
        raise Problem(problems.CONFLICT, f"{word} named {name} already exists; choose another name.")
