"""Alert rules: which events are sent to which channels (an extension)."""

from typing import Any, Final

from offtake.alerts.limits import GROUP_SECONDS, REPEAT_SECONDS
from offtake.client.alerts import DEFAULT_TOPICS, RULE, TOPICS
from offtake.declarations.context import Context
from offtake.declarations.models import AlertRuleDocument
from offtake.declarations.plan import UNKNOWN_ID, Change, FieldChange, compare
from offtake.declarations.problems import nearest
from offtake.documents import Json

_ALL_FLOWS: Final = "(all)"
_KEYS: Final = {
    "name": "name",
    "flow": "flowId",
    "channels": "channelIds",
    "topics": "topics",
    "single": "single",
    "groupSeconds": "groupSeconds",
    "repeatSeconds": "repeatSeconds",
    "state": "enabled",
}
"""By field of a document, the field of the API."""


def plan_all(context: Context) -> list[Change]:
    """The changes of all rules."""
    found = []
    for index, declared in context.of_kind("alert-rule"):
        document = declared.document
        assert isinstance(document, AlertRuleDocument)  # noqa: S101 - of this kind
        for number, one in enumerate(document.topics or ()):
            if one not in TOPICS:
                why = f"{one[:100]!r} is not a topic; {nearest(one, TOPICS)}"
                context.problems.append(declared.problem(("topics", number), why))
        found.append(_plan(context, document, context.existing.get(index)))
    return found


def export(context: Context, entity: Json) -> Json:
    """The document of a rule, without fields that have their defaults."""
    document: Json = {"kind": "alert-rule", "name": entity["name"]}
    document["channels"] = [context.state.reference_to("alert-channel", one) for one in entity["channelIds"]]
    if entity["flowId"] is not None:
        document["flow"] = context.state.reference_to("flow", entity["flowId"])
    document |= {"topics": entity["topics"]} if set(entity["topics"]) != set(DEFAULT_TOPICS) else {}
    defaults = (("single", False), ("groupSeconds", GROUP_SECONDS), ("repeatSeconds", REPEAT_SECONDS))
    document |= {key: entity[key] for key, default in defaults if entity[key] != default}
    return document | {"state": _state(enabled=entity["enabled"])}


def delete(context: Context, rule_id: str) -> None:
    """Delete a rule, with the messages that wait for it."""
    context.server.delete(f"{RULE.path}/{rule_id}")


def uses_of_channel(context: Context, channel_id: str) -> list[Json]:
    """The rules on the server that send to the channel, by name."""
    rules = sorted(context.state.all_of("alert-rule"), key=lambda one: str(one["name"]))
    return [one for one in rules if channel_id in one["channelIds"]]


def declared_about(context: Context, flow_id: str) -> list[str]:
    """The names of declared rules that are about the flow."""
    documents = [one.document for _, one in context.of_kind("alert-rule")]
    return [
        one.name
        for one in documents
        if isinstance(one, AlertRuleDocument) and one.flow and context.ids.get("flow", one.flow) == flow_id
    ]


def _plan(context: Context, document: AlertRuleDocument, existing: Json | None) -> Change:
    new = _shown(document)
    if existing is None:
        fields = [FieldChange(field, None, value) for field, value in new.items() if field != "name"]
        return Change("alert-rule", document.name, "create", fields=fields, step=lambda: _create(context, document))
    fields = _compare(context, document, existing)
    if existing["flowId"] in context.recreated:
        # The server deletes the rules of a flow with the flow.
        return Change(
            "alert-rule",
            document.name,
            "replace",
            existing["id"],
            fields,
            ["is created again, as its flow is"],
            step=lambda: _create(context, document),
        )
    if not fields:
        return Change("alert-rule", document.name, "nothing", existing["id"])
    step = lambda: _change(context, document, existing, fields)  # noqa: E731 - a step of the plan
    return Change("alert-rule", document.name, "change", existing["id"], fields, step=step)


def _compare(context: Context, document: AlertRuleDocument, existing: Json) -> list[FieldChange]:
    old, new = _stored(context, existing), _shown(document)
    fields = compare([(field, old[field], new[field]) for field in new if field not in ("channels", "flow")])
    channels = [_id_of(context, "alert-channel", one) for one in document.channels]
    if sorted(channels) != sorted(existing["channelIds"]):
        fields.append(FieldChange("channels", old["channels"], new["channels"]))
    if (None if document.flow is None else _id_of(context, "flow", document.flow)) != existing["flowId"]:
        fields.append(FieldChange("flow", old["flow"], new["flow"]))
    return fields


def _id_of(context: Context, kind: Any, name: str) -> str:  # noqa: ANN401 - a kind
    """The id of a thing; of one that is created by this plan, a text that no id equals."""
    return context.ids.get(kind, name) or f"{UNKNOWN_ID} {name}"


def _shown(document: AlertRuleDocument) -> Json:
    """The fields that are declared, for the plan."""
    state = {} if document.state is None else {"state": document.state}
    return {
        "name": document.name,
        "channels": sorted(document.channels),
        "flow": document.flow or _ALL_FLOWS,
        "topics": sorted(document.topics or DEFAULT_TOPICS),
        "single": document.single,
        "groupSeconds": document.group_seconds,
        "repeatSeconds": document.repeat_seconds,
    } | state


def _stored(context: Context, existing: Json) -> Json:
    """The same fields of a rule on the server."""
    flow_id = existing["flowId"]
    return {
        "name": existing["name"],
        "channels": sorted(context.state.reference_to("alert-channel", one) for one in existing["channelIds"]),
        "flow": _ALL_FLOWS if flow_id is None else context.state.reference_to("flow", flow_id),
        "topics": sorted(existing["topics"]),
        "single": existing["single"],
        "groupSeconds": existing["groupSeconds"],
        "repeatSeconds": existing["repeatSeconds"],
        "state": _state(enabled=existing["enabled"]),
    }


def _state(*, enabled: bool) -> str:
    return "enabled" if enabled else "disabled"


def _body(context: Context, document: AlertRuleDocument) -> Json:
    """The fields that are declared, as the API has them."""
    enabled = {} if document.state is None else {"enabled": document.state == "enabled"}
    return {
        "name": document.name,
        "channelIds": [context.ids.need("alert-channel", one) for one in document.channels],
        "flowId": None if document.flow is None else context.ids.need("flow", document.flow),
        "topics": list(document.topics or DEFAULT_TOPICS),
        "single": document.single,
        "groupSeconds": document.group_seconds,
        "repeatSeconds": document.repeat_seconds,
    } | enabled


def _create(context: Context, document: AlertRuleDocument) -> str:
    return str(context.server.post(RULE.path, _body(context, document))["id"])


def _change(context: Context, document: AlertRuleDocument, existing: Json, fields: list[FieldChange]) -> str:
    body = _body(context, document)
    changed = {key: body[key] for key in (_KEYS[found.field] for found in fields)}
    context.server.merge(f"{RULE.path}/{existing['id']}", changed, existing["etag"])
    return str(existing["id"])
