"""The form of a base connection: authentication methods with their fields, name, description and PGP key.

Its names: `name`, `description`, `method` (the chosen method's number), `a<number>-<key>` and `public_key`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from starlette.datastructures import FormData

from offtake.contract.bound_secrets import SecretNeededError
from offtake.contract.problems import Problem
from offtake.destinations import schema
from offtake.destinations.base import AuthMethod, Destination
from offtake.destinations.parameters import TargetParams
from offtake.documents import Json
from offtake.errors import FieldProblem
from offtake.flows import connections
from offtake.network.egress import Network
from offtake.web import forms
from offtake.web.form_body import text
from offtake.web.forms import Field

PUBLIC_KEY: Final = "public_key"
PLACE: Final = "t-"
STORED: Final = "c-"
_LABELS: Final = {
    "name": "Account name",
    "description": "Description",
    "method": "Authentication",
    PUBLIC_KEY: "PGP public key",
}
_PLACES: Final[Mapping[str, str]] = {
    "/name": "name",
    "/description": "description",
    "/auth": "method",
    "/encryption": PUBLIC_KEY,
    "/encryption/params/publicKey": PUBLIC_KEY,
}


class Stored(Protocol):
    """The columns of a stored connection that its form shows."""

    auth_spec_name: Any
    auth_public: Any


@dataclass(frozen=True)
class Method:
    """An authentication method as the form offers it. `missing`: how to install its driver; empty when it is there."""

    number: int
    name: str
    title: str
    about: str
    chosen: bool
    fields: tuple[Field, ...]
    missing: str = ""


@dataclass(frozen=True)
class ConnectionForm:
    """The form of a connection to one destination, for the macro `connection` of `ui/connection.html`."""

    destination: Destination
    name: str
    description: str
    methods: tuple[Method, ...]
    public_key: str
    problems: Mapping[str, str]

    @property
    def summary(self) -> list[tuple[str, str, str]]:
        """The problems, as the macro `summary` takes them."""
        shown = [field for one in self.methods if one.chosen for field in one.fields]
        return forms.summary(self.problems, _LABELS | forms.labels_of(*shown))


def show(
    destination: Destination, form: FormData | None = None, problems: Mapping[str, str] | None = None, name: str = ""
) -> ConnectionForm:
    """The form: empty, or as it was sent, without its secrets, with the problems by field."""
    refused = problems or {}
    chosen = _chosen(destination, form)
    methods = tuple(
        _method(destination, number, one, form, refused, chosen=one is chosen)
        for number, one in enumerate(destination.auth_methods)
    )
    return ConnectionForm(
        destination=destination,
        name=text(form, "name") if form is not None else name,
        description=text(form, "description") if form is not None else "",
        methods=methods,
        public_key=text(form, PUBLIC_KEY) if form is not None else "",
        problems=refused,
    )


def body(destination: Destination, form: FormData) -> Json:
    """The body that creates the connection, as `flows.connections.create` takes it. Nothing is validated here."""
    found: Json = {
        "name": text(form, "name"),
        "connectionSpec": {"id": destination.connection_spec_id, "version": "1.0"},
    }
    if text(form, "description"):
        found["description"] = text(form, "description")
    method = _chosen(destination, form)
    if method is not None:
        params = forms.parse(method.model, form, _prefix(destination, method))
        found["auth"] = {"specName": method.name, "params": params}
    key = public_key(form)
    return found | ({"encryption": encryption(key)} if key else {})


def place_keys(destination: Destination) -> list[str]:
    """The keys of a place to deliver to, such as the bucket and the folder."""
    declared = destination.parameters.model_fields.items()
    return [
        info.alias or name for name, info in declared if name not in TargetParams.model_fields and info.is_required()
    ]


def place_fields(
    destination: Destination, form: FormData | None = None, problems: Mapping[str, str] | None = None
) -> tuple[Field, ...]:
    """The fields of a place in which a connection is tested; their names start with `t-`."""
    values = forms.sent(destination.parameters, form, PLACE) if form else {}
    return forms.fields(destination.parameters, PLACE, values, problems, place_keys(destination))


def place(destination: Destination, form: FormData) -> Json:
    """The place that a form sent, as `flows.connection_checks.prepare_at` takes it."""
    sent = forms.parse(destination.parameters, form, PLACE)
    return {key: sent[key] for key in place_keys(destination) if key in sent}


def place_problems(destination: Destination, problem: Problem) -> dict[str, str]:
    """Problems of a place by the names of its fields. Raises the problem when it is about something else."""
    if not any(one.path.startswith("/params") for one in problem.fields):
        raise problem
    return forms.problems_by_name(problem.fields, {"/params/": PLACE}, place_fields(destination))


def stored_fields(
    destination: Destination, row: Stored, form: FormData | None = None, problems: Mapping[str, str] | None = None
) -> tuple[Field, ...]:
    """The fields of an account's credentials: what is stored, except secrets, or what was sent."""
    method = method_of(destination, row)
    values: dict[str, object] = dict(row.auth_public or {})
    if form is not None:
        kept = {key: value for key, value in values.items() if value == schema.MASK}
        values = forms.sent(method.model, form, STORED) | kept
    return forms.fields(method.model, STORED, values, problems)


def stored_params(destination: Destination, row: Stored, form: FormData) -> Json:
    """The params that replace an account's credentials: an empty secret stays as stored, an emptied pin is removed.

    An unchanged pin is not sent: then it stays if the server stays, and is found again for another server.
    """
    model = method_of(destination, row).model
    sent = forms.parse(model, form, STORED)
    public = row.auth_public or {}
    kept = {key: schema.MASK for key, value in public.items() if value == schema.MASK and key not in sent}
    pins = [info.alias or name for name, info in model.model_fields.items() if name in model.pinned]
    for key in pins:
        if key in sent and sent[key] == public.get(key):
            del sent[key]
        elif key not in sent and public.get(key) is not None:
            sent[key] = None
    return sent | kept


def stored_problems(destination: Destination, row: Stored, form: FormData, network: Network) -> dict[str, str]:
    """All problems of an account's new credentials by the form's names; a kept secret is not one."""
    params = stored_params(destination, row, form)
    kept = {key for key, value in params.items() if value == schema.MASK}
    auth = {"specName": row.auth_spec_name, "params": {key: value for key, value in params.items() if key not in kept}}
    found = connections.find_problems(destination, {"name": "unchanged", "auth": auth}, network)
    others = [one for one in found if one.path.removeprefix("/auth/params/") not in kept]
    return translate_stored(destination, row, others)


def translate_stored(
    destination: Destination, row: Stored, found: list[FieldProblem], refused: Problem | None = None
) -> dict[str, str]:
    """Problems of an account's new credentials by the form's names. `refused`: what the store raised, if it did."""
    if isinstance(refused, SecretNeededError):
        labels = {one.key: one.label for one in stored_fields(destination, row)}
        changed = ", ".join(labels.get(key, key) for key in refused.changed)
        why = f"it belongs to what was changed ({changed})" if changed else "the stored value cannot be read"
        message = f"Enter it again: {why}."
        return {f"{STORED}{key}": message for key in refused.secrets}
    return forms.problems_by_name(found, {"/auth/params/": STORED}, stored_fields(destination, row))


def method_of(destination: Destination, row: Stored) -> AuthMethod:
    """The authentication method of an account."""
    return next(one for one in destination.auth_methods if one.name == row.auth_spec_name)


def method_title(destination: Destination, spec_name: str | None) -> str:
    """The name of an account's authentication method on pages."""
    found = (one.title for one in destination.auth_methods if one.name == spec_name)
    return next(found, spec_name or "No credentials needed")


def public_key(form: FormData) -> str:
    """The PGP key as Base64; empty when none was sent."""
    return forms.armored(text(form, PUBLIC_KEY).replace("\r\n", "\n"))


def encryption(key: str) -> Json:
    """The encryption of a connection's body."""
    return {"specName": "File Encryption", "params": {"encryptionAlgo": "PGP/GPG", "publicKey": key}}


def check(destination: Destination, form: FormData, network: Network) -> dict[str, str]:
    """All problems of what was sent, by the form's names; nothing is read or written, no value is repeated."""
    return translate(destination, form, connections.find_problems(destination, body(destination, form), network))


def translate(destination: Destination, form: FormData, found: list[FieldProblem]) -> dict[str, str]:
    """Problems of the API's body by the form's names; those of no field have the name ""."""
    places = dict(_PLACES)
    shown: tuple[Field, ...] = ()
    method = _chosen(destination, form)
    if method is not None:
        places["/auth/params/"] = _prefix(destination, method)
        shown = _fields(destination, method, form)
    return forms.problems_by_name(found, places, shown)


def _method(
    destination: Destination,
    number: int,
    method: AuthMethod,
    form: FormData | None,
    problems: Mapping[str, str],
    *,
    chosen: bool,
) -> Method:
    missing = destination.missing_driver(method.name)
    return Method(
        number=number,
        name=method.name,
        title=method.title,
        about=method.about,
        chosen=chosen,
        fields=_fields(destination, method, form, problems),
        missing=missing.install_hint if missing else "",
    )


def _fields(
    destination: Destination, method: AuthMethod, form: FormData | None, problems: Mapping[str, str] | None = None
) -> tuple[Field, ...]:
    prefix = _prefix(destination, method)
    values = forms.sent(method.model, form, prefix) if form else {}
    return forms.fields(method.model, prefix, values, problems)


def _chosen(destination: Destination, form: FormData | None) -> AuthMethod | None:
    """The method that the form names, else the first; None for a destination without credentials."""
    methods = destination.auth_methods
    number = text(form, "method") if form is not None else ""
    index = int(number) if number.isascii() and number.isdecimal() and len(number) < 3 else 0  # noqa: PLR2004 - few methods
    return methods[index] if index < len(methods) else methods[0] if methods else None


def _prefix(destination: Destination, method: AuthMethod) -> str:
    return f"a{destination.auth_methods.index(method)}-"
