"""The namespaces and tables of a catalog: browsed, searched, and registered as datasets."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from offtake.catalog import kept_namespaces, lake_catalog_calls, lake_catalogs, registration
from offtake.catalog.lake_catalog_calls import NamePage
from offtake.contract import problems
from offtake.contract.caller import MANAGE_DATASETS
from offtake.contract.problems import Problem
from offtake.lake.table_names import write_identifier
from offtake.web.form_body import Form, text, texts
from offtake.web.person import Person, PersonOf
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)

_MOST: Final = 50
_MOST_SPACES: Final = 200
_AS_PAGES: Final = (problems.FORBIDDEN, problems.NOT_FOUND)


@router.get("/ui/{sandbox}/catalogs/{catalog_id}/tables")
def browse(request: Request, person: PersonOf, catalog_id: str) -> Response:
    """The namespaces, and the tables of one of them; namespace, search and page are in the URL."""
    return _browse(request, person, catalog_id)


@router.post("/ui/{sandbox}/catalogs/{catalog_id}/tables")
def register(request: Request, person: PersonOf, catalog_id: str, form: Form) -> Response:
    """Register the chosen tables, each as a dataset of its name."""
    backend, caller = person.backend, person.caller
    registration.check_permissions(caller)
    done, refused = [], []
    chosen = texts(form, "table")[:_MOST]
    with backend.database.reading() as session:
        row = lake_catalogs.get(session, caller, catalog_id)
    for name in chosen:
        try:
            identifier = registration.identifier_of(row, caller, name)
            table = registration.find(backend.registered, caller, catalog_id, identifier)
            with backend.database.writing() as session:
                unused = registration.free_name(session, caller, table)
                dataset = registration.register(session, caller, unused, table, person.now_ms)
                done.append((dataset.id, dataset.name))
        except Problem as problem:
            if problem.code in _AS_PAGES:
                raise
            refused.append((name, str(problem)))
    problem_text = "" if chosen else "Choose a table first."
    return _browse(
        request, person, catalog_id, text(form, "namespace"), 200 if done else 422, done=done, refused=refused,
        problem=problem_text,
    )  # fmt: skip


@router.post("/ui/{sandbox}/catalogs/{catalog_id}/namespaces")
def keep(request: Request, person: PersonOf, catalog_id: str, form: Form) -> Response:
    """Keep the namespace's tables registered from now on."""
    backend, caller = person.backend, person.caller
    registration.check_permissions(caller)
    name = text(form, "namespace")
    try:
        steps = lake_catalog_calls.parse_name(name, "/namespace")
        with backend.database.reading() as session:
            lake_catalogs.get(session, caller, catalog_id)
        listed = len(lake_catalog_calls.tables_in(backend.registered, caller, catalog_id, steps))
        with backend.database.writing() as session:
            row = lake_catalogs.get(session, caller, catalog_id, lock=True)
            kept_namespaces.keep(session, caller, row, steps, listed, person.now_ms)
    except Problem as problem:
        if problem.code in _AS_PAGES:
            raise
        return _browse(request, person, catalog_id, name, 422, problem=str(problem))
    return RedirectResponse(person.url(f"catalogs/{catalog_id}") + "?compares=1#namespaces", 303)


def _browse(
    request: Request,
    person: Person,
    catalog_id: str,
    namespace: str | None = None,
    status: int = 200,
    **values: Any,  # noqa: ANN401 - a template's values
) -> Response:
    url, backend, caller = ListUrl(request), person.backend, person.caller
    name = namespace if namespace is not None else request.query_params.get("namespace", "").strip()[:2000]
    start, search = url.number("from"), url.text("q")
    with backend.database.reading() as session:
        row = lake_catalogs.get(session, caller, catalog_id)
        kept = {one.name for one in kept_namespaces.all_of(session, caller, catalog_id)}
    spaces, tables, away = NamePage([], 0, None), NamePage([], 0, None), ""
    steps: tuple[str, ...] = ()
    try:
        steps = lake_catalog_calls.parse_name(name, "/namespace") if name else ()
        found = lake_catalog_calls.namespaces(backend.registered, caller, catalog_id, steps)
        spaces = lake_catalog_calls.page_of(found, "" if steps else search, 0, _MOST_SPACES)
        if steps:
            listed = lake_catalog_calls.tables_in(backend.registered, caller, catalog_id, steps)
            tables = lake_catalog_calls.page_of(listed, search, start, _MOST)
    except Problem as problem:
        if problem.code in _AS_PAGES:
            raise
        away = str(problem)
    with backend.database.reading() as session:
        known = registration.known_tables(session, caller, catalog_id, steps) if tables.names else {}
    following = url.with_(namespace=name, **{"from": tables.following}) if tables.following else ""
    return page(
        request,
        person,
        "catalog-tables.html",
        status,
        row=row,
        steps=steps,
        name=name,
        parents=[(one, write_identifier(steps[: number + 1])) for number, one in enumerate(steps)],
        spaces=[(one[-1], write_identifier(one)) for one in spaces.names],
        more_spaces=spaces.following is not None,
        tables=[(one[-1], write_identifier(one), known.get(one[-1])) for one in tables.names],
        total=tables.total,
        search=search,
        away=away,
        is_kept=name in kept,
        pages=(url.with_(namespace=name) if start else "", following),
        may_register=person.may(MANAGE_DATASETS),
        **({"done": [], "refused": [], "problem": ""} | values),
    )
