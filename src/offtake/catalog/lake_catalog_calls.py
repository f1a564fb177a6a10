"""Calls to catalogs and their stores on behalf of requests: few at once, each with a deadline.

No database session may be open meanwhile: a catalog that does not answer would keep its connection.
"""

import contextvars
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, TypeVar

from offtake.contract import problems
from offtake.contract.caller import MANAGE_CATALOGS, OPERATOR, Caller
from offtake.contract.problems import Problem
from offtake.errors import SOURCE_UNAVAILABLE, DeliveryError, FieldProblem
from offtake.lake.catalogs.opening import CatalogConfig, Identifier
from offtake.lake.registered import CheckedCatalog, RegisteredTables
from offtake.lake.table_names import TableName, parse

MOST_NAMES: Final = 100
_AT_ONCE: Final = 8
_AT_ONCE_OF_ONE: Final = 3
DEADLINE_SECONDS: Final = 30.0
"""Of one call; a client's proxy often waits 60 seconds."""
_OPERATORS_SECONDS: Final = 600.0
_READS_WAIT: Final = 1.0
Result = TypeVar("Result")


@dataclass(frozen=True)
class NamePage:
    """Names of namespaces or tables, in order. `following`: offset of the next page, None on the last."""

    names: list[Identifier]
    total: int
    following: int | None


def namespaces(tables: RegisteredTables, caller: Caller, catalog_id: str, parent: Identifier) -> list[Identifier]:
    """The namespaces in `parent`, in order. Raises as `call` does."""
    caller.require(MANAGE_CATALOGS)
    return sorted(set(call(caller, "/parent", lambda: tables.namespaces(catalog_id, parent))))


def tables_in(tables: RegisteredTables, caller: Caller, catalog_id: str, namespace: Identifier) -> list[Identifier]:
    """The tables of the namespace, in order. Raises as `call` does."""
    caller.require(MANAGE_CATALOGS)
    return sorted(set(call(caller, "/namespace", lambda: tables.tables(catalog_id, namespace))))


def page_of(names: list[Identifier], search: str, start: int, most: int) -> NamePage:
    """One page of the names that contain `search`, in any case."""
    wanted = search.strip().casefold()
    found = [one for one in names if wanted in one[-1].casefold()]
    end = start + most
    return NamePage(found[start:end], len(found), end if end < len(found) else None)


def find_uuid(tables: RegisteredTables, caller: Caller, catalog_id: str, identifier: Identifier) -> str:
    """The UUID of a table. Raises as `call` does."""
    return call(caller, "/table", lambda: tables.find_uuid(catalog_id, identifier))


def check(
    tables: RegisteredTables, caller: Caller, config: CatalogConfig, identifier: Identifier | None = None
) -> CheckedCatalog:
    """Whether the catalog, which may not be stored yet, can be used, and the table be read."""
    caller.require(MANAGE_CATALOGS)
    try:
        return call(caller, "/table", lambda: tables.check(config, identifier))
    except Problem as problem:
        if problem.code != problems.CATALOG_AWAY:
            raise
        return CheckedCatalog(DeliveryError(SOURCE_UNAVAILABLE, problem.message))


def refusal(tables: RegisteredTables, caller: Caller, config: CatalogConfig) -> DeliveryError | None:
    """Why the catalog, which may not be stored yet, cannot be used; None when it answers."""
    return check(tables, caller, config).refusal


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


def call(caller: Caller, path: str, work: Callable[[], Result]) -> Result:
    """What `work` returns, which calls a catalog on behalf of `caller`.

    Raises 3503 while too many calls are going on, and 3504 at the deadline. Translates `DeliveryError` to 3504, or to
    1452 with `path` when the request names something wrong.
    """
    try:
        return _call(caller, work)
    except DeliveryError as error:
        raise explain(error, path) from None


def read(
    caller: Caller, tables: Iterable[TableName], work: Callable[[], Result], seconds: float | None = None
) -> Result:
    """What `work` returns, which reads the tables; `seconds`: its deadline, 30 by default.

    If one of them is registered, it is a call as `call` makes, which waits for a moment while too many are going on.
    Raises 3503 and 3504 as `call` does; `DeliveryError` when a table cannot be read for another reason.
    """
    if all(parse(one) is None for one in tables):
        return work()
    try:
        return _call(caller, work, seconds, _READS_WAIT)
    except DeliveryError as error:
        if error.transient:
            raise explain(error, "") from None
        raise


def _call(caller: Caller, work: Callable[[], Result], seconds: float | None = None, patience: float = 0) -> Result:
    """The result of `work`, in a thread of its own: a call that misses its deadline keeps its slot until it ends.

    So catalogs that do not answer take a few threads, and none of those that serve requests.
    """
    limit = seconds or (_OPERATORS_SECONDS if caller.client_id == OPERATOR else DEADLINE_SECONDS)
    _slots.take(caller.client_id, patience)
    answer: Future[Result] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            result = context.run(work)
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            _slots.give_back(caller.client_id)
            answer.set_exception(error)
        else:
            _slots.give_back(caller.client_id)
            answer.set_result(result)

    threading.Thread(target=run, name="catalog-call", daemon=True).start()
    try:
        return answer.result(limit)
    except TimeoutError:
        if answer.done():
            raise  # of the call itself
        message = (
            f"The catalog or its store has not answered within {limit:g} seconds. Retry, or check the catalog, its "
            "URL and the network."
        )
        raise Problem(problems.CATALOG_AWAY, message) from None


def explain(error: DeliveryError, path: str) -> Problem:
    """The error as the API has it: 3504 when the catalog is away, else 1452."""
    if error.transient:
        return Problem(problems.CATALOG_AWAY, str(error))
    problem = Problem(problems.BAD_VALUE, str(error))
    problem.fields.append(FieldProblem(path, str(error)))
    return problem


class _Slots:
    """Counts the calls that are going on, by client. The operator's are not counted."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: Counter[str] = Counter()

    def take(self, client: str, patience: float = 0) -> None:
        """Begin a call. Raises 3503 when too many are going on for so many seconds."""
        if client == OPERATOR:
            return
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_room(client), patience):
                message = "Too many calls to catalogs are going on. Retry when one of them has ended."
                raise Problem(problems.BUSY, message)
            self._running[client] += 1

    def give_back(self, client: str) -> None:
        """End a call."""
        if client != OPERATOR:
            with self._changed:
                self._running[client] -= 1
                self._changed.notify_all()

    def _has_room(self, client: str) -> bool:
        return self._running.total() < _AT_ONCE and self._running[client] < _AT_ONCE_OF_ONE


_slots: Final = _Slots()
