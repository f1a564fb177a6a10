"""Accounts: the list, and an account with what uses it and its test."""

from dataclasses import dataclass, field
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from offtake.contract import problems
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DATASETS
from offtake.contract.json_patch import Operation
from offtake.contract.problems import Problem
from offtake.destinations import registry, schema
from offtake.destinations.base import Destination
from offtake.flows import account_lists, connection_checks, connection_removal, connections, queries
from offtake.flows.account_lists import ORDERS, PAGE, AccountQuery, AccountView
from offtake.web import connection_form, connection_test, forms
from offtake.web.connection_test import TestResult
from offtake.web.form_body import Form, require, text
from offtake.web.forms import Field
from offtake.web.pages.destinations import ICONS, find_destination
from offtake.web.person import Person, PersonOf
from offtake.web.places import place_of
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute
from offtake.web.typed_names import wrong_name

router = APIRouter(route_class=PageRoute)

_SPECS: Final = {one.connection_spec_id: one.name for one in registry.DESTINATIONS}
_MASKED: Final = "stored, not shown"
_IN_USE: Final = "Dataflows still deliver through this account. Delete them, or move them to another account."
_STILL_NEEDED: Final = (
    "A place is still needed: a run there has not ended, or files of failed runs are still to be removed there. "
    "Try again when that is done."
)


@dataclass(frozen=True)
class Shown:
    """What a page of an account shows in addition to the account."""

    problems: dict[str, str] = field(default_factory=dict)
    refused: str = ""
    wrong_name: str = ""
    typed: str = ""
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
        url.sorted_by("Created", "created", current, "time", first="desc"),
        url.sorted_by("Changed", "changed", current, "time", first="desc"),
    ]
    return page(
        request,
        person,
        "accounts.html",
        accounts=found,
        is_deleted=url.text("deleted") == "1",
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
    return _account(request, person, row_id, Shown())


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
        destination = destination_of(person, row_id)
        found = connection_form.place_problems(destination, problem)
        return _account(request, person, row_id, Shown(found, form=form, status=422))
    return _account(request, person, row_id, Shown(form=form, tested=connection_test.run(backend, prepared)))


@router.post("/ui/{sandbox}/accounts/{row_id}/details")
def describe(request: Request, person: PersonOf, row_id: str, form: Form) -> Response:
    """Change the name and the description, unless the account was changed since the form was loaded."""
    person.caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    require(form, "name", "description")
    operations = [Operation("replace", "/name", text(form, "name"))]
    description = text(form, "description")
    operations.append(Operation("add", "/description", description or None))
    shown = update(person, row_id, form, operations, {"/name": "name", "/description": "description"})
    return shown if isinstance(shown, Response) else _account(request, person, row_id, shown)


@router.post("/ui/{sandbox}/accounts/{row_id}/encryption")
def encrypt(request: Request, person: PersonOf, row_id: str, form: Form) -> Response:
    """Set the PGP key of the account's files, or stop encrypting them."""
    person.caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    require(form, "public_key")
    key = connection_form.public_key(form)
    value = connection_form.encryption(key) if key else None
    places = {"/encryption": "public_key", "/encryption/params/publicKey": "public_key"}
    shown = update(person, row_id, form, [Operation("add", "/encryption", value)], places)
    return shown if isinstance(shown, Response) else _account(request, person, row_id, shown)


@router.post("/ui/{sandbox}/accounts/{row_id}/places/remove")
def remove_places(request: Request, person: PersonOf, row_id: str, form: Form) -> Response:
    """Delete the places that no dataflow delivers to any more."""
    del form
    with person.backend.database.writing() as session:
        left = connection_removal.remove_unused_places(session, person.caller, row_id, person.now_ms)
    if left:
        return _account(request, person, row_id, Shown(refused=_STILL_NEEDED, status=409))
    return RedirectResponse(f"{person.url(f'accounts/{row_id}')}#places", 303)


@router.post("/ui/{sandbox}/accounts/{row_id}/delete")
def delete(request: Request, person: PersonOf, row_id: str, form: Form) -> Response:
    """Delete the account and its unused places, after its name was typed; refused while it is used."""
    with person.backend.database.reading() as session:
        name = queries.connection(session, person.caller, row_id).name
    wrong = wrong_name(form, name, row_id)
    if wrong:
        return _account(request, person, row_id, Shown(wrong_name=wrong, typed=text(form, "typed"), status=422))
    try:
        with person.backend.database.writing() as session:
            connection_removal.delete_account(session, person.caller, row_id, person.now_ms)
    except Problem as problem:
        if problem.code not in (problems.BASE_IN_USE, problems.IN_USE):
            raise
        refused = _IN_USE if problem.code == problems.BASE_IN_USE else _STILL_NEEDED
        return _account(request, person, row_id, Shown(refused=refused, status=422))
    return RedirectResponse(person.url("accounts") + "?deleted=1", 303)


def update(
    person: Person, row_id: str, form: FormData, operations: list[Operation], places: dict[str, str]
) -> Shown | Response:
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
            return Shown(is_stale=True, form=form, status=problems.OTHER_VERSION.status)
        if not problem.fields:
            raise
        return Shown(forms.problems_by_name(problem.fields, places), form=form, status=422)
    return RedirectResponse(person.url(f"accounts/{row_id}"), 303)


def _account(request: Request, person: Person, row_id: str, shown: Shown) -> Response:
    url = ListUrl(request)
    with person.backend.database.reading() as session:
        view = account_lists.find_account(session, person.caller, row_id, person.now_ms)
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
        pairs=pairs(destination, view),
        places=[(one, place_of(view.row.connection_spec_id, one.params)) for one in view.places],
        may_change=may_change and destination is not None,
        place=place_fields(destination, view, shown),
        may_get_credentials=destination is not None and not destination.auth_methods and person.may(VIEW_DATASETS),
        shown=shown,
        name=text(form, "name") if form is not None and "name" in form else view.row.name,
        description=text(form, "description") if form is not None and "name" in form else view.row.description or "",
        sent_key=text(form, "public_key") if form is not None else "",
        is_new=url.text("new") == "1",
        is_rotated=url.text("rotated") == "1",
    )


def place_fields(destination: Destination | None, view: AccountView, shown: Shown) -> tuple[Field, ...]:
    """The fields of a place to test, if the account has none yet and needs one."""
    if destination is None or view.places or not destination.auth_methods:
        return ()
    return connection_form.place_fields(destination, shown.form, shown.problems)


def destination_of(person: Person, row_id: str) -> Destination:
    """The destination of an account; raises 1439."""
    with person.backend.database.reading() as session:
        return find_destination(queries.connection(session, person.caller, row_id).connection_spec_id)


def pairs(destination: Destination | None, view: AccountView) -> list[tuple[str, str]]:
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
