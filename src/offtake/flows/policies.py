"""What permissions mean: which actions on which types of resources they allow (contract, section 27)."""

from collections.abc import Mapping
from typing import Final, Literal

from offtake.flows import access, entities, problems
from offtake.flows.access import PERMISSIONS, Caller
from offtake.flows.entities import Json

Action = Literal["read", "write", "delete"]

_READ: Final[tuple[Action, ...]] = ("read",)
_ALL: Final[tuple[Action, ...]] = ("read", "write", "delete")
_MOST_ASKED: Final = 1000

ALLOWS: Final[Mapping[str, Mapping[str, tuple[Action, ...]]]] = {
    access.VIEW_DESTINATIONS: {"destinations": _READ, "connections": _READ},
    access.MANAGE_DESTINATIONS: {"destinations": _ALL, "connections": _ALL},
    access.EXPORT_DATASETS: {"destinations": _ALL, "connections": _ALL},
    access.VIEW_DATASETS: {"datasets": _READ, "dataset-data": _READ, "schemas": _READ},
    access.MANAGE_DATASETS: {"datasets": _ALL, "dataset-data": _ALL, "schemas": _READ},
    access.VIEW_SANDBOXES: {"sandboxes": _READ},
    access.MANAGE_SANDBOXES: {"sandboxes": _ALL},
    access.RESET_SANDBOXES: {"reset-sandboxes": ("read", "write")},
    access.VIEW_AUDIT: {"audit-log": _READ},
    access.MANAGE_ACCESS: {"roles": _ALL},
}
CATEGORIES: Final[Mapping[str, tuple[str, ...]]] = {
    "Destinations": (access.VIEW_DESTINATIONS, access.MANAGE_DESTINATIONS, access.EXPORT_DATASETS),
    "Data Management": (access.VIEW_DATASETS, access.MANAGE_DATASETS),
    "Sandbox Administration": (access.VIEW_SANDBOXES, access.MANAGE_SANDBOXES, access.RESET_SANDBOXES),
    "Data Governance": (access.VIEW_AUDIT, access.MANAGE_ACCESS),
}


def reference() -> Json:
    """Every permission and every type of resource there is."""
    kinds = sorted({kind for allowed in ALLOWS.values() for kind in allowed})
    return {
        "permissions": {name: _shown(ALLOWS[name]) for name in PERMISSIONS},
        "resource-types": {kind: _actions(kind, PERMISSIONS) for kind in kinds},
    }


def effective(caller: Caller, body: bytes) -> Json:
    """Of the URLs sent, those that the caller has, with what it may do; the others are left out."""
    asked = entities.parse_json(body)
    if not isinstance(asked, list) or not all(isinstance(one, str) for one in asked):
        raise problems.of_field("/", "must be an array of URLs such as /permissions/view-datasets")
    if len(asked) > _MOST_ASKED:
        raise problems.of_field("/", f"must hold at most {_MOST_ASKED} URLs")
    mine = [name for name in PERMISSIONS if caller.grants.allow(name)]
    found = {url: _allowed(url, mine) for url in asked}
    return {"policies": {url: actions for url, actions in found.items() if actions}}


def permission_sets() -> list[Json]:
    """Every permission with its category, as clients that compose roles list them."""
    return [
        {
            "id": name,
            "name": name.replace("-", " ").title(),
            "category": category,
            "permissions": [{"resource": kind, "actions": list(actions)} for kind, actions in ALLOWS[name].items()],
        }
        for category, names in CATEGORIES.items()
        for name in names
    ]


def _allowed(url: str, mine: list[str]) -> list[str]:
    kind, _, name = url.removeprefix("/").partition("/")
    if kind == "permissions":
        return ["*"] if name in mine else []
    return _actions(name, mine) if kind == "resource-types" else []


def _actions(kind: str, permissions: tuple[str, ...] | list[str]) -> list[str]:
    found = {action for name in permissions for action in ALLOWS[name].get(kind, ())}
    return [action for action in _ALL if action in found]


def _shown(allowed: Mapping[str, tuple[Action, ...]]) -> Json:
    return {kind: list(actions) for kind, actions in allowed.items()}
