"""Base connections: stored credentials (contract, sections 6.2 and 13.2)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.access import audit
from offtake.contract import bodies, entities, json_patch_rules, problems
from offtake.contract.bodies import Body, Json, NewEntity, Sent, SpecRef
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DESTINATIONS, Caller
from offtake.contract.json_patch_rules import Patchable, Rules
from offtake.contract.problems import Problem
from offtake.destinations import schema
from offtake.destinations.base import Destination
from offtake.destinations.egress import Network
from offtake.destinations.parameters import Params
from offtake.errors import FieldProblem, InvalidInputError
from offtake.flows import encryption, specs, usage
from offtake.store import leftovers, waits
from offtake.store.tables import Connection, TargetConnection
from offtake.store.vault import Vault

KIND: Final = "connections"
_AUTHORIZED: Final = "authorizedDate"


class AuthBody(Body):
    """How to log in: the name of one of the connection spec's auth specs, and its params."""

    spec_name: str
    params: dict[str, Any] = Field(default_factory=dict)


class NewConnection(NewEntity):
    """`POST /connections`."""

    connection_spec: SpecRef | None = None
    auth: AuthBody | None = None
    encryption: Any = None
    encryption_specs: Any = None


class PatchedConnection(NewEntity):
    """What a base connection is after a patch; `auth` as it was stored, unless it was sent anew."""

    auth: AuthBody | None = None
    encryption: Any = None


_RULES: Final = Rules(
    {
        "/name": Patchable(),
        "/description": Patchable(("add", "replace", "remove")),
        "/auth/params": Patchable(("add", "replace", "remove")),
        "/encryption": Patchable(("add", "replace", "remove")),
    },
    {
        "/connectionSpec": Problem(
            problems.OTHER_SPEC, "A connection keeps its connectionSpec; make a new connection for another destination."
        ),
        "/state": Problem(problems.BAD_STATE, "The state of a connection is not changed by a patch."),
    },
)


def create(session: Session, caller: Caller, vault: Vault, network: Network, body: Sent, now_ms: int) -> Connection:
    """Store a base connection, its credentials sealed. Shape is checked, the credentials are not tried."""
    caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    caller.require(VIEW_DESTINATIONS)
    asked = bodies.parse_body(NewConnection, body)
    destination = _destination(asked)
    row = Connection(
        **entities.creation_columns(caller, now_ms),
        name=asked.name,
        description=asked.description,
        state=entities.ENABLED,
        connection_spec_id=destination.connection_spec_id,
        encryption=encryption.parse(asked.encryption or asked.encryption_specs, "/encryption"),
    )
    if destination.auth_methods:
        _seal(row, destination, asked.auth, vault, network, now_ms)
    elif asked.auth is not None:
        raise Problem(problems.UNKNOWN_AUTH, f"{destination.name} takes no auth; leave it out.")
    session.add(row)
    audit.record(session, caller, now_ms, "create", (KIND, row.id), name=row.name, after=render(row, caller))
    return row


def update(
    session: Session,
    caller: Caller,
    vault: Vault,
    network: Network,
    row_id: str,
    body: bytes,
    if_match: str | None,
    now_ms: int,
) -> Connection:
    """Change a base connection as the patch says; later runs use its new credentials, and so do those that wait."""
    caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    row = entities.find(session, caller, Connection, KIND, row_id, lock=True)
    entities.check_version(row, if_match)
    before = render(row, caller)
    auth = None if row.auth_spec_name is None else {"specName": row.auth_spec_name, "params": row.auth_public}
    document = {"name": row.name, "description": row.description, "auth": auth, "encryption": row.encryption}
    operations = json_patch_rules.parse(body)
    after = bodies.parse_document(PatchedConnection, json_patch_rules.apply(document, operations, _RULES))
    if any(one.path.startswith("/auth") for one in operations):
        _seal_again(row, after.auth, vault, network, now_ms)
        waits.wake_connection(session, row.id, row.address or row.id, now_ms)
    row.name, row.description = after.name, after.description
    if any(one.path.startswith("/encryption") for one in operations):
        # Only then: a key that has expired since must not stand in the way of a new name.
        row.encryption = encryption.parse(after.encryption, "/encryption")
    entities.set_updated(row, caller, now_ms)
    audit.record(
        session, caller, now_ms, "update", (KIND, row.id), name=row.name, before=before, after=render(row, caller)
    )
    return row


def delete(session: Session, caller: Caller, row_id: str, now_ms: int) -> None:
    """Forget a base connection that nothing uses any more; raises 1418 and 1447 naming what does."""
    caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    row = entities.find(session, caller, Connection, KIND, row_id, lock=True)
    usage.check_connection_unused(session, row)
    audit.record(session, caller, now_ms, "delete", (KIND, row.id), name=row.name, before=render(row, caller))
    session.delete(row)


def runs_with_files_left(session: Session, row_ids: Sequence[str]) -> dict[str, list[str]]:
    """By base connection, the runs that have left files there which are still to be removed."""
    targets = select(TargetConnection.id, TargetConnection.base_connection_id)
    theirs = session.execute(targets.where(TargetConnection.base_connection_id.in_(row_ids)))
    base_of = {row.id: row.base_connection_id for row in theirs}
    found: dict[str, list[str]] = {}
    for run in leftovers.runs_with_files_at(session, list(base_of)):
        found.setdefault(base_of[run.target_connection_id], []).append(run.id)
    return found


def address_of(session: Session, row_id: str) -> str | None:
    """What runs to the base connection have in common: its server, else the connection; None for places of our own."""
    row = session.get_one(Connection, row_id)
    if row.auth_spec_name is None:
        return None
    return row.address or row.id


def render(row: Connection, caller: Caller) -> Json:
    """The connection as the API shows it: secrets are masked."""
    auth = {"specName": row.auth_spec_name, "params": row.auth_public} if row.auth_spec_name else None
    return (
        entities.entity_fields(row, caller)
        | {"connectionSpec": entities.spec_ref(row.connection_spec_id)}
        | ({"auth": auth} if auth else {})
        | ({"encryption": row.encryption} if row.encryption else {})
    )


def reference(row: Connection) -> Json:
    """The connection as other entities inherit it."""
    return {"id": row.id, "connectionSpec": entities.spec_ref(row.connection_spec_id)}


def _destination(asked: NewConnection) -> Destination:
    if asked.connection_spec is None:
        if asked.auth is not None:
            raise specs.unknown_spec()
        # The tutorial's request for a landing zone carries nothing but a name.
        return specs.destination_of_connection(specs.DATA_LANDING_ZONE)
    check_version(asked.connection_spec)
    return specs.destination_of_connection(asked.connection_spec.id)


def check_version(spec: SpecRef) -> None:
    """Raise the contract's 422 for a connection spec named without its version."""
    if spec.version is None:
        raise Problem(problems.NO_SPEC_VERSION, "connectionSpec.version 'version' is required for spec info")


def _seal(
    row: Connection, destination: Destination, auth: AuthBody | None, vault: Vault, network: Network, now_ms: int
) -> Params:
    names = ", ".join(method.name for method in destination.auth_methods)
    if auth is None:
        raise problems.of_field("/auth", f"is required: one of {names}", missing=True)
    if auth.spec_name not in [method.name for method in destination.auth_methods]:
        raise Problem(problems.UNKNOWN_AUTH, f"auth.specName must be one of: {names}.")
    masked = [key for key, value in auth.params.items() if value == schema.MASK]
    if masked:
        problem = FieldProblem(f"/auth/params/{masked[0]}", "is the mask that is shown for a secret; send the secret")
        raise problems.of_fields(InvalidInputError([problem]))
    credentials = _read(destination, auth.spec_name, auth.params)
    for key, host in credentials.endpoint_hosts().items():
        if network.is_host_denied(host):
            raise problems.of_field(
                f"/auth/params/{key}", f"names {host}, an address that connections may not reach from here"
            )
    day = datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()
    row.auth_spec_name = auth.spec_name
    row.auth_public = {_AUTHORIZED: day, **schema.redact(credentials)}
    row.auth_sealed = vault.encrypt(row.id, schema.with_defaults(credentials))
    row.address = credentials.address
    return credentials


def _read(destination: Destination, spec_name: str, params: Json) -> Params:
    given = {key: value for key, value in params.items() if key != _AUTHORIZED}
    try:
        return schema.parse_credentials(destination, spec_name, given)
    except InvalidInputError as error:
        raise problems.of_fields(error) from None


def _seal_again(row: Connection, auth: AuthBody | None, vault: Vault, network: Network, now_ms: int) -> None:
    """The new credentials; a secret that comes back masked is the one that is stored."""
    destination = specs.destination_of_connection(row.connection_spec_id)
    if not destination.auth_methods or row.auth_sealed is None or auth is None:
        raise problems.of_field("/auth/params", f"{destination.name} has no credentials", missing=True)
    stored = vault.decrypt(row.id, row.auth_sealed)
    before = _read(destination, auth.spec_name, stored)
    masked = [key for key, value in auth.params.items() if value == schema.MASK and key in stored]
    params = auth.params | {key: stored[key] for key in masked}
    after = _seal(row, destination, _with_pins(auth, params, before, destination), vault, network, now_ms)
    changed = schema.changed_bindings(before, after)
    if masked and changed:
        raise problems.of_field(
            f"/auth/params/{masked[0]}",
            f"must be sent again: {', '.join(changed)} changes, and a stored secret goes only where it was given for",
        )


def _with_pins(auth: AuthBody, params: Json, before: Params, destination: Destination) -> AuthBody:
    """The params with what stays of the stored ones without being sent, while nothing else that binds is changed.

    A server of another name has another key.
    """
    pinned = {key: value for key, value in schema.parameters_pinned(before).items() if key not in params}
    after = _read(destination, auth.spec_name, params | pinned)
    elsewhere = schema.changed_bindings(before, after)
    return AuthBody(specName=auth.spec_name, params=params if elsewhere else params | pinned)
