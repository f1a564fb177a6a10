"""The source and target connections of flows: made, reused, and removed again when a later step is refused."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from offtake.client.exports import DATA_LAKE
from offtake.client.names import FLOW, SOURCE, TARGET, Kind
from offtake.client.server import Server
from offtake.documents import Json
from offtake.errors import OfftakeError

Undo = Callable[[], object]


class Steps:
    """What a command has done so far, to undo it."""

    def __init__(self) -> None:
        self._undo: list[tuple[str, Undo]] = []

    def add(self, what: str, undo: Undo) -> None:
        """Remember how to undo a step. `what`: the thing that is left when that fails."""
        self._undo.append((what, undo))

    def undo(self) -> list[str]:
        """Undo all steps, the last first; what is left, with the reason."""
        left = []
        for what, undo in reversed(self._undo):
            try:
                undo()
            except OfftakeError as error:
                left.append(f"{what} is left: {error}")
        return left


@contextmanager
def undone_on_error(report: Callable[[str], None]) -> Iterator[Steps]:
    """Undo the steps if the block raises, also when it is interrupted; `report` is called for what is left."""
    steps = Steps()
    try:
        yield steps
    except BaseException:
        for line in steps.undo():
            report(line)
        raise


def create(server: Server, kind: Kind, body: Json, steps: Steps) -> str:
    """Create an entity, which `steps` deletes again; its id."""
    made = str(server.post(kind.path, body)["id"])
    steps.add(f"{kind.word} {made}", lambda: server.delete(f"{kind.path}/{made}"))
    return made


def source_body(name: str, datasets: Sequence[Json], columns: Mapping[str, Sequence[str]]) -> Json:
    """The body that creates a source connection. `columns`: the chosen ones by dataset id; none: all."""
    listed = {key: list(value) for key, value in columns.items() if value}
    chosen: Json = {"columns": listed} if listed else {}
    return {"name": name, "connectionSpec": DATA_LAKE, "params": {"datasets": list(datasets)} | chosen}


def source_of(server: Server, body: Json, steps: Steps) -> str:
    """An unused source connection with that body, or a new one; its id.

    Raises `extension_error` when the server ignores the columns: it would deliver all of them.
    """
    wanted = body["params"]
    found = _unused(server, SOURCE, body["name"], "sourceConnectionIds[]", lambda one: _is_same(one, wanted))
    if found is not None:
        return found
    made = create(server, SOURCE, body, steps)
    if "columns" in wanted:
        stored = server.get_one(f"{SOURCE.path}/{made}")
        if set(stored["params"].get("columns") or {}) != set(wanted["columns"]):
            raise server.extension_error("--columns")
    return made


def target_of(server: Server, body: Json, steps: Steps) -> str:
    """An unused target connection with that body, or a new one; its id."""

    def is_same(one: Json) -> bool:
        return bool(one["baseConnectionId"] == body["baseConnectionId"] and one["params"] == body["params"])

    found = _unused(server, TARGET, body["name"], "targetConnectionIds[]", is_same)
    return found if found is not None else create(server, TARGET, body, steps)


def users_of(server: Server, field: str, entity_id: str) -> list[Json]:
    """The flows with that source or target connection. `field`: the filter of the contract."""
    return list(server.get_all(FLOW.path, (("property", f"{field}=={entity_id}"),), 2))


def _unused(server: Server, kind: Kind, name: str, field: str, fits: Callable[[Json], bool]) -> str | None:
    """One that an earlier command left behind. Names that filters cannot hold are not searched."""
    if set(name) & set(",&=<>!*~\n") or name.strip() != name:
        return None
    for one in server.get_all(kind.path, (("property", f"name=={name}"),)):
        if fits(one) and not users_of(server, field, one["id"]):
            return str(one["id"])
    return None


def _is_same(source: Json, wanted: Json) -> bool:
    params = source["params"]
    ids = [(one["dataSetId"], one.get("ref")) for one in params["datasets"]]
    return ids == [(one["dataSetId"], one.get("ref")) for one in wanted["datasets"]] and params.get(
        "columns"
    ) == wanted.get("columns")
