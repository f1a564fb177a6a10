"""What exists on a server, as documents that `apply` reads."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import yaml

from offtake.declarations import destinations
from offtake.declarations.context import Context
from offtake.declarations.kinds import (
    alert_channels,
    alert_rules,
    catalogs,
    clients,
    connections,
    datasets,
    flow_export,
    roles,
)
from offtake.declarations.models import MODELS, Kind
from offtake.documents import Json
from offtake.errors import OfftakeError

_SYSTEM: Final = "system-defined"
_EXPORTS: Final[Mapping[Kind, Callable[[Context, Json], Json]]] = {
    "catalog": lambda _, entity: catalogs.export(entity),
    "dataset": datasets.export,
    "connection": lambda _, entity: connections.export(entity),
    "role": lambda _, entity: roles.export(entity),
    "client": lambda _, entity: clients.export(entity),
    "flow": flow_export.export,
    "alert-channel": lambda _, entity: alert_channels.export(entity),
    "alert-rule": alert_rules.export,
}
_OF_SANDBOX: Final[tuple[Kind, ...]] = ("catalog", "dataset", "connection", "flow", "alert-channel", "alert-rule")
"""What is exported without `--kind`: roles and clients belong to the organisation."""


def export(
    context: Context, kinds: Sequence[Kind], names: Sequence[str], set_name: str | None, *, with_ids: bool
) -> list[Json]:
    """The documents of all things of the kinds, or of those with one of the names. Raises `OfftakeError`.

    Ids are exported for things whose name is not unique, and on request.
    """
    found: list[Json] = []
    matched = set[str]()
    for kind in [one for one in MODELS if one in (kinds or _OF_SANDBOX)]:
        for entity in sorted(_entities(context, kind), key=lambda one: (str(one.get("name")), one["id"])):
            if names and entity["name"] not in names and entity["id"] not in names:
                continue
            if set_name is not None and context.state.tags.get((kind, entity["id"])) != set_name:
                continue
            matched |= {entity["name"], entity["id"]}
            document = _EXPORTS[kind](context, entity)
            ambiguous = len(context.state.by_name(kind, str(entity["name"]))) > 1
            if with_ids or ambiguous:
                document = {"kind": kind, "name": document["name"], "id": entity["id"]} | document
            found.append(document)
    missing = [one for one in names if one not in matched]
    if missing:
        raise OfftakeError(f"Nothing of {', '.join(kinds or _OF_SANDBOX)} has the name or id {missing[0][:200]}.")
    return found


def to_yaml(documents: Sequence[Json]) -> str:
    """The documents as YAML, separated by `---`. Texts that YAML 1.1 or 1.2 would read otherwise are quoted."""
    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 120, "default_flow_style": False}
    return "---\n".join(yaml.safe_dump(one, **options) for one in documents)


def _entities(context: Context, kind: Kind) -> list[Json]:
    """The entities of a kind that documents can declare."""
    found = [one for one in context.state.all_of(kind) if one.get("roleType") != _SYSTEM]
    if kind != "connection":
        return found
    return [one for one in found if destinations.of_connection_spec(one["connectionSpec"]["id"]) is not None]
