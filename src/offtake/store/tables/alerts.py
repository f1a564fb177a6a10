"""Notifications: channels, rules, events that wait to be sent together, and messages."""

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from offtake.documents import Json
from offtake.store.tables.base import Base, Stamp

DUE_GROUP = text("due_at IS NOT NULL")
WAITING_MESSAGE = text("state = 'waiting'")
OF_FLOW = text("flow_id IS NOT NULL")


class AlertChannel(Stamp, Base):
    """A receiver of messages. `kind`: a key of `alerts.channels.registry`.

    `settings`: by the kind's model, with secrets masked; `sealed`: the secret ones, encrypted. `failures`: consecutive
    failed attempts, after which no message is sent before `not_before`. A process that sends has set `claim` to a
    random text; until `claimed_until`, no other process sends to the channel.
    """

    __tablename__ = "alert_channels"
    __table_args__ = (Index("uq_alert_channels_name", "sandbox_id", "name", unique=True),)

    name: Mapped[str]
    kind: Mapped[str]
    settings: Mapped[Json]
    sealed: Mapped[bytes | None]
    failures: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[int | None]
    claim: Mapped[str | None]
    claimed_until: Mapped[int | None]


class AlertRule(Stamp, Base):
    """Which events are sent to which channels. `topics`: names of `alerts.topics`.

    `flow_id`: of the only flow that it is about; None for the whole sandbox. `single`: each event is a message of its
    own. `labels`: those of the rule's last editor, who may not learn of flows with other labels.
    """

    __tablename__ = "alert_rules"
    __table_args__ = (
        Index("uq_alert_rules_name", "sandbox_id", "name", unique=True),
        Index("ix_alert_rules_flow", "flow_id", sqlite_where=OF_FLOW, postgresql_where=OF_FLOW),
    )

    name: Mapped[str]
    flow_id: Mapped[str | None]
    topics: Mapped[list[str]]
    channel_ids: Mapped[list[str]]
    enabled: Mapped[bool]
    single: Mapped[bool]
    group_seconds: Mapped[int]
    repeat_seconds: Mapped[int]
    labels: Mapped[list[str]]


class AlertGroup(Base):
    """The events of a rule with the same cause that wait to be sent as one message, and when the last one was created.

    `due_at`: when the message is created; None when no event waits. `decided_at`: when `due_at` was set; a value far in
    the future means that the clock was set back. `severity`: of the last event. `kinds`: number of events by kind.
    `events`: the first of them; `flow_ids`: the first flows. `problem_at`, `other_at`: when the last message about the
    problem, and the last other message, were created.
    """

    __tablename__ = "alert_groups"
    __table_args__ = (Index("ix_alert_groups_due", "due_at", sqlite_where=DUE_GROUP, postgresql_where=DUE_GROUP),)

    rule_id: Mapped[str] = mapped_column(ForeignKey("alert_rules.id"), primary_key=True)
    cause: Mapped[str] = mapped_column(primary_key=True)
    severity: Mapped[str]
    due_at: Mapped[int | None]
    decided_at: Mapped[int]
    kinds: Mapped[Json]
    events: Mapped[list[Json]]
    flow_ids: Mapped[list[str]]
    first_at: Mapped[int | None]
    last_at: Mapped[int | None]
    problem_at: Mapped[int | None]
    other_at: Mapped[int | None]


class AlertMessage(Base):
    """A message to one channel. `document`: the notice (`alerts.notices`). `state`: `waiting`, `sent` or `dead`.

    `next_at`: when it is tried next; `tried_since`: when the time for its attempts began. `answer`: what the receiver
    answered last, or why it could not be sent. Ids sort by time.
    """

    __tablename__ = "alert_messages"
    __table_args__ = (
        Index(None, "sandbox_id", "id"),
        Index(None, "rule_id"),
        Index(
            "ix_alert_messages_waiting",
            "channel_id",
            "next_at",
            sqlite_where=WAITING_MESSAGE,
            postgresql_where=WAITING_MESSAGE,
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    org_id: Mapped[str]
    sandbox_id: Mapped[str]
    channel_id: Mapped[str] = mapped_column(ForeignKey("alert_channels.id"))
    rule_id: Mapped[str]
    document: Mapped[Json]
    state: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[int]
    updated_at: Mapped[int]
    tried_since: Mapped[int]
    next_at: Mapped[int]
    answer: Mapped[str | None]
