"""Resources that are declared in files: their tags, and whether declared secrets equal the stored ones (extensions)."""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import Field
from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from offtake.access import audit
from offtake.contract import bodies, entities, problems
from offtake.contract.bodies import Body, Sent
from offtake.contract.caller import (
    EXPORT_DATASETS,
    MANAGE_ACCESS,
    MANAGE_CATALOGS,
    MANAGE_DATASETS,
    MANAGE_DESTINATIONS,
    VIEW_DESTINATIONS,
    Caller,
)
from offtake.documents import Json
from offtake.store.tables import (
    AlertChannel,
    AlertRule,
    Client,
    Connection,
    Dataset,
    Flow,
    LakeCatalog,
    ManagedResource,
    Role,
)
from offtake.store.vault import Vault, VaultError

KIND: Final = "managedResources"
_MOST: Final = 1000
_SET_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEY: Final = r"^[0-9a-f]{64}$"

ResourceKind = Literal["catalog", "dataset", "connection", "role", "client", "flow", "alert-channel", "alert-rule"]
_IN_SANDBOX: Final[Mapping[str, tuple[InstrumentedAttribute[str], InstrumentedAttribute[str]]]] = {
    "catalog": (LakeCatalog.id, LakeCatalog.sandbox_id),
    "dataset": (Dataset.id, Dataset.sandbox_id),
    "connection": (Connection.id, Connection.sandbox_id),
    "flow": (Flow.id, Flow.sandbox_id),
    "alert-channel": (AlertChannel.id, AlertChannel.sandbox_id),
    "alert-rule": (AlertRule.id, AlertRule.sandbox_id),
}
_IN_ORGANISATION: Final[Mapping[str, tuple[InstrumentedAttribute[str], InstrumentedAttribute[str]]]] = {
    "role": (Role.id, Role.org_id),
    "client": (Client.id, Client.org_id),
}
_PERMISSIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "catalog": (MANAGE_CATALOGS,),
    "dataset": (MANAGE_DATASETS,),
    "connection": (MANAGE_DESTINATIONS, EXPORT_DATASETS),
    "flow": (EXPORT_DATASETS,),
    "alert-channel": (MANAGE_DESTINATIONS,),
    "alert-rule": (MANAGE_DESTINATIONS,),
}


class ResourceRef(Body):
    """A resource: the kind of its document, and its id."""

    kind: ResourceKind
    id: str = Field(min_length=1, max_length=200)


class TaggedResources(Body):
    """`PUT /managedResources/{set}`: resources that belong to the set from now on."""

    resources: list[ResourceRef] = Field(min_length=1, max_length=_MOST)


class HashedSecrets(Body):
    """A resource with the keyed hash of each of its secrets, by the secret's key."""

    kind: Literal["alert-channel", "catalog", "connection"]
    id: str
    secrets: dict[str, str] = Field(max_length=20)


class SecretComparison(Body):
    """`POST /managedResources/secrets`. `key`: 32 random bytes in hex, used for this request only."""

    key: str = Field(pattern=_KEY)
    resources: list[HashedSecrets] = Field(max_length=_MOST)


def page(session: Session, caller: Caller, set_name: str | None, start: int, limit: int) -> tuple[list[Json], int]:
    """The tags of resources that exist, and the number of all; with `set_name`, those of one set."""
    caller.require(VIEW_DESTINATIONS)
    conditions = [*_visible(caller), *([] if set_name is None else [ManagedResource.set_name == set_name])]
    order = (ManagedResource.kind, ManagedResource.resource_id)
    query = select(ManagedResource).where(*conditions).order_by(*order).offset(start).limit(limit)
    total = session.scalar(select(func.count()).select_from(ManagedResource).where(*conditions)) or 0
    return [{"kind": row.kind, "id": row.resource_id, "set": row.set_name} for row in session.scalars(query)], total


def tag(session: Session, caller: Caller, set_name: str, sent: Sent, now_ms: int) -> int:
    """Put resources into a set; a resource of another set leaves that one. Returns the number of changed tags.

    Raises 1452 for an invalid name of a set, 1439 for a resource that does not exist, and 2120 for a kind of resource
    that the caller may not change.
    """
    if not _SET_NAME.fullmatch(set_name):
        raise problems.of_field("/set", "must be 1 to 100 letters, digits, dots, hyphens and underscores")
    wanted = bodies.parse_body(TaggedResources, sent).resources
    for kind in {one.kind for one in wanted}:
        _check_permission(caller, kind)
    pairs = list(dict.fromkeys((one.kind, one.id) for one in wanted))
    for kind, resource_id in pairs:
        if not _exists(session, caller, kind, resource_id):
            raise problems.not_found(kind, resource_id)
    keys = tuple_(ManagedResource.kind, ManagedResource.resource_id)
    known = {
        (row.kind, row.resource_id): row for row in session.scalars(select(ManagedResource).where(keys.in_(pairs)))
    }
    changed = [one for one in pairs if one not in known or known[one].set_name != set_name]
    stale = [known[one] for one in changed if one in known]
    for row in stale:
        session.delete(row)
    session.flush()
    session.add_all(
        ManagedResource(
            kind=kind,
            resource_id=resource_id,
            org_id=caller.org_id,
            sandbox_id="" if kind in _IN_ORGANISATION else caller.sandbox_id,
            set_name=set_name,
            tagged_at=now_ms,
            tagged_by=caller.account_id,
        )
        for kind, resource_id in changed
    )
    if changed:
        after = {"resources": [{"kind": kind, "id": resource_id} for kind, resource_id in changed]}
        audit.record(session, caller, now_ms, "update", (KIND, set_name), name=set_name, after=after)
    return len(changed)


def forget(session: Session, caller: Caller, set_name: str, sent: Sent, now_ms: int) -> int:
    """Take resources out of a set, whether they exist or not. Returns the number of removed tags."""
    wanted = bodies.parse_body(TaggedResources, sent).resources
    for kind in {one.kind for one in wanted}:
        _check_permission(caller, kind)
    keys = tuple_(ManagedResource.kind, ManagedResource.resource_id)
    pairs = [(one.kind, one.id) for one in wanted]
    own = (ManagedResource.org_id == caller.org_id, ManagedResource.sandbox_id.in_(("", caller.sandbox_id)))
    rows = session.scalars(
        select(ManagedResource).where(keys.in_(pairs), ManagedResource.set_name == set_name, *own)
    ).all()
    before = {"resources": [{"kind": row.kind, "id": row.resource_id} for row in rows]}
    for row in rows:
        session.delete(row)
    if rows:
        audit.record(session, caller, now_ms, "update", (KIND, set_name), name=set_name, before=before)
    return len(rows)


def changed_secrets(session: Session, caller: Caller, vault: Vault, sent: Sent) -> list[Json]:
    """Which declared secrets differ from the stored ones; a stored one that cannot be decrypted differs.

    A hash is `HMAC-SHA-256(key, "KIND/ID/SECRET" + 0x00 + value)` in hex. Raises 1439 and 2120.
    """
    wanted = bodies.parse_body(SecretComparison, sent)
    for kind in {one.kind for one in wanted.resources}:
        _check_permission(caller, kind)
    key = bytes.fromhex(wanted.key)
    return [
        {"kind": one.kind, "id": one.id, "changed": _changed(_stored(session, caller, vault, one), key, one)}
        for one in wanted.resources
    ]


def _changed(stored: Mapping[str, Any], key: bytes, sent: HashedSecrets) -> list[str]:
    found = []
    for name, digest in sent.secrets.items():
        value = stored.get(name)
        text = f"{sent.kind}/{sent.id}/{name}\0{value}".encode()
        expected = hmac.new(key, text, hashlib.sha256).hexdigest()
        if not isinstance(value, str) or not hmac.compare_digest(expected.encode(), digest.encode()):
            found.append(name)
    return found


def _stored(session: Session, caller: Caller, vault: Vault, one: HashedSecrets) -> Json:
    row: AlertChannel | Connection | LakeCatalog
    if one.kind == "connection":
        row = entities.find(session, caller, Connection, "connections", one.id)
        sealed = row.auth_sealed
    elif one.kind == "catalog":
        row = entities.find(session, caller, LakeCatalog, "lakeCatalogs", one.id)
        sealed = row.sealed
    else:
        row = entities.find(session, caller, AlertChannel, "alertChannels", one.id)
        sealed = row.sealed
    try:
        return {} if sealed is None else vault.decrypt(row.id, sealed)
    except VaultError:
        return {}


def _visible(caller: Caller) -> Sequence[ColumnElement[bool]]:
    """The tags of the caller's sandbox and organisation whose resources exist."""
    exists = [
        (ManagedResource.kind != kind) | ManagedResource.resource_id.in_(select(column).where(owner == of))
        for kinds, of in ((_IN_SANDBOX, caller.sandbox_id), (_IN_ORGANISATION, caller.org_id))
        for kind, (column, owner) in kinds.items()
    ]
    return [
        ManagedResource.org_id == caller.org_id,
        ManagedResource.sandbox_id.in_(("", caller.sandbox_id)),
        *exists,
    ]


def _exists(session: Session, caller: Caller, kind: str, resource_id: str) -> bool:
    if kind in _IN_ORGANISATION:
        column, owner = _IN_ORGANISATION[kind]
        return session.scalar(select(column).where(column == resource_id, owner == caller.org_id)) is not None
    column, owner = _IN_SANDBOX[kind]
    return session.scalar(select(column).where(column == resource_id, owner == caller.sandbox_id)) is not None


def _check_permission(caller: Caller, kind: str) -> None:
    if kind in _IN_ORGANISATION:
        caller.require_everywhere(MANAGE_ACCESS)
    else:
        caller.require(*_PERMISSIONS[kind])
