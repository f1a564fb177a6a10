"""Catalogs of others (an extension)."""

from dataclasses import dataclass
from typing import Any, Final

from offtake.client.server import CATALOG
from offtake.declarations import secrets
from offtake.declarations.comparing import changed_secrets
from offtake.declarations.context import Context
from offtake.declarations.destinations import MASK
from offtake.declarations.kinds.connections import variable_for
from offtake.declarations.models import CatalogDocument
from offtake.declarations.parsing import Declared
from offtake.declarations.plan import Change, FieldChange, compare
from offtake.declarations.secrets import SHOWN
from offtake.documents import Json
from offtake.errors import InvalidInputError, OfftakeError
from offtake.lake.catalogs import declarations
from offtake.lake.catalogs.declarations import CatalogType

PATH: Final = f"{CATALOG}/lakeCatalogs"


@dataclass(frozen=True)
class _Wanted:
    """A validated document with its secrets resolved. `hidden`: properties that came by reference."""

    document: CatalogDocument
    kind: CatalogType
    properties: dict[str, str]
    hidden: frozenset[str]
    existing: Json | None

    def shown(self, name: str, value: str | None) -> str | None:
        """The value for the plan."""
        return SHOWN if name in self.hidden or self.kind.is_secret(name) else value


def plan_all(context: Context) -> list[Change]:
    """The changes of all catalogs; one request compares their secrets."""
    wanted = []
    for index, declared in context.of_kind("catalog"):
        count = len(context.problems)
        found = _read(context, declared, context.existing.get(index))
        if len(context.problems) == count:
            wanted.append(found)
    if context.problems:
        return []
    known = {one.existing["id"]: _declared_secrets(one) for one in wanted if one.existing is not None}
    changed = changed_secrets(context, "catalog", known)
    return [_plan(context, one, changed.get(one.existing["id"], set()) if one.existing else set()) for one in wanted]


def export(entity: Json) -> Json:
    """The document of a catalog; its secrets are references to be filled in."""
    kind = declarations.find_type(entity["type"])
    properties = {
        key: secrets.ENVIRONMENT + variable_for(entity["name"], key) if kind.is_secret(key) and value == MASK else value
        for key, value in entity.get("properties", {}).items()
    }
    document: Json = {"kind": "catalog", "name": entity["name"], "type": entity["type"]}
    return document | ({"properties": properties} if properties else {})


def delete(context: Context, catalog_id: str) -> None:
    """Forget a catalog. Raises `ServerError` while datasets are registered from it."""
    context.server.delete(f"{PATH}/{catalog_id}")


def _read(context: Context, declared: Declared, existing: Json | None) -> _Wanted:
    document = declared.document
    assert isinstance(document, CatalogDocument)  # noqa: S101 - of this kind
    kind = declarations.find_type(document.type)
    properties, hidden = dict[str, str](), set[str]()
    for name, value in document.properties.items():
        path = ("properties", name)
        with context.collecting(declared, path):
            if secrets.is_reference(value):
                properties[name] = context.reference(declared, value, path)
                hidden.add(name)
            elif kind.is_secret(name) and not context.options.allow_inline_secrets:
                raise OfftakeError("is a secret; give env:NAME, file:PATH or prompt:, or use --allow-inline-secrets")
            else:
                properties[name] = value
    if existing is not None and existing["type"] != document.type:
        why = f"cannot be changed from {existing['type']}: declare the catalog under another name"
        context.problems.append(declared.problem(("type",), why))
    elif hidden | properties.keys() >= document.properties.keys():
        _check(context, declared, kind, properties, existing)
    return _Wanted(document, kind, properties, frozenset(hidden), existing)


def _check(
    context: Context, declared: Declared, kind: CatalogType, properties: dict[str, str], existing: Json | None
) -> None:
    stored = set() if existing is None else {key for key, value in existing["properties"].items() if value == MASK}
    try:
        declarations.check(kind, properties, is_operator=context.state.is_local or existing is not None)
    except InvalidInputError as error:
        for problem in error.problems:
            path = tuple(problem.path.strip("/").split("/", 1))
            if not (problem.missing and path[-1] in stored):
                context.problems.append(declared.problem(path, problem.message))


def _declared_secrets(one: _Wanted) -> dict[str, str]:
    """The declared secrets that the server has values of."""
    stored = one.existing["properties"] if one.existing else {}
    names = [name for name in one.properties if one.kind.is_secret(name) and stored.get(name) == MASK]
    return {name: one.properties[name] for name in names}


def _plan(context: Context, one: _Wanted, changed: set[str]) -> Change:
    document = one.document
    if one.existing is None:
        fields = [FieldChange("type", None, document.type)]
        fields += [
            FieldChange(f"properties.{name}", None, one.shown(name, value)) for name, value in one.properties.items()
        ]
        return Change("catalog", document.name, "create", fields=fields, step=lambda: _create(context, one))
    stored = one.existing["properties"]
    pairs: list[tuple[str, Any, Any]] = [("name", one.existing["name"], document.name)]
    fields = compare(pairs)
    for name in sorted({*stored, *one.properties}):
        old, new = stored.get(name), one.properties.get(name)
        secret = one.kind.is_secret(name)
        if name in changed or (secret and old is None) or (not secret and old != new):
            fields.append(FieldChange(f"properties.{name}", one.shown(name, old), one.shown(name, new)))
    if not fields:
        return Change("catalog", document.name, "nothing", one.existing["id"])
    return Change("catalog", document.name, "change", one.existing["id"], fields, step=lambda: _change(context, one))


def _create(context: Context, one: _Wanted) -> str:
    body = {"name": one.document.name, "type": one.document.type, "properties": one.properties}
    made = context.server.post(PATH, body)
    return str(made["id"])


def _change(context: Context, one: _Wanted) -> str:
    """Replace name and properties; secrets that are not declared stay."""
    assert one.existing is not None  # noqa: S101 - it is changed
    stored = one.existing["properties"]
    kept = {name: MASK for name, value in stored.items() if value == MASK and name not in one.properties}
    body = {"name": one.document.name, "type": one.document.type, "properties": kept | one.properties}
    context.server.put(f"{PATH}/{one.existing['id']}", body, {"if-match": one.existing["etag"]})
    return str(one.existing["id"])
