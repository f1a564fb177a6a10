"""API clients with their roles (an extension)."""

import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from offtake.client.names import CLIENTS, ROLES
from offtake.declarations.context import Context
from offtake.declarations.models import ClientDocument
from offtake.declarations.parsing import Declared
from offtake.declarations.plan import Change, FieldChange, compare
from offtake.declarations.secrets import FILE
from offtake.documents import Json
from offtake.errors import OfftakeError

_PRIVATE: Final = 0o600


def plan_all(context: Context) -> list[Change]:
    """The changes of all clients."""
    found = []
    for index, declared in context.of_kind("client"):
        document = declared.document
        assert isinstance(document, ClientDocument)  # noqa: S101 - of this kind
        existing = context.existing.get(index)
        if existing is None:
            _check_new(context, declared, document)
            fields = [FieldChange(name, None, getattr(document, name)) for name in ("account", "roles", "external")]
            step = _creation(context, declared, document)
            found.append(Change("client", document.name, "create", fields=fields, step=step))
        else:
            found.append(_compare(context, declared, document, existing))
    return found


def export(entity: Json) -> Json:
    """The document of a client; a new one gets a new secret."""
    secret = {"external": True} if entity.get("external") else {"secretTo": f"{FILE}{_file_name(entity['name'])}"}
    return (
        {"kind": "client", "name": entity["name"]}
        | ({"id": entity["id"]} if entity.get("external") else {})
        | ({"account": entity["kind"]} if entity.get("kind") == "service" else {})
        | ({"roles": list(entity["roles"])} if entity.get("roles") else {})
        | secret
    )


def delete(context: Context, client_id: str) -> None:
    """Revoke a client permanently."""
    context.server.delete(f"{CLIENTS}/{quote(client_id, safe='')}")


def _check_new(context: Context, declared: Declared, document: ClientDocument) -> None:
    if document.external:
        if document.id is None:
            context.problems.append(declared.problem(("id",), "is required: the client's id in the issuer's tokens"))
        return
    with context.collecting(declared, ("secretTo",)):
        path = _secret_file(declared, document)
        if path.exists():
            raise OfftakeError(f"{path} exists already; the secret of a new client does not replace it")
        if not os.access(path.parent, os.W_OK):
            raise OfftakeError(f"the folder {path.parent} cannot be written to")


def _secret_file(declared: Declared, document: ClientDocument) -> Path:
    if document.secret_to is None:
        raise OfftakeError(
            "is required: a new client gets a secret, which is written to file:PATH; or declare external: true"
        )
    if not document.secret_to.startswith(FILE):
        raise OfftakeError("must be file:PATH")
    return declared.source.folder / Path(document.secret_to.removeprefix(FILE)).expanduser()


def _creation(context: Context, declared: Declared, document: ClientDocument) -> Any:  # noqa: ANN401 - a step
    def create() -> str:
        body: Json = {"name": document.name, "kind": document.account, "external": document.external}
        body["roles"] = [context.ids.need("role", one) for one in document.roles]
        body |= {"id": document.id} if document.id else {}
        if document.external:
            return str(context.server.post(CLIENTS, body)["id"])
        # The file is created first: the secret is shown once.
        path = _secret_file(declared, document)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
        try:
            made = context.server.post(CLIENTS, body)
        except BaseException:
            os.close(descriptor)
            path.unlink()
            raise
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{made['clientSecret']}\n")
        return str(made["id"])

    return create


def _compare(context: Context, declared: Declared, document: ClientDocument, existing: Json) -> Change:
    for field, old, new in (
        ("account", existing["kind"], document.account),
        ("external", bool(existing["external"]), document.external),
        ("name", existing["name"], document.name),
    ):
        if old != new:
            why = f"cannot be changed from {old} to {new}: declare another client"
            context.problems.append(declared.problem((field,), why))
    names = {one["id"]: one["name"] for one in context.state.roles}
    wanted = sorted({names.get(context.ids.get("role", one) or "", one) for one in document.roles})
    fields = compare([("roles", sorted(existing["roles"]), wanted)])
    if not fields:
        return Change("client", document.name, "nothing", existing["id"])

    def change() -> str:
        ids = {one["name"]: one["id"] for one in context.state.roles}
        for op, roles in (
            ("add", set(wanted) - set(existing["roles"])),
            ("remove", set(existing["roles"]) - set(wanted)),
        ):
            for one in sorted(roles):
                role_id = context.ids.get("role", one) or ids[one]
                operation = {"op": op, "path": "/user", "value": existing["id"]}
                context.server.patch(f"{ROLES}/{role_id}/subjects", [operation])
        return str(existing["id"])

    return Change("client", document.name, "change", existing["id"], fields, step=change)


def _file_name(name: str) -> str:
    return "".join(one if one.isalnum() or one in "-_." else "-" for one in name) + ".secret"
