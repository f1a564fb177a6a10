"""Registers tables of other catalogs as datasets, which are read where they are."""

from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.catalog import datasets, lake_catalog_calls
from offtake.contract import bodies, problems
from offtake.contract.bodies import Body, Sent
from offtake.contract.caller import MANAGE_CATALOGS, MANAGE_DATASETS, OPERATOR, Caller
from offtake.contract.problems import Problem
from offtake.lake.catalogs.opening import Identifier
from offtake.lake.locations import LocationError, is_local
from offtake.lake.registered import RegisteredTables
from offtake.lake.table_names import FILES, RegisteredTable, TableName, registered_name
from offtake.lake.table_names import parse as parse_table
from offtake.store.tables import Dataset, LakeCatalog, Sandbox

_LONGEST_NAME: Final = 250
"""Of a dataset's name before its number."""
_MOST_NUMBERS: Final = 1000


class Registration(Body):
    """`POST /lakeCatalogs/{id}/dataSets`. `table`: joined by dots or a list; `metadata` for catalogs of type files."""

    name: str
    table: str | list[str] | None = None
    metadata: str | None = None


class NamespaceBody(Body):
    """`POST /lakeCatalogs/{id}/keptNamespaces`."""

    namespace: str | list[str]


def parse_namespace(sent: Sent) -> Identifier:
    """The namespace of a body."""
    return lake_catalog_calls.parse_name(bodies.parse_body(NamespaceBody, sent).namespace, "/namespace")


def parse(sent: Sent) -> Registration:
    """The body of a registration."""
    return bodies.parse_body(Registration, sent)


def identifier_of(
    row: LakeCatalog, caller: Caller, table: object = None, metadata: object = None, path: str = "/table"
) -> Identifier:
    """The table's identifier in the catalog, from its name or the location of its metadata. Raises 1452 and 1455.

    Locations on this machine are for the operator.
    """
    if row.type != FILES:
        if table is None or metadata is not None:
            why = f"is required: catalog {row.name} is of type {row.type}, whose tables have names"
            raise problems.of_field(path, why, missing=table is None)
        return lake_catalog_calls.parse_name(table, path, least=2)
    if not isinstance(metadata, str) or not metadata:
        why = f"is required: catalog {row.name} is of type {FILES}, whose tables are named by their metadata"
        raise problems.of_field("/metadata", why, missing=True)
    try:
        on_this_machine = is_local(metadata)
    except LocationError as error:
        raise problems.of_field("/metadata", f"cannot be read: {error}") from None
    if caller.client_id != OPERATOR and on_this_machine:
        raise problems.of_field("/metadata", "is on the server's machine; this is for the operator there only")
    return FILES, metadata


def find(tables: RegisteredTables, caller: Caller, catalog_id: str, identifier: Identifier) -> RegisteredTable:
    """The table with its UUID, as it is now. Raises 1452 and 3504."""
    check_permissions(caller)
    uuid = lake_catalog_calls.find_uuid(tables, caller, catalog_id, identifier)
    return RegisteredTable(catalog_id, identifier, uuid)


def register(session: Session, caller: Caller, name: str, table: RegisteredTable, now_ms: int) -> Dataset:
    """Register the table as a dataset. Raises 3409 when a dataset has the name, or is the table already."""
    check_permissions(caller)
    # Locked, so that no other transaction registers the same table between the check and the commit.
    session.scalar(select(Sandbox.id).where(Sandbox.id == caller.sandbox_id).with_for_update())
    address = registered_name(table)
    known = session.scalar(select(Dataset).filter_by(catalog_id=table.catalog_id, table_name=address))
    if known is not None:
        message = f"Table {table} is registered already, as dataset {known.name} ({known.id})."
        raise Problem(problems.CONFLICT, message, datasets.RESOURCE, known.id)
    return datasets.create(session, caller, {"name": name}, now_ms, unique_name=True, registered=table)


def free_name(session: Session, caller: Caller, table: RegisteredTable) -> str:
    """A dataset's name for the table: its own, with a number if another dataset has it.

    Raises 1452 for a table whose name no dataset can have.
    """
    try:
        name = datasets.normalize_name(str(table))
    except ValueError as error:
        raise problems.of_field("/table", f"has a name that {error}: register it under another name") from None
    numbered = (f"{name[:_LONGEST_NAME]} {number}" for number in range(2, _MOST_NUMBERS))
    free = next((one for one in (name, *numbered) if not datasets.is_name_taken(session, caller, one)), None)
    if free is None:
        raise problems.of_field("/table", f"has a name that {_MOST_NUMBERS} datasets have; rename them")
    return free


def known_tables(session: Session, caller: Caller, catalog_id: str, namespace: Identifier) -> dict[str, Dataset]:
    """The caller's datasets that are tables of the namespace and not gone, by the table's name."""
    query = select(Dataset).where(
        Dataset.catalog_id == catalog_id, Dataset.gone_at.is_(None), *datasets.visible_to(caller)
    )
    found = ((parse_table(TableName(row.table_name)), row) for row in session.scalars(query))
    return {table.identifier[-1]: row for table, row in found if table and table.identifier[:-1] == namespace}


def registered_from(session: Session, caller: Caller, catalog_id: str, most: int) -> list[Dataset]:
    """The caller's datasets that are tables of the catalog, by name; gone ones first."""
    query = select(Dataset).where(Dataset.catalog_id == catalog_id, *datasets.visible_to(caller))
    return list(session.scalars(query.order_by(Dataset.gone_at.is_(None), Dataset.name, Dataset.id).limit(most)))


def check_permissions(caller: Caller) -> None:
    """Raise 2120 unless the caller may register tables: the catalog's credentials may read more than the caller."""
    caller.require(MANAGE_CATALOGS)
    caller.require(MANAGE_DATASETS)
