"""Datasets: of the deployment's own lake, and registered tables. Their rows are not declared, and never removed."""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from offtake.client.problems import ServerError
from offtake.client.server import CATALOG, LABELS
from offtake.declarations.context import Context
from offtake.declarations.kinds.catalogs import PATH as CATALOGS
from offtake.declarations.models import DatasetDocument
from offtake.declarations.parsing import Declared
from offtake.declarations.plan import Change, FieldChange, compare
from offtake.declarations.state import plain_name
from offtake.documents import Json
from offtake.errors import OfftakeError

_PATH: Final = f"{CATALOG}/dataSets"


@dataclass(frozen=True)
class _Wanted:
    """A document; `existing`: the dataset with its extensions, None when it is to be created."""

    declared: Declared
    document: DatasetDocument
    existing: Json | None


def plan_all(context: Context) -> list[Change]:
    """The changes of all datasets."""
    found = []
    for index, declared in context.of_kind("dataset"):
        count = len(context.problems)
        document = declared.document
        assert isinstance(document, DatasetDocument)  # noqa: S101 - of this kind
        _check(context, declared, document)
        if len(context.problems) == count:
            existing = context.existing.get(index)
            whole = None if existing is None else read(context, existing["id"])
            found.append(_plan(context, _Wanted(declared, document, whole)))
    return found


def read(context: Context, dataset_id: str) -> Json:
    """The whole document of a dataset."""
    query = (("properties", "name,description,extensions"),)
    whole: Json = context.server.get(f"{_PATH}/{quote(dataset_id)}", query)[dataset_id]
    return {"id": dataset_id, **whole}


def export(context: Context, entity: Json) -> Json:
    """The document of a dataset, with the columns that its table has now."""
    whole = read(context, entity["id"])
    own = _own(whole)
    document: Json = {"kind": "dataset", "name": entity["name"]}
    document |= {"description": whole["description"]} if whole.get("description") else {}
    registered = own.get("registered")
    if registered:
        catalog = context.state.by_id("catalog", registered["catalogId"])
        name = catalog["name"] if catalog else registered["catalogId"]
        key = "metadata" if catalog and catalog["type"] == "files" else "table"
        document |= {"catalog": name, key: registered["table"]}
    else:
        columns = _columns(context, entity["id"])
        document |= {"columns": columns} if columns else {}
        document |= {"evolves": True} if own.get("evolves") else {}
    labels = _labels(context, entity["id"])
    return document | ({"labels": labels} if labels else {})


def delete(context: Context, dataset_id: str) -> None:
    """Delete a dataset without rows, or forget a registered table. Raises `OfftakeError` for a dataset with rows."""
    if why := why_kept(context, dataset_id):
        raise OfftakeError(why)
    context.server.delete(f"{_PATH}/{quote(dataset_id)}")


def why_kept(context: Context, dataset_id: str) -> str:
    """Why a dataset must not be removed: it has rows of its own; empty if it may be."""
    whole = read(context, dataset_id)
    if _own(whole).get("registered"):
        return ""
    rows = context.server.get_extension(f"{_PATH}/{quote(dataset_id)}/table") or {}
    if rows.get("rows") == 0:
        return ""
    return f"dataset {whole['name']} has rows; remove it by offtake dataset delete"


def _check(context: Context, declared: Declared, document: DatasetDocument) -> None:
    place = document.table if document.table is not None else document.metadata
    if (document.catalog is None) != (place is None):
        context.problems.append(declared.problem(("catalog",), "and table (or metadata) belong together"))
    if document.table is not None and document.metadata is not None:
        context.problems.append(declared.problem(("metadata",), "is instead of table; give one of them"))
    for name in ("columns", "evolves"):
        if document.catalog is not None and getattr(document, name) is not None:
            context.problems.append(
                declared.problem((name,), "is not for a registered table, which has its own columns")
            )


def _plan(context: Context, one: _Wanted) -> Change:
    document = one.document
    if one.existing is None:
        given = document.model_dump(exclude={"kind", "name", "id"}, exclude_none=True)
        fields = [FieldChange(name, None, value) for name, value in given.items()]
        return Change("dataset", document.name, "create", fields=fields, step=lambda: _create(context, one))
    _check_place(context, one)
    own, dataset_id = _own(one.existing), one.existing["id"]
    pairs: list[tuple[str, Any, Any]] = [("name", one.existing["name"], plain_name("dataset", document.name))]
    if document.description is not None:
        pairs.append(("description", one.existing.get("description") or "", document.description))
    if document.evolves is not None:
        pairs.append(("evolves", bool(own.get("evolves")), document.evolves))
    if document.labels is not None:
        pairs.append(("labels", _labels(context, dataset_id), sorted(set(document.labels))))
    if document.columns is not None:
        _check_columns(context, one)
    fields = compare(pairs)
    if not fields:
        return Change("dataset", document.name, "nothing", dataset_id)
    return Change("dataset", document.name, "change", dataset_id, fields, step=lambda: _change(context, one, fields))


def _check_place(context: Context, one: _Wanted) -> None:
    """A dataset stays where it is: its rows are there."""
    assert one.existing is not None  # noqa: S101 - it is compared
    registered = _own(one.existing).get("registered")
    document = one.document
    wanted = document.table if document.table is not None else document.metadata
    old = None if registered is None else registered["table"]
    catalog_id = context.ids.get("catalog", document.catalog) if document.catalog else None
    if old != wanted or (registered and catalog_id != registered["catalogId"]):
        shown = old or "a table of the deployment's own lake"
        why = f"cannot be changed: the dataset is {shown}. Declare a dataset with another name"
        context.problems.append(one.declared.problem(("table",) if wanted else (), why))


def _check_columns(context: Context, one: _Wanted) -> None:
    """Columns of an existing table are not changed; batches may have added others if the dataset evolves."""
    assert one.existing is not None  # noqa: S101 - it is compared
    stored = {column["name"]: column for column in _columns(context, one.existing["id"])}
    wanted = [_column(column) for column in one.document.columns or ()]
    evolves = _own(one.existing).get("evolves")
    extra = set(stored) - {column["name"] for column in wanted}
    changed = [column["name"] for column in wanted if _plain(stored.get(column["name"])) != _plain(column)]
    if stored and (changed or (extra and not evolves)):
        names = ", ".join([*changed, *sorted(extra)][:10])
        why = f"cannot be changed after the dataset is created; different: {names}"
        context.problems.append(one.declared.problem(("columns",), why))


def _create(context: Context, one: _Wanted) -> str:
    document = one.document
    if document.catalog is not None:
        catalog_id = context.ids.need("catalog", document.catalog)
        place = {"table": document.table} if document.table is not None else {"metadata": document.metadata}
        (path,) = context.server.post(f"{CATALOGS}/{catalog_id}/dataSets", {"name": document.name} | place)
    else:
        extension: Json = {} if document.evolves is None else {"evolves": document.evolves}
        if document.columns is not None:
            extension["columns"] = [_column(column) for column in document.columns]
        body: Json = {"name": document.name}
        body |= {} if document.description is None else {"description": document.description}
        body |= {"extensions": {"offtake": extension}} if extension else {}
        (path,) = context.server.post(_PATH, body)
    dataset_id = str(path).rpartition("/")[2]
    if document.catalog is not None and document.description:
        context.server.merge(f"{_PATH}/{quote(dataset_id)}", {"description": document.description})
    if document.labels:
        _set_labels(context, dataset_id, document.labels)
    return dataset_id


def _change(context: Context, one: _Wanted, fields: list[FieldChange]) -> str:
    assert one.existing is not None  # noqa: S101 - it is changed
    document, names = one.document, {found.field for found in fields}
    path = f"{_PATH}/{quote(one.existing['id'])}"
    body: Json = {name: getattr(document, name) for name in ("name", "description") if name in names}
    body |= {"extensions": {"offtake": {"evolves": document.evolves}}} if "evolves" in names else {}
    if body:
        context.server.merge(path, body)
    if "labels" in names:
        _set_labels(context, one.existing["id"], document.labels or [])
    return str(one.existing["id"])


def _own(dataset: Json) -> Json:
    """Offtake's extensions of a dataset."""
    found: Json = (dataset.get("extensions") or {}).get("offtake") or {}
    return found


def _columns(context: Context, dataset_id: str) -> list[Json]:
    found = context.server.get_extension(f"{_PATH}/{quote(dataset_id)}/table") or {}
    return [
        {"name": one["name"], "type": one["type"]} | ({"required": True} if one.get("required") else {})
        for one in found.get("fields", ())
    ]


def _column(column: Any) -> Json:  # noqa: ANN401 - a text or a model
    """A column as an object, from an object or from `name:type:required`."""
    if not isinstance(column, str):
        return {"name": column.name, "type": column.type} | ({"required": True} if column.required else {})
    rest, required = column.removesuffix(":required"), column.endswith(":required")
    name, _, kind = rest.partition(":")
    return {"name": name, "type": kind} | ({"required": True} if required else {})


def _plain(column: Json | None) -> Json | None:
    return None if column is None else column | {"type": "".join(str(column["type"]).lower().split())}


def _labels(context: Context, dataset_id: str) -> list[str]:
    try:
        return sorted(context.server.get(f"{LABELS}/datasets/{quote(dataset_id)}/labels")["labels"])
    except ServerError as error:
        if error.is_not_found:
            return []
        raise


def _set_labels(context: Context, dataset_id: str, labels: list[str]) -> None:
    body = {"labels": sorted(set(labels)), "optionalLabels": []}
    context.server.put(f"{LABELS}/datasets/{quote(dataset_id)}/labels", body, {"if-match": "*"})
