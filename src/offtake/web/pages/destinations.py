"""Destinations: the catalog, and connecting an account."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.datastructures import FormData

from offtake.contract import problems
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DESTINATIONS
from offtake.contract.problems import Problem
from offtake.destinations import data_landing_zone, registry
from offtake.destinations.base import Destination
from offtake.flows import account_lists, connection_checks, connections
from offtake.flows.connection_checks import ConnectionCheck
from offtake.web import connection_form, connection_test, markdown
from offtake.web.form_body import Form, text
from offtake.web.local_paths import local_path
from offtake.web.person import Person, PersonOf
from offtake.web.rendering import HEADERS, page
from offtake.web.routes import PageRoute
from offtake.web.submissions import id_of, new_key

router = APIRouter(route_class=PageRoute)

ICONS: Final = {
    "Amazon S3": "database",
    "Azure Blob Storage": "cloud",
    "Azure Data Lake Gen2": "layers",
    "Data Landing Zone": "inbox",
    "Google Cloud Storage": "cloudy",
    "SFTP": "server",
}


@router.get("/ui/{sandbox}/destinations")
def catalog(request: Request, person: PersonOf) -> Response:
    """All destinations: what each is and needs, and its accounts."""
    with person.backend.database.reading() as session:
        counts = account_lists.count_by_spec(session, person.caller)
    return page(
        request,
        person,
        "destinations.html",
        destinations=[
            (one, counts.get(one.connection_spec_id, 0), markdown.parts(one.guide.rights), _missing(one))
            for one in registry.DESTINATIONS
        ],
        icons=ICONS,
        zone_id=data_landing_zone.DESTINATION.connection_spec_id,
    )


@router.get("/ui/{sandbox}/destinations/{spec_id}/connect")
def connect(request: Request, person: PersonOf, spec_id: str) -> Response:
    """The form of a new account. The query's `next` is where saving leads, with the account's id."""
    _require(person)
    destination = find_destination(spec_id)
    return _form(request, person, destination, None)


@router.post("/ui/{sandbox}/destinations/{spec_id}/check")
def check(person: PersonOf, spec_id: str, form: Form) -> Response:
    """The problems of what was sent, by field, as JSON; nothing is written."""
    _require(person)
    destination = find_destination(spec_id)
    found = connection_form.check(destination, form, person.backend.network)
    return JSONResponse(found, headers={"Cache-Control": HEADERS["Cache-Control"]})


@router.post("/ui/{sandbox}/destinations/{spec_id}/connect")
def save(request: Request, person: PersonOf, spec_id: str, form: Form) -> Response:
    """Store the account, or only test what was sent."""
    _require(person)
    destination = find_destination(spec_id)
    found = connection_form.check(destination, form, person.backend.network)
    is_test = text(form, "do") == "test"
    if is_test and set(found) == {"name"}:
        found = {}  # a test needs no name
    if found:
        return _form(request, person, destination, form, found, 422)
    if is_test:
        return _test(request, person, destination, form)
    try:
        if person.backend.settings.check_connections:
            connection_checks.check(_rehearse(person, destination, form), person.backend.pin_store, "/auth/params")
        url = _after(person, form, _create(person, destination, form, id_of(request, form)))
    except Problem as problem:
        if problem.code == problems.FORBIDDEN:
            raise
        found = connection_form.translate(destination, form, problem.fields) or {"": str(problem)}
        return _form(request, person, destination, form, found, 422)
    return RedirectResponse(url, 303)


def find_destination(spec_id: str) -> Destination:
    """The destination with that connection spec id; raises 1439."""
    found = registry.by_connection_spec_id(spec_id)
    if found is None:
        raise problems.not_found("connectionSpecs", spec_id[:200])
    return found


def _require(person: Person) -> None:
    person.caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    person.caller.require(VIEW_DESTINATIONS)


def _create(person: Person, destination: Destination, form: FormData, row_id: str) -> str:
    backend, caller, body = person.backend, person.caller, connection_form.body(destination, form)
    with backend.database.writing() as session:
        if not connections.exists(session, caller, row_id):
            connections.create(session, caller, backend.vault, backend.network, body, person.now_ms, row_id)
    return row_id


def _rehearse(person: Person, destination: Destination, form: FormData, *, with_place: bool = False) -> ConnectionCheck:
    """The test of what was sent; the account is not stored."""
    backend, caller = person.backend, person.caller
    body = connection_form.body(destination, form) | {"name": text(form, "name") or destination.name}
    place = connection_form.place(destination, form)
    sandbox_location = backend.sandbox_location(caller)
    with backend.database.dry_run() as session:
        row = connections.create(session, caller, backend.vault, backend.network, body, person.now_ms)
        if with_place:
            return connection_checks.prepare_at(session, caller, backend.vault, row.id, place, sandbox_location)
        return connection_checks.prepare(session, caller, backend.vault, row.id, sandbox_location)


def _test(request: Request, person: Person, destination: Destination, form: FormData) -> Response:
    try:
        prepared = _rehearse(person, destination, form, with_place=True)
    except Problem as problem:
        found = connection_form.place_problems(destination, problem)
        return _form(request, person, destination, form, found, 422)
    return _form(request, person, destination, form, tested=connection_test.run(person.backend, prepared))


def _form(
    request: Request,
    person: Person,
    destination: Destination,
    form: FormData | None,
    found: dict[str, str] | None = None,
    status: int = 200,
    tested: connection_test.TestResult | None = None,
) -> Response:
    next_page = text(form, "next") if form is not None else request.query_params.get("next", "")
    return page(
        request,
        person,
        "connect.html",
        status,
        form=connection_form.show(destination, form, found),
        place=connection_form.place_fields(destination, form, found),
        tested=tested,
        next=local_path(next_page),
        key=(text(form, "key") if form is not None else "") or new_key(),
        rights=markdown.parts(destination.guide.rights),
        about=markdown.parts(destination.guide.about),
        icons=ICONS,
        missing=_missing(destination),
    )


def _after(person: Person, form: FormData, row_id: str) -> str:
    """Where saving leads: back to the page that asked for an account, or to the account."""
    back = local_path(text(form, "next"))
    if not back:
        return f"{person.url(f'accounts/{row_id}')}?new=1"
    return f"{back}{'&' if '?' in back else '?'}account={row_id}"


def _missing(destination: Destination) -> str:
    """How to install the destination's driver; empty when it is installed, or not needed."""
    driver = destination.driver
    return driver.install_hint if driver is not None and not driver.installed else ""
