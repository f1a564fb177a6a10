"""The pages that the rail leads to: those that the person's permissions allow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from offtake.contract.caller import (
    MANAGE_ACCESS,
    MANAGE_DATASETS,
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
    ("Access", "access", "users", (MANAGE_ACCESS, VIEW_AUDIT, VIEW_SANDBOXES)),
)
_HOME: Final = ("", "monitoring")
_FLOWS: Final = ("flows", "runs", "export")


def rail(person: Person, path: str) -> Sequence[Link]:
    """The links of the rail for the page with that path."""
    section = path.removeprefix(person.url()).strip("/").partition("/")[0]
    return [
        Link(label, person.url(name), icon, here=_belongs(section, name))
        for label, name, icon, permissions in _LINKS
        if person.may(*permissions)
    ]


def _belongs(section: str, name: str) -> bool:
    sections = {"": _HOME, "flows": _FLOWS}.get(name, (name,))
    return section in sections
