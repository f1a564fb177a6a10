"""Actions that finish a provider's changes. No change is ever left unfinished, so each is refused with its reason."""

from typing import Final, NoReturn

from offtake.contract import problems
from offtake.contract.caller import Caller
from offtake.contract.problems import Problem
from offtake.store.tables.base import Entity

_OPS: Final = ("FINALIZE_UPDATE", "FINALIZE", "PUBLISH")
_SUB_OPS: Final = ("APPLY", "ROLLBACK", "PROGRESS")


def refuse(caller: Caller, row: Entity, op: str | None, sub_op: str | None) -> NoReturn:
    """Raise 1402 for users; for services 2119 and 1435 to 1437 for a malformed request, else 1422."""
    if caller.kind == "user":
        raise Problem(problems.NOT_A_PROVIDER, "This action is for providers of connectors, with service tokens.")
    if not op:
        raise problems.missing_parameter("op", f"one of {', '.join(_OPS)}")
    if op.upper() not in _OPS:
        message = f"The action {op[:100]!r} is unknown; op must be one of {', '.join(_OPS)}."
        raise Problem(problems.UNKNOWN_ACTION, message)
    if op.upper() == "PUBLISH" and sub_op:
        raise Problem(problems.SUB_ACTION, "subOp is not allowed with PUBLISH; omit it.")
    if op.upper() != "PUBLISH" and (sub_op or "").upper() not in _SUB_OPS:
        raise Problem(problems.BAD_ACTION, f"{op.upper()} requires subOp: one of {', '.join(_SUB_OPS)}.")
    raise Problem(problems.WRONG_ACTION, f"{row.name} is {row.state}; there is nothing to finish.")
