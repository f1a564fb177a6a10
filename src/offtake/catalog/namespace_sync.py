"""Brings the datasets of a namespace in step with its catalog: new tables appear, dropped ones are marked as gone.

A mark is only shown: a run always asks the catalog itself. A catalog that does not answer changes nothing.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.access import access, audit
from offtake.catalog import datasets, registration
from offtake.catalog.kept_namespaces import MOST_TABLES
from offtake.contract import problems
from offtake.contract.caller import Caller
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import DATASET_GONE, DeliveryError
from offtake.lake.catalogs.opening import Identifier
from offtake.lake.registered import RegisteredTables
from offtake.lake.table_names import RegisteredTable, TableName, parse, registered_name
from offtake.store.database import Database
from offtake.store.sandbox_states import ACTIVE
from offtake.store.tables import Dataset, LakeNamespace, Sandbox

_NEW: Final = 500
"""New tables of one round, if there are more, the next round follows at once."""
_COMPARED: Final = 100
"""Known tables of one round whose UUID is compared with the dataset's; the next round goes on after them."""
_STEP: Final = 20
"""Tables of one transaction."""
_MOST_REFUSED: Final = 1000
_LONGEST: Final = 500


@dataclass
class Round:
    """What a round has done so far. `collisions`: by table, the dataset's name that differs from it.

    `refused`: why a table is not a dataset. `problem`: why the round ended early. `more`: new tables are left.
    `tables`: how many the catalog has.
    """

    appeared: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    collisions: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    problem: str | None = None
    more: bool = False
    tables: int = 0

    def to_json(self) -> Json:
        """The round as the API shows it."""
        return asdict(self)


@dataclass(frozen=True)
class _Registered:
    id: str
    table: RegisteredTable
    gone: bool


@dataclass(frozen=True)
class _Namespace:
    """A namespace as a round found it at its start.

    `datasets`: ids of datasets by their table's name. `known`: names of tables that are datasets, and not gone.
    """

    id: str
    catalog_id: str
    steps: Identifier
    excluded: frozenset[str]
    refused: Mapping[str, str]
    cursor: str
    known: frozenset[str]
    datasets: Mapping[str, list[str]]


def claim_due(database: Database, now_ms: int, interval_ms: int) -> str | None:
    """The id of a namespace that is due, which then is due again after the interval; None when there is none.

    A time further ahead than two intervals was stored before the clock was set back.
    """
    is_due = ~LakeNamespace.due_at.between(now_ms + 1, now_ms + 2 * interval_ms)
    if not database.finds(select(LakeNamespace.id).where(is_due)):
        return None
    with database.writing() as session:
        first = select(LakeNamespace).where(is_due).order_by(LakeNamespace.due_at).limit(1)
        row = session.scalar(first.with_for_update(skip_locked=True))
        if row is None:
            return None
        row.due_at = now_ms + interval_ms
        return row.id


def sync(
    database: Database, tables: RegisteredTables, namespace_id: str, now_ms: int, *, new_tables: int = _NEW
) -> Iterator[Round]:
    """One round for a namespace, in short steps; yields what was done so far after each.

    A round registers so many new tables at most, and compares 100 known ones.
    """
    namespace = _begin(database, namespace_id)
    if namespace is None:
        return
    done, cursor = Round(refused=dict(namespace.refused)), namespace.cursor
    listed: set[str] | None = None
    try:
        listed = _listed(tables, namespace, done)
        done.tables = len(listed)
        for name in set(done.refused) - listed:
            del done.refused[name]
        yield from _mark_gone(database, namespace, listed, done, now_ms)
        new, again = _due(namespace, listed, done, new_tables)
        for names in (*_steps(new), *_steps(again)):
            found = [(name, _uuid(tables, namespace, name, done)) for name in names]
            if not _apply(database, namespace, found, done, now_ms):
                return
            cursor = names[-1] if names[-1] in again else cursor
            yield done
    except DeliveryError as error:
        done.problem = str(error)
    _end(database, namespace, listed, cursor, done, now_ms)
    yield done


def run_round(database: Database, tables: RegisteredTables, namespace_id: str, now_ms: int) -> Round:
    """One round for a namespace, on request: like `sync`, with at most 100 new tables."""
    done = Round()
    for done in sync(database, tables, namespace_id, now_ms, new_tables=_COMPARED):  # noqa: B007 - the last one counts
        pass
    return done


def _begin(database: Database, namespace_id: str) -> _Namespace | None:
    with database.reading() as session:
        row = session.get(LakeNamespace, namespace_id)
        if row is None or session.get_one(Sandbox, row.sandbox_id).state != ACTIVE:
            return None
        steps = tuple(row.steps)
        known, by_name = set(), defaultdict(list)
        for dataset in _datasets(session, row.catalog_id, steps):
            by_name[dataset.table.identifier[-1]].append(dataset.id)
            if not dataset.gone:
                known.add(dataset.table.identifier[-1])
        excluded = frozenset(row.excluded)
        return _Namespace(row.id, row.catalog_id, steps, excluded, row.refused, row.cursor, frozenset(known), by_name)


def _datasets(session: Session, catalog_id: str, steps: Identifier) -> list[_Registered]:
    """The datasets that are tables of the namespace."""
    of_catalog = select(Dataset.id, Dataset.table_name, Dataset.gone_at).where(Dataset.catalog_id == catalog_id)
    rows = [(row, parse(TableName(row.table_name))) for row in session.execute(of_catalog)]
    return [
        _Registered(row.id, table, row.gone_at is not None)
        for row, table in rows
        if table is not None and table.identifier[:-1] == steps
    ]


def _listed(tables: RegisteredTables, namespace: _Namespace, done: Round) -> set[str]:
    """The names of the catalog's tables; none when it has no such namespace any more. Raises `DeliveryError`."""
    try:
        found = tables.tables(namespace.catalog_id, namespace.steps)
    except DeliveryError as error:
        if error.kind != DATASET_GONE:
            raise
        done.problem = str(error)
        return set()
    return {one[-1] for one in found if one[:-1] == namespace.steps}


def _due(namespace: _Namespace, listed: set[str], done: Round, most: int) -> tuple[list[str], list[str]]:
    """The names of the tables whose UUID this round asks for: new ones, and known or refused ones after the cursor."""
    unregistered = listed - namespace.known - namespace.excluded
    new = sorted(unregistered - set(done.refused))
    room = max(0, MOST_TABLES - len(listed & namespace.known))
    if len(new) > room:
        done.problem = (
            f"The namespace has {len(listed)} tables; only {MOST_TABLES} are registered. "
            "Move tables to another namespace, or register single tables."
        )
    again = sorted((listed & namespace.known) | (unregistered & set(done.refused)))
    done.more = len(new[:room]) > most
    after = [name for name in again if name > namespace.cursor]
    return new[: min(room, most)], [*after, *again[: len(again) - len(after)]][:_COMPARED]


def _steps(names: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(names), _STEP):
        yield names[first : first + _STEP]


def _uuid(tables: RegisteredTables, namespace: _Namespace, name: str, done: Round) -> str | None:
    """The table's UUID; None if it cannot be registered. Raises `DeliveryError` when the catalog is away."""
    done.refused.pop(name, None)
    try:
        return tables.find_uuid(namespace.catalog_id, (*namespace.steps, name))
    except DeliveryError as error:
        if error.transient:
            raise
        _refuse(done, name, str(error))
        return None


def _refuse(done: Round, name: str, why: str) -> None:
    if len(done.refused) < _MOST_REFUSED:
        done.refused[name] = why[:_LONGEST]


def _mark_gone(
    database: Database, namespace: _Namespace, listed: set[str], done: Round, now_ms: int
) -> Iterator[Round]:
    with database.reading() as session:
        known = _datasets(session, namespace.catalog_id, namespace.steps)
    gone = [one for one in known if not one.gone and one.table.identifier[-1] not in listed]
    for first in range(0, len(gone), _STEP):
        with database.writing() as session:
            caller = _caller(session, namespace)
            if caller is None:
                return
            for one in gone[first : first + _STEP]:
                _set_gone(session, caller, one.id, now_ms, gone=True)
                done.gone.append(str(one.table))
        yield done


def _set_gone(session: Session, caller: Caller, row_id: str, now_ms: int, *, gone: bool) -> None:
    row = session.get(Dataset, row_id, with_for_update=True)
    if row is not None:
        row.gone_at = now_ms if gone else None
        resource = (datasets.RESOURCE, row.id)
        audit.record(session, caller, now_ms, "update", resource, name=row.name, after={"gone": gone})


def _caller(session: Session, namespace: _Namespace) -> Caller | None:
    """The server itself in the namespace's sandbox; None when the namespace or its sandbox has been removed."""
    row = session.get(LakeNamespace, namespace.id)
    sandbox = None if row is None else session.get_one(Sandbox, row.sandbox_id)
    return access.engine_caller(session, sandbox) if sandbox is not None and sandbox.state == ACTIVE else None


def _apply(
    database: Database, namespace: _Namespace, found: Sequence[tuple[str, str | None]], done: Round, now_ms: int
) -> bool:
    """Register the tables that are not datasets yet; False when the namespace was removed meanwhile."""
    with database.writing() as session:
        caller = _caller(session, namespace)
        if caller is None:
            return False
        for name, uuid in found:
            if uuid is not None:
                table = RegisteredTable(namespace.catalog_id, (*namespace.steps, name), uuid)
                _apply_one(session, caller, table, namespace.datasets.get(name, ()), done, now_ms)
    return True


def _apply_one(
    session: Session, caller: Caller, table: RegisteredTable, known: Sequence[str], done: Round, now_ms: int
) -> None:
    address, is_known = registered_name(table), False
    for row in session.scalars(select(Dataset).where(Dataset.id.in_(known))).all():
        is_known = is_known or row.table_name == address
        if row.table_name == address and row.gone_at is not None:
            _set_gone(session, caller, row.id, now_ms, gone=False)
            done.appeared.append(str(table))
        elif row.table_name != address and row.gone_at is None:
            _set_gone(session, caller, row.id, now_ms, gone=True)
            done.gone.append(str(table))
    if not is_known:
        _register(session, caller, table, done, now_ms)


def _register(session: Session, caller: Caller, table: RegisteredTable, done: Round, now_ms: int) -> None:
    """Register the table as a dataset of its name, with a number if another dataset has it."""
    try:
        name = registration.free_name(session, caller, table)
        registration.register(session, caller, name, table, now_ms)
    except Problem as problem:
        if problem.code != problems.CONFLICT:  # else a person has registered it meanwhile
            _refuse(done, table.identifier[-1], str(problem))
        return
    done.appeared.append(str(table))
    if name != str(table):
        done.collisions[str(table)] = name


def _end(
    database: Database, namespace: _Namespace, listed: set[str] | None, cursor: str, done: Round, now_ms: int
) -> None:
    """Store the outcome. A catalog that did not answer leaves everything but the problem."""
    with database.writing() as session:
        row = session.get(LakeNamespace, namespace.id, with_for_update=True)
        if row is None:
            return
        row.problem = None if done.problem is None else done.problem[:_LONGEST]
        row.refused, row.cursor = done.refused, cursor
        if listed is not None:
            row.tables, row.synced_at = len(listed), now_ms
            row.excluded = [name for name in row.excluded if name in listed]
        if done.more:
            row.due_at = now_ms
