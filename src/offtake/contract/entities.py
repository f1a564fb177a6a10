"""Shared parts of Flow Service entities: system fields, etags and look-up."""

from collections.abc import Iterable
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.contract import problems
from offtake.contract.caller import Caller
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.store.tables import Entity, Stamp

StampT = TypeVar("StampT", bound=Stamp)

ENABLED = "enabled"
SPEC_VERSION = "1.0"


def creation_columns(caller: Caller, now_ms: int, row_id: str | None = None) -> dict[str, Any]:
    """The system columns of a new row: id (a random one unless it is given), owner, times and version."""
    return {
        "id": row_id or str(uuid4()),
        "org_id": caller.org_id,
        "sandbox_id": caller.sandbox_id,
        "created_at": now_ms,
        "updated_at": now_ms,
        "created_by": caller.account_id,
        "updated_by": caller.account_id,
        "created_client": caller.client_id,
        "updated_client": caller.client_id,
        "version": str(uuid4()),
    }


def etag(row: Stamp) -> str:
    """The version in quotes, as the contract requires (5.6)."""
    return f'"{row.version}"'


def update_response(row: Stamp) -> Json:
    """The response to a request that created or changed a row."""
    return {"id": row.id, "etag": etag(row)}


def parse_versions(if_match: str | None) -> set[str]:
    """The versions in an `If-Match` or `If-None-Match` header, without quotes."""
    return {one.strip().removeprefix("W/").strip('"') for one in (if_match or "").split(",") if one.strip()}


def check_version(row: Stamp, if_match: str | None) -> None:
    """Raise 1403 without `If-Match`, 1404 when it is not the row's version. Quotes are optional, `*` matches any."""
    sent = (if_match or "").strip()
    if not sent:
        raise Problem(
            problems.NO_IF_MATCH, f"If-Match is missing, as a header and in the query; send the etag {etag(row)}."
        )
    if sent not in ("*", etag(row), row.version):
        raise Problem(
            problems.OTHER_VERSION,
            f"Supplied version=[{sent[:100]}] does not match the current version on entity=[{etag(row)}]",
        )


def set_updated(row: Stamp, caller: Caller, now_ms: int) -> None:
    """Set a row's update columns and a new version."""
    row.updated_at, row.updated_by, row.updated_client = now_ms, caller.account_id, caller.client_id
    row.version = str(uuid4())


def audit_fields(row: Stamp, caller: Caller) -> Json:
    """The system fields of an entity (contract, section 6.1)."""
    return {
        "id": row.id,
        "createdAt": row.created_at,
        "updatedAt": row.updated_at,
        "createdBy": row.created_by,
        "updatedBy": row.updated_by,
        "createdClient": row.created_client,
        "updatedClient": row.updated_client,
        "sandboxId": row.sandbox_id,
        "sandboxName": caller.sandbox_name,
        "imsOrgId": row.org_id,
    }


def entity_fields(row: Entity, caller: Caller) -> Json:
    """The fields that connections and flows share, as the API shows them."""
    description = {} if row.description is None else {"description": row.description}
    return audit_fields(row, caller) | {"name": row.name, **description, "state": row.state, **versions(row)}


def versions(row: Stamp) -> Json:
    """The fields `version` and `etag`, which are equal."""
    return {"version": etag(row), "etag": etag(row)}


def spec_ref(spec_id: str) -> Json:
    """A reference to a spec, as the API shows it."""
    return {"id": spec_id, "version": SPEC_VERSION}


def find(
    session: Session, caller: Caller, table: type[StampT], resource_type: str, row_id: str, *, lock: bool = False
) -> StampT:
    """Load the row with that id in the caller's sandbox; `lock` for update. Raises 1439 when it does not exist."""
    row = session.get(table, row_id, with_for_update=lock or None)
    if row is None or row.sandbox_id != caller.sandbox_id:
        raise problems.not_found(resource_type, row_id)
    return row


def by_id(session: Session, table: type[StampT], ids: Iterable[str]) -> dict[str, StampT]:
    """Load the rows with those ids, by id."""
    return {row.id: row for row in session.scalars(select(table).where(table.id.in_(set(ids))))}
