"""Replacing an account's credentials: the form, its check, and a test before they are stored."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.datastructures import FormData

from offtake.contract import problems
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS
from offtake.contract.json_patch import Operation
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.flows import account_lists, connection_checks, connections, queries
from offtake.flows.connection_checks import ConnectionCheck
from offtake.store.tables import Connection
from offtake.web import connection_form, connection_test, forms
from offtake.web.form_body import Form, text
from offtake.web.pages.accounts import Shown, destination_of, pairs, place_fields, update
from offtake.web.pages.destinations import find_destination
from offtake.web.person import Person, PersonOf
from offtake.web.rendering import HEADERS, page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)


@router.get("/ui/{sandbox}/accounts/{row_id}/credentials")
def credentials(request: Request, person: PersonOf, row_id: str) -> Response:
    """The form that replaces the credentials."""
    person.caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    return _credentials(request, person, row_id, Shown())


@router.post("/ui/{sandbox}/accounts/{row_id}/check")
def check(person: PersonOf, row_id: str, form: Form) -> Response:
    """The problems of new credentials, by field, as JSON; nothing is written."""
    person.caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    found = _problems(person, row_id, form)
    return JSONResponse(found, headers={"Cache-Control": HEADERS["Cache-Control"]})


@router.post("/ui/{sandbox}/accounts/{row_id}/credentials")
def replace(request: Request, person: PersonOf, row_id: str, form: Form) -> Response:
    """Replace the credentials, or only test the new ones; later and waiting runs use the new ones."""
    person.caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    if text(form, "do") == "test":
        return _credentials(request, person, row_id, _try(person, row_id, form))
    found = _problems(person, row_id, form)
    if found:
        return _credentials(request, person, row_id, Shown(found, form=form, status=422))
    shown = update(person, row_id, form, _operations(person, row_id, form), {"/auth/params/": connection_form.STORED})
    if isinstance(shown, Response):
        return RedirectResponse(f"{person.url(f'accounts/{row_id}')}?rotated=1", 303)
    return _credentials(request, person, row_id, shown)


def _operations(person: Person, row_id: str, form: FormData) -> list[Operation]:
    with person.backend.database.reading() as session:
        row = with_credentials(queries.connection(session, person.caller, row_id))
        params: Json = connection_form.stored_params(find_destination(row.connection_spec_id), row, form)
    return [Operation("replace", "/auth/params", params)]


def _problems(person: Person, row_id: str, form: FormData) -> dict[str, str]:
    """All problems of new credentials, also those that only storing them finds; nothing is stored."""
    backend = person.backend
    with backend.database.reading() as session:
        row = with_credentials(queries.connection(session, person.caller, row_id))
        destination = find_destination(row.connection_spec_id)
        found = connection_form.stored_problems(destination, row, form, backend.network)
        session.expunge(row)
    if found:
        return found
    try:
        _rehearse(person, row_id, form)
    except Problem as problem:
        if not problem.fields:
            raise
        return connection_form.translate_stored(destination, row, problem.fields, problem)
    return {}


def _rehearse(person: Person, row_id: str, form: FormData, *, with_test: bool = False) -> ConnectionCheck | None:
    """Replace the credentials in a transaction that is rolled back; with a test, return it, ready to run."""
    backend, caller = person.backend, person.caller
    operations, sandbox_location = _operations(person, row_id, form), backend.sandbox_location(caller)
    with backend.database.dry_run() as session:
        version = queries.connection(session, caller, row_id).version
        connections.update(session, caller, backend.vault, backend.network, row_id, operations, version, person.now_ms)
        if not with_test:
            return None
        session.flush()
        prepared = connection_checks.prepare(session, caller, backend.vault, row_id, sandbox_location)
        if not any(name.startswith(connection_form.PLACE) for name in form):
            return prepared
        place = connection_form.place(prepared.destination, form)
        return connection_checks.prepare_at(session, caller, backend.vault, row_id, place, sandbox_location)


def _try(person: Person, row_id: str, form: FormData) -> Shown:
    """The result of a test with new credentials that are not stored, or their problems."""
    found = _problems(person, row_id, form)
    if found:
        return Shown(found, form=form, status=422)
    try:
        prepared = _rehearse(person, row_id, form, with_test=True)
    except Problem as problem:
        destination = destination_of(person, row_id)
        return Shown(connection_form.place_problems(destination, problem), form=form, status=422)
    assert prepared is not None  # noqa: S101 - with_test
    return Shown(form=form, tested=connection_test.run(person.backend, prepared))


def _credentials(request: Request, person: Person, row_id: str, shown: Shown) -> Response:
    with person.backend.database.reading() as session:
        view = account_lists.find_account(session, person.caller, row_id, person.now_ms)
        row = with_credentials(view.row)
        session.expunge(row)
    destination = find_destination(row.connection_spec_id)
    fields = connection_form.stored_fields(destination, row, shown.form, shown.problems)
    place = place_fields(destination, view, shown)
    return page(
        request,
        person,
        "account-credentials.html",
        shown.status,
        view=view,
        destination=destination,
        method=connection_form.method_of(destination, row),
        has_pins=bool(connection_form.method_of(destination, row).model.pinned),
        fields=fields,
        pairs=pairs(destination, view),
        place=place,
        summary=forms.summary(shown.problems, forms.labels_of(*fields, *place)),
        shown=shown,
    )


def with_credentials(row: Connection) -> Connection:
    """The account; raises 1455 if it needs no credentials."""
    if row.auth_spec_name is None:
        raise problems.of_field("/auth/params", f"account {row.name[:200]} has no credentials", missing=True)
    return row
