"""Alerts: what was sent, and one message with its events and the receiver's answer."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from offtake.alerts import messages, rules, stored_channels, topics
from offtake.contract import problems
from offtake.contract.caller import MANAGE_DESTINATIONS
from offtake.contract.problems import Problem
from offtake.web import alert_words
from offtake.web.form_body import Form
from offtake.web.person import PersonOf
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)

_PAGE: Final = 50
_STATES: Final = {messages.WAITING: "Waiting", messages.SENT: "Sent", messages.DEAD: "Dead"}


@router.get("/ui/{sandbox}/alerts")
def list_messages(request: Request, person: PersonOf) -> Response:
    """The messages of 30 days, newest first; the filters are in the URL."""
    url = ListUrl(request)
    state, rule_id, older = url.choice("state", messages.STATES), url.text("rule"), url.text("older")
    with person.backend.database.reading() as session:
        found = messages.search(
            session, person.caller, _PAGE + 1, state=state, rule_id=rule_id or None, before=older or None
        )
        every = rules.views(session, person.caller)
        has_channels = bool(stored_channels.views(session, person.caller))
        counts = messages.count(session, person.caller)
    return page(
        request,
        person,
        "alerts.html",
        lines=found[:_PAGE],
        counts=counts,
        state=state or "",
        rule_id=rule_id,
        states=_STATES.items(),
        rules=[(one.id, one.name) for one in every],
        has_channels=has_channels,
        pages=(url.with_(older="") if older else "", url.with_(older=found[_PAGE - 1].id) if found[_PAGE:] else ""),
        may_change=person.may(MANAGE_DESTINATIONS),
    )


@router.get("/ui/{sandbox}/alerts/messages/{message_id}")
def message_page(request: Request, person: PersonOf, message_id: str) -> Response:
    """A message: its state, what the receiver answered, and its events."""
    with person.backend.database.reading() as session:
        view = messages.get(session, person.caller, message_id)
        rule_exists = any(one.id == view.rule_id for one in rules.views(session, person.caller))
    return page(
        request,
        person,
        "alert-message.html",
        view=view,
        rule_exists=rule_exists,
        kinds={kind: alert_words.label(topic) for kind, topic in topics.TOPIC_OF.items()},
        is_tried=ListUrl(request).text("tried") == "1",
        may_change=person.may(MANAGE_DESTINATIONS),
    )


@router.post("/ui/{sandbox}/alerts/messages/{message_id}/retry")
def retry(person: PersonOf, message_id: str, form: Form) -> Response:
    """Send a dead message again, or a waiting one now; one that was sent meanwhile is shown as it is."""
    del form
    url = person.url(f"alerts/messages/{message_id}")
    try:
        with person.backend.database.writing() as session:
            messages.retry(session, person.caller, message_id, person.now_ms)
    except Problem as problem:
        if problem.code != problems.CONFLICT:
            raise
        return RedirectResponse(url, 303)
    person.backend.database.wakeup.notify()
    return RedirectResponse(f"{url}?tried=1", 303)
