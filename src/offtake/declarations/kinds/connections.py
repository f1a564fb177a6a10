"""Base connections: accounts at destinations."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from offtake.client import exports
from offtake.client.exports import TARGETS
from offtake.client.names import CONNECTION
from offtake.client.problems import ServerError
from offtake.declarations import destinations, secrets
from offtake.declarations.comparing import changed_secrets
from offtake.declarations.context import Context
from offtake.declarations.models import ConnectionDocument
from offtake.declarations.parsing import Declared
from offtake.declarations.plan import LOST, Change, FieldChange, compare
from offtake.declarations.problems import nearest
from offtake.declarations.secrets import SHOWN
from offtake.destinations import schema
from offtake.destinations.base import AuthMethod, Destination
from offtake.documents import Json
from offtake.errors import InvalidInputError, OfftakeError

_AUTHORIZED: Final = "authorizedDate"
_REPLACED: Final = " (replaced)"
_CHANGED: Final = "(changed)"
_ENCRYPTION: Final = "File PGP/GPG Encryption"
_CAPITAL: Final = re.compile("(?=[A-Z])")
_NOT_A_WORD: Final = re.compile(r"[^A-Z0-9]+")


@dataclass(frozen=True)
class _Wanted:
    """A validated document. `params`: as sent, secrets resolved. `hidden`: keys that came by reference."""

    declared: Declared
    document: ConnectionDocument
    destination: Destination
    method: AuthMethod | None
    params: Json
    hidden: frozenset[str]
    public_key: str | None
    existing: Json | None

    @property
    def secret(self) -> set[str]:
        """The keys of all secrets."""
        return destinations.secret_keys(self.method.model) if self.method else set()


def plan_all(context: Context) -> list[Change]:
    """The changes of all connections; one request compares their secrets."""
    wanted = []
    for index, declared in context.of_kind("connection"):
        found = _read(context, declared, context.existing.get(index))
        if found is not None:
            wanted.append(found)
    if context.problems:
        return []
    known = {one.existing["id"]: _declared_secrets(one) for one in wanted if one.existing is not None}
    changed = changed_secrets(context, "connection", known)
    return [_plan(context, one, changed.get(one.existing["id"], set()) if one.existing else set()) for one in wanted]


def export(entity: Json) -> Json:
    """The document of a connection; its secrets are references to be filled in."""
    spec_id = entity["connectionSpec"]["id"]
    destination = destinations.of_connection_spec(spec_id)
    auth = entity.get("auth") or {}
    method = (
        next((one for one in destination.auth_methods if one.name == auth.get("specName")), None)
        if destination
        else None
    )
    params = {key: value for key, value in (auth.get("params") or {}).items() if key != _AUTHORIZED}
    for key, value in params.items():
        if value == destinations.MASK:
            params[key] = secrets.ENVIRONMENT + variable_for(entity["name"], key)
    words: Json = {"destination": destinations.word_of(destination) if destination else spec_id}
    if destination and len(destination.auth_methods) > 1 and method:
        words["auth"] = destinations.auth_word_of(method)
    key = (entity.get("encryption") or {}).get("params", {}).get("publicKey")
    return (
        {"kind": "connection", "name": entity["name"]}
        | ({"description": entity["description"]} if entity.get("description") else {})
        | words
        | ({"params": params} if params else {})
        | ({"encryption": {"publicKey": key}} if key else {})
    )


def delete(context: Context, connection_id: str) -> None:
    """Delete a connection, and its target connections that no flow uses. Raises `ServerError` when it is in use."""
    for target in context.state.targets.values():
        if target["baseConnectionId"] == connection_id:
            exports.remove_unused(context.server, f"{TARGETS}/{target['id']}")
    context.server.delete(f"{CONNECTION.path}/{connection_id}")


def _read(context: Context, declared: Declared, existing: Json | None) -> _Wanted | None:
    document = declared.document
    assert isinstance(document, ConnectionDocument)  # noqa: S101 - of this kind
    count = len(context.problems)
    destination, method = None, None
    with context.collecting(declared, ("destination",)):
        destination = destinations.find(document.destination)
    if destination is None:
        return None
    with context.collecting(declared, ("auth",)):
        method = destinations.find_auth(destination, document.auth)
    params, hidden = _resolve(context, declared, document.params, method)
    public_key = None
    if document.encryption is not None:
        with context.collecting(declared, ("encryption", "publicKey")):
            public_key = _public_key(context, declared, document.encryption.public_key)
    if len(context.problems) == count and method is not None:
        params = _validated(context, declared, destination, method, params, existing)
    elif method is None and params and len(context.problems) == count:
        context.problems.append(declared.problem(("params",), f"is not for {document.destination}: it has none"))
    if len(context.problems) > count:
        return None
    return _Wanted(declared, document, destination, method, params, frozenset(hidden), public_key, existing)


def _resolve(context: Context, declared: Declared, params: Json, method: AuthMethod | None) -> tuple[Json, set[str]]:
    """The params with references resolved, and the keys that came by reference."""
    found, hidden = dict[str, Any](), set[str]()
    if method is None:
        return dict(params), hidden
    known, encoded = destinations.keys_of(method.model), destinations.encoded_keys(method.model)
    referenced = destinations.must_be_referenced(method.model)
    for key, value in params.items():
        path = ("params", key)
        with context.collecting(declared, path):
            if key not in known:
                raise OfftakeError(f"is unknown; {nearest(key, known)}")
            if secrets.is_reference(value):
                found[key] = context.reference(declared, value, path, encode=key in encoded)
                hidden.add(key)
            elif key in referenced and not context.options.allow_inline_secrets:
                raise OfftakeError("is a secret; give env:NAME, file:PATH or prompt:, or use --allow-inline-secrets")
            else:
                found[key] = value
    return found, hidden


def _public_key(context: Context, declared: Declared, value: str) -> str:
    path = ("encryption", "publicKey")
    found = context.reference(declared, value, path, encode=True) if secrets.is_reference(value) else value
    return "".join(found.split())


def _validated(
    context: Context,
    declared: Declared,
    destination: Destination,
    method: AuthMethod,
    params: Json,
    existing: Json | None,
) -> Json:
    """The parsed params. Stored secrets need not be declared again, as long as the way to authenticate stays."""
    stored = _stored_params(existing) if existing and _auth_name(existing) == method.name else {}
    kept = {key for key, value in stored.items() if value == destinations.MASK and key not in params}
    try:
        parsed = schema.parse_credentials(destination, method.name, params)
    except InvalidInputError as error:
        for problem in error.problems:
            key = problem.path.removeprefix("/auth/params/").partition("/")[0]
            if not (problem.missing and key in kept):
                context.problems.append(declared.problem(("params", key), problem.message))
        return params
    return schema.with_defaults(parsed)


def _declared_secrets(one: _Wanted) -> dict[str, str]:
    """The declared secrets that can be compared: those of the way to authenticate that is stored."""
    if one.existing is None or one.method is None or _auth_name(one.existing) != one.method.name:
        return {}
    return {name: str(one.params[name]) for name in one.secret & one.params.keys()}


def _plan(context: Context, one: _Wanted, changed: set[str]) -> Change:
    document = one.document
    if one.existing is None:
        fields = [FieldChange(name, None, value) for name, value in _shown(one).items()]
        return Change("connection", document.name, "create", fields=fields, step=lambda: _create(context, one))
    existing = one.existing
    spec = one.destination.connection_spec_id
    if existing["connectionSpec"]["id"] != spec or (one.method and _auth_name(existing) != one.method.name):
        return _plan_replacement(context, one, existing)
    pairs: list[tuple[str, Any, Any]] = [("name", existing["name"], document.name)]
    if "description" in document.model_fields_set:
        pairs.append(("description", existing.get("description"), document.description))
    if "encryption" in document.model_fields_set:
        pairs.append(("encryption.publicKey", _stored_key(existing), one.public_key))
    fields = compare(pairs)
    auth = _changed_params(context, one, changed)
    fields += [FieldChange(f"params.{one.field}", one.old, one.new) for one in auth]
    if not fields:
        return Change("connection", document.name, "nothing", existing["id"])
    step = lambda: _change(context, one, fields, auth)  # noqa: E731 - a step of the plan
    return Change("connection", document.name, "change", existing["id"], fields, step=step)


def _plan_replacement(context: Context, one: _Wanted, existing: Json) -> Change:
    """Another destination, or another way to authenticate: the contract cannot change these."""
    old_destination = destinations.of_connection_spec(existing["connectionSpec"]["id"])
    old = {
        "destination": destinations.word_of(old_destination) if old_destination else existing["connectionSpec"]["id"],
        "auth": _auth_name(existing),
    }
    new = {
        "destination": destinations.word_of(one.destination),
        "auth": one.method.name if one.method else None,
    }
    same = old["destination"] == new["destination"]
    secret = [key for key in one.secret if key not in one.params and _is_required(one, key)]
    for key in secret:
        context.problems.append(one.declared.problem(("params", key), "is required: the connection is created again"))
    notes = ["flows that are declared move to the new connection, and keep their position"] if same else [LOST]
    context.ids.put("connection", one.document.name, "")
    return Change(
        "connection",
        one.document.name,
        "replace",
        existing["id"],
        compare([(key, old[key], new[key]) for key in new]),
        notes,
        loses_position=not same,
        step=lambda: _replace(context, one, existing),
    )


def _is_required(one: _Wanted, key: str) -> bool:
    assert one.method is not None  # noqa: S101 - it has secrets
    fields = one.method.model.model_fields
    return any((field.alias or name) == key and field.is_required() for name, field in fields.items())


def _shown(one: _Wanted) -> Json:
    """The fields of a new connection, for the plan."""
    params = {f"params.{key}": SHOWN if key in one.secret | one.hidden else value for key, value in one.params.items()}
    auth = {"auth": destinations.auth_word_of(one.method)} if one.method else {}
    key = {"encryption.publicKey": one.public_key} if one.public_key else {}
    return {"destination": destinations.word_of(one.destination)} | auth | params | key


def _changed_params(context: Context, one: _Wanted, changed: set[str]) -> list[FieldChange]:
    if one.method is None or one.existing is None:
        return []
    model, stored = one.method.model, _stored_params(one.existing)
    defaults = destinations.defaults_of(model)
    found = []
    for key in destinations.keys_of(model):
        if key in one.secret:
            if key in changed:
                found.append(FieldChange(key, SHOWN, SHOWN if key not in stored else _CHANGED))
            continue
        new = one.params.get(key, defaults.get(key))
        old = stored.get(key, defaults.get(key))
        if new is not None and new != old:
            found.append(FieldChange(key, SHOWN if key in one.hidden else old, SHOWN if key in one.hidden else new))
    binding = destinations.binding_keys(model)
    moved = [one.field for one in found if one.field in binding]
    for key in sorted(one.secret - one.params.keys()):
        if moved and stored.get(key) == destinations.MASK:
            why = f"must be given: {', '.join(moved)} changes, and a stored secret is bound to its endpoint"
            context.problems.append(one.declared.problem(("params", key), why))
    return found


def _body(one: _Wanted) -> Json:
    description = {} if one.document.description is None else {"description": one.document.description}
    auth = {} if one.method is None else {"auth": {"specName": one.method.name, "params": one.params}}
    key = {} if one.public_key is None else {"encryption": _encryption(one.public_key)}
    spec = {"id": one.destination.connection_spec_id, "version": destinations.VERSION}
    return {"name": one.document.name, "connectionSpec": spec} | description | auth | key


def _encryption(public_key: str) -> Json:
    return {"specName": _ENCRYPTION, "params": {"encryptionAlgo": "PGPGPG", "publicKey": public_key}}


def _create(context: Context, one: _Wanted) -> str:
    made = context.server.post(CONNECTION.path, _body(one))
    context.ids.put("connection", one.document.name, made["id"])
    return str(made["id"])


def _change(context: Context, one: _Wanted, fields: Sequence[FieldChange], auth: Sequence[FieldChange]) -> str:
    assert one.existing is not None  # noqa: S101 - it is changed
    names = {found.field for found in fields}
    operations: list[Json] = []
    if "name" in names:
        operations.append({"op": "replace", "path": "/name", "value": one.document.name})
    if "description" in names:
        operations.append(_set("/description", one.document.description))
    if "encryption.publicKey" in names:
        operations.append(_set("/encryption", None if one.public_key is None else _encryption(one.public_key)))
    if auth:
        operations.append({"op": "replace", "path": "/auth/params", "value": _merged(one, auth)})
    context.server.patch(f"{CONNECTION.path}/{one.existing['id']}", operations, one.existing["etag"])
    return str(one.existing["id"])


def _set(path: str, value: Any) -> Json:  # noqa: ANN401 - whatever JSON can hold
    return {"op": "remove", "path": path} if value is None else {"op": "add", "path": path, "value": value}


def _merged(one: _Wanted, auth: Sequence[FieldChange]) -> Json:
    """The params to send: stored ones that are not declared stay, unless the secrets go elsewhere."""
    assert one.existing is not None  # noqa: S101 - it is changed
    assert one.method is not None  # noqa: S101 - it has params
    stored = _stored_params(one.existing)
    moved = any(found.field in destinations.binding_keys(one.method.model) for found in auth)
    kept = {} if moved else {key: value for key, value in stored.items() if key not in one.params}
    defaults = destinations.defaults_of(one.method.model)
    reset = {found.field: defaults[found.field] for found in auth if found.field not in one.params}
    return kept | reset | one.params


def _replace(context: Context, one: _Wanted, existing: Json) -> str:
    """Create the connection again under its name; the old one gets another name until nothing uses it."""
    renamed = f"{existing['name']}{_REPLACED}"
    operations = [{"op": "replace", "path": "/name", "value": renamed}]
    context.server.patch(f"{CONNECTION.path}/{existing['id']}", operations, existing["etag"])
    context.replaced.append(existing["id"])
    return _create(context, one)


def leftovers(context: Context) -> list[Json]:
    """Connections that replacements of earlier runs have left, of declared connections."""
    names = [f"{one.name}{_REPLACED}" for _, one in context.of_kind("connection")]
    return [found for name in names for found in context.state.by_name("connection", name)]


def flows_of(context: Context, connection_id: str) -> list[Json]:
    """The flows that deliver through a connection."""
    ids = [one["id"] for one in context.state.targets.values() if one["baseConnectionId"] == connection_id]
    return [flow for one in ids for flow in context.state.users_of("targetConnectionIds", one)]


def remove_unused(context: Context, connection_id: str) -> bool:
    """Delete a replaced connection; False while something uses it."""
    try:
        delete(context, connection_id)
    except ServerError:
        return False
    return True


def _auth_name(existing: Json) -> str | None:
    found = (existing.get("auth") or {}).get("specName")
    return str(found) if found else None


def _stored_params(existing: Json) -> Json:
    found = (existing.get("auth") or {}).get("params") or {}
    return {key: value for key, value in found.items() if key != _AUTHORIZED}


def _stored_key(existing: Json) -> str | None:
    found = (existing.get("encryption") or {}).get("params", {}).get("publicKey")
    return str(found) if found else None


def variable_for(name: str, key: str) -> str:
    """The environment variable that an exported document reads a secret from."""
    words = f"{name}_{_CAPITAL.sub('_', key)}".upper()
    return _NOT_A_WORD.sub("_", words).strip("_")
