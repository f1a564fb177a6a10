"""One catalog of others: its properties, its test, its namespaces that are kept in step; change and removal."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from offtake.catalog import kept_namespaces, lake_catalog_calls, lake_catalogs, registration
from offtake.contract import entities, problems
from offtake.contract.caller import MANAGE_CATALOGS, MANAGE_DATASETS
from offtake.contract.problems import Problem
from offtake.lake.catalogs import declarations
from offtake.web import catalog_form
from offtake.web.form_body import Form, require, text
from offtake.web.person import Person, PersonOf
from offtake.web.problem_fields import problems_of
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute
from offtake.web.typed_names import name_to_type, wrong_name

router = APIRouter(route_class=PageRoute)

_MOST_DATASETS: Final = 10


@router.get("/ui/{sandbox}/catalogs/{catalog_id}")
def catalog_page(request: Request, person: PersonOf, catalog_id: str) -> Response:
    """The catalog without its secrets."""
    return _show(request, person, catalog_id)


@router.post("/ui/{sandbox}/catalogs/{catalog_id}/test")
def test(request: Request, person: PersonOf, catalog_id: str, form: Form) -> Response:
    """List the catalog's namespaces."""
    del form
    backend = person.backend
    with backend.database.reading() as session:
        row = lake_catalogs.get(session, person.caller, catalog_id)
        config = lake_catalogs.config_of(row, backend.vault, backend.network, backend.closed_folders)
    tested = lake_catalog_calls.refusal(backend.registered, person.caller, config) or True
    return _show(request, person, catalog_id, tested=tested)


@router.post("/ui/{sandbox}/catalogs/{catalog_id}/remove")
def remove(request: Request, person: PersonOf, catalog_id: str, form: Form) -> Response:
    """Forget the catalog, after its name was typed."""
    backend = person.backend
    with backend.database.reading() as session:
        row = lake_catalogs.get(session, person.caller, catalog_id)
        problem = wrong_name(form, row.name, row.id)
    if problem:
        return _show(request, person, catalog_id, 422, wrong_typed=problem, sent_typed=text(form, "typed"))
    try:
        with backend.database.writing() as session:
            row = lake_catalogs.get(session, person.caller, catalog_id, lock=True)
            lake_catalogs.remove(session, person.caller, row, person.now_ms)
    except Problem as error:
        if error.code != problems.CONFLICT:
            raise
        return _show(request, person, catalog_id, 409, refused=str(error))
    return RedirectResponse(person.url("catalogs") + "?removed=1", 303)


@router.get("/ui/{sandbox}/catalogs/{catalog_id}/change")
def change_form(request: Request, person: PersonOf, catalog_id: str) -> Response:
    """The form with what is stored."""
    return _change(request, person, catalog_id)


@router.post("/ui/{sandbox}/catalogs/{catalog_id}/change")
def change(request: Request, person: PersonOf, catalog_id: str, form: Form) -> Response:
    """Change the catalog, or with `do=test` only test what would be stored."""
    backend, caller = person.backend, person.caller
    caller.require(MANAGE_CATALOGS)
    require(form, "name", "version")
    with backend.database.reading() as session:
        row = lake_catalogs.get(session, caller, catalog_id)
        kind, stored = declarations.find_type(row.type), lake_catalogs.render(row)
        config = lake_catalogs.config_of(row, backend.vault, backend.network, backend.closed_folders)
    sent = catalog_form.body(kind, form, stored)
    try:
        if text(form, "do") == "test":
            folders = backend.closed_folders
            changed = lake_catalogs.config_to_test(caller, backend.network, folders, sent, config)
            tested = lake_catalog_calls.refusal(backend.registered, caller, changed) or True
            return _change(request, person, catalog_id, form, tested=tested)
        with backend.database.writing() as session:
            row = lake_catalogs.get(session, caller, catalog_id, lock=True)
            entities.check_version(row, text(form, "version"))
            lake_catalogs.replace(session, caller, backend.vault, backend.network, row, sent, person.now_ms)
    except Problem as problem:
        return _change(request, person, catalog_id, form, problem=problem)
    return RedirectResponse(person.url(f"catalogs/{catalog_id}") + "?changed=1", 303)


@router.post("/ui/{sandbox}/catalogs/{catalog_id}/register")
def register_metadata(request: Request, person: PersonOf, catalog_id: str, form: Form) -> Response:
    """Register a table by the location of its metadata, for catalogs of type files."""
    backend, caller = person.backend, person.caller
    registration.check_permissions(caller)
    try:
        with backend.database.reading() as session:
            row = lake_catalogs.get(session, caller, catalog_id)
            identifier = registration.identifier_of(row, caller, metadata=text(form, "metadata"))
        table = registration.find(backend.registered, caller, catalog_id, identifier)
        with backend.database.writing() as session:
            dataset = registration.register(session, caller, text(form, "name"), table, person.now_ms)
            dataset_id = dataset.id
    except Problem as error:
        found, summary = problems_of(error, {"name": "Dataset name", "metadata": "Location", "table": "Location"})
        found["metadata"] = found.get("metadata") or found.get("table", "")
        return _show(request, person, catalog_id, 422, problems=found, summary=summary, form=form)
    return RedirectResponse(person.url(f"datasets/{dataset_id}"), 303)


@router.post("/ui/{sandbox}/catalogs/{catalog_id}/namespaces/{namespace_id}/stop")
def stop(person: PersonOf, catalog_id: str, namespace_id: str, form: Form) -> Response:
    """Keep the namespace in step no longer; its datasets stay."""
    del form
    with person.backend.database.writing() as session:
        row = kept_namespaces.get(session, person.caller, catalog_id, namespace_id)
        kept_namespaces.stop(session, person.caller, row, person.now_ms)
    return RedirectResponse(person.url(f"catalogs/{catalog_id}") + "#namespaces", 303)


@router.post("/ui/{sandbox}/catalogs/{catalog_id}/sync")
def sync(person: PersonOf, catalog_id: str, form: Form) -> Response:
    """Compare the namespaces with the catalog now, in the background."""
    del form
    with person.backend.database.writing() as session:
        lake_catalogs.get(session, person.caller, catalog_id)
        kept_namespaces.hasten(session, person.caller, catalog_id, person.now_ms)
    return RedirectResponse(person.url(f"catalogs/{catalog_id}") + "?compares=1#namespaces", 303)


def _show(request: Request, person: Person, catalog_id: str, status: int = 200, **values: Any) -> Response:  # noqa: ANN401 - a template's values
    url = ListUrl(request)
    shared = {"tested": False, "refused": "", "wrong_typed": "", "sent_typed": "", "problems": {}, "summary": []}
    with person.backend.database.reading() as session:
        row = lake_catalogs.get(session, person.caller, catalog_id)
        kind = declarations.find_type(row.type)
        found = registration.registered_from(session, person.caller, catalog_id, _MOST_DATASETS + 1)
        is_used = bool(lake_catalogs.registered_from(session, catalog_id, 1))
        kept = kept_namespaces.all_of(session, person.caller, catalog_id)
    return page(
        request,
        person,
        "catalog.html",
        status,
        row=row,
        kind=kind,
        pairs=catalog_form.pairs(kind, row.properties),
        datasets=found[:_MOST_DATASETS],
        more_datasets=len(found) > _MOST_DATASETS,
        is_used=is_used,
        kept=kept,
        typed=name_to_type(row.name, row.id),
        is_added=url.text("added") == "1",
        is_changed=url.text("changed") == "1",
        compares=url.text("compares") == "1",
        may_register=person.may(MANAGE_DATASETS),
        **(shared | {"form": None} | values),
    )


def _change(
    request: Request,
    person: Person,
    catalog_id: str,
    form: FormData | None = None,
    *,
    problem: Problem | None = None,
    tested: Exception | bool = False,
) -> Response:
    with person.backend.database.reading() as session:
        row = lake_catalogs.get(session, person.caller, catalog_id)
        kind = declarations.find_type(row.type)
    is_stale = problem is not None and problem.code == problems.OTHER_VERSION
    shown = None if is_stale else problem
    return page(
        request,
        person,
        "catalog-change.html",
        409 if is_stale else 422 if problem is not None else 200,
        row=row,
        form=catalog_form.show(kind, form, lake_catalogs.render(row), shown),
        pairs=catalog_form.pairs(kind, row.properties),
        is_stale=is_stale,
        tested=tested,
    )
