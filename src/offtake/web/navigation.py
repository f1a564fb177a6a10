"""The pages that the rail leads to: those that the person's permissions allow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from offtake.contract.caller import (
    MANAGE_ACCESS,
    MANAGE_CATALOGS,
    MANAGE_DATASETS,
    MANAGE_SANDBOXES,
    RESET_SANDBOXES,
    VIEW_AUDIT,
    VIEW_DATASETS,
    VIEW_DESTINATIONS,
    VIEW_SANDBOXES,
)
from offtake.web.person import Person


@dataclass(frozen=True)
class Link:
    """A link of the rail; `here`: the page that is shown belongs to it."""

    label: str
    url: str
    icon: str
    here: bool


_LINKS: Final[tuple[tuple[str, str, str, tuple[str, ...]], ...]] = (
    ("Deliveries", "", "inbox", (VIEW_DESTINATIONS,)),
    ("Dataflows", "flows", "workflow", (VIEW_DESTINATIONS,)),
    ("Destinations", "destinations", "send", (VIEW_DESTINATIONS,)),
    ("Accounts", "accounts", "key-round", (VIEW_DESTINATIONS,)),
    ("Datasets", "datasets", "table-2", (VIEW_DATASETS, MANAGE_DATASETS)),
    ("Catalogs", "catalogs", "library", (MANAGE_CATALOGS,)),
    ("Alerts", "alerts", "bell", (VIEW_DESTINATIONS,)),
    ("Usage", "usage", "chart-column", (VIEW_DESTINATIONS,)),
)
_HOME: Final = ("", "monitoring", "owed")
_FLOWS: Final = ("flows", "runs", "export")
_SANDBOXES: Final = (VIEW_SANDBOXES, MANAGE_SANDBOXES, RESET_SANDBOXES)


def rail(person: Person, path: str) -> Sequence[Link]:
    """The links of the rail for the page with that path."""
    section = path.removeprefix(person.url()).strip("/").partition("/")[0]
    links = [
        Link(label, person.url(name), icon, here=_belongs(section, name))
        for label, name, icon, permissions in _LINKS
        if person.may(*permissions)
    ]
    is_offered = bool(access_tabs(person, path))
    return [*links, *([Link("Access", person.url("access"), "users", here=section == "access")] if is_offered else [])]


def access_tabs(person: Person, path: str) -> Sequence[Link]:
    """The parts of the access pages that the person's permissions allow; clients and roles need them everywhere."""
    offered = {
        "Clients": person.may_everywhere(MANAGE_ACCESS),
        "Roles": person.may_everywhere(MANAGE_ACCESS),
        "Sandboxes": person.may(*_SANDBOXES),
        "Audit log": person.may(VIEW_AUDIT),
    }
    urls = {label: person.url(f"access/{label.partition(' ')[0].lower()}") for label in offered}
    return [Link(label, urls[label], "", here=path.startswith(urls[label])) for label, may in offered.items() if may]


def _belongs(section: str, name: str) -> bool:
    sections = {"": _HOME, "flows": _FLOWS, "destinations": ("destinations", "landing-zone")}.get(name, (name,))
    return section in sections
