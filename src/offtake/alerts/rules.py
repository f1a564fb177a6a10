"""Rules: which events are sent to which channels (permission `manage-destinations`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field
from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.orm import Session

from offtake.access import audit, labels
from offtake.alerts import limits, topics
from offtake.contract import bodies, entities, listing, partial_updates, problems, resource_names
from offtake.contract.bodies import Body, Sent
from offtake.contract.caller import ALL, MANAGE_DESTINATIONS, VIEW_DESTINATIONS, Caller
from offtake.contract.filters import Field as ListField
from offtake.contract.listing import ListQuery, Page
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import InvalidInputError
from offtake.store.tables import AlertChannel, AlertGroup, AlertMessage, AlertRule, Flow

RESOURCE: Final = "alertRules"
_MOST: Final = 1000


class RuleBody(Body):
    """`POST /alertRules`, and a rule after a patch."""

    name: str
    flow_id: str | None = Field(default=None, description="The only flow it is about; null: the whole sandbox.")
    topics: list[str] = Field(
        default_factory=lambda: list(topics.DEFAULT),
        min_length=1,
        max_length=100,
        description=f"Any of {', '.join(topics.TOPICS)}. Default: all about problems and recoveries.",
    )
    channel_ids: list[str] = Field(min_length=1, max_length=limits.MOST_CHANNELS)
    enabled: bool = True
    single: bool = Field(default=False, description="Send each event as a message of its own.")
    group_seconds: int = Field(
        default=limits.GROUP_SECONDS,
        ge=0,
        le=limits.LONGEST_GROUP_SECONDS,
        description="How long events with the same cause are collected before their first message.",
    )
    repeat_seconds: int = Field(
        default=limits.REPEAT_SECONDS,
        ge=limits.SHORTEST_REPEAT_SECONDS,
        le=limits.LONGEST_REPEAT_SECONDS,
        description="How long further events with the same cause are collected before the next message.",
    )


@dataclass(frozen=True)
class RuleView:
    """A rule for people. `flow`: name of the flow; None for the whole sandbox. `channels`: names.

    `labels`: those of its last editor, who may not learn of flows with other labels.
    """

    id: str
    name: str
    flow_id: str | None
    flow: str | None
    topics: Sequence[str]
    channels: Sequence[str]
    enabled: bool
    single: bool
    group_seconds: int
    repeat_seconds: int
    labels: Sequence[str]


def create(session: Session, caller: Caller, sent: Sent, now_ms: int, row_id: str | None = None) -> AlertRule:
    """Store a rule; it applies to events from now on. `row_id`: its id; a random one by default.

    Raises 1452 for a flow, a channel or a topic that does not exist, and 3409 when the name is taken.
    """
    caller.require(MANAGE_DESTINATIONS)
    new = bodies.parse_body(RuleBody, sent)
    _check_name(session, caller, new.name)
    if (session.scalar(select(func.count()).where(AlertRule.sandbox_id == caller.sandbox_id)) or 0) >= _MOST:
        raise Problem(problems.CONFLICT, f"The sandbox has {_MOST} alert rules already; delete one first.")
    _check(session, caller, new)
    row = AlertRule(**entities.creation_columns(caller, now_ms, row_id), name=new.name)
    _set(row, new, caller)
    session.add(row)
    session.flush()
    audit.record(session, caller, now_ms, "create", (RESOURCE, row.id), name=row.name, after=render(row))
    return row


def merge(session: Session, caller: Caller, row: AlertRule, sent: Sent, now_ms: int) -> None:
    """Update the rule: an object is a merge patch, a list a JSON Patch. Raises as `create` does.

    When the rule is disabled, events that wait for it are dropped.
    """
    caller.require(MANAGE_DESTINATIONS)
    before = render(row)
    document = {key: value for key, value in before.items() if key != "id"}
    new = bodies.parse_document(RuleBody, partial_updates.update(document, sent, "/topics"))
    if new.name != row.name:
        _check_name(session, caller, new.name)
    _check(session, caller, new)
    row.name = new.name
    _set(row, new, caller)
    entities.set_updated(row, caller, now_ms)
    if not row.enabled:
        session.execute(delete(AlertGroup).where(AlertGroup.rule_id == row.id))
    session.flush()
    audit.record(session, caller, now_ms, "update", (RESOURCE, row.id), name=row.name, before=before, after=render(row))


def remove(session: Session, caller: Caller, row: AlertRule, now_ms: int) -> None:
    """Delete the rule, with the events and messages that wait for it. Messages that were sent stay in the list."""
    caller.require(MANAGE_DESTINATIONS)
    audit.record(session, caller, now_ms, "delete", (RESOURCE, row.id), name=row.name, before=render(row))
    _delete(session, [row.id])


def limit(session: Session, caller: Caller, channel_id: str) -> None:
    """Limit the rules that use a channel to what the caller, who redirects it, may see."""
    granted = caller.grants.labels
    if ALL in granted:
        return
    for row in session.scalars(select(AlertRule).filter_by(sandbox_id=caller.sandbox_id).with_for_update()):
        if channel_id in row.channel_ids:
            row.labels = sorted(granted if ALL in row.labels else granted.intersection(row.labels))


def forget_flow(session: Session, flow_id: str) -> None:
    """Delete the rules of a flow that is deleted, with the events and messages that wait for them."""
    ids = session.scalars(select(AlertRule.id).where(AlertRule.flow_id == flow_id)).all()
    if ids:
        _delete(session, ids)


def page(session: Session, caller: Caller, query: ListQuery) -> Page[AlertRule]:
    """A page of the rules, for the API, without rules of flows whose labels the caller lacks."""
    caller.require(VIEW_DESTINATIONS)
    fields = {
        "id": ListField(AlertRule.id, "id", sortable=True),
        "name": ListField(AlertRule.name, sortable=True),
        "flowId": ListField(AlertRule.flow_id, "id"),
        "createdAt": ListField(AlertRule.created_at, "number", sortable=True),
        "updatedAt": ListField(AlertRule.updated_at, "number", sortable=True),
    }
    return listing.page(session, caller, AlertRule, fields, query, labels.visible(AlertRule.flow_id, caller))


def get(session: Session, caller: Caller, row_id: str, *, lock: bool = False) -> AlertRule:
    """The rule with that id; raises 1439."""
    caller.require(VIEW_DESTINATIONS)
    row = entities.find(session, caller, AlertRule, RESOURCE, row_id, lock=lock)
    if row.flow_id is not None and not _may_see(session, caller, row.flow_id):
        raise problems.not_found(RESOURCE, row_id)
    return row


def exists(session: Session, caller: Caller, row_id: str) -> bool:
    """Whether the sandbox has a rule with that id."""
    known = select(AlertRule.id).where(AlertRule.id == row_id, AlertRule.sandbox_id == caller.sandbox_id)
    return session.scalar(known) is not None


def views(session: Session, caller: Caller) -> list[RuleView]:
    """The rules of the sandbox by name. For pages."""
    return _views(session, caller, labels.visible(AlertRule.flow_id, caller))


def concerning(session: Session, caller: Caller, flow_id: str) -> list[RuleView]:
    """The enabled rules that report events of a flow which the caller may see: its own ones, then the sandbox's."""
    found = _views(
        session, caller, AlertRule.enabled.is_(True), or_(AlertRule.flow_id == flow_id, AlertRule.flow_id.is_(None))
    )
    needed = set(labels.labels_of(session, flow_id))
    reporting = [one for one in found if ALL in one.labels or needed <= set(one.labels)]
    return sorted(reporting, key=lambda one: one.flow_id is None)


def _views(session: Session, caller: Caller, *conditions: ColumnElement[bool]) -> list[RuleView]:
    caller.require(VIEW_DESTINATIONS)
    query = select(AlertRule, Flow.name).outerjoin(Flow, Flow.id == AlertRule.flow_id)
    query = query.where(AlertRule.sandbox_id == caller.sandbox_id, *conditions)
    rows = session.execute(query.order_by(func.lower(AlertRule.name), AlertRule.id).limit(_MOST)).all()
    named = select(AlertChannel.id, AlertChannel.name).where(AlertChannel.sandbox_id == caller.sandbox_id)
    names = {one[0]: one[1] for one in session.execute(named)}
    return [
        RuleView(
            row.id,
            row.name,
            row.flow_id,
            flow,
            row.topics,
            [names[one] for one in row.channel_ids if one in names],
            row.enabled,
            row.single,
            row.group_seconds,
            row.repeat_seconds,
            row.labels,
        )
        for row, flow in rows
    ]


def render(row: AlertRule) -> Json:
    """The rule's own fields."""
    return {
        "id": row.id,
        "name": row.name,
        "flowId": row.flow_id,
        "topics": row.topics,
        "channelIds": row.channel_ids,
        "enabled": row.enabled,
        "single": row.single,
        "groupSeconds": row.group_seconds,
        "repeatSeconds": row.repeat_seconds,
    }


def document(row: AlertRule, caller: Caller) -> Json:
    """The rule as the API shows it."""
    return entities.audit_fields(row, caller) | render(row) | entities.versions(row)


def _delete(session: Session, ids: Sequence[str]) -> None:
    waits = (AlertMessage.rule_id.in_(ids), AlertMessage.state == "waiting")
    session.execute(delete(AlertMessage).where(*waits))
    session.execute(delete(AlertGroup).where(AlertGroup.rule_id.in_(ids)))
    session.execute(delete(AlertRule).where(AlertRule.id.in_(ids)))


def _set(row: AlertRule, new: RuleBody, caller: Caller) -> None:
    row.flow_id, row.topics, row.channel_ids = new.flow_id, new.topics, new.channel_ids
    row.enabled, row.single = new.enabled, new.single
    row.group_seconds, row.repeat_seconds = new.group_seconds, new.repeat_seconds
    # What its channels receive must not be more than its last editor may see.
    row.labels = sorted(caller.grants.labels)


def _check(session: Session, caller: Caller, new: RuleBody) -> None:
    unknown = [one for one in new.topics if one not in topics.TOPICS]
    if unknown:
        allowed = ", ".join(topics.TOPICS)
        raise problems.of_field("/topics", f"{unknown[0][:100]} is not a topic; allowed: {allowed}")
    for path, values in (("/topics", new.topics), ("/channelIds", new.channel_ids)):
        if len(set(values)) < len(values):
            raise problems.of_field(path, "names something twice")
    if new.flow_id is not None and not _may_see(session, caller, new.flow_id):
        raise problems.of_field("/flowId", "is not a flow of this sandbox")
    known = select(AlertChannel.id).where(
        AlertChannel.id.in_(new.channel_ids), AlertChannel.sandbox_id == caller.sandbox_id
    )
    found = set(session.scalars(known.with_for_update(read=True)))
    missing = [one for one in new.channel_ids if one not in found]
    if missing:
        raise problems.of_field("/channelIds", f"{missing[0][:100]} is not an alert channel of this sandbox")


def _may_see(session: Session, caller: Caller, flow_id: str) -> bool:
    query: Any = select(Flow.id).where(
        Flow.id == flow_id, Flow.sandbox_id == caller.sandbox_id, labels.visible(Flow.id, caller)
    )
    return session.scalar(query) is not None


def _check_name(session: Session, caller: Caller, name: str) -> None:
    if found := resource_names.find_problems(name):
        raise problems.of_fields(InvalidInputError(found))
    resource_names.check_free(session, caller, AlertRule, name, "An alert rule")
