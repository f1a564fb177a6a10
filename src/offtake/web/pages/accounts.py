"""Accounts: the list, and an account with what uses it, its credentials and its test."""

from dataclasses import dataclass, field
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.datastructures import FormData

from offtake.contract import problems
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS
from offtake.contract.json_patch import Operation
from offtake.contract.problems import Problem
from offtake.destinations import registry, schema
from offtake.destinations.base import Destination
from offtake.errors import FieldProblem
from offtake.flows import account_lists, connection_checks, connections, queries
from offtake.flows.account_lists import ORDERS, PAGE, AccountQuery, AccountView
from offtake.store.tables import Connection
from offtake.web import connection_form, connection_test, forms
from offtake.web.connection_test import TestResult
from offtake.web.form_body import Form, text
from offtake.web.pages.access import wrong_name
from offtake.web.pages.destinations import ICONS, find_destination
from offtake.web.person import Person, PersonOf
from offtake.web.places import place_of
from offtake.web.queries import ListUrl
from offtake.web.rendering import HEADERS, page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)

_SPECS: Final = {one.connection_spec_id: one.name for one in registry.DESTINATIONS}
_MASKED: Final = "stored, not shown"


@dataclass(frozen=True)
class _Shown:
    """What a page of an account shows in addition to the account."""

    problems: dict[str, str] = field(default_factory=dict)
    refused: str = ""
    is_stale: bool = False
    form: FormData | None = None
    tested: TestResult | None = None
    status: int = 200


@router.get("/ui/{sandbox}/accounts")
def list_accounts(request: Request, person: PersonOf) -> Response:
    """All accounts; search, filter and order are in the URL."""
    url = ListUrl(request)
    order = url.choice("sort", ORDERS) or "changed"
    descending = (url.choice("order", ("asc", "desc")) or ("asc" if order == "name" else "desc")) == "desc"
    query = AccountQuery(url.text("q"), url.choice("destination", list(_SPECS)), order, descending, url.number("from"))
    with person.backend.database.reading() as session:
        found, more = account_lists.list_accounts(session, person.caller, query)
    current = (order, descending)
    columns = [
        url.sorted_by("Account", "name", current, "wide"),
        {"label": "Destination"},
        {"label": "Server"},
        {"label": "Dataflows", "kind": "number"},
        url.sorted_by("Created", "created", current, first="desc"),
        url.sorted_by("Changed", "changed", current, first="desc"),
    ]
    return page(
        request,
        person,
        "accounts.html",
        accounts=found,
        query=query,
        columns=columns,
        destinations=_SPECS,
        methods={method.name: method.title for one in registry.DESTINATIONS for method in one.auth_methods},
        next_url=url.with_(**{"from": query.offset + PAGE}) if more else "",
        first_url=url.with_() if query.offset else "",
    )


@router.get("/ui/{sandbox}/accounts/{row_id}")
def account_page(request: Request, person: PersonOf, row_id: str) -> Response:
    """An account: its params without secrets, and what uses it."""
    return _account(request, person, row_id, _Shown())


@router.post("/ui/{sandbox}/accounts/{row_id}/test")
def test(request: Request, person: PersonOf, row_id: str, form: Form) -> Response:
    """Test the account where its target connections deliver to, or at the place that was sent."""
    backend, caller = person.backend, person.caller
    sandbox_location = backend.sandbox_location(caller)
    try:
        with backend.database.reading() as session:
            prepared = connection_checks.prepare(session, caller, backend.vault, row_id, sandbox_location)
            if any(name.startswith(connection_form.PLACE) for name in form):
                place = connection_form.place(prepared.destination, form)
                prepared = connection_checks.prepare_at(session, caller, backend.vault, row_id, place, sandbox_location)
    except Problem as problem:
        destination = _destination_of(person, row_id)
        found = connection_form.place_problems(destination, problem)
        return _account(request, person, row_id, _Shown(found, form=form, status=422))
    return _account(request, person, row_id, _Shown(form=form, tested=connection_test.run(backend, prepared)))


@router.post("/ui/{sandbox}/accounts/{row_id}/details")
def describe(request: Request, person: PersonOf, row_id: str, form: Form) -> Response:
    """Change the name and the description, unless the account was changed since the form was loaded."""
    operations = [Operation("replace", "/name", text(form, "name"))]
    description = text(form, "description")
    operations.append(Operation("add", "/description", description or None))
    shown = _update(person, row_id, form, operations, {"/name": "name", "/description": "description"})
    return shown if isinstance(shown, Response) else _account(request, person, row_id, shown)


@router.post("/ui/{sandbox}/accounts/{row_id}/encryption")
def encrypt(request: Request, person: PersonOf, row_id: str, form: Form) -> Response:
    """Set the PGP key of the account's files, or stop encrypting them."""
    key = connection_form.public_key(form)
    value = connection_form.encryption(key) if key else None
    places = {"/encryption": "public_key", "/encryption/params/publicKey": "public_key"}
    shown = _update(person, row_id, form, [Operation("add", "/encryption", value)], places)
    return shown if isinstance(shown, Response) else _account(request, person, row_id, shown)


@router.get("/ui/{sandbox}/accounts/{row_id}/credentials")
def credentials(request: Request, person: PersonOf, row_id: str) -> Response:
    """The form that replaces the credentials."""
    person.caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    return _credentials(request, person, row_id, _Shown())


@router.post("/ui/{sandbox}/accounts/{row_id}/check")
def check(person: PersonOf, row_id: str, form: Form) -> Response:
    """The problems of new credentials, by field, as JSON; nothing is written."""
    person.caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    with person.backend.database.reading() as session:
        row = _with_credentials(queries.connection(session, person.caller, row_id))
        destination = find_destination(row.connection_spec_id)
        found = connection_form.stored_problems(destination, row, form, person.backend.network)
    return JSONResponse(found, headers={"Cache-Control": HEADERS["Cache-Control"]})


@router.post("/ui/{sandbox}/accounts/{row_id}/credentials")
def rotate(request: Request, person: PersonOf, row_id: str, form: Form) -> Response:
    """Replace the credentials; later and waiting runs use the new ones."""
    with person.backend.database.reading() as session:
        row = _with_credentials(queries.connection(session, person.caller, row_id))
        destination = find_destination(row.connection_spec_id)
        params = connection_form.stored_params(destination, row, form)
    shown = _update(
        person, row_id, form, [Operation("replace", "/auth/params", params)], {"/auth/params/": connection_form.STORED}
    )
    if isinstance(shown, Response):
        return RedirectResponse(f"{person.url(f'accounts/{row_id}')}?rotated=1", 303)
    return _credentials(request, person, row_id, shown)


@router.post("/ui/{sandbox}/accounts/{row_id}/delete")
def delete(request: Request, person: PersonOf, row_id: str, form: Form) -> Response:
    """Delete the account, after its name was typed; refused while it is used."""
    with person.backend.database.reading() as session:
        name = queries.connection(session, person.caller, row_id).name
    wrong = wrong_name(form, name)
    if wrong:
        return _account(request, person, row_id, _Shown(refused=wrong, status=422))
    try:
        with person.backend.database.writing() as session:
            connections.delete(session, person.caller, row_id, person.now_ms)
    except Problem as problem:
        if problem.code not in (problems.BASE_IN_USE, problems.IN_USE):
            raise
        return _account(request, person, row_id, _Shown(refused=str(problem), status=422))
    return RedirectResponse(person.url("accounts"), 303)


def _update(
    person: Person, row_id: str, form: FormData, operations: list[Operation], places: dict[str, str]
) -> _Shown | Response:
    """Patch the account: the answer that leads to it, or what to show instead."""
    backend = person.backend
    version = text(form, "version") or "none"
    try:
        with backend.database.writing() as session:
            connections.update(
                session, person.caller, backend.vault, backend.network, row_id, operations, version, person.now_ms
            )
    except Problem as problem:
        if problem.code == problems.OTHER_VERSION:
            return _Shown(is_stale=True, form=form, status=problems.OTHER_VERSION.status)
        if not problem.fields:
            raise
        return _Shown(_by_name(problem.fields, places), form=form, status=422)
    return RedirectResponse(person.url(f"accounts/{row_id}"), 303)


def _by_name(found: list[FieldProblem], places: dict[str, str]) -> dict[str, str]:
    return forms.problems_by_name(found, places)


def _account(request: Request, person: Person, row_id: str, shown: _Shown) -> Response:
    url = ListUrl(request)
    with person.backend.database.reading() as session:
        view = account_lists.find_account(session, person.caller, row_id)
        session.expunge(view.row)
    destination = registry.by_connection_spec_id(view.row.connection_spec_id)
    may_change = person.may(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    form = shown.form
    return page(
        request,
        person,
        "account.html",
        shown.status,
        view=view,
        destination=destination,
        image=ICONS.get(destination.name, "send") if destination is not None else "send",
        method=connection_form.method_of(destination, view.row) if destination and view.row.auth_spec_name else None,
        pairs=_pairs(destination, view),
        places=[(one, place_of(view.row.connection_spec_id, one.params)) for one in view.targets],
        may_change=may_change and destination is not None,
        place=connection_form.place_fields(destination, form, shown.problems)
        if destination is not None and not view.targets and destination.auth_methods
        else (),
        shown=shown,
        name=text(form, "name") if form is not None and "name" in form else view.row.name,
        description=text(form, "description") if form is not None and "name" in form else view.row.description or "",
        is_new=url.text("new") == "1",
        is_rotated=url.text("rotated") == "1",
    )


def _credentials(request: Request, person: Person, row_id: str, shown: _Shown) -> Response:
    with person.backend.database.reading() as session:
        view = account_lists.find_account(session, person.caller, row_id)
        row = _with_credentials(view.row)
        session.expunge(row)
    destination = find_destination(row.connection_spec_id)
    fields = connection_form.stored_fields(destination, row, shown.form, shown.problems)
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
        pairs=_pairs(destination, view),
        summary=forms.summary(shown.problems, forms.labels_of(*fields)),
        shown=shown,
    )


def _with_credentials(row: Connection) -> Connection:
    if row.auth_spec_name is None:
        raise problems.of_field("/auth/params", f"account {row.name[:200]} has no credentials", missing=True)
    return row


def _destination_of(person: Person, row_id: str) -> Destination:
    with person.backend.database.reading() as session:
        return find_destination(queries.connection(session, person.caller, row_id).connection_spec_id)


def _pairs(destination: Destination | None, view: AccountView) -> list[tuple[str, str]]:
    """The labels and values of the stored params, with secrets masked."""
    public = view.row.auth_public or {}
    if destination is None or view.row.auth_spec_name is None:
        return []
    fields = connection_form.stored_fields(destination, view.row)
    return [
        (one.label, _MASKED if public[one.key] == schema.MASK else str(public[one.key]))
        for one in fields
        if public.get(one.key) is not None
    ]
