"""Carries out a plan, step by step. It can be interrupted and repeated: the next plan contains what is left."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from offtake.client import names
from offtake.client.names import CONNECTION, FLOW
from offtake.declarations.context import Context
from offtake.declarations.kinds import connections, flow_steps
from offtake.declarations.plan import Change, Plan
from offtake.declarations.state import MANAGED
from offtake.errors import OfftakeError

_TAGGED_AT_ONCE: Final = 100
_T = TypeVar("_T")
Report = Callable[[Change], None]


def carry_out(context: Context, plan: Plan, report: Report) -> None:
    """Make the changes; `report` is called after each. Raises `OfftakeError` that names the thing that failed."""
    for change in reversed(plan.changes):
        if change.first is not None:
            _run(change, change.first)
    waiting: list[Change] = []
    for change in plan.changes:
        if change.step is not None:
            before, change.id = change.id, _run(change, change.step)
            # What is created again has another id, which has no tag yet.
            change.joins_set |= plan.set_name is not None and before not in (None, change.id)
            if change.action == "create":
                _run(change, partial(_check_alone, context, change))
            if change.action != "delete":
                context.ids.put(change.kind, change.name, change.id)
            report(change)
        if change.joins_set:
            waiting.append(change)
        if len(waiting) >= _TAGGED_AT_ONCE:
            _tag(context, plan, waiting)
    _tag(context, plan, waiting)
    _remove_replaced(context, plan)


def _run(change: Change, step: Callable[[], _T]) -> _T:
    try:
        return step()
    except OfftakeError as error:
        raise OfftakeError(
            f"{change.kind} {change.name}: {error} What was applied before stays; run the command again to continue."
        ) from error


def _check_alone(context: Context, change: Change) -> None:
    """Raise `OfftakeError` if another client has created the same flow or connection meanwhile; remove this one."""
    created = str(change.id)
    if change.kind == "flow":
        names.check_alone(context.server, FLOW, change.name, created, partial(flow_steps.undo, context, created))
    elif change.kind == "connection":
        remove = partial(context.server.delete, f"{CONNECTION.path}/{created}")
        names.check_alone(context.server, CONNECTION, change.name, created, remove)


def _tag(context: Context, plan: Plan, changes: list[Change]) -> None:
    """Store the tags of things that exist now."""
    for some in _pieces(changes, _TAGGED_AT_ONCE):
        body = {"resources": [{"kind": one.kind, "id": one.id} for one in some]}
        context.server.put(f"{MANAGED}/{plan.set_name}", body)
    changes.clear()


def _pieces(changes: Sequence[Change], size: int) -> Iterator[list[Change]]:
    iterator = iter(changes)
    while some := list(islice(iterator, size)):
        yield some


def _remove_replaced(context: Context, plan: Plan) -> None:
    """Remove connections that were replaced, now or by an interrupted run, unless something uses them."""
    ids = [one["id"] for one in connections.leftovers(context)]
    ids += context.replaced
    for one in dict.fromkeys(ids):
        if not connections.remove_unused(context, one):
            plan.notes.append(f"The replaced connection {one} stays: a flow or a run still uses it.")
