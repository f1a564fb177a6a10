"""Calls to catalogs on behalf of requests: test, and browse namespaces and tables; few at once."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from offtake.contract import problems
from offtake.contract.caller import MANAGE_CATALOGS, OPERATOR, Caller
from offtake.contract.problems import Problem
from offtake.errors import DeliveryError, FieldProblem
from offtake.lake.catalogs.opening import CatalogConfig, Identifier
from offtake.lake.registered import RegisteredTables

MOST_NAMES: Final = 100
_AT_ONCE: Final = 8
_AT_ONCE_OF_ONE: Final = 3


@dataclass(frozen=True)
class NamePage:
    """Names of namespaces or tables, in order. `following`: offset of the next page, None on the last."""

    names: list[Identifier]
    total: int
    following: int | None


def namespaces(tables: RegisteredTables, caller: Caller, catalog_id: str, parent: Identifier) -> list[Identifier]:
    """The namespaces in `parent`, in order. Raises as `calling` does."""
    caller.require(MANAGE_CATALOGS)
    with calling(caller, "/parent"):
        return sorted(set(tables.namespaces(catalog_id, parent)))


def tables_in(tables: RegisteredTables, caller: Caller, catalog_id: str, namespace: Identifier) -> list[Identifier]:
    """The tables of the namespace, in order. Raises as `calling` does."""
    caller.require(MANAGE_CATALOGS)
    with calling(caller, "/namespace"):
        return sorted(set(tables.tables(catalog_id, namespace)))


def page_of(names: list[Identifier], search: str, start: int, most: int) -> NamePage:
    """One page of the names that contain `search`, in any case."""
    wanted = search.strip().casefold()
    found = [one for one in names if wanted in one[-1].casefold()]
    end = start + most
    return NamePage(found[start:end], len(found), end if end < len(found) else None)


def find_uuid(tables: RegisteredTables, caller: Caller, catalog_id: str, identifier: Identifier) -> str:
    """The UUID of a table. Raises as `calling` does."""
    with calling(caller, "/table"):
        return tables.find_uuid(catalog_id, identifier)


def refusal(
    tables: RegisteredTables, caller: Caller, config: CatalogConfig, identifier: Identifier | None = None
) -> DeliveryError | None:
    """Why the catalog, which may not be stored yet, cannot be used; None when it answers."""
    caller.require(MANAGE_CATALOGS)
    with calling(caller, "/table"):
        return tables.refusal(config, identifier)


def parse_name(text: object, path: str, least: int = 1) -> Identifier:
    """A namespace (`least` 1) or a table (2): steps joined by dots, or as a JSON list of names. Raises 1452."""
    steps = text
    if isinstance(text, str):
        steps = text.split(".")
        if text.startswith("["):
            try:
                steps = json.loads(text)
            except (ValueError, RecursionError):
                raise problems.of_field(path, "is not a JSON list of names") from None
    if not isinstance(steps, list) or not all(isinstance(one, str) and one for one in steps) or len(steps) < least:
        needed = "a namespace and a name, such as sales.orders" if least > 1 else "names, such as sales or sales.eu"
        raise problems.of_field(path, f"must be {needed}, or a JSON list of them")
    return tuple(steps)


@contextmanager
def calling(caller: Caller, path: str) -> Iterator[None]:
    """Context manager for calls to a catalog, on behalf of `caller`.

    Raises 3503 while too many calls are going on: a catalog that does not answer must not take all threads that serve
    requests. Translates `DeliveryError` to 3504, or to 1452 with `path` when the request names something wrong.
    """
    with _slots.of(caller.client_id):
        try:
            yield
        except DeliveryError as error:
            raise explain(error, path) from None


def explain(error: DeliveryError, path: str) -> Problem:
    """The error as the API has it: 3504 when the catalog is away, else 1452."""
    if error.transient:
        return Problem(problems.CATALOG_AWAY, str(error))
    problem = Problem(problems.BAD_VALUE, str(error))
    problem.fields.append(FieldProblem(path, str(error)))
    return problem


class _Slots:
    """Counts the calls that are going on, by client."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()

    @contextmanager
    def of(self, client: str) -> Iterator[None]:
        if client != OPERATOR:
            with self._lock:
                if self._running.total() >= _AT_ONCE or self._running[client] >= _AT_ONCE_OF_ONE:
                    message = "Too many calls to catalogs are going on. Retry when one of them has ended."
                    raise Problem(problems.BUSY, message)
                self._running[client] += 1
        try:
            yield
        finally:
            if client != OPERATOR:
                with self._lock:
                    self._running[client] -= 1


_slots: Final = _Slots()
