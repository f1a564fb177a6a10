"""What the planning of all kinds shares: the server's state, ids, options and problems."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from offtake.client.server import Server
from offtake.client.transport import NotAContractServerError
from offtake.declarations.models import Kind
from offtake.declarations.parsing import Declared
from offtake.declarations.plan import Ids
from offtake.declarations.secrets import Resolver
from offtake.declarations.state import AmbiguousError, State
from offtake.declarations.yaml_text import Path
from offtake.documents import Json
from offtake.errors import OfftakeError


@dataclass(frozen=True)
class Options:
    """How documents are applied. `set_name` None: without tags. `take_over`: things of other sets join the set."""

    set_name: str | None = None
    prune: bool = False
    allow_inline_secrets: bool = False
    send_secrets: bool = False
    take_over: bool = False


@dataclass
class Context:
    """One planning: documents, what exists, and the problems found so far."""

    state: State
    declared: Sequence[Declared]
    options: Options = Options()
    resolver: Resolver = field(default_factory=Resolver)
    ids: Ids = field(default_factory=Ids)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    existing: dict[int, Json] = field(default_factory=dict)
    """By the document's position, the entity on the server."""
    replaced: list[str] = field(default_factory=list)
    """The ids of connections that steps have replaced by others."""
    recreated: set[str] = field(default_factory=set)
    """The ids of flows that the plan deletes and creates again."""

    @property
    def server(self) -> Server:
        """The server."""
        return self.state.server

    def of_kind(self, kind: Kind) -> list[tuple[int, Declared]]:
        """The documents of a kind, with their positions."""
        return [(index, one) for index, one in enumerate(self.declared) if one.kind == kind]

    def match_all(self) -> None:
        """Find the entity of each document, and record the ids of all that documents refer to."""
        taken: dict[tuple[str, str], Declared] = {}
        for index, one in enumerate(self.declared):
            document = one.document
            with self.collecting(one, ("id",) if document.id else ("name",)):
                found = self.state.find(one.kind, document.name, document.id)
                if found is None:
                    continue
                first = taken.setdefault((one.kind, found["id"]), one)
                if first is not one:
                    raise OfftakeError(
                        f"is the {one.kind} {found['id']}, which another document declares: {first.source.place()}"
                    )
                self.existing[index] = found
                self.ids.put(one.kind, document.name, found["id"])
                self.ids.put(one.kind, found["id"], found["id"])
        for one in self.declared:
            for kind, name, path in one.document.references():
                self._resolve(one, kind, name, path)

    def _resolve(self, one: Declared, kind: Kind, name: str, path: Path) -> None:
        if self.ids.get(kind, name) is not None or (kind, name) in self._declared_names:
            return
        with self.collecting(one, path):
            try:
                found = self.state.by_id(kind, name) or self.state.find(kind, name)
            except AmbiguousError as error:
                raise OfftakeError(f"{name}: {error} in its place") from None
            if found is None:
                raise OfftakeError(f"refers to the {kind} {name}, which is neither declared nor on the server")
            self.ids.put(kind, name, found["id"])

    @cached_property
    def _declared_names(self) -> set[tuple[str, str]]:
        return {(one.kind, one.name) for one in self.declared}

    @contextmanager
    def collecting(self, one: Declared, path: Path = ()) -> Iterator[None]:
        """Collect an error of the block as a problem of the document."""
        try:
            yield
        except AmbiguousError as error:
            self.problems.append(one.problem(("name",), str(error)))
        except NotAContractServerError:
            raise
        except OfftakeError as error:
            self.problems.append(one.problem(path, str(error)))

    def reference(self, one: Declared, value: str, path: Path, *, encode: bool = False) -> str:
        """The value of a secret reference. Raises `OfftakeError`."""
        label = f"{one.kind} {one.name}: {'.'.join(map(str, path[1:])) or path[-1]}"
        return self.resolver.resolve(value, label, one.source.folder, encode=encode)
