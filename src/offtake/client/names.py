"""Finding things by what a person types: an id, the beginning of an id, or a name."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final
from urllib.parse import quote

from offtake.client.problems import ServerError
from offtake.client.server import ACCESS_CONTROL, CATALOG, FLOW_SERVICE, LAKE_CATALOGS, Server
from offtake.documents import Json
from offtake.errors import OfftakeError

_UUID: Final = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CATALOG_ID: Final = re.compile("[0-9a-f]{24}|[0-9A-HJKMNP-TV-Z]{26}")
_PREFIX: Final = re.compile(r"[0-9A-Za-z-]{4,36}")
_NOT_IN_FILTERS: Final = re.compile(r"[,&=<>!*~\n]")
_NAMED: Final = 10
_LATEST: Final = 1000
"""Runs and batches are searched by the beginning of their id among so many of the latest."""


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
RUN: Final = Kind("runs", "run")
SOURCE: Final = Kind("sourceConnections", "source connection")
TARGET: Final = Kind("targetConnections", "target connection")
ROLES: Final = f"{ACCESS_CONTROL}/administration/roles"
CLIENTS: Final = f"{ACCESS_CONTROL}/administration/clients"


def find(server: Server, kind: Kind, text: str) -> Json:
    """The entity of Flow Service with that id or name, or whose id starts so.

    Raises `OfftakeError` with the candidates when there is none or several.
    """
    if _UUID.fullmatch(text):
        try:
            return server.get_one(f"{kind.path}/{text}")
        except ServerError as error:
            if not _is_missing(error):
                raise
    if _is_plain(text):
        named = list(server.get_all(kind.path, (("property", f"name=={text}"),)))
        if len(named) == 1:
            return named[0]
    return choose(kind.word, text, server.get_all(kind.path))


def check_unused(server: Server, kind: Kind, name: str) -> None:
    """Raise `OfftakeError` if an entity of the kind has the name, as name or id: commands could mean either."""
    if _UUID.fullmatch(name):
        try:
            server.get_one(f"{kind.path}/{name}")
        except ServerError as error:
            if not _is_missing(error):
                raise
        else:
            raise OfftakeError(f"The name {name} is the id of another {kind.word}. Choose another name.")
    taken = next(_named(server, kind, name), None)
    if taken is not None:
        raise OfftakeError(
            f"A {kind.word} with the name {name} exists already: {taken['id']}. Choose another name, or change it: "
            f"offtake {kind.word} edit {taken['id']}"
        )


def check_alone(server: Server, kind: Kind, name: str, id_: str, remove: Callable[[], object]) -> None:
    """After a creation: raise `OfftakeError` if another client has created an entity of the name meanwhile.

    `remove` deletes this one then. Of two clients that create at the same time, one stops, or both; two entities of a
    name never stay, which would deliver everything twice.
    """
    other = next((one for one in _named(server, kind, name) if one["id"] != id_), None)
    if other is not None:
        remove()
        raise OfftakeError(
            f"Another client has created the {kind.word} {name} at the same time: {other['id']}. This one was removed; "
            "repeat the command."
        )


def _named(server: Server, kind: Kind, name: str) -> Iterator[Json]:
    filters = (("property", f"name=={name}"),) if _is_plain(name) else ()
    return (one for one in server.get_all(kind.path, filters) if one.get("name") == name)


def find_run(server: Server, text: str) -> Json:
    """The run with that id, or whose id starts so."""
    if _UUID.fullmatch(text):
        return server.get_one(f"{RUN.path}/{text}")
    return choose_by_id("run", text, server.get_all(RUN.path, most=_LATEST))


def find_dataset(server: Server, text: str) -> Json:
    """The dataset with that id or name, or whose id starts so, with its `id`."""
    found = find_datasets(server, text)
    if len(found) == 1:
        return found[0]
    few = (("properties", "name"),)
    one = choose("dataset", text, server.get_by_start(f"{CATALOG}/dataSets", None, few))
    return _catalog(server, "dataSets", one["id"]) or one


def find_datasets(server: Server, text: str) -> list[Json]:
    """The dataset with exactly that id, else those with exactly that name."""
    if _CATALOG_ID.fullmatch(text):
        found = _catalog(server, "dataSets", text)
        if found is not None:
            return [found]
    if not text.strip():
        return []
    query = (("name", text),) if _is_plain(text) else (("properties", "name"),)
    return [one for one in server.get_by_start(f"{CATALOG}/dataSets", None, query) if one.get("name") == text]


def find_batch(server: Server, text: str) -> Json:
    """The batch with that id, or whose id starts so, with its `id`."""
    if _CATALOG_ID.fullmatch(text):
        found = server.get(f"{CATALOG}/batches/{text}")
        return {"id": text, **found[text]}
    latest = (("orderBy", "desc:created"),)
    return choose_by_id("batch", text, server.get_by_start(f"{CATALOG}/batches", None, latest, _LATEST))


def find_catalog(server: Server, text: str) -> Json:
    """The catalog with that id or name, or whose id starts so. Raises as `find` does, and without the extension."""
    with extension(server, "catalogs of others"):
        return choose("catalog", text, server.get_all(LAKE_CATALOGS))


@contextmanager
def extension(server: Server, what: str) -> Iterator[None]:
    """Context manager: raises `extension_error` when the server does not have what is requested."""
    try:
        yield
    except ServerError as error:
        if error.is_not_served:
            raise server.extension_error(what) from None
        raise


def find_role(server: Server, text: str) -> Json:
    """The role with that id or name, or whose id starts so."""
    return choose("role", text, server.get_by_start(ROLES, "items"))


def find_client_id(server: Server, text: str) -> str:
    """The id of the client with that id, account id or name, or whose id starts so; revoked ones are left out.

    A server without a list of clients takes the text as it is.
    """
    try:
        known = [one for one in server.get_by_start(CLIENTS, "items") if one.get("revokedAt") is None]
    except ServerError as error:
        if error.is_not_served:
            return text
        raise
    account = [one for one in known if one.get("accountId") == text]
    return str((account[0] if len(account) == 1 else choose("client", text, known))["id"])


def choose(
    word: str, text: str, candidates: Iterable[Json], name_of: Callable[[Json], str] = lambda one: str(one.get("name"))
) -> Json:
    """The candidate with that id or name, or whose id starts so. Raises as `find` does."""
    known = list(candidates)
    for found in (
        [one for one in known if one["id"] == text],
        [one for one in known if name_of(one) == text],
        [one for one in known if _starts(one, text)],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            raise OfftakeError(f"{text} is ambiguous: it can be the {word}s {_listed(found, name_of)}. Use an id.")
    near = get_close_matches(text, [name_of(one) for one in known], 3)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"See: offtake {word} list"
    raise OfftakeError(f"No {word} has the id or the name {text[:200]}. {hint}")


def choose_by_id(word: str, text: str, candidates: Iterable[Json]) -> Json:
    """The candidate whose id starts so, of a kind that has no names. Raises as `find` does."""
    found = [one for one in candidates if _starts(one, text)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(one["id"] for one in found[:_NAMED]) + (" …" if len(found) > _NAMED else "")
        raise OfftakeError(f"{text} is ambiguous: it can be the {word}s {ids}. Give more of the id.")
    raise OfftakeError(f"The {word} {text[:200]} is not found. See: offtake {word} list")


def _starts(one: Json, text: str) -> bool:
    return bool(_PREFIX.fullmatch(text)) and str(one["id"]).lower().startswith(text.lower())


def _is_plain(text: str) -> bool:
    """Whether filters of the contract can hold the text."""
    return bool(text) and not _NOT_IN_FILTERS.search(text) and text.strip() == text


def _is_missing(error: ServerError) -> bool:
    return error.is_not_found or error.is_not_served


def _catalog(server: Server, resource: str, row_id: str) -> Json | None:
    try:
        found = server.get(f"{CATALOG}/{resource}/{quote(row_id, safe='')}")
    except ServerError as error:
        if _is_missing(error):
            return None
        raise
    return {"id": row_id, **found[row_id]}


def _listed(found: Sequence[Json], name_of: Callable[[Json], str]) -> str:
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(f"{one['id']} ({name_of(one)})" for one in found[:_NAMED]) + more
