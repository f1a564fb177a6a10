"""Channels, rules and messages of alerts: an extension of Flow Service."""

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from pydantic import Field, TypeAdapter

from offtake.alerts import messages, rules, stored_channels, topics
from offtake.alerts.channels.base import SendContext
from offtake.alerts.channels.registry import KINDS
from offtake.alerts.messages import MessageView
from offtake.api import lists, responses
from offtake.api.dependencies import BackendOf, CallerOf, JsonBody
from offtake.api.error_types import FLOW_SERVICE
from offtake.api.lists import ListOf, Token
from offtake.api.openapi import alert_examples as examples
from offtake.api.openapi import lake_examples
from offtake.api.openapi.operations import document_operation
from offtake.api.responses import IfMatch, Op
from offtake.contract import bodies, entities, listing, opaque_tokens, problems
from offtake.contract.caller import MANAGE_DESTINATIONS, VIEW_DESTINATIONS
from offtake.contract.problems import Problem
from offtake.deployment.mail_settings import mail_of
from offtake.documents import Json

_DEFAULT_LIMIT: Final = 20

router = APIRouter(tags=["alerts"])

State = Annotated[str | None, Query(description=f"Only messages in this state: {', '.join(messages.STATES)}.")]
Channel = Annotated[str | None, Query(alias="channelId", description="Only messages to this channel.")]
Limit = Annotated[str | None, Query(description="Messages per page, 1 to 100.", examples=["20"])]


@router.get("/alertKinds", **document_operation(examples.KINDS))
def kinds(caller: CallerOf) -> Json:
    """List the kinds of channels with their settings, and the topics of rules (an extension)."""
    caller.require(VIEW_DESTINATIONS)
    return {
        "kinds": [
            {
                "kind": kind.name,
                "title": kind.title,
                "description": kind.description,
                "settings": [
                    {
                        "name": one.alias or name,
                        "title": one.title,
                        "description": one.description,
                        "required": one.is_required() and (one.alias or name) not in kind.model.generated,
                        "secret": (one.alias or name) in kind.model.secrets(),
                    }
                    for name, one in kind.model.model_fields.items()
                ],
            }
            for kind in KINDS.values()
        ],
        "topics": [
            {"name": name, "meaning": one.meaning, "severity": one.severity, "default": name in topics.DEFAULT}
            for name, one in topics.TOPICS.items()
        ],
    }


@router.get("/alertChannels", **document_operation(examples.CHANNELS))
def list_channels(caller: CallerOf, backend: BackendOf, params: ListOf) -> Json:
    """List alert channels (an extension)."""
    query = params.query(_DEFAULT_LIMIT)
    with backend.database.reading() as session:
        page = stored_channels.page(session, caller, query)
        return lists.answer(
            "/alertChannels", query, page, lambda rows: [stored_channels.document(row, caller) for row in rows]
        )


@router.post(
    "/alertChannels",
    status_code=201,
    **document_operation(
        examples.CREATED,
        status=201,
        body=stored_channels.NewChannel,
        body_example=examples.NEW_CHANNEL,
        errors=(409,),
    ),
)
def create_channel(caller: CallerOf, backend: BackendOf, body: JsonBody, response: Response) -> Json:
    """Create an alert channel; nothing is sent. Secrets that are generated are in this response only (an extension)."""
    with backend.database.writing() as session:
        created = stored_channels.create(session, caller, backend.vault, backend.network, body, backend.clock.now_ms())
        response.headers["Location"] = f"{FLOW_SERVICE}/alertChannels/{created.row.id}"
        generated: Json = {"generated": dict(created.generated)} if created.generated else {}
        return responses.update_response(response, created.row) | generated


@router.get("/alertChannels/{channel_id}", **document_operation({"items": [examples.CHANNEL]}))
def get_channel(caller: CallerOf, backend: BackendOf, channel_id: str, response: Response) -> Json:
    """Get an alert channel; its secrets are masked (an extension)."""
    with backend.database.reading() as session:
        row = stored_channels.get(session, caller, channel_id)
        return responses.one(response, stored_channels.document(row, caller))


@router.patch(
    "/alertChannels/{channel_id}",
    **document_operation(
        examples.CHANGED,
        body=lake_examples.ANY_OBJECT,
        body_example={"settings": {"url": "https://hooks.example.org/other"}},
        errors=(409, 412),
    ),
)
def change_channel(
    caller: CallerOf, backend: BackendOf, channel_id: str, body: JsonBody, response: Response, if_match: IfMatch = None
) -> Json:
    """Update an alert channel (merge patch or JSON Patch); secrets that are not sent stay (an extension)."""
    with backend.database.writing() as session:
        row = stored_channels.get(session, caller, channel_id, lock=True)
        entities.check_version(row, if_match)
        stored_channels.merge(session, caller, backend.vault, backend.network, row, body, backend.clock.now_ms())
        return responses.update_response(response, row)


@router.delete(
    "/alertChannels/{channel_id}", status_code=202, response_class=Response, **document_operation(errors=(409,))
)
def delete_channel(caller: CallerOf, backend: BackendOf, channel_id: str) -> Response:
    """Delete an alert channel that no rule uses, with its messages (an extension)."""
    with backend.database.writing() as session:
        row = stored_channels.get(session, caller, channel_id, lock=True)
        stored_channels.remove(session, caller, row, backend.clock.now_ms())
    return responses.deletion_response()


@router.post("/alertChannels/{channel_id}/action", **document_operation(examples.TESTED))
def act_on_channel(caller: CallerOf, backend: BackendOf, channel_id: str, op: Op = None) -> Json:
    """With op=test, send a test message now and return the receiver's answer (an extension)."""
    caller.require(MANAGE_DESTINATIONS)
    _check_op(op, "test")
    with backend.database.reading() as session:
        row = stored_channels.get(session, caller, channel_id)
        settings = stored_channels.settings_of(row, backend.vault)
    context = SendContext(backend.network, mail_of(backend.settings), backend.clock.now_seconds())
    found = stored_channels.run_test(caller, KINDS[row.kind], settings, context)
    return {"result": found.result, "answer": found.answer}


@router.get("/alertRules", **document_operation(examples.RULES))
def list_rules(caller: CallerOf, backend: BackendOf, params: ListOf) -> Json:
    """List alert rules (an extension)."""
    query = params.query(_DEFAULT_LIMIT)
    with backend.database.reading() as session:
        page = rules.page(session, caller, query)
        return lists.answer("/alertRules", query, page, lambda rows: [rules.document(row, caller) for row in rows])


@router.post(
    "/alertRules",
    status_code=201,
    **document_operation(
        examples.RULE_CHANGED, status=201, body=rules.RuleBody, body_example=examples.NEW_RULE, errors=(409,)
    ),
)
def create_rule(caller: CallerOf, backend: BackendOf, body: JsonBody, response: Response) -> Json:
    """Create an alert rule for the sandbox or one flow; it applies to events from now on (an extension)."""
    with backend.database.writing() as session:
        row = rules.create(session, caller, body, backend.clock.now_ms())
        response.headers["Location"] = f"{FLOW_SERVICE}/alertRules/{row.id}"
        return responses.update_response(response, row)


@router.get("/alertRules/{rule_id}", **document_operation({"items": [examples.RULE]}))
def get_rule(caller: CallerOf, backend: BackendOf, rule_id: str, response: Response) -> Json:
    """Get an alert rule (an extension)."""
    with backend.database.reading() as session:
        row = rules.get(session, caller, rule_id)
        return responses.one(response, rules.document(row, caller))


@router.patch(
    "/alertRules/{rule_id}",
    **document_operation(
        examples.RULE_CHANGED,
        body=lake_examples.ANY_OBJECT,
        body_example={"enabled": False},
        errors=(409, 412),
    ),
)
def change_rule(
    caller: CallerOf, backend: BackendOf, rule_id: str, body: JsonBody, response: Response, if_match: IfMatch = None
) -> Json:
    """Update an alert rule (merge patch or JSON Patch) (an extension)."""
    with backend.database.writing() as session:
        row = rules.get(session, caller, rule_id, lock=True)
        entities.check_version(row, if_match)
        rules.merge(session, caller, row, body, backend.clock.now_ms())
        return responses.update_response(response, row)


@router.delete("/alertRules/{rule_id}", status_code=202, response_class=Response, **document_operation())
def delete_rule(caller: CallerOf, backend: BackendOf, rule_id: str) -> Response:
    """Delete an alert rule, with the messages that wait for it (an extension)."""
    with backend.database.writing() as session:
        row = rules.get(session, caller, rule_id, lock=True)
        rules.remove(session, caller, row, backend.clock.now_ms())
    return responses.deletion_response()


@router.get("/alertMessages", **document_operation(examples.MESSAGES))
def list_messages(
    caller: CallerOf,
    backend: BackendOf,
    state: State = None,
    channel: Channel = None,
    limit: Limit = None,
    token: Token = None,
) -> Json:
    """List the messages of alerts, newest first: sent, waiting and dead ones, with the receiver's answer (extension).

    A dead message was refused, or could not be sent for 24 hours.
    """
    if token:
        query = _read_token(token)
    else:
        most = listing.list_query(limit, (), None, default_limit=_DEFAULT_LIMIT).limit
        query = _Query(most, state or "", channel or "")
    if query.s not in ("", *messages.STATES):
        raise problems.of_field("/state", f"must be one of {', '.join(messages.STATES)}")
    for text in (query.c, query.b):
        bodies.check_text(text, "/")
    with backend.database.reading() as session:
        found = messages.search(
            session,
            caller,
            query.l + 1,
            state=query.s or None,
            channel_id=query.c or None,
            before=query.b or None,
        )
    return _page(found, query)


@router.get("/alertMessages/{message_id}", **document_operation({"items": [examples.MESSAGE]}))
def get_message(caller: CallerOf, backend: BackendOf, message_id: str) -> Json:
    """Get a message of an alert (an extension)."""
    with backend.database.reading() as session:
        return {"items": [messages.document(messages.get(session, caller, message_id))]}


@router.post("/alertMessages/{message_id}/action", **document_operation({"id": examples.MESSAGE_ID}, errors=(409,)))
def act_on_message(caller: CallerOf, backend: BackendOf, message_id: str, op: Op = None) -> Json:
    """With op=retry, send a dead message again, or a waiting one now (an extension)."""
    caller.require(MANAGE_DESTINATIONS)
    _check_op(op, "retry")
    with backend.database.writing() as session:
        messages.retry(session, caller, message_id, backend.clock.now_ms())
    backend.database.wakeup.notify()
    return {"id": message_id}


@dataclass(frozen=True)
class _Query:
    """The content of a continuation token: limit, state, channel, and the id of the previous page's last message."""

    l: Annotated[int, Field(ge=1, le=listing.MOST)]  # noqa: E741 - as in other tokens
    s: str = ""
    c: str = ""
    b: str = ""


_TOKEN: Final = TypeAdapter(_Query)


def _read_token(token: str) -> _Query:
    try:
        return opaque_tokens.decode(token, _TOKEN)
    except (ValueError, RecursionError):
        raise problems.of_field("/continuationToken", "is not a continuation token of this server") from None


def _page(found: list[MessageView], query: _Query) -> Json:
    shown = found[: query.l]
    links: Json = {}
    if len(found) > query.l:
        token = opaque_tokens.encode(asdict(replace(query, b=shown[-1].id)))
        links = {"next": {"href": f"/alertMessages?continuationToken={token}"}}
    return {"items": [messages.document(one) for one in shown], "_links": links, "count": len(shown)}


def _check_op(op: str | None, wanted: str) -> None:
    if (op or "").strip().lower() != wanted:
        raise Problem(problems.UNKNOWN_ACTION, f"The operation must be op={wanted}.")
