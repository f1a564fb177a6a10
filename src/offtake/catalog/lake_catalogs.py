"""Catalogs of others: added with their properties, tested, and removed; and the tables registered from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.access import audit
from offtake.catalog import datasets
from offtake.contract import entities, problems
from offtake.contract.caller import MANAGE_DATASETS, OPERATOR, Caller
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import InvalidInputError, OfftakeError
from offtake.lake.catalogs import declarations
from offtake.lake.catalogs.declarations import CatalogType
from offtake.lake.catalogs.opening import CatalogConfig, Identifier
from offtake.lake.registered import RegisteredTables
from offtake.lake.table_names import RegisteredTable, registered_name
from offtake.network.egress import Network
from offtake.store.database import Database
from offtake.store.tables import Dataset, LakeCatalog
from offtake.store.vault import Vault

RESOURCE: Final = "lakeCatalogs"
MASK: Final = "********"
_LONGEST_NAME: Final = 255


class CatalogNotFoundError(OfftakeError):
    """No catalog has that id or name."""


@dataclass(frozen=True)
class NewCatalog:
    """A catalog to add."""

    name: str
    type: str
    properties: Mapping[str, str]


def create(
    session: Session, caller: Caller, vault: Vault, network: Network, new: NewCatalog, now_ms: int
) -> LakeCatalog:
    """Store a catalog with encrypted secrets. It is not contacted.

    Raises 1452 and 1455 for properties that do not fit the type, and 3409 when the name is taken.
    """
    is_operator = caller.client_id == OPERATOR
    kind = _check(new, network, is_operator=is_operator)
    taken = select(LakeCatalog.id).filter_by(sandbox_id=caller.sandbox_id, name=new.name)
    if session.scalar(taken) is not None:
        raise Problem(problems.CONFLICT, f"A catalog named {new.name} already exists; choose another name.")
    secret = {name: value for name, value in new.properties.items() if _is_secret(kind, name)}
    stamp = entities.creation_columns(caller, now_ms)
    row = LakeCatalog(
        **stamp,
        name=new.name,
        type=kind.name,
        properties={name: MASK if name in secret else value for name, value in new.properties.items()},
        sealed=vault.encrypt(stamp["id"], secret) if secret else None,
        operators=is_operator,
    )
    session.add(row)
    session.flush()
    audit.record(session, caller, now_ms, "create", (RESOURCE, row.id), name=row.name, after=render(row))
    return row


def all_of(session: Session, caller: Caller) -> list[LakeCatalog]:
    """The catalogs of the sandbox, by name."""
    query = select(LakeCatalog).filter_by(sandbox_id=caller.sandbox_id)
    return list(session.scalars(query.order_by(LakeCatalog.name)))


def find(session: Session, caller: Caller, id_or_name: str) -> LakeCatalog:
    """The catalog with that id or name; raises `CatalogNotFoundError` that names those there are."""
    known = all_of(session, caller)
    found = next((one for one in known if id_or_name in (one.id, one.name)), None)
    if found is None:
        names = ", ".join(one.name for one in known[:10]) or "none"
        raise CatalogNotFoundError(f"No catalog has the id or the name {id_or_name[:200]}. There are: {names}.")
    return found


def remove(session: Session, caller: Caller, row: LakeCatalog, now_ms: int) -> None:
    """Forget the catalog; nothing is changed in it. Raises 3409 while datasets are registered from it."""
    prefix = f"iceberg://{row.id}/"
    query = select(Dataset.name).where(Dataset.table_name.startswith(prefix, autoescape=True)).order_by(Dataset.name)
    names = session.scalars(query.limit(4)).all()
    if names:
        more = " and others" if len(names) > 3 else ""  # noqa: PLR2004 - as many as are named
        message = f"Datasets are registered from catalog {row.name}: {', '.join(names[:3])}{more}. Delete them first."
        raise Problem(problems.CONFLICT, message)
    audit.record(session, caller, now_ms, "delete", (RESOURCE, row.id), name=row.name, before=render(row))
    session.delete(row)


def render(row: LakeCatalog) -> Json:
    """The catalog as a document; secrets are masked."""
    return {"id": row.id, "name": row.name, "type": row.type, "properties": row.properties}


def config_of(row: LakeCatalog, vault: Vault, network: Network, closed: tuple[str, ...]) -> CatalogConfig:
    """The configuration with which the catalog is opened. Raises `VaultError`."""
    secret = vault.decrypt(row.id, row.sealed) if row.sealed is not None else {}
    rules = network.for_operator() if row.operators else network
    kind = declarations.find_type(row.type)
    return CatalogConfig(row.id, row.name, kind.name, {**row.properties, **secret}, rules, closed)


def find_config(
    database: Database, vault: Vault, network: Network, closed: tuple[str, ...], catalog_id: str
) -> CatalogConfig | None:
    """The configuration of a catalog by its id; None when it was removed. Raises `VaultError`."""
    with database.reading() as session:
        row = session.get(LakeCatalog, catalog_id)
        return None if row is None else config_of(row, vault, network, closed)


def register(session: Session, caller: Caller, name: str, table: RegisteredTable, now_ms: int) -> Dataset:
    """Register the table as a dataset. Raises 3409 when a dataset has the name, or is the table already."""
    caller.require(MANAGE_DATASETS)
    address = registered_name(table)
    known = session.scalar(select(Dataset).filter_by(sandbox_id=caller.sandbox_id, table_name=address))
    if known is not None:
        raise Problem(problems.CONFLICT, f"Table {table} is registered already, as dataset {known.name} ({known.id}).")
    row = datasets.create(session, caller, {"name": name}, now_ms, unique_name=True)
    row.table_name = address
    session.flush()
    after = {"table": address}
    audit.record(session, caller, now_ms, "update", (datasets.RESOURCE, row.id), name=row.name, after=after)
    return row


def uuid_of(tables: RegisteredTables, catalog_id: str, identifier: Identifier) -> RegisteredTable:
    """The table with its UUID, as it is now. Raises `DeliveryError` when it cannot be read."""
    return RegisteredTable(catalog_id, identifier, tables.find_uuid(catalog_id, identifier))


def _check(new: NewCatalog, network: Network, *, is_operator: bool) -> CatalogType:
    if not new.name.strip() or len(new.name) > _LONGEST_NAME or "/" in new.name:
        raise problems.of_field("/name", "must have 1 to 255 characters, without /")
    try:
        kind = declarations.find_type(new.type)
        declarations.check(kind, new.properties, is_operator=is_operator)
    except InvalidInputError as error:
        raise problems.of_fields(error) from None
    rules = network.for_operator() if is_operator else network
    for one in kind.properties:
        host = urlsplit(new.properties.get(one.name, "")).hostname if one.endpoint else None
        if host and rules.is_host_denied(host):
            raise problems.of_field(f"/properties/{one.name}", f"is denied: the network's rules do not allow {host}")
    return kind


def _is_secret(kind: CatalogType, name: str) -> bool:
    found = kind.find(name)
    return found is not None and found.secret
