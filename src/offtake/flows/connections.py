"""Base connections: stored credentials (contract, sections 6.2 and 13.2)."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.access import audit
from offtake.contract import bodies, bound_secrets, entities, json_patch_rules, problems
from offtake.contract.bodies import Body, NewEntity, Sent, SpecRef
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DESTINATIONS, Caller
from offtake.contract.json_patch_rules import Patch, Patchable, Rules
from offtake.contract.problems import Problem
from offtake.destinations import schema
from offtake.destinations.base import Destination
from offtake.destinations.parameters import Params
from offtake.documents import Json
from offtake.errors import FieldProblem, InvalidInputError
from offtake.flows import encryption, flow_events, references, specs
from offtake.network.egress import Network
from offtake.store import leftovers, waits
from offtake.store.tables import Connection, TargetConnection
from offtake.store.vault import Vault

KIND: Final = "connections"
_AUTHORIZED: Final = "authorizedDate"
_PATH: Final = "/auth/params"


class AuthBody(Body):
    """The authentication: the name of one of the connection spec's auth specs, and its params."""

    spec_name: str
    params: dict[str, Any] = Field(default_factory=dict)


class NewConnection(NewEntity):
    """`POST /connections`."""

    connection_spec: SpecRef | None = None
    auth: AuthBody | None = None
    encryption: Any = None
    encryption_specs: Any = None


class PatchedConnection(NewEntity):
    """A base connection after a patch; `auth` as stored, unless the patch changes it."""

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
            problems.OTHER_SPEC,
            "The connectionSpec of a connection cannot be changed; create a connection for the other destination.",
        ),
        "/state": Problem(problems.BAD_STATE, "The state of a connection cannot be changed by a patch."),
    },
)


def create(
    session: Session,
    caller: Caller,
    vault: Vault,
    network: Network,
    body: Sent,
    now_ms: int,
    row_id: str | None = None,
) -> Connection:
    """Store a base connection with encrypted credentials. They are validated, but not tested."""
    caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    caller.require(VIEW_DESTINATIONS)
    new = bodies.parse_body(NewConnection, body)
    destination = _destination(new)
    row = Connection(
        **entities.creation_columns(caller, now_ms, row_id),
        name=new.name,
        description=new.description,
        state=entities.ENABLED,
        connection_spec_id=destination.connection_spec_id,
        encryption=encryption.parse(new.encryption or new.encryption_specs, "/encryption"),
    )
    if destination.auth_methods:
        _encrypt_credentials(row, destination, new.auth, vault, network, now_ms)
    elif new.auth is not None:
        raise Problem(problems.UNKNOWN_AUTH, f"{destination.name} needs no auth; omit it.")
    session.add(row)
    audit.record(session, caller, now_ms, "create", (KIND, row.id), name=row.name, after=render(row, caller))
    flow_events.record_connection(session, "connection.created", row, caller, now_ms)
    return row


def exists(session: Session, caller: Caller, row_id: str) -> bool:
    """Whether the caller's sandbox has a base connection with that id."""
    row = session.get(Connection, row_id)
    return row is not None and row.sandbox_id == caller.sandbox_id


def update(
    session: Session,
    caller: Caller,
    vault: Vault,
    network: Network,
    row_id: str,
    body: Patch,
    if_match: str | None,
    now_ms: int,
) -> Connection:
    """Apply a patch to a base connection; later and waiting runs use the new credentials."""
    caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    row = entities.find(session, caller, Connection, KIND, row_id, lock=True)
    entities.check_version(row, if_match)
    before = render(row, caller)
    auth = None if row.auth_spec_name is None else {"specName": row.auth_spec_name, "params": row.auth_public}
    document = {"name": row.name, "description": row.description, "auth": auth, "encryption": row.encryption}
    operations = json_patch_rules.parse(body)
    after = bodies.parse_document(PatchedConnection, json_patch_rules.apply(document, operations, _RULES))
    replaced: list[str] = []
    if any(one.path.startswith("/auth") for one in operations):
        replaced = _replace_credentials(row, after.auth, vault, network, now_ms)
        waits.wake_connection(session, row.id, row.address or row.id, now_ms)
    row.name, row.description = after.name, after.description
    if any(one.path.startswith("/encryption") for one in operations):
        # Only then: a key that has expired since must not block other changes.
        row.encryption = encryption.parse(after.encryption, "/encryption")
    entities.set_updated(row, caller, now_ms)
    change = (before, render(row, caller))
    audit.record_update(session, caller, now_ms, (KIND, row.id), row.name, change, replaced)
    flow_events.record_connection(session, "connection.changed", row, caller, now_ms)
    return row


def delete(session: Session, caller: Caller, row_id: str, now_ms: int) -> None:
    """Delete an unused base connection; raises 1418 and 1447 naming its users."""
    caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    row = entities.find(session, caller, Connection, KIND, row_id, lock=True)
    references.check_connection_unused(session, row)
    audit.record(session, caller, now_ms, "delete", (KIND, row.id), name=row.name, before=render(row, caller))
    flow_events.record_connection(session, "connection.deleted", row, caller, now_ms)
    session.delete(row)


def runs_with_files_left(session: Session, row_ids: Sequence[str]) -> dict[str, list[str]]:
    """By base connection, the runs whose files there are still to be removed."""
    targets = select(TargetConnection.id, TargetConnection.base_connection_id)
    theirs = session.execute(targets.where(TargetConnection.base_connection_id.in_(row_ids)))
    base_of = {row.id: row.base_connection_id for row in theirs}
    found: dict[str, list[str]] = {}
    for run in leftovers.runs_with_files_at(session, list(base_of)):
        found.setdefault(base_of[run.target_connection_id], []).append(run.id)
    return found


def address_of(session: Session, row_id: str) -> str | None:
    """The key of outages that runs share: the server, or else the connection; None for this deployment's zones."""
    row = session.get_one(Connection, row_id)
    if row.auth_spec_name is None:
        return None
    return row.address or row.id


def render(row: Connection, caller: Caller) -> Json:
    """Render the connection for the API, with secrets masked."""
    auth = {"specName": row.auth_spec_name, "params": row.auth_public} if row.auth_spec_name else None
    return (
        entities.entity_fields(row, caller)
        | {"connectionSpec": entities.spec_ref(row.connection_spec_id)}
        | ({"auth": auth} if auth else {})
        | ({"encryption": row.encryption} if row.encryption else {})
    )


def render_all(session: Session, rows: Sequence[Connection], caller: Caller) -> list[Json]:
    """Render the connections for the API, with the runs whose files there are still to be removed (an extension)."""
    left = runs_with_files_left(session, [row.id for row in rows])
    return [
        render(row, caller) | ({"extensions": {"toBeRemoved": left[row.id]}} if row.id in left else {}) for row in rows
    ]


def reference(row: Connection) -> Json:
    """Render the reference to the connection in other entities."""
    return {"id": row.id, "connectionSpec": entities.spec_ref(row.connection_spec_id)}


def _destination(new: NewConnection) -> Destination:
    if new.connection_spec is None:
        if new.auth is not None:
            raise specs.unknown_spec()
        # The vendor's tutorial sends only a name for a landing zone.
        return specs.destination_of_connection(specs.DATA_LANDING_ZONE)
    check_version(new.connection_spec)
    return specs.destination_of_connection(new.connection_spec.id)


def check_version(spec: SpecRef) -> None:
    """Raise the contract's 422 for a connection spec without a version."""
    if spec.version is None:
        raise Problem(problems.NO_SPEC_VERSION, "connectionSpec.version 'version' is required for spec info")


def find_problems(destination: Destination, body: Json, network: Network) -> list[FieldProblem]:
    """All problems of the fields of a new connection's body, as `create` would raise them one after another.

    Reads and writes nothing; no message contains a value.
    """
    auth, sent = body.get("auth"), body.get("encryption")
    checks: list[Callable[[], object]] = [
        lambda: bodies.parse_body(NewConnection, body),
        lambda: encryption.parse(sent, "/encryption"),
    ]
    if auth is not None:
        checks.append(lambda: _checked(destination, bodies.parse_document(AuthBody, auth), network))
    found: list[FieldProblem] = []
    for check in checks:
        try:
            check()
        except Problem as problem:
            found += problem.fields or [FieldProblem("", str(problem))]
    return found


def _encrypt_credentials(
    row: Connection, destination: Destination, auth: AuthBody | None, vault: Vault, network: Network, now_ms: int
) -> Params:
    credentials = _checked(destination, auth, network)
    assert auth is not None  # noqa: S101 - it was checked
    day = datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()
    row.auth_spec_name = auth.spec_name
    row.auth_public = {_AUTHORIZED: day, **schema.redact(credentials)}
    row.auth_sealed = vault.encrypt(row.id, schema.with_defaults(credentials))
    row.address = credentials.address
    return credentials


def _checked(destination: Destination, auth: AuthBody | None, network: Network) -> Params:
    """The credentials; raises 1415, 1452 and 1455 for what they may not be."""
    names = ", ".join(method.name for method in destination.auth_methods)
    if auth is None:
        raise problems.of_field("/auth", f"is required: one of {names}", missing=True)
    if auth.spec_name not in [method.name for method in destination.auth_methods]:
        raise Problem(problems.UNKNOWN_AUTH, f"auth.specName must be one of: {names}.")
    bound_secrets.check_sent(auth.params, auth.params, _PATH)
    credentials = _read(destination, auth.spec_name, auth.params)
    for key, host in credentials.endpoint_hosts().items():
        if network.is_host_denied(host):
            raise problems.of_field(
                f"/auth/params/{key}", f"is denied: this deployment's network rules do not allow {host}"
            )
    return credentials


def _read(destination: Destination, spec_name: str, params: Json) -> Params:
    sent = {key: value for key, value in params.items() if key != _AUTHORIZED}
    try:
        return schema.parse_credentials(destination, spec_name, sent)
    except InvalidInputError as error:
        raise problems.of_fields(error) from None


def _replace_credentials(
    row: Connection, auth: AuthBody | None, vault: Vault, network: Network, now_ms: int
) -> list[str]:
    """Store new credentials; a secret sent as the mask keeps its stored value. Returns the keys of changed secrets."""
    destination = specs.destination_of_connection(row.connection_spec_id)
    if not destination.auth_methods or row.auth_sealed is None or auth is None:
        raise problems.of_field("/auth/params", f"{destination.name} has no credentials", missing=True)
    kept = bound_secrets.masked(auth.params, auth.params)
    stored = bound_secrets.decrypt(row.id, row.auth_sealed, vault, kept, _PATH)
    if not stored:
        # New credentials replace those that cannot be decrypted.
        whole = _encrypt_credentials(row, destination, auth, vault, network, now_ms)
        return [key for key, value in schema.redact(whole).items() if value == schema.MASK]
    before = _read(destination, auth.spec_name, stored)
    masked = [key for key, value in auth.params.items() if value == schema.MASK and key in stored]
    params = auth.params | {key: stored[key] for key in masked}
    after = _encrypt_credentials(
        row, destination, _with_pins(auth, params, before, destination), vault, network, now_ms
    )
    changed = schema.changed_bindings(before, after)
    if masked and changed:
        raise bound_secrets.moved(masked, changed, _PATH)
    secrets = [key for key, value in schema.redact(after).items() if value == schema.MASK and key not in masked]
    new = schema.with_defaults(after)
    return [key for key in secrets if new.get(key) != stored.get(key)]


def _with_pins(auth: AuthBody, params: Json, before: Params, destination: Destination) -> AuthBody:
    """Keep stored pins (such as the host key) that were not sent, unless a field that binds the secrets changes.

    For example, another server has another host key.
    """
    pinned = {key: value for key, value in schema.parameters_pinned(before).items() if key not in params}
    after = _read(destination, auth.spec_name, params | pinned)
    elsewhere = schema.changed_bindings(before, after)
    return AuthBody(specName=auth.spec_name, params=params if elsewhere else params | pinned)
