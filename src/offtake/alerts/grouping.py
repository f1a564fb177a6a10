"""Groups events into messages: those of a rule with the same cause are one message, and later ones another.

A destination that 500 flows deliver to gives one message when it does not answer, at most one per repeat interval while
it does not, and one when it answers again.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, or_, select, tuple_, update
from sqlalchemy.orm import Session

from offtake.alerts import messages, reported, topics, visibility
from offtake.alerts.limits import CLOCKS_DIFFER_MS
from offtake.alerts.messages import Outbox
from offtake.alerts.notices import MOST_EVENTS, Notice
from offtake.contract.caller import ALL
from offtake.documents import Json
from offtake.store import events
from offtake.store.database import Database, try_advisory_lock
from offtake.store.tables import (
    AlertGroup,
    AlertRule,
    Batch,
    Connection,
    EventRow,
    Flow,
    Sandbox,
    TargetConnection,
)

_LOCK: Final = 0x0FF7A4F
_EVENTS_AT_ONCE: Final = 500
_MATCHES_AT_ONCE: Final = 1000
"""Of events with rules, in one transaction, which must be short: all other writers wait for it in SQLite."""
_GROUPS_AT_ONCE: Final = 50
_MOST_FLOWS: Final = 1000
_FLAPPING_MS: Final = 300_000
"""While a problem comes and goes, at most one message about either in that time."""

UNHANDLED: Final = select(EventRow.id).where(EventRow.handled_at.is_(None))


def has_work(database: Database, now_ms: int) -> bool:
    """Whether events or groups wait; cheap."""
    return database.finds(UNHANDLED) or database.finds(select(AlertGroup.rule_id).where(_is_due(now_ms)))


def group_events(database: Database, now_ms: int) -> bool:
    """Handle some of the new events, and create messages of some groups that are due; whether there may be more.

    Each event is handled in one transaction with the groups and messages that it changes. One server at a time does
    this, so that a recovery is not handled before its problem.
    """
    with database.writing() as session:
        if not try_advisory_lock(session, _LOCK):
            return False
        query = select(EventRow).where(EventRow.handled_at.is_(None)).order_by(EventRow.id).limit(_EVENTS_AT_ONCE)
        new = session.scalars(query).all()
        outbox = messages.Outbox(session, now_ms)
        rows = new[: _handle(session, new, outbox, now_ms)]
        if rows:
            ids = [row.id for row in rows]
            session.execute(update(EventRow).where(EventRow.id.in_(ids)).values(handled_at=now_ms))
        due = select(AlertGroup).where(_is_due(now_ms)).order_by(AlertGroup.due_at).limit(_GROUPS_AT_ONCE)
        groups = session.scalars(due).all()
        for group in groups:
            _create_message(session, group, outbox, now_ms)
        outbox.store()
    return len(rows) < len(new) or len(new) == _EVENTS_AT_ONCE or len(groups) == _GROUPS_AT_ONCE


def _is_due(now_ms: int) -> ColumnElement[bool]:
    was_set_back = AlertGroup.decided_at > now_ms + CLOCKS_DIFFER_MS
    return AlertGroup.due_at.is_not(None) & or_(AlertGroup.due_at <= now_ms, was_set_back)


@dataclass(frozen=True)
class _Context:
    """What is needed to match events: addresses by connection and by flow of a rule, and the datasets of batches."""

    addresses: Mapping[str, str]
    of_flows: Mapping[str, str]
    datasets: Mapping[str, str]

    def document(self, row: EventRow) -> Json:
        return reported.event_document(row, self.address(row), self.datasets.get(row.batch_id or ""))

    def address(self, row: EventRow) -> str | None:
        given = row.fields.get("address")
        if isinstance(given, str) and given:
            return given
        return None if row.connection_id is None else self.addresses.get(row.connection_id, row.connection_id)

    def matches(self, rule: AlertRule, row: EventRow) -> bool:
        """Whether the rule is about the event."""
        if topics.TOPIC_OF[row.kind] not in rule.topics or row.sandbox_id not in (rule.sandbox_id, events.DEPLOYMENT):
            return False
        if rule.flow_id is not None and row.flow_id != rule.flow_id:
            is_its = row.kind.startswith("connection.") and self.of_flows.get(rule.flow_id) == self.address(row)
            return row.flow_id is None and is_its
        return True


def _handle(session: Session, new: Sequence[EventRow], outbox: Outbox, now_ms: int) -> int:
    """Match events with rules; returns how many were handled: fewer, if they have many matches."""
    rows = [row for row in new if row.kind in topics.TOPIC_OF]
    rules = _rules_for(session, rows)
    if not rules:
        return len(new)
    context = _context(session, rows, rules)
    found: dict[tuple[str, str], list[Json]] = defaultdict(list)
    by_id = {rule.id: rule for rule in rules}
    restricted = any(ALL not in rule.labels for rule in rules)
    all_documents = [context.document(row) for row in rows]
    located = ((row.sandbox_id, one) for row, one in zip(rows, all_documents, strict=True))
    restrictions = visibility.restrictions_of(session, located) if restricted else visibility.NONE
    handled = len(new)
    for row, whole in zip(rows, all_documents, strict=True):
        if outbox.count + len(found) >= _MATCHES_AT_ONCE:
            handled = new.index(row)
            break
        cause = reported.cause_of(row, context.address(row))
        for rule in rules:
            document = restrictions.shown(rule.labels, row.sandbox_id, whole) if context.matches(rule, row) else None
            if document is None:
                continue
            if rule.single:
                _create_single(session, rule, cause, document, outbox, now_ms)
            else:
                found[rule.id, cause].append(document)
    query = select(AlertGroup).where(tuple_(AlertGroup.rule_id, AlertGroup.cause).in_(list(found)))
    groups = {(one.rule_id, one.cause): one for one in session.scalars(query)} if found else {}
    for (rule_id, cause), documents in found.items():
        group = groups.get((rule_id, cause))
        if group is None:
            group = AlertGroup(rule_id=rule_id, cause=cause, severity="", decided_at=now_ms)
            _empty(group)
            session.add(group)
        _add(group, by_id[rule_id], documents, now_ms)
    return handled


def _rules_for(session: Session, rows: Sequence[EventRow]) -> list[AlertRule]:
    sandboxes = {row.sandbox_id for row in rows}
    if not sandboxes:
        return []
    query = select(AlertRule).where(AlertRule.enabled)
    if events.DEPLOYMENT not in sandboxes:
        query = query.where(AlertRule.sandbox_id.in_(sandboxes))
    return list(session.scalars(query.order_by(AlertRule.id)))


def _context(session: Session, rows: Sequence[EventRow], rules: Sequence[AlertRule]) -> _Context:
    ids = {row.connection_id for row in rows if row.connection_id}
    known = select(Connection.id, Connection.address).where(Connection.id.in_(ids))
    addresses = {row_id: address or row_id for row_id, address in session.execute(known)}
    flow_ids = [rule.flow_id for rule in rules if rule.flow_id]
    of_flows: dict[str, str] = {}
    if flow_ids and any(row.kind.startswith("connection.") for row in rows):
        joined = select(Flow.id, Connection.id, Connection.address)
        joined = joined.join(TargetConnection, TargetConnection.id == Flow.target_connection_id)
        joined = joined.join(Connection, Connection.id == TargetConnection.base_connection_id)
        places = session.execute(joined.where(Flow.id.in_(flow_ids)))
        of_flows = {flow_id: address or base_id for flow_id, base_id, address in places}
    batches = {row.batch_id for row in rows if row.batch_id}
    imported = select(Batch.id, Batch.dataset_id).where(Batch.id.in_(batches))
    datasets = {one[0]: one[1] for one in session.execute(imported)} if batches else {}
    return _Context(addresses, of_flows, datasets)


def _add(group: AlertGroup, rule: AlertRule, documents: Sequence[Json], now_ms: int) -> None:
    """Add events to a group. `due_at` is set by the first of them, and again when its problem ends or comes back."""
    kinds, flow_ids = dict(group.kinds), dict.fromkeys(group.flow_ids)
    for one in documents:
        severity = topics.severity_of(one["kind"])
        if group.due_at is None or severity != group.severity:
            group.severity, group.decided_at = severity, now_ms
            group.due_at = _due_at(group, rule, now_ms)
        kinds[one["kind"]] = kinds.get(one["kind"], 0) + 1
        group.first_at = one["at"] if group.first_at is None else min(group.first_at, one["at"])
        group.last_at = one["at"] if group.last_at is None else max(group.last_at, one["at"])
        if one.get("flowId") and len(flow_ids) < _MOST_FLOWS:
            flow_ids[one["flowId"]] = None
    group.kinds, group.flow_ids = kinds, list(flow_ids)
    group.events = [*group.events, *documents][:MOST_EVENTS]


def _due_at(group: AlertGroup, rule: AlertRule, now_ms: int) -> int:
    """When the group's next message is created: soon, but not too soon after the last one about the same."""
    is_problem = group.severity == "problem"
    last, opposite = (group.problem_at, group.other_at) if is_problem else (group.other_at, group.problem_at)
    soon = now_ms + rule.group_seconds * 1000
    if last is None:
        return soon
    pause = rule.repeat_seconds * 1000
    if opposite is not None and opposite >= last:
        pause = min(pause, _FLAPPING_MS)
    return max(soon, min(last, now_ms) + pause)


def _create_message(session: Session, group: AlertGroup, outbox: Outbox, now_ms: int) -> None:
    """Create the messages of a group that is due, and empty the group.

    The rule may have got another editor, and flows may have got labels, since the events were collected.
    """
    rule = session.get_one(AlertRule, group.rule_id)
    if ALL not in rule.labels:
        located = [(rule.sandbox_id, one) for one in group.events]
        restrictions = visibility.restrictions_of(session, located)
        shown = (restrictions.shown(rule.labels, *one) for one in located)
        group.events = [one for one in shown if one is not None]
        if not group.events:
            _empty(group)
            return
    title = reported.title_of(group.cause, group.severity, group.kinds, group.events, len(group.flow_ids))
    count = sum(group.kinds.values())
    notice = _notice(session, rule, "alert", title, group.cause, group.severity, group.events, now_ms)
    document = notice.to_document() | {
        "count": count,
        "flowCount": len(group.flow_ids),
        "firstAt": group.first_at,
        "lastAt": group.last_at,
    }
    outbox.add(rule, document)
    if group.severity == "problem":
        group.problem_at = now_ms
    else:
        group.other_at = now_ms
    group.decided_at = now_ms
    _empty(group)


def _create_single(session: Session, rule: AlertRule, cause: str, event: Json, outbox: Outbox, now_ms: int) -> None:
    severity = topics.severity_of(event["kind"])
    notice = _notice(session, rule, event["kind"], event["text"], cause, severity, [event], now_ms)
    outbox.add(rule, notice.to_document())


def _notice(
    session: Session,
    rule: AlertRule,
    kind: str,
    title: str,
    cause: str,
    severity: str,
    documents: Sequence[Json],
    now_ms: int,
) -> Notice:
    sandbox = session.get_one(Sandbox, rule.sandbox_id)
    return Notice(
        id="",
        type=kind,
        severity=severity,  # type: ignore[arg-type] # as it was stored
        title=title,
        sandbox=sandbox.name,
        organisation=rule.org_id,
        rule=rule.name,
        cause=cause,
        at_ms=now_ms,
        first_ms=documents[0]["at"],
        last_ms=documents[-1]["at"],
        count=len(documents),
        flows=len({one["flowId"] for one in documents if one.get("flowId")}),
        events=list(documents),
    )


def _empty(group: AlertGroup) -> None:
    group.due_at = group.first_at = group.last_at = None
    group.kinds, group.events, group.flow_ids = {}, [], []
