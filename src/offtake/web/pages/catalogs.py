"""Catalogs of others: the list, and adding one."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from offtake.catalog import lake_catalog_calls, lake_catalogs
from offtake.contract import problems
from offtake.contract.caller import MANAGE_CATALOGS
from offtake.contract.problems import Problem
from offtake.lake.catalogs.declarations import TYPES, CatalogType
from offtake.web import catalog_form, submissions
from offtake.web.form_body import Form, text
from offtake.web.person import Person, PersonOf
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)

_MOST: Final = 50


@router.get("/ui/{sandbox}/catalogs")
def list_catalogs(request: Request, person: PersonOf) -> Response:
    """All catalogs by name; the search is in the URL."""
    url = ListUrl(request)
    search = url.text("q")
    with person.backend.database.reading() as session:
        found = lake_catalogs.search(session, person.caller, search, url.number("from"), _MOST + 1)
    return page(
        request,
        person,
        "catalogs.html",
        lines=found[:_MOST],
        titles={one.name: one.title for one in TYPES.values()},
        search=search,
        is_removed=url.text("removed") == "1",
        pages=url.pages(found, _MOST),
    )


@router.get("/ui/{sandbox}/catalogs/new")
def new(request: Request, person: PersonOf) -> Response:
    """The choice of a type; with `type` in the URL, its form."""
    person.caller.require(MANAGE_CATALOGS)
    kind = TYPES.get(ListUrl(request).text("type"))
    if kind is None or kind.operators:
        return page(request, person, "catalog-types.html", types=list(TYPES.values()))
    return _form(request, person, kind)


@router.post("/ui/{sandbox}/catalogs/new")
def create(request: Request, person: PersonOf, form: Form) -> Response:
    """Add the catalog, or with `do=test` only test it."""
    person.caller.require(MANAGE_CATALOGS)
    kind = TYPES.get(text(form, "type"))
    if kind is None:
        raise problems.of_field("/type", f"is not a type of catalog; allowed: {', '.join(TYPES)}")
    backend, sent = person.backend, catalog_form.body(kind, form)
    try:
        if text(form, "do") == "test":
            config = lake_catalogs.config_to_test(person.caller, backend.network, backend.closed_folders, sent)
            error = lake_catalog_calls.refusal(backend.registered, person.caller, config)
            return _form(request, person, kind, form, tested=error or True)
        row_id = submissions.id_of(request, form)
        with backend.database.writing() as session:
            if not lake_catalogs.exists(session, person.caller, row_id):
                lake_catalogs.create(
                    session, person.caller, backend.vault, backend.network, sent, person.now_ms, row_id
                )
    except Problem as problem:
        return _form(request, person, kind, form, problem=problem)
    return RedirectResponse(person.url(f"catalogs/{row_id}") + "?added=1", 303)


def _form(
    request: Request,
    person: Person,
    kind: CatalogType,
    form: FormData | None = None,
    *,
    problem: Problem | None = None,
    tested: Exception | bool = False,
) -> Response:
    return page(
        request,
        person,
        "catalog-new.html",
        422 if problem is not None else 200,
        form=catalog_form.show(kind, form, problem=problem),
        key=text(form, "key") if form is not None else submissions.new_key(),
        tested=tested,
    )
