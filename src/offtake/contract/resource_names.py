"""Names of resources that are unique in their sandbox: catalogs, channels and rules."""

from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.contract import problems
from offtake.contract.caller import Caller
from offtake.contract.problems import Problem
from offtake.errors import FieldProblem
from offtake.store.tables import AlertChannel, AlertRule, LakeCatalog

_LONGEST: Final = 255


def find_problems(name: str) -> list[FieldProblem]:
    """What is wrong with a name; empty for a valid one."""
    if name.strip() and name == name.strip() and len(name) <= _LONGEST and "/" not in name and name.isprintable():
        return []
    return [FieldProblem("/name", f"must have 1 to {_LONGEST} printable characters, without / and outer spaces")]


def check_free(
    session: Session, caller: Caller, table: type[AlertChannel | AlertRule | LakeCatalog], name: str, word: str
) -> None:
    """Raise 3409 if another resource of the table has the name. `word`: for it, with its article."""
    taken: Any = select(table.id).filter_by(sandbox_id=caller.sandbox_id, name=name)
    if session.scalar(taken) is not None:
        raise Problem(problems.CONFLICT, f"{word} named {name} already exists; choose another name.")
