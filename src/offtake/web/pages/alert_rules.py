"""Alert rules: the list, adding one, and a rule with its form and its removal."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from offtake.alerts import rules, stored_channels
from offtake.contract import entities, problems
from offtake.contract.caller import MANAGE_DESTINATIONS
from offtake.contract.problems import Problem
from offtake.flows import flow_lists
from offtake.store.database import StoreConflictError
from offtake.web import alert_rule_form, alert_words, submissions
from offtake.web.alert_rule_form import RuleForm
from offtake.web.form_body import Form, require, text
from offtake.web.person import Person, PersonOf
from offtake.web.queries import ListUrl
from offtake.web.rendering import page
from offtake.web.routes import PageRoute

router = APIRouter(route_class=PageRoute)

_PAGE: Final = 50
_MOST_FLOWS: Final = 200


@router.get("/ui/{sandbox}/alerts/rules")
def list_rules(request: Request, person: PersonOf) -> Response:
    """All rules by name, or those that report a dataflow; search and dataflow are in the URL."""
    url = ListUrl(request)
    search, flow_id, start = url.text("q"), url.text("flow"), url.number("from")
    with person.backend.database.reading() as session:
        if flow_id:
            flow = flow_lists.names(session, person.caller, 0, flow_id).get(flow_id)
            every = rules.concerning(session, person.caller, flow_id) if flow is not None else []
        else:
            flow, every = None, rules.views(session, person.caller)
        has_channels = bool(stored_channels.views(session, person.caller))
    matching = [one for one in every if search.casefold() in one.name.casefold()][start:]
    return page(
        request,
        person,
        "alert-rules.html",
        lines=[(one, alert_words.topics_in_words(one.topics)) for one in matching[:_PAGE]],
        search=search,
        flow_id=flow_id,
        flow=flow,
        has_channels=has_channels,
        pages=url.pages(matching, _PAGE),
        is_added=url.text("added") == "1",
        is_removed=url.text("removed") == "1",
        may_change=person.may(MANAGE_DESTINATIONS),
    )


@router.get("/ui/{sandbox}/alerts/rules/new")
def new(request: Request, person: PersonOf) -> Response:
    """The form of a new rule; `flow` and `channel` in the URL are chosen already."""
    person.caller.require(MANAGE_DESTINATIONS)
    url = ListUrl(request)
    channel = url.text("channel")
    chosen = RuleForm(flow_id=url.text("flow"), channel_ids=[channel] if channel else [])
    return _new(request, person, chosen, submissions.new_key())


@router.post("/ui/{sandbox}/alerts/rules/new")
def create(request: Request, person: PersonOf, form: Form) -> Response:
    """Add the rule; it applies to events from now on."""
    person.caller.require(MANAGE_DESTINATIONS)
    row_id = submissions.id_of(request, form)
    try:
        with person.backend.database.writing() as session:
            if not rules.exists(session, person.caller, row_id):
                rules.create(session, person.caller, alert_rule_form.body(form), person.now_ms, row_id)
    except (StoreConflictError, Problem) as error:
        if not _is_stored(person, row_id):
            if not isinstance(error, Problem):
                raise
            return _new(request, person, alert_rule_form.of_sent(form, error), text(form, "key"), 422)
    return RedirectResponse(person.url("alerts/rules") + "?added=1", 303)


@router.get("/ui/{sandbox}/alerts/rules/{rule_id}")
def rule_page(request: Request, person: PersonOf, rule_id: str) -> Response:
    """The rule; for people who may change it, as a form."""
    return _show(request, person, rule_id)


@router.post("/ui/{sandbox}/alerts/rules/{rule_id}")
def save(request: Request, person: PersonOf, rule_id: str, form: Form) -> Response:
    """Change the rule, unless it was changed since the form was loaded."""
    person.caller.require(MANAGE_DESTINATIONS)
    require(form, "name", "version", "flowId", "groupSeconds", "repeatSeconds")
    try:
        with person.backend.database.writing() as session:
            row = rules.get(session, person.caller, rule_id, lock=True)
            entities.check_version(row, text(form, "version") or "none")
            rules.merge(session, person.caller, row, alert_rule_form.body(form), person.now_ms)
    except Problem as problem:
        return _show(request, person, rule_id, form, problem)
    return RedirectResponse(person.url(f"alerts/rules/{rule_id}") + "?saved=1", 303)


@router.post("/ui/{sandbox}/alerts/rules/{rule_id}/remove")
def remove(person: PersonOf, rule_id: str, form: Form) -> Response:
    """Delete the rule, with the messages that wait for it."""
    del form
    with person.backend.database.writing() as session:
        row = rules.get(session, person.caller, rule_id, lock=True)
        rules.remove(session, person.caller, row, person.now_ms)
    return RedirectResponse(person.url("alerts/rules") + "?removed=1", 303)


def _is_stored(person: Person, row_id: str) -> bool:
    """Whether another request with the same form, sent at the same time, has stored the rule."""
    with person.backend.database.reading() as session:
        return rules.exists(session, person.caller, row_id)


def _new(request: Request, person: Person, form: RuleForm, key: str, status: int = 200) -> Response:
    return page(request, person, "alert-rule-new.html", status, form=form, key=key, **_choices(person, form))


def _choices(person: Person, form: RuleForm) -> dict[str, object]:
    """The dataflows, channels and topics to choose from."""
    with person.backend.database.reading() as session:
        flows = flow_lists.names(session, person.caller, _MOST_FLOWS + 1, form.flow_id or None)
        channels = stored_channels.views(session, person.caller)
    return {
        "flows": [(row_id, name) for row_id, name in flows.items()],
        "more_flows": len(flows) > _MOST_FLOWS,
        "channels": channels,
        "topics": alert_words.topic_choices(),
    }


def _show(
    request: Request, person: Person, rule_id: str, sent: FormData | None = None, problem: Problem | None = None
) -> Response:
    with person.backend.database.reading() as session:
        row = rules.get(session, person.caller, rule_id)
        stored = alert_rule_form.of_stored(rules.render(row))
    is_stale = problem is not None and problem.code == problems.OTHER_VERSION
    form = stored if sent is None else alert_rule_form.of_sent(sent, None if is_stale else problem)
    choices = _choices(person, stored if sent is None else form)
    return page(
        request,
        person,
        "alert-rule.html",
        409 if is_stale else 422 if problem is not None else 200,
        row=row,
        form=form,
        pairs=_pairs(person, stored),
        is_stale=is_stale,
        is_saved=ListUrl(request).text("saved") == "1",
        may_change=person.may(MANAGE_DESTINATIONS),
        **choices,
    )


def _pairs(person: Person, stored: RuleForm) -> list[tuple[str, str]]:
    """The stored rule as labels and values."""
    with person.backend.database.reading() as session:
        flow = flow_lists.names(session, person.caller, 0, stored.flow_id or None).get(stored.flow_id)
        named = {one.id: one.name for one in stored_channels.views(session, person.caller)}
    is_single = stored.grouping == alert_rule_form.SINGLE
    return [
        ("Name", stored.name),
        ("About", flow or "The whole sandbox"),
        ("Topics", alert_words.topics_in_words(stored.topics)),
        ("Channels", ", ".join(named.get(one, one) for one in stored.channel_ids)),
        ("State", "Enabled" if stored.is_enabled else "Disabled"),
        ("Messages", "Each event is a message" if is_single else "Events with the same cause are one message"),
        *(
            ()
            if is_single
            else (
                ("First message after", f"{stored.group_seconds} s"),
                ("Next message after", f"{stored.repeat_seconds} s"),
            )
        ),
    ]
