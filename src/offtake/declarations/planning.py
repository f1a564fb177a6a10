"""Plans: what documents would change on a server, and what a set would lose. Nothing is written."""

from collections.abc import Callable, Mapping
from typing import Final

from offtake.client.problems import ServerError
from offtake.declarations.context import Context
from offtake.declarations.kinds import (
    alert_channels,
    alert_rules,
    catalogs,
    clients,
    connections,
    datasets,
    flow_steps,
    flows,
    roles,
)
from offtake.declarations.models import MODELS, Kind
from offtake.declarations.plan import Change, Plan
from offtake.declarations.problems import DocumentsError

_PLANS: Final[Mapping[Kind, Callable[[Context], list[Change]]]] = {
    "catalog": catalogs.plan_all,
    "dataset": datasets.plan_all,
    "connection": connections.plan_all,
    "role": roles.plan_all,
    "client": clients.plan_all,
    "flow": flows.plan_all,
    "alert-channel": alert_channels.plan_all,
    "alert-rule": alert_rules.plan_all,
}
DELETIONS: Final[Mapping[Kind, Callable[[Context, str], None]]] = {
    "catalog": catalogs.delete,
    "dataset": datasets.delete,
    "connection": connections.delete,
    "role": roles.delete,
    "client": clients.delete,
    "flow": flow_steps.delete,
    "alert-channel": alert_channels.delete,
    "alert-rule": alert_rules.delete,
}


def make_plan(context: Context) -> Plan:
    """Compare all documents with the server. Raises `DocumentsError` with all problems."""
    context.match_all()
    changes: list[Change] = []
    for kind in MODELS:
        changes += _PLANS[kind](context) if context.of_kind(kind) else []
    if context.options.set_name is not None:
        _join_set(context, changes)
    if context.problems:
        raise DocumentsError(context.problems)
    if context.options.prune:
        changes += _prune(context, changes)
    return Plan(changes, list(dict.fromkeys(context.notes)), context.options.set_name)


def _join_set(context: Context, changes: list[Change]) -> None:
    """Existing things that are declared join the set; those of other sets only if that is allowed."""
    wanted = context.options.set_name
    by_id = {
        (one.kind, context.existing[index]["id"]): one
        for index, one in enumerate(context.declared)
        if index in context.existing
    }
    for change in changes:
        current = context.state.tags.get((change.kind, change.id)) if change.id else None
        if change.id and current not in (None, wanted) and not context.options.take_over:
            declared = by_id[change.kind, change.id]
            why = f"belongs to the set {current}: remove it from the files of that set, or use --take-over"
            context.problems.append(declared.problem((), why))
        change.joins_set = current != wanted
        if change.joins_set and change.action == "nothing":
            change.action = "adopt"
        if change.joins_set and change.id:
            change.notes = [*change.notes, f"joins the set {wanted}"]


def _prune(context: Context, changes: list[Change]) -> list[Change]:
    """Deletions of what carries the tag of the set and is no longer declared; what others need first."""
    declared = {(one.kind, one.id) for one in changes if one.id}
    found: list[Change] = []
    for kind in reversed(MODELS):
        for (tagged, resource_id), set_name in context.state.tags.items():
            if tagged != kind or set_name != context.options.set_name or (kind, resource_id) in declared:
                continue
            entity = context.state.by_id(kind, resource_id)
            if entity is not None:
                deleted = {one.id for one in found if one.action == "delete"}
                why = _why_kept(context, kind, resource_id, deleted)
                found.append(_deletion(context, kind, resource_id, str(entity["name"]), why))
    return found


def _why_kept(context: Context, kind: Kind, resource_id: str, deleted: set[str | None]) -> str:
    """Why something of the set stays: rows of its own, or what uses it; empty if it may be removed."""
    if kind == "flow":
        return "".join(f"alert-rule {one} is about it" for one in alert_rules.declared_about(context, resource_id)[:1])
    if kind == "alert-channel":
        rules = [one for one in alert_rules.uses_of_channel(context, resource_id) if one["id"] not in deleted]
        return f"alert-rule {rules[0]['name']} uses it" if rules else ""
    if kind == "dataset":
        flows_there = [
            flow
            for source in context.state.sources.values()
            if any(one["dataSetId"] == resource_id for one in source["params"]["datasets"])
            for flow in context.state.users_of("sourceConnectionIds", source["id"])
        ]
    else:
        flows_there = connections.flows_of(context, resource_id) if kind == "connection" else []
    user = next((one for one in flows_there if one["id"] not in deleted), None)
    if user is not None:
        return f"flow {user['name']} uses it"
    return datasets.why_kept(context, resource_id) if kind == "dataset" else ""


def _deletion(context: Context, kind: Kind, resource_id: str, name: str, why: str) -> Change:
    if why:
        return Change(kind, name, "nothing", resource_id, notes=[f"kept: {why}"])

    def step() -> str:
        try:
            DELETIONS[kind](context, resource_id)
        except ServerError as error:
            if not error.is_not_found:
                raise
        return resource_id

    return Change(kind, name, "delete", resource_id, step=step)
