"""A plan: what would change for each document, and the steps that change it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from offtake.declarations.models import Kind
from offtake.documents import Json
from offtake.errors import OfftakeError

Action = Literal["create", "change", "replace", "delete", "adopt", "nothing"]
UNKNOWN_ID: Final = "(known after apply)"
LOST: Final = "position lost: delivers in full"


@dataclass(frozen=True)
class FieldChange:
    """A field with its old and new value, as the document has it; secrets are never shown."""

    field: str
    old: Any
    new: Any

    def to_json(self) -> Json:
        """The change as a JSON document."""
        return {"field": self.field, "old": self.old, "new": self.new}


@dataclass
class Ids:
    """The ids of declared things: those that exist, and those that steps have created."""

    _found: dict[tuple[str, str], str] = field(default_factory=dict)

    def put(self, kind: Kind, name: str, resource_id: str) -> None:
        """Record the id of a thing."""
        self._found[kind, name] = resource_id

    def get(self, kind: Kind, name: str) -> str | None:
        """The id of a thing by its name, or by its id; None when it is not known yet."""
        return self._found.get((kind, name))

    def need(self, kind: Kind, name: str) -> str:
        """The id of a thing, which exists by now. Raises `OfftakeError`."""
        found = self.get(kind, name)
        if found is None:
            raise OfftakeError(f"The {kind} {name} does not exist.")
        return found


Step = Callable[[], str]
"""Makes the change on the server, and returns the resource's id."""


@dataclass
class Change:
    """What happens to one thing. `id` None: it does not exist. `step` None: nothing is done but the tag.

    `first`: replaced things are removed before anything is created, in reverse order; returns nothing.
    """

    kind: Kind
    name: str
    action: Action
    id: str | None = None
    fields: Sequence[FieldChange] = ()
    notes: Sequence[str] = ()
    loses_position: bool = False
    step: Step | None = None
    first: Callable[[], None] | None = None
    joins_set: bool = False

    @property
    def is_difference(self) -> bool:
        """Whether the server differs from the documents."""
        return self.action != "nothing"

    @property
    def needs_permission(self) -> bool:
        """Whether `--allow-replace` is needed."""
        return self.action == "replace" or self.loses_position

    def to_json(self) -> Json:
        """The change as a JSON document."""
        return {
            "kind": self.kind,
            "name": self.name,
            "id": self.id,
            "action": self.action,
            "fields": [one.to_json() for one in self.fields],
            "positionLost": self.loses_position,
            "notes": list(self.notes),
        }


@dataclass
class Plan:
    """All changes in the order of their steps. `notes`: what could not be compared."""

    changes: list[Change]
    notes: list[str] = field(default_factory=list)
    set_name: str | None = None

    @property
    def differences(self) -> list[Change]:
        """The changes that do something."""
        return [one for one in self.changes if one.is_difference]

    def count(self, action: Action) -> int:
        """The number of changes of that kind."""
        return sum(one.action == action for one in self.changes)

    def to_json(self) -> Json:
        """The plan as a JSON document."""
        return {
            "set": self.set_name,
            "changes": [one.to_json() for one in self.changes],
            "notes": list(self.notes),
            "differs": bool(self.differences),
        }


def compare(pairs: Sequence[tuple[str, Any, Any]]) -> list[FieldChange]:
    """The fields whose values differ; of (field, old, new)."""
    return [FieldChange(name, old, new) for name, old, new in pairs if old != new]
