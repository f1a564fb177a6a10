"""Actions that finish what a provider began. Nothing here is ever left half-way, so each is refused with its reason."""

from typing import Final, NoReturn

from offtake.contract import problems
from offtake.contract.caller import Caller
from offtake.contract.problems import Problem
from offtake.store.tables.base import Entity

_OPS: Final = ("FINALIZE_UPDATE", "FINALIZE", "PUBLISH")
_SUB_OPS: Final = ("APPLY", "ROLLBACK", "PROGRESS")


def refuse(caller: Caller, row: Entity, op: str | None, sub_op: str | None) -> NoReturn:
    """Raise 1402 for users; for services 2119, 1435 to 1437 for what is malformed, else 1422."""
    if caller.kind == "user":
        raise Problem(problems.NOT_A_PROVIDER, "This action is for providers of connectors, with service tokens.")
    if not op:
        raise problems.missing_parameter("op", f"one of {', '.join(_OPS)}")
    if op.upper() not in _OPS:
        raise Problem(problems.UNKNOWN_ACTION, f"The action {op[:100]!r} is not known; op is one of {', '.join(_OPS)}.")
    if op.upper() == "PUBLISH" and sub_op:
        raise Problem(problems.SUB_ACTION, "subOp does not go with PUBLISH; leave it out.")
    if op.upper() != "PUBLISH" and (sub_op or "").upper() not in _SUB_OPS:
        raise Problem(problems.BAD_ACTION, f"{op.upper()} needs subOp: one of {', '.join(_SUB_OPS)}.")
    raise Problem(problems.WRONG_ACTION, f"{row.name} is {row.state}; there is nothing to finish.")
