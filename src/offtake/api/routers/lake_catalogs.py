"""Catalogs of others and the tables registered from them: an extension of Catalog."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Response

from offtake.api import lists, responses
from offtake.api.dependencies import BackendOf, CallerOf, JsonBody
from offtake.api.error_types import CATALOG
from offtake.api.in_memory_lists import ShortListOf
from offtake.api.lists import ListOf
from offtake.api.openapi import lake_catalog_examples as examples
from offtake.api.openapi import lake_examples
from offtake.api.openapi.operations import document_operation
from offtake.api.responses import IfMatch, Op
from offtake.catalog import kept_namespaces, lake_catalog_calls, lake_catalogs, namespace_sync, registration
from offtake.catalog.lake_catalog_calls import NamePage
from offtake.contract import entities, problems
from offtake.contract.caller import MANAGE_CATALOGS
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.lake.catalogs.opening import Identifier
from offtake.lake.table_names import write_identifier

_DEFAULT_LIMIT: Final = 20

router = APIRouter(tags=["lake catalogs"])

Table = Annotated[str | None, Query(description="A table to read, such as sales.orders.")]
Metadata = Annotated[str | None, Query(description="For catalogs of type files: the location of a table's metadata.")]
Parent = Annotated[str | None, Query(description="A namespace, such as sales.eu, or a JSON list of names.")]
Namespace = Annotated[str, Query(description="A namespace, such as sales.eu, or a JSON list.", examples=["sales"])]
Search = Annotated[str, Query(description="A part of the name, in any case.")]


@router.get("/lakeCatalogTypes", **document_operation(examples.TYPES))
def types(caller: CallerOf) -> Json:
    """List the types of catalogs and their properties (extension)."""
    caller.require(MANAGE_CATALOGS)
    return {"types": lake_catalogs.types()}


@router.get("/lakeCatalogs", **document_operation(examples.CATALOGS))
def list_catalogs(caller: CallerOf, backend: BackendOf, params: ListOf) -> Json:
    """List the catalogs of others (extension)."""
    query = params.query(_DEFAULT_LIMIT)
    with backend.database.reading() as session:
        page = lake_catalogs.page(session, caller, query)
        return lists.answer(
            "/lakeCatalogs", query, page, lambda rows: [lake_catalogs.document(row, caller) for row in rows]
        )


@router.post(
    "/lakeCatalogs",
    status_code=201,
    **document_operation(
        examples.CHANGED,
        status=201,
        body=lake_catalogs.NewCatalog,
        body_example=examples.NEW_CATALOG,
        errors=(409,),
    ),
)
def create_catalog(caller: CallerOf, backend: BackendOf, body: JsonBody, response: Response) -> Json:
    """Add a catalog; it is not contacted (extension)."""
    with backend.database.writing() as session:
        row = lake_catalogs.create(session, caller, backend.vault, backend.network, body, backend.clock.now_ms())
        response.headers["Location"] = f"{CATALOG}/lakeCatalogs/{row.id}"
        return responses.update_response(response, row)


@router.get("/lakeCatalogs/{catalog_id}", **document_operation({"items": [examples.CATALOG]}))
def get_catalog(caller: CallerOf, backend: BackendOf, catalog_id: str, response: Response) -> Json:
    """Get a catalog; its secrets are masked (extension)."""
    with backend.database.reading() as session:
        row = lake_catalogs.get(session, caller, catalog_id)
        return responses.one(response, lake_catalogs.document(row, caller))


@router.put(
    "/lakeCatalogs/{catalog_id}",
    **document_operation(
        examples.CHANGED, body=lake_catalogs.ChangedCatalog, body_example=examples.NEW_CATALOG, errors=(409, 412)
    ),
)
def replace_catalog(
    caller: CallerOf, backend: BackendOf, catalog_id: str, body: JsonBody, response: Response, if_match: IfMatch = None
) -> Json:
    """Replace name and properties of a catalog (extension)."""
    with backend.database.writing() as session:
        row = lake_catalogs.get(session, caller, catalog_id, lock=True)
        entities.check_version(row, if_match)
        now = backend.clock.now_ms()
        lake_catalogs.replace(session, caller, backend.vault, backend.network, row, body, now)
        return responses.update_response(response, row)


@router.patch(
    "/lakeCatalogs/{catalog_id}",
    **document_operation(
        examples.CHANGED,
        body=lake_examples.ANY_OBJECT,
        body_example={"properties": {"scope": "PRINCIPAL_ROLE:reader"}},
        errors=(409, 412),
    ),
)
def change_catalog(
    caller: CallerOf, backend: BackendOf, catalog_id: str, body: JsonBody, response: Response, if_match: IfMatch = None
) -> Json:
    """Update a catalog (merge patch or JSON Patch); secrets that are not sent stay (extension)."""
    with backend.database.writing() as session:
        row = lake_catalogs.get(session, caller, catalog_id, lock=True)
        entities.check_version(row, if_match)
        now = backend.clock.now_ms()
        lake_catalogs.merge(session, caller, backend.vault, backend.network, row, body, now)
        return responses.update_response(response, row)


@router.delete(
    "/lakeCatalogs/{catalog_id}", status_code=202, response_class=Response, **document_operation(errors=(409,))
)
def delete_catalog(caller: CallerOf, backend: BackendOf, catalog_id: str) -> Response:
    """Forget a catalog from which no dataset is registered; nothing is changed in it (extension)."""
    with backend.database.writing() as session:
        row = lake_catalogs.get(session, caller, catalog_id, lock=True)
        lake_catalogs.remove(session, caller, row, backend.clock.now_ms())
    return responses.deletion_response()


@router.get("/lakeCatalogs/{catalog_id}/test", **document_operation(examples.TESTED))
def check_catalog(
    caller: CallerOf, backend: BackendOf, catalog_id: str, table: Table = None, metadata: Metadata = None
) -> Json:
    """Test a catalog: lists its namespaces, and reads a table's metadata if one is named (extension)."""
    with backend.database.reading() as session:
        row = lake_catalogs.get(session, caller, catalog_id)
        named = table is not None or metadata is not None
        identifier = registration.identifier_of(row, caller, table, metadata) if named else None
        config = lake_catalogs.config_of(row, backend.vault, backend.network, backend.closed_folders)
    found = lake_catalog_calls.check(backend.registered, caller, config, identifier)
    if found.refusal is not None:
        return {"result": False, "errors": [_error(found.refusal.code, str(found.refusal))]}
    shown = _named(found.namespaces[: lake_catalog_calls.MOST_NAMES])
    return {"result": True, "namespaces": shown} | ({} if found.uuid is None else {"tableUuid": found.uuid})


@router.get("/lakeCatalogs/{catalog_id}/namespaces", **document_operation(examples.NAMESPACES, errors=(502,)))
def list_namespaces(
    caller: CallerOf,
    backend: BackendOf,
    catalog_id: str,
    params: ShortListOf,
    parent: Parent = None,
    search: Search = "",
) -> Json:
    """List the namespaces of a catalog, or those in a namespace (extension)."""
    query = params.query(lake_catalog_calls.MOST_NAMES)
    steps = lake_catalog_calls.parse_name(parent, "/parent") if parent else ()
    with backend.database.reading() as session:
        row_id = lake_catalogs.get(session, caller, catalog_id).id
    found = lake_catalog_calls.namespaces(backend.registered, caller, row_id, steps)
    page = lake_catalog_calls.page_of(found, search, query.start, query.limit)
    return _names(f"/lakeCatalogs/{row_id}/namespaces", page, query.limit, {"parent": parent, "search": search})


@router.get("/lakeCatalogs/{catalog_id}/tables", **document_operation(examples.TABLES, errors=(502,)))
def list_tables(
    caller: CallerOf,
    backend: BackendOf,
    catalog_id: str,
    params: ShortListOf,
    namespace: Namespace,
    search: Search = "",
) -> Json:
    """List the tables of a namespace (extension)."""
    query = params.query(lake_catalog_calls.MOST_NAMES)
    steps = lake_catalog_calls.parse_name(namespace, "/namespace")
    with backend.database.reading() as session:
        row_id = lake_catalogs.get(session, caller, catalog_id).id
    found = lake_catalog_calls.tables_in(backend.registered, caller, row_id, steps)
    page = lake_catalog_calls.page_of(found, search, query.start, query.limit)
    return _names(f"/lakeCatalogs/{row_id}/tables", page, query.limit, {"namespace": namespace, "search": search})


@router.post(
    "/lakeCatalogs/{catalog_id}/dataSets",
    status_code=201,
    **document_operation(
        lake_examples.PATHS,
        status=201,
        body=registration.Registration,
        body_example=examples.REGISTRATION,
        errors=(409, 502),
    ),
)
def register_table(
    caller: CallerOf, backend: BackendOf, catalog_id: str, body: JsonBody, response: Response
) -> list[str]:
    """Register a table as a dataset, which is read where it is kept (extension); DELETE of the dataset forgets it."""
    registration.check_permissions(caller)
    sent = registration.parse(body)
    with backend.database.reading() as session:
        row = lake_catalogs.get(session, caller, catalog_id)
        identifier = registration.identifier_of(row, caller, sent.table, sent.metadata)
    table = registration.find(backend.registered, caller, catalog_id, identifier)
    with backend.database.writing() as session:
        dataset = registration.register(session, caller, sent.name, table, backend.clock.now_ms())
        response.headers["Location"] = f"{CATALOG}/dataSets/{dataset.id}"
        return [f"@/dataSets/{dataset.id}"]


@router.get("/lakeCatalogs/{catalog_id}/keptNamespaces", **document_operation({"items": [examples.KEPT]}))
def list_kept(caller: CallerOf, backend: BackendOf, catalog_id: str) -> Json:
    """List the namespaces whose tables are kept registered (extension)."""
    with backend.database.reading() as session:
        row = lake_catalogs.get(session, caller, catalog_id)
        return {"items": [kept_namespaces.document(one) for one in kept_namespaces.all_of(session, caller, row.id)]}


@router.post(
    "/lakeCatalogs/{catalog_id}/keptNamespaces",
    status_code=201,
    **document_operation(
        {"items": [examples.KEPT]},
        status=201,
        body=registration.NamespaceBody,
        body_example={"namespace": "sales"},
        errors=(409, 502),
    ),
)
def keep_namespace(caller: CallerOf, backend: BackendOf, catalog_id: str, body: JsonBody) -> Json:
    """Keep the tables of a namespace registered: new ones appear, dropped ones are marked as gone (extension)."""
    registration.check_permissions(caller)
    steps = registration.parse_namespace(body)
    with backend.database.reading() as session:
        lake_catalogs.get(session, caller, catalog_id)
    listed = len(lake_catalog_calls.tables_in(backend.registered, caller, catalog_id, steps))
    with backend.database.writing() as session:
        row = lake_catalogs.get(session, caller, catalog_id, lock=True)
        kept = kept_namespaces.keep(session, caller, row, steps, listed, backend.clock.now_ms())
        return {"items": [kept_namespaces.document(kept)]}


@router.post(
    "/lakeCatalogs/{catalog_id}/keptNamespaces/{namespace_id}/action",
    **document_operation(examples.ROUND, errors=(502,)),
)
def act_on_kept(caller: CallerOf, backend: BackendOf, catalog_id: str, namespace_id: str, op: Op = None) -> Json:
    """With op=sync, compare a namespace that is kept in step with its catalog, in a round of bounded work (extension).

    Repeat it while `more` is true. A round compares 100 of the known tables, from where the last one ended.
    """
    registration.check_permissions(caller)
    _check_op(op)
    with backend.database.reading() as session:
        kept_namespaces.get(session, caller, catalog_id, namespace_id)
    compare = partial(namespace_sync.run_round, backend.database, backend.registered, namespace_id)
    return lake_catalog_calls.call(caller, "/namespace", lambda: compare(backend.clock.now_ms())).to_json()


@router.delete(
    "/lakeCatalogs/{catalog_id}/keptNamespaces/{namespace_id}",
    status_code=202,
    response_class=Response,
    **document_operation(),
)
def stop_keeping(caller: CallerOf, backend: BackendOf, catalog_id: str, namespace_id: str) -> Response:
    """Keep a namespace in step no longer; its datasets stay (extension)."""
    with backend.database.writing() as session:
        row = kept_namespaces.get(session, caller, catalog_id, namespace_id)
        kept_namespaces.stop(session, caller, row, backend.clock.now_ms())
    return responses.deletion_response()


@router.post("/lakeCatalogs/{catalog_id}/action", status_code=202, **document_operation({"namespaces": 1}, status=202))
def act(caller: CallerOf, backend: BackendOf, catalog_id: str, op: Op = None) -> Json:
    """With op=sync, compare the namespaces that are kept in step with the catalog now (extension)."""
    caller.require(MANAGE_CATALOGS)
    _check_op(op)
    with backend.database.writing() as session:
        row = lake_catalogs.get(session, caller, catalog_id)
        return {"namespaces": kept_namespaces.hasten(session, caller, row.id, backend.clock.now_ms())}


def _check_op(op: str | None) -> None:
    if (op or "").strip().lower() != "sync":
        raise Problem(problems.UNKNOWN_ACTION, "The operation must be op=sync.")


def _names(path: str, page: NamePage, limit: int, query: dict[str, str | None]) -> Json:
    items = _named(page.names)
    links = {}
    if page.following is not None:
        given = {name: value for name, value in query.items() if value}
        links = {"next": {"href": f"{path}?{urlencode(given | {'limit': limit, 'start': page.following})}"}}
    return {"items": items, "_links": links, "count": len(items), "total": page.total}


def _named(names: Sequence[Identifier]) -> list[Json]:
    return [{"name": write_identifier(one), "steps": list(one)} for one in names]


def _error(code: str, message: str) -> Json:
    return {"code": code, "message": message}
