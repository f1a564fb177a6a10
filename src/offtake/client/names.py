"""Finding entities by what a person types: an id, the beginning of an id, or a name."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from offtake.client.problems import ServerError
from offtake.client.server import FLOW_SERVICE, Server
from offtake.documents import Json
from offtake.errors import OfftakeError

SHORT_ID: Final = 8
"""The length of ids in tables on a terminal."""
_UUID: Final = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PREFIX: Final = re.compile(r"[0-9a-fA-F-]{4,36}")
_NOT_IN_FILTERS: Final = re.compile(r"[,&=<>!\n]")
_NAMED: Final = 10
_NOT_FOUND: Final = 404


@dataclass(frozen=True)
class Kind:
    """A kind of entity of Flow Service. `resource`: in paths; `word`: for messages and commands."""

    resource: str
    word: str

    @property
    def path(self) -> str:
        """The path of the list."""
        return f"{FLOW_SERVICE}/{self.resource}"


FLOW: Final = Kind("flows", "flow")
CONNECTION: Final = Kind("connections", "connection")


def find(server: Server, kind: Kind, text: str) -> Json:
    """The entity with that id or name, or whose id starts so.

    Raises `OfftakeError` with the candidates when there is none or several.
    """
    if _UUID.fullmatch(text):
        try:
            return server.get_one(f"{kind.path}/{text}")
        except ServerError as error:
            if error.status != _NOT_FOUND:
                raise
    if not _NOT_IN_FILTERS.search(text) and text.strip() == text:
        named = list(server.get_all(kind.path, (("property", f"name=={text}"),)))
        if len(named) == 1:
            return named[0]
    return choose(kind.word, text, server.get_all(kind.path))


def choose(
    word: str, text: str, candidates: Iterable[Json], name_of: Callable[[Json], str] = lambda one: str(one.get("name"))
) -> Json:
    """The candidate with that id or name, or whose id starts so. Raises as `find` does."""
    known = list(candidates)
    for found in (
        [one for one in known if one["id"] == text],
        [one for one in known if name_of(one) == text],
        [one for one in known if _PREFIX.fullmatch(text) and one["id"].startswith(text.lower())],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            raise OfftakeError(f"{text} is ambiguous: it can be the {word}s {_listed(found, name_of)}. Use an id.")
    near = get_close_matches(text, [name_of(one) for one in known], 3)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"See: offtake {word} list"
    raise OfftakeError(f"No {word} has the id or the name {text[:200]}. {hint}")


def _listed(found: Sequence[Json], name_of: Callable[[Json], str]) -> str:
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(f"{one['id']} ({name_of(one)})" for one in found[:_NAMED]) + more
