"""Catalogs of others: added with their properties, changed, and removed (permission `manage-catalogs`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from offtake.access import audit
from offtake.contract import bodies, bound_secrets, entities, listing, partial_updates, problems, resource_names
from offtake.contract.bodies import Body, Sent
from offtake.contract.caller import MANAGE_CATALOGS, OPERATOR, Caller
from offtake.contract.filters import Field as ListField
from offtake.contract.listing import ListQuery, Page
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import FieldProblem, InvalidInputError, OfftakeError
from offtake.lake.catalogs import declarations
from offtake.lake.catalogs.declarations import CatalogType
from offtake.lake.catalogs.opening import CatalogConfig
from offtake.network.egress import Network
from offtake.store.database import Database
from offtake.store.tables import Dataset, LakeCatalog, LakeNamespace
from offtake.store.vault import Vault

RESOURCE: Final = "lakeCatalogs"
_PATH: Final = "/properties"
_MOST: Final = 1000
_NAMED: Final = 3


class CatalogNotFoundError(OfftakeError):
    """No catalog has that id or name."""


Value = Annotated[str, StringConstraints(max_length=20_000)]
Properties = dict[Annotated[str, StringConstraints(min_length=1, max_length=255)], Value]


class NewCatalog(Body):
    """`POST /lakeCatalogs`."""

    name: str
    type: str
    properties: Properties = Field(default_factory=dict, max_length=100)


class ChangedCatalog(Body):
    """`PUT /lakeCatalogs/{id}`, and a catalog after a patch. The type stays."""

    name: str
    type: str | None = None
    properties: Properties = Field(max_length=100)


@dataclass(frozen=True)
class CatalogLine:
    """A catalog in a list, with how many datasets are its tables, and how many of these are gone."""

    row: LakeCatalog
    datasets: int
    gone: int


def create(
    session: Session,
    caller: Caller,
    vault: Vault,
    network: Network,
    sent: Sent,
    now_ms: int,
    row_id: str | None = None,
) -> LakeCatalog:
    """Store a catalog with encrypted secrets. It is not contacted.

    Raises 1452 and 1455 for properties that do not fit the type, and 3409 when the name is taken.
    """
    caller.require(MANAGE_CATALOGS)
    new = bodies.parse_body(NewCatalog, sent)
    is_operator = caller.client_id == OPERATOR
    kind = _find_type(new.type)
    bound_secrets.check_sent(new.properties, _secrets(kind, new.properties), _PATH)
    _check(kind, new.name, new.properties, network, is_operator=is_operator)
    resource_names.check_free(session, caller, LakeCatalog, new.name, "A catalog")
    if (session.scalar(select(func.count()).where(LakeCatalog.sandbox_id == caller.sandbox_id)) or 0) >= _MOST:
        raise Problem(problems.CONFLICT, f"The sandbox has {_MOST} catalogs already; remove one first.")
    stamp = entities.creation_columns(caller, now_ms, row_id)
    row = LakeCatalog(**stamp, name=new.name, type=kind.name, operators=is_operator)
    _set_properties(row, kind, new.properties, vault)
    session.add(row)
    session.flush()
    audit.record(session, caller, now_ms, "create", (RESOURCE, row.id), name=row.name, after=render(row))
    return row


def replace(
    session: Session, caller: Caller, vault: Vault, network: Network, row: LakeCatalog, sent: Sent, now_ms: int
) -> None:
    """Replace name and properties. A secret sent as the mask keeps its stored value, if nothing that binds it changes.

    Raises as `create` does; 1420 for another type.
    """
    caller.require(MANAGE_CATALOGS)
    _change(session, caller, vault, network, row, bodies.parse_body(ChangedCatalog, sent), now_ms)


def merge(
    session: Session, caller: Caller, vault: Vault, network: Network, row: LakeCatalog, sent: Sent, now_ms: int
) -> None:
    """Update the catalog partially: an object is a merge patch, a list a JSON Patch. Raises as `replace` does."""
    caller.require(MANAGE_CATALOGS)
    before: Json = {"name": row.name, "type": row.type, "properties": row.properties}
    document = partial_updates.update(before, sent, "/properties/scope")
    _change(session, caller, vault, network, row, bodies.parse_document(ChangedCatalog, document), now_ms)


def all_of(session: Session, caller: Caller) -> list[LakeCatalog]:
    """The catalogs of the sandbox, by name; at most 1000."""
    caller.require(MANAGE_CATALOGS)
    query = select(LakeCatalog).filter_by(sandbox_id=caller.sandbox_id)
    return list(session.scalars(query.order_by(LakeCatalog.name).limit(_MOST)))


def page(session: Session, caller: Caller, query: ListQuery) -> Page[LakeCatalog]:
    """A page of the catalogs, for the API."""
    caller.require(MANAGE_CATALOGS)
    fields = {
        "id": ListField(LakeCatalog.id, "id", sortable=True),
        "name": ListField(LakeCatalog.name, sortable=True),
        "type": ListField(LakeCatalog.type, sortable=True),
        "createdAt": ListField(LakeCatalog.created_at, "number", sortable=True),
        "updatedAt": ListField(LakeCatalog.updated_at, "number", sortable=True),
    }
    return listing.page(session, caller, LakeCatalog, fields, query)


def get(session: Session, caller: Caller, row_id: str, *, lock: bool = False) -> LakeCatalog:
    """The catalog with that id; raises 1439."""
    caller.require(MANAGE_CATALOGS)
    return entities.find(session, caller, LakeCatalog, RESOURCE, row_id, lock=lock)


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
    caller.require(MANAGE_CATALOGS)
    names = registered_from(session, row.id, _NAMED + 1)
    if names:
        more = " and others" if len(names) > _NAMED else ""
        message = (
            f"Datasets are registered from catalog {row.name}: {', '.join(names[:_NAMED])}{more}. Delete them first."
        )
        raise Problem(problems.CONFLICT, message, RESOURCE, row.id)
    audit.record(session, caller, now_ms, "delete", (RESOURCE, row.id), name=row.name, before=render(row))
    session.execute(delete(LakeNamespace).where(LakeNamespace.catalog_id == row.id))
    session.delete(row)


def exists(session: Session, caller: Caller, row_id: str) -> bool:
    """Whether the caller's sandbox has a catalog with that id."""
    row = session.get(LakeCatalog, row_id)
    return row is not None and row.sandbox_id == caller.sandbox_id


def search(session: Session, caller: Caller, text: str, offset: int, most: int) -> list[CatalogLine]:
    """The catalogs whose name contains `text`, by name, from number `offset` on."""
    caller.require(MANAGE_CATALOGS)
    query = select(LakeCatalog).filter_by(sandbox_id=caller.sandbox_id)
    if text:
        query = query.where(LakeCatalog.name.icontains(text, autoescape=True))
    rows = session.scalars(
        query.order_by(func.lower(LakeCatalog.name), LakeCatalog.id).offset(offset).limit(most)
    ).all()
    ids = [row.id for row in rows]
    of_these = select(Dataset.catalog_id, func.count(), func.count(Dataset.gone_at)).where(Dataset.catalog_id.in_(ids))
    counts = {row[0]: (row[1], row[2]) for row in session.execute(of_these.group_by(Dataset.catalog_id))}
    return [CatalogLine(row, *counts.get(row.id, (0, 0))) for row in rows]


def registered_from(session: Session, catalog_id: str, most: int) -> list[str]:
    """The names of the datasets that are tables of the catalog, at most `most`."""
    query = select(Dataset.name).where(Dataset.catalog_id == catalog_id)
    return list(session.scalars(query.order_by(Dataset.name).limit(most)))


def render(row: LakeCatalog) -> Json:
    """The catalog as the command line shows it; secrets are masked."""
    return {"id": row.id, "name": row.name, "type": row.type, "properties": row.properties}


def document(row: LakeCatalog, caller: Caller) -> Json:
    """The catalog as the API shows it; secrets are masked."""
    return entities.audit_fields(row, caller) | render(row) | entities.versions(row)


def types() -> list[Json]:
    """The types of catalogs and their properties, as the API lists them."""
    return [
        {
            "type": kind.name,
            "title": kind.title,
            "description": kind.description,
            "operatorOnly": kind.operators,
            "properties": [
                {
                    "name": one.name,
                    "description": one.description,
                    "required": one.required,
                    "secret": one.secret,
                    "operatorOnly": one.operators,
                    **({"enum": list(one.values)} if one.values else {}),
                }
                for one in kind.properties
            ],
        }
        for kind in declarations.TYPES.values()
    ]


def config_of(row: LakeCatalog, vault: Vault, network: Network, closed: tuple[str, ...]) -> CatalogConfig:
    """The configuration with which the catalog is opened. Raises `VaultError`."""
    secret = vault.decrypt(row.id, row.sealed) if row.sealed is not None else {}
    rules = network.for_operator() if row.operators else network
    kind = declarations.find_type(row.type)
    return CatalogConfig(row.id, row.name, kind.name, {**row.properties, **secret}, rules, closed)


def config_to_test(
    caller: Caller, network: Network, closed: tuple[str, ...], sent: Sent, stored: CatalogConfig | None = None
) -> CatalogConfig:
    """The configuration of a catalog that is not stored, to test it before it is. Raises as `create` does.

    `stored`: of the catalog that would be changed; its secrets are used in place of masks, as `replace` would.
    """
    caller.require(MANAGE_CATALOGS)
    new = bodies.parse_body(NewCatalog, sent)
    is_operator = caller.client_id == OPERATOR
    kind = _find_type(new.type)
    properties: Mapping[str, str] = new.properties
    if stored is not None:
        properties = _with_stored(kind, stored.properties, new.properties)
    # An operator's catalog keeps the operator's rules as long as its endpoints stay.
    keeps = (
        stored is not None
        and stored.network.operators
        and not _changed(kind, stored.properties, properties, endpoints_only=True)
    )
    if stored is not None:
        _check_operators(kind, stored.properties, properties, is_operator=is_operator)
    _check(kind, new.name, properties, network, is_operator=is_operator or keeps)
    rules = network.for_operator() if is_operator or keeps else network
    return CatalogConfig("", new.name, kind.name, properties, rules, closed)


def find_config(
    database: Database, vault: Vault, network: Network, closed: tuple[str, ...], catalog_id: str
) -> CatalogConfig | None:
    """The configuration of a catalog by its id; None when it was removed. Raises `VaultError`."""
    with database.reading() as session:
        row = session.get(LakeCatalog, catalog_id)
        return None if row is None else config_of(row, vault, network, closed)


def _change(
    session: Session,
    caller: Caller,
    vault: Vault,
    network: Network,
    row: LakeCatalog,
    new: ChangedCatalog,
    now_ms: int,
) -> None:
    if new.type not in (None, row.type):
        message = f"The type of a catalog cannot be changed from {row.type}; add another catalog."
        raise Problem(problems.NOT_UPDATABLE, message, RESOURCE, row.id)
    is_operator = caller.client_id == OPERATOR
    kind = declarations.find_type(row.type)
    kept = bound_secrets.masked(new.properties, _secrets(kind, new.properties))
    stored = row.properties | bound_secrets.decrypt(row.id, row.sealed, vault, kept, _PATH)
    properties = _with_stored(kind, stored, new.properties)
    _check(kind, new.name, properties, network, is_operator=is_operator or row.operators)
    _check_operators(kind, row.properties, properties, is_operator=is_operator)
    if not is_operator and _changed(kind, row.properties, properties, endpoints_only=True):
        # The operator's hosts may be in the machine's own network, those of other people may not.
        _check(kind, new.name, properties, network, is_operator=False)
        row.operators = False
    if new.name != row.name:
        resource_names.check_free(session, caller, LakeCatalog, new.name, "A catalog")
    before = render(row)
    replaced = bound_secrets.replaced(new.properties, _secrets(kind, new.properties))
    row.name = new.name
    _set_properties(row, kind, properties, vault)
    entities.set_updated(row, caller, now_ms)
    session.flush()
    change = (before, render(row))
    audit.record_update(session, caller, now_ms, (RESOURCE, row.id), row.name, change, replaced)


def _secrets(kind: CatalogType, sent: Mapping[str, str]) -> list[str]:
    """The names of secrets among those that were sent."""
    return [name for name in sent if kind.is_secret(name)]


def _with_stored(kind: CatalogType, stored: Mapping[str, str], sent: Mapping[str, str]) -> dict[str, str]:
    """The properties as sent, with stored secrets in place of masks. Raises `SecretNeededError`."""
    kept = bound_secrets.masked(sent, _secrets(kind, sent))
    return bound_secrets.fill_in(dict(sent), stored, kept, _PATH, lambda filled: _changed(kind, stored, filled))


def _changed(
    kind: CatalogType, before: Mapping[str, str], after: Mapping[str, str], *, endpoints_only: bool = False
) -> list[str]:
    """The properties that bind the secrets whose values differ."""
    names = [one.name for one in kind.properties if one.endpoint or (one.binds and not endpoints_only)]
    return [name for name in names if before.get(name, "") != after.get(name, "")]


def _check_operators(
    kind: CatalogType, before: Mapping[str, Any], properties: Mapping[str, str], *, is_operator: bool
) -> None:
    """Raise 1452 when a person who is not the operator changes what only the operator may set."""
    if is_operator:
        return
    if kind.operators:
        raise problems.of_field("/type", f"{kind.name} is for the operator on the server's machine only")
    for one in kind.properties:
        if one.operators and before.get(one.name) != properties.get(one.name):
            raise problems.of_field(
                f"/properties/{one.name}", "is for the operator on the server's machine only; it cannot be changed here"
            )


def _set_properties(row: LakeCatalog, kind: CatalogType, properties: Mapping[str, str], vault: Vault) -> None:
    values, secret = dict(properties), _secrets(kind, properties)
    row.properties, row.sealed = bound_secrets.encrypt(row.id, values, secret, vault)


def _find_type(name: str) -> CatalogType:
    try:
        return declarations.find_type(name)
    except InvalidInputError as error:
        raise problems.of_fields(error) from None


def _check(kind: CatalogType, name: str, properties: Mapping[str, str], network: Network, *, is_operator: bool) -> None:
    """Raise 1452 and 1455 with every problem of the name and the properties."""
    found = resource_names.find_problems(name)
    try:
        declarations.check(kind, properties, is_operator=is_operator)
    except InvalidInputError as error:
        found += error.problems
    rules = network.for_operator() if is_operator else network
    for one in kind.properties:
        host = _host(properties.get(one.name, "")) if one.endpoint else None
        if host and rules.is_host_denied(host):
            problem = f"is denied: the network's rules do not allow {host}"
            found.append(FieldProblem(f"/properties/{one.name}", problem))
    if found:
        raise problems.of_fields(InvalidInputError(found))


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
