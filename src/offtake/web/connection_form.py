"""The form of a base connection: authentication methods with their fields, name, description and PGP key.

Its names: `name`, `description`, `method` (the chosen method's number), `a<number>-<key>` and `public_key`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import FormData

from offtake.destinations.base import AuthMethod, Destination
from offtake.destinations.egress import Network
from offtake.documents import Json
from offtake.errors import FieldProblem
from offtake.flows import connections
from offtake.web import forms
from offtake.web.form_body import text
from offtake.web.forms import Field

PUBLIC_KEY: Final = "public_key"
_LABELS: Final = {
    "name": "Name",
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
