"""The actions on resource types that each permission allows (contract, section 27), and their words."""

from collections.abc import Collection, Mapping
from typing import Final, Literal

from offtake.contract import bodies, problems
from offtake.contract.caller import (
    ALL,
    EXPORT_DATASETS,
    MANAGE_ACCESS,
    MANAGE_CATALOGS,
    MANAGE_DATASETS,
    MANAGE_DESTINATIONS,
    MANAGE_SANDBOXES,
    PERMISSIONS,
    RESET_SANDBOXES,
    VIEW_AUDIT,
    VIEW_DATASETS,
    VIEW_DESTINATIONS,
    VIEW_SANDBOXES,
    Caller,
    PermissionMissingError,
)
from offtake.documents import Json

Action = Literal["read", "write", "delete"]

_READ: Final[tuple[Action, ...]] = ("read",)
_ALL: Final[tuple[Action, ...]] = ("read", "write", "delete")
_MAX_URLS: Final = 1000

ALLOWS: Final[Mapping[str, Mapping[str, tuple[Action, ...]]]] = {
    VIEW_DESTINATIONS: {"destinations": _READ, "connections": _READ},
    MANAGE_DESTINATIONS: {"destinations": _ALL, "connections": _ALL},
    EXPORT_DATASETS: {"destinations": _ALL, "connections": _ALL},
    VIEW_DATASETS: {"datasets": _READ, "dataset-data": _READ, "schemas": _READ},
    MANAGE_DATASETS: {"datasets": _ALL, "dataset-data": _ALL, "schemas": _READ},
    MANAGE_CATALOGS: {"lake-catalogs": _ALL},
    VIEW_SANDBOXES: {"sandboxes": _READ},
    MANAGE_SANDBOXES: {"sandboxes": _ALL},
    RESET_SANDBOXES: {"reset-sandboxes": ("read", "write")},
    VIEW_AUDIT: {"audit-log": _READ},
    MANAGE_ACCESS: {"roles": _ALL},
}
CATEGORIES: Final[Mapping[str, tuple[str, ...]]] = {
    "Destinations": (VIEW_DESTINATIONS, MANAGE_DESTINATIONS, EXPORT_DATASETS),
    "Data Management": (VIEW_DATASETS, MANAGE_DATASETS, MANAGE_CATALOGS),
    "Sandbox Administration": (VIEW_SANDBOXES, MANAGE_SANDBOXES, RESET_SANDBOXES),
    "Data Governance": (VIEW_AUDIT, MANAGE_ACCESS),
}

TITLES: Final[Mapping[str, str]] = {
    VIEW_DESTINATIONS: "See destinations",
    MANAGE_DESTINATIONS: "Manage destinations",
    EXPORT_DATASETS: "Export datasets",
    VIEW_DATASETS: "See datasets",
    MANAGE_DATASETS: "Manage datasets",
    MANAGE_CATALOGS: "Manage catalogs",
    VIEW_SANDBOXES: "See sandboxes",
    MANAGE_SANDBOXES: "Manage sandboxes",
    RESET_SANDBOXES: "Reset sandboxes",
    VIEW_AUDIT: "See the audit log",
    MANAGE_ACCESS: "Manage access",
}
"""What people call each permission: what it allows, in a few words."""
NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    MANAGE_DESTINATIONS: (VIEW_DESTINATIONS,),
    EXPORT_DATASETS: (VIEW_DESTINATIONS, VIEW_DATASETS),
    MANAGE_CATALOGS: (MANAGE_DATASETS,),
}
"""The permissions without which a permission does not take full effect."""

MEANINGS: Final[Mapping[str, str]] = {
    VIEW_DESTINATIONS: "See destinations, accounts, dataflows and runs.",
    MANAGE_DESTINATIONS: "Create, test, change and delete accounts, and change what is delivered where.",
    EXPORT_DATASETS: "Create, change, run and delete dataflows.",
    VIEW_DATASETS: "See datasets, their schema and sample rows; select them for export.",
    MANAGE_DATASETS: "Create datasets, import files, replace and delete rows.",
    MANAGE_CATALOGS: "Add, change and remove catalogs of a lakehouse with their credentials, browse their tables, and "
    "register any of these as datasets.",
    VIEW_SANDBOXES: "See the list of sandboxes.",
    MANAGE_SANDBOXES: "Rename sandboxes; if granted in all sandboxes, also create and delete them.",
    RESET_SANDBOXES: "Remove everything in a sandbox at once.",
    VIEW_AUDIT: "See who changed what, when, and from where; if granted in all sandboxes, in all of them.",
    MANAGE_ACCESS: "Manage clients and roles, and so give themselves any permission. Counts only in all sandboxes.",
}
"""What each permission allows, for people who edit roles."""


def refusal(error: PermissionMissingError, place: str) -> str:
    """A refusal for people. `place`: the sandbox's title."""
    titles = [TITLES[name] for name in error.permissions]
    may_not = " or ".join(title[0].lower() + title[1:] for title in titles)
    wanted = " or ".join(f"“{title}”" for title in titles)
    where = f"in the sandbox {place}" if error.sandbox else "in all sandboxes"
    return f"You may not {may_not}. Ask an administrator for the permission {wanted} {where}."


def unmet_needs(granted: Collection[str], sandboxes: Collection[str]) -> list[str]:
    """Sentences about permissions of a role that have no full effect without another one, or without all sandboxes."""
    if ALL in granted:
        granted = PERMISSIONS
    found = []
    for name in (one for one in PERMISSIONS if one in granted):
        missing = [f"“{TITLES[one]}”" for one in NEEDS.get(name, ()) if one not in granted]
        if missing:
            found.append(f"“{TITLES[name]}” also needs {' and '.join(missing)}, in this role or another one.")
    if MANAGE_ACCESS in granted and ALL not in sandboxes:
        found.append(f"“{TITLES[MANAGE_ACCESS]}” has no effect without all sandboxes.")
    if granted and not sandboxes:
        found.append("Without a sandbox, the role grants nothing.")
    return found


def reference() -> Json:
    """All permissions and all resource types, as the API lists them."""
    kinds = sorted({kind for allowed in ALLOWS.values() for kind in allowed})
    return {
        "permissions": {name: _document(ALLOWS[name]) for name in PERMISSIONS},
        "resource-types": {kind: _actions(kind, PERMISSIONS) for kind in kinds},
    }


def effective(caller: Caller, body: bytes | list[str]) -> Json:
    """The requested URLs that the caller has permissions for, with the allowed actions; others are left out."""
    urls = bodies.parse_json(body) if isinstance(body, bytes) else body
    if not isinstance(urls, list) or not all(isinstance(one, str) for one in urls):
        raise problems.of_field("/", "must be an array of URLs such as /permissions/view-datasets")
    if len(urls) > _MAX_URLS:
        raise problems.of_field("/", f"must have at most {_MAX_URLS} URLs")
    granted = [name for name in PERMISSIONS if caller.grants.allow(name)]
    found = {url: _allowed_actions(url, granted) for url in urls}
    return {"policies": {url: actions for url, actions in found.items() if actions}}


def permission_sets() -> list[Json]:
    """Every permission with its category, as role editors list them."""
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


def _allowed_actions(url: str, granted: list[str]) -> list[str]:
    kind, _, name = url.removeprefix("/").partition("/")
    if kind == "permissions":
        return ["*"] if name in granted else []
    return _actions(name, granted) if kind == "resource-types" else []


def _actions(kind: str, permissions: tuple[str, ...] | list[str]) -> list[str]:
    found = {action for name in permissions for action in ALLOWS[name].get(kind, ())}
    return [action for action in _ALL if action in found]


def _document(allowed: Mapping[str, tuple[Action, ...]]) -> Json:
    return {kind: list(actions) for kind, actions in allowed.items()}
