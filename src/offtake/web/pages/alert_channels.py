"""Alert channels: the list, adding one, a channel with its test, its change and its removal."""

from dataclasses import dataclass, field
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from offtake.alerts import stored_channels
from offtake.alerts.channels.base import ChannelKind, SendContext
from offtake.alerts.channels.registry import KINDS
from offtake.alerts.stored_channels import Created, TestResult
from offtake.contract import entities, problems
from offtake.contract.caller import MANAGE_DESTINATIONS
from offtake.contract.problems import Problem
from offtake.deployment.mail_settings import mail_of
from offtake.documents import Json
from offtake.store.database import StoreConflictError
from offtake.web import alert_form, submissions
from offtake.web.form_body import Form, require, text
from offtake.web.person import Person, PersonOf
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute
from offtake.web.typed_names import name_to_type, wrong_name

router = APIRouter(route_class=PageRoute)

_PAGE: Final = 50
_ICONS: Final = {"webhook": "webhook", "email": "mail"}
_ICON: Final = "message-square"


@dataclass(frozen=True)
class _Shown:
    """What a channel's page shows besides the channel, and its status."""

    tested: TestResult | None = None
    refused: str = ""
    wrong_typed: str = ""
    sent_typed: str = ""
    status: int = field(default=200)


@router.get("/ui/{sandbox}/alerts/channels")
def list_channels(request: Request, person: PersonOf) -> Response:
    """All channels by name; the search is in the URL."""
    url = ListUrl(request)
    search, start = url.text("q"), url.number("from")
    with person.backend.database.reading() as session:
        found = stored_channels.views(session, person.caller, search)[start : start + _PAGE + 1]
    return page(
        request,
        person,
        "alert-channels.html",
        lines=[(one, alert_form.place_of(one.settings), icon_of(one.kind)) for one in found[:_PAGE]],
        search=search,
        pages=url.pages(found, _PAGE),
        is_removed=url.text("removed") == "1",
        may_change=person.may(MANAGE_DESTINATIONS),
    )


@router.get("/ui/{sandbox}/alerts/channels/new")
def new(request: Request, person: PersonOf) -> Response:
    """The choice of a kind; with `kind` in the URL, its form."""
    person.caller.require(MANAGE_DESTINATIONS)
    kind = KINDS.get(ListUrl(request).text("kind"))
    if kind is None:
        kinds = [(one, icon_of(one.name)) for one in KINDS.values()]
        return page(request, person, "alert-channel-kinds.html", kinds=kinds)
    return _new(request, person, kind)


@router.post("/ui/{sandbox}/alerts/channels/new")
def create(request: Request, person: PersonOf, form: Form) -> Response:
    """Add the channel. Secrets that were generated are shown in the answer, also if the form is sent twice."""
    person.caller.require(MANAGE_DESTINATIONS)
    kind = KINDS.get(text(form, "kind"))
    if kind is None:
        raise problems.of_field("/kind", f"is not a kind of channel; allowed: {', '.join(KINDS)}")
    try:
        created = _create(person, submissions.id_of(request, form), alert_form.body(kind, form))
    except Problem as problem:
        return _new(request, person, kind, form, problem)
    url = person.url(f"alerts/channels/{created.row.id}")
    if not created.generated:
        return RedirectResponse(f"{url}?added=1", 303)
    labels = {info.alias or name: info.title for name, info in kind.model.model_fields.items()}
    secrets = [(labels[key], value) for key, value in created.generated.items()]
    return page(request, person, "alert-channel-secret.html", row=created.row, secrets=secrets)


@router.get("/ui/{sandbox}/alerts/channels/{channel_id}")
def channel_page(request: Request, person: PersonOf, channel_id: str) -> Response:
    """The channel without its secrets."""
    return _show(request, person, channel_id, _Shown())


@router.post("/ui/{sandbox}/alerts/channels/{channel_id}/test")
def test(request: Request, person: PersonOf, channel_id: str, form: Form) -> Response:
    """Send a test message now, and show what the receiver answers."""
    del form
    backend, caller = person.backend, person.caller
    caller.require(MANAGE_DESTINATIONS)
    with backend.database.reading() as session:
        row = stored_channels.get(session, caller, channel_id)
        settings = stored_channels.settings_of(row, backend.vault)
    context = SendContext(backend.network, mail_of(backend.settings), backend.clock.now_seconds())
    try:
        tested = stored_channels.run_test(caller, KINDS[row.kind], settings, context)
    except Problem as problem:
        if problem.code != problems.BUSY:
            raise
        tested = TestResult(False, str(problem))
        return _show(request, person, channel_id, _Shown(tested, status=problem.code.status))
    return _show(request, person, channel_id, _Shown(tested))


@router.get("/ui/{sandbox}/alerts/channels/{channel_id}/change")
def change_form(request: Request, person: PersonOf, channel_id: str) -> Response:
    """The form with what is stored."""
    person.caller.require(MANAGE_DESTINATIONS)
    return _change(request, person, channel_id)


@router.post("/ui/{sandbox}/alerts/channels/{channel_id}/change")
def change(request: Request, person: PersonOf, channel_id: str, form: Form) -> Response:
    """Change the channel, unless it was changed since the form was loaded; messages that wait use it at once."""
    backend, caller = person.backend, person.caller
    caller.require(MANAGE_DESTINATIONS)
    require(form, "name", "version")
    try:
        with backend.database.writing() as session:
            row = stored_channels.get(session, caller, channel_id, lock=True)
            entities.check_version(row, text(form, "version") or "none")
            sent = alert_form.change(KINDS[row.kind], form)
            stored_channels.merge(session, caller, backend.vault, backend.network, row, sent, person.now_ms)
    except Problem as problem:
        return _change(request, person, channel_id, form, problem)
    backend.database.wakeup.notify()
    return RedirectResponse(person.url(f"alerts/channels/{channel_id}") + "?changed=1", 303)


@router.post("/ui/{sandbox}/alerts/channels/{channel_id}/remove")
def remove(request: Request, person: PersonOf, channel_id: str, form: Form) -> Response:
    """Delete the channel with its messages, after its name was typed; refused while rules use it."""
    person.caller.require(MANAGE_DESTINATIONS)
    with person.backend.database.reading() as session:
        row = stored_channels.get(session, person.caller, channel_id)
    wrong = wrong_name(form, row.name, row.id)
    if wrong:
        shown = _Shown(wrong_typed=wrong, sent_typed=text(form, "typed"), status=422)
        return _show(request, person, channel_id, shown)
    try:
        with person.backend.database.writing() as session:
            row = stored_channels.get(session, person.caller, channel_id, lock=True)
            stored_channels.remove(session, person.caller, row, person.now_ms)
    except Problem as problem:
        if problem.code != problems.CONFLICT:
            raise
        return _show(request, person, channel_id, _Shown(refused=str(problem), status=409))
    return RedirectResponse(person.url("alerts/channels") + "?removed=1", 303)


def icon_of(kind: str) -> str:
    """The icon of a kind of channel."""
    return _ICONS.get(kind, _ICON)


def _create(person: Person, row_id: str, sent: Json) -> Created:
    """The channel of the form. Two requests with the same form lead to one channel, also at the same time."""
    backend, caller, now = person.backend, person.caller, person.now_ms
    try:
        with backend.database.writing() as session:
            again = stored_channels.find_created(session, caller, backend.vault, row_id, sent, now)
            if again is not None:
                return again
            return stored_channels.create(session, caller, backend.vault, backend.network, sent, now, row_id)
    except (StoreConflictError, Problem):
        # PostgreSQL: the other request has stored the channel since.
        with backend.database.reading() as session:
            again = stored_channels.find_created(session, caller, backend.vault, row_id, sent, now)
        if again is None:
            raise
        return again


def _new(
    request: Request, person: Person, kind: ChannelKind, form: FormData | None = None, problem: Problem | None = None
) -> Response:
    return page(
        request,
        person,
        "alert-channel-new.html",
        200 if problem is None else 422,
        form=alert_form.show(kind, form, problem=problem),
        key=text(form, "key") if form is not None else submissions.new_key(),
        has_mail=mail_of(person.backend.settings) is not None,
    )


def _show(request: Request, person: Person, channel_id: str, shown: _Shown) -> Response:
    url = ListUrl(request)
    with person.backend.database.reading() as session:
        row = stored_channels.get(session, person.caller, channel_id)
        rules = stored_channels.rules_using(session, person.caller, row.id)
    kind = KINDS[row.kind]
    return page(
        request,
        person,
        "alert-channel.html",
        shown.status,
        row=row,
        kind=kind,
        pairs=alert_form.pairs(kind, row.settings),
        rules=rules,
        shown=shown,
        typed=name_to_type(row.name, row.id),
        is_added=url.text("added") == "1",
        is_changed=url.text("changed") == "1",
        may_change=person.may(MANAGE_DESTINATIONS),
    )


def _change(
    request: Request, person: Person, channel_id: str, form: FormData | None = None, problem: Problem | None = None
) -> Response:
    with person.backend.database.reading() as session:
        row = stored_channels.get(session, person.caller, channel_id)
        stored = stored_channels.render(row)
    kind = KINDS[row.kind]
    is_stale = problem is not None and problem.code == problems.OTHER_VERSION
    return page(
        request,
        person,
        "alert-channel-change.html",
        409 if is_stale else 422 if problem is not None else 200,
        row=row,
        form=alert_form.show(kind, form, stored, None if is_stale else problem),
        pairs=alert_form.pairs(kind, row.settings),
        is_stale=is_stale,
    )
