"""Namespaces of catalogs that are kept in step: their tables are datasets as long as the catalog has them."""

from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.access import audit
from offtake.contract import entities, problems
from offtake.contract.caller import MANAGE_CATALOGS, MANAGE_DATASETS, Caller
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.lake.catalogs.opening import Identifier
from offtake.lake.table_names import TableName, parse, write_identifier
from offtake.store.tables import Dataset, LakeCatalog, LakeNamespace

RESOURCE: Final = "keptNamespaces"
MOST_TABLES: Final = 10_000
"""Tables of one namespace that are registered."""
_MOST: Final = 100


def keep(
    session: Session, caller: Caller, catalog: LakeCatalog, steps: Identifier, listed: int, now_ms: int
) -> LakeNamespace:
    """Keep the namespace in step from now on; the next round registers its tables. `listed`: how many it has.

    Raises 1452 when it is empty or too large, 3409 when it is kept in step already.
    """
    caller.require(MANAGE_CATALOGS)
    caller.require(MANAGE_DATASETS)
    name = write_identifier(steps)
    if not listed:
        why = f"{name} has no tables: correct its name, or create a table in catalog {catalog.name} first"
        raise problems.of_field("/namespace", why)
    if listed > MOST_TABLES:
        why = f"{name} has {listed} tables, more than the {MOST_TABLES} that are kept in step: register single tables"
        raise problems.of_field("/namespace", why)
    known = session.scalars(select(LakeNamespace).filter_by(catalog_id=catalog.id)).all()
    if any(one.name == name for one in known):
        message = f"Namespace {name} of catalog {catalog.name} is kept in step already."
        raise Problem(problems.CONFLICT, message, RESOURCE, None)
    if len(known) >= _MOST:
        message = f"Catalog {catalog.name} has {_MOST} namespaces that are kept in step; stop one first."
        raise Problem(problems.CONFLICT, message)
    row = LakeNamespace(
        **entities.creation_columns(caller, now_ms),
        catalog_id=catalog.id,
        name=name,
        steps=list(steps),
        excluded=[],
        refused={},
        cursor="",
        tables=listed,
        due_at=now_ms,
    )
    session.add(row)
    session.flush()
    audit.record(session, caller, now_ms, "create", (RESOURCE, row.id), name=_title(catalog, row), after=_said(row))
    return row


def all_of(session: Session, caller: Caller, catalog_id: str) -> list[LakeNamespace]:
    """The namespaces of the catalog that are kept in step, by name."""
    caller.require(MANAGE_CATALOGS)
    query = select(LakeNamespace).filter_by(sandbox_id=caller.sandbox_id, catalog_id=catalog_id)
    return list(session.scalars(query.order_by(LakeNamespace.name)))


def get(session: Session, caller: Caller, catalog_id: str, row_id: str) -> LakeNamespace:
    """The namespace with that id; raises 1439."""
    caller.require(MANAGE_CATALOGS)
    row = entities.find(session, caller, LakeNamespace, RESOURCE, row_id)
    if row.catalog_id != catalog_id:
        raise problems.not_found(RESOURCE, row_id)
    return row


def stop(session: Session, caller: Caller, row: LakeNamespace, now_ms: int) -> None:
    """Keep the namespace in step no longer. Its datasets stay."""
    caller.require(MANAGE_CATALOGS)
    catalog = session.get_one(LakeCatalog, row.catalog_id)
    audit.record(session, caller, now_ms, "delete", (RESOURCE, row.id), name=_title(catalog, row), before=_said(row))
    session.delete(row)


def hasten(session: Session, caller: Caller, catalog_id: str, now_ms: int) -> int:
    """Make the namespaces of the catalog due now. Returns how many there are."""
    rows = all_of(session, caller, catalog_id)
    for row in rows:
        row.due_at = now_ms
    return len(rows)


def exclude(session: Session, row: Dataset) -> None:
    """Remember that the dataset is deleted: its table stays in the namespace, and is not registered again.

    The table of a dataset that is gone may be registered again when it comes back.
    """
    table = parse(TableName(row.table_name))
    if table is None or row.gone_at is not None:
        return
    name = write_identifier(table.identifier[:-1])
    found = session.scalar(select(LakeNamespace).filter_by(catalog_id=table.catalog_id, name=name).with_for_update())
    if found is not None and table.identifier[-1] not in found.excluded:
        found.excluded = [*found.excluded, table.identifier[-1]]


def document(row: LakeNamespace) -> Json:
    """The namespace as the API shows it. `refused`: why some of its tables are not datasets, by name."""
    return {
        "id": row.id,
        "namespace": row.name,
        "steps": row.steps,
        "tables": row.tables,
        "syncedAt": row.synced_at,
        "problem": row.problem,
        "refused": row.refused,
        "excluded": row.excluded,
    }


def _title(catalog: LakeCatalog, row: LakeNamespace) -> str:
    return f"{catalog.name} {row.name}"


def _said(row: LakeNamespace) -> Json:
    return {"catalogId": row.catalog_id, "namespace": row.name}
