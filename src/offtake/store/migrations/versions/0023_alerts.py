"""Adds channels, rules and messages of alerts."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_DUE = sa.text("due_at IS NOT NULL")
_WAITING = sa.text("state = 'waiting'")
_OF_FLOW = sa.text("flow_id IS NOT NULL")


def _stamp() -> list[sa.Column[Any]]:
    texts = ("id", "org_id", "sandbox_id", "created_by", "updated_by", "created_client", "updated_client", "version")
    columns: list[sa.Column[Any]] = [sa.Column(name, sa.String(), nullable=False) for name in texts]
    return [*columns, *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("created_at", "updated_at"))]


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "alert_channels",
        *_stamp(),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=True),
        sa.Column("claim", sa.String(), nullable=True),
        sa.Column("claimed_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_alert_channels"),
    )
    op.create_index("uq_alert_channels_name", "alert_channels", ["sandbox_id", "name"], unique=True)
    op.create_table(
        "alert_rules",
        *_stamp(),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("flow_id", sa.String(), nullable=True),
        sa.Column("topics", sa.JSON(), nullable=False),
        sa.Column("channel_ids", sa.JSON(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("single", sa.Boolean(), nullable=False),
        sa.Column("group_seconds", sa.BigInteger(), nullable=False),
        sa.Column("repeat_seconds", sa.BigInteger(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_alert_rules"),
    )
    op.create_index("uq_alert_rules_name", "alert_rules", ["sandbox_id", "name"], unique=True)
    op.create_index("ix_alert_rules_flow", "alert_rules", ["flow_id"], sqlite_where=_OF_FLOW, postgresql_where=_OF_FLOW)
    op.create_table(
        "alert_groups",
        sa.Column("rule_id", sa.String(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.Column("kinds", sa.JSON(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("flow_ids", sa.JSON(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=True),
        sa.Column("last_at", sa.BigInteger(), nullable=True),
        sa.Column("problem_at", sa.BigInteger(), nullable=True),
        sa.Column("other_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["rule_id"], ["alert_rules.id"], name="fk_alert_groups_rule_id_alert_rules"),
        sa.PrimaryKeyConstraint("rule_id", "cause", name="pk_alert_groups"),
    )
    op.create_index("ix_alert_groups_due", "alert_groups", ["due_at"], sqlite_where=_DUE, postgresql_where=_DUE)
    op.create_table(
        "alert_messages",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("org_id", sa.String(), nullable=False),
        sa.Column("sandbox_id", sa.String(), nullable=False),
        sa.Column("channel_id", sa.String(), nullable=False),
        sa.Column("rule_id", sa.String(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("tried_since", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["alert_channels.id"], name="fk_alert_messages_channel_id_alert_channels"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_alert_messages"),
    )
    op.create_index("ix_alert_messages_sandbox_id_id", "alert_messages", ["sandbox_id", "id"])
    op.create_index("ix_alert_messages_rule_id", "alert_messages", ["rule_id"])
    op.create_index(
        "ix_alert_messages_waiting",
        "alert_messages",
        ["channel_id", "next_at"],
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    )
