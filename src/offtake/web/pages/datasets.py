"""Datasets: the list, and new ones with declared columns."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from offtake.catalog import dataset_lists, dataset_tables, import_drafts
from offtake.catalog.dataset_lists import ORDERS, Order
from offtake.contract.caller import MANAGE_DATASETS, VIEW_DESTINATIONS
from offtake.contract.problems import Problem
from offtake.flows import dataset_exports
from offtake.web.form_body import Form, text
from offtake.web.person import PersonOf
from offtake.web.problem_fields import problems_of
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)

_MOST: Final = 50
_NAMES: Final = {"name": "Name", "description": "Description", "columns": "Columns"}


@router.get("/ui/{sandbox}/datasets")
def datasets(request: Request, person: PersonOf) -> Response:
    """The list, with search and order in the URL."""
    url = ListUrl(request)
    order: Order = url.choice("sort", ORDERS) or "name"
    descending = url.choice("order", ("asc", "desc")) == "desc"
    search, shows_flows = url.text("q"), person.may(VIEW_DESTINATIONS)
    with person.backend.database.reading() as session:
        found = dataset_lists.page(
            session, person.caller, search, order, url.number("from"), _MOST + 1, descending=descending
        )
        ids = [one.id for one in found]
        counts = dataset_exports.counts(session, person.caller, ids) if shows_flows else {}
    current = (order, descending)
    columns = [
        url.sorted_by("Name", "name", current, "wide"),
        url.sorted_by("Rows", "rows", current, "number", first="desc"),
        url.sorted_by("Size", "size", current, "number", first="desc"),
        url.sorted_by("Last import", "last", current, "event", first="desc"),
    ]
    return page(
        request,
        person,
        "datasets.html",
        lines=found[:_MOST],
        counts=counts,
        shows_flows=shows_flows,
        search=search,
        is_deleted=url.text("deleted") == "1",
        sorting={"sort": order, "order": "desc" if descending else "asc"} if current != ("name", False) else {},
        columns=columns,
        pages=url.pages(found, _MOST),
        may_manage=person.may(MANAGE_DATASETS),
    )


@router.get("/ui/{sandbox}/datasets/new")
def new(request: Request, person: PersonOf) -> Response:
    """The form for an empty dataset."""
    person.caller.require(MANAGE_DATASETS)
    return page(request, person, "dataset-new.html", values={}, problems={}, summary=[])


@router.post("/ui/{sandbox}/datasets/new")
def create(request: Request, person: PersonOf, form: Form) -> Response:
    """Create an empty dataset, and its table if columns are declared."""
    values = {name: text(form, name) for name in ("name", "description", "columns", "evolves")}
    backend = person.backend
    try:
        columns = import_drafts.parse_columns(values["columns"], "/columns")
        promise = {"evolves": values["evolves"] == "true", "columns": columns or None}
        body = {"name": values["name"], "description": values["description"] or None}
        row = dataset_tables.create(
            backend.database,
            backend.lake,
            backend.uploads,
            person.caller,
            body | {"extensions": {"offtake": promise}},
            backend.clock,
            unique_name=True,
        )
    except Problem as error:
        by_field, summary = problems_of(error, _NAMES)
        return page(request, person, "dataset-new.html", 422, values=values, problems=by_field, summary=summary)
    return RedirectResponse(person.url(f"datasets/{row.id}"), 303)
