"""Adds events, targets for the freshness of flows, and what runs and flows store for both.

For each flow, `delivered_up_to` is filled in from its last run, if that succeeded.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_UNHANDLED = sa.text("handled_at IS NULL")
_LATE = sa.text("late_since IS NOT NULL")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "events",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("sandbox_id", sa.String(), nullable=False),
        sa.Column("flow_id", sa.String(), nullable=True),
        sa.Column("flow_name", sa.String(), nullable=True),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("batch_id", sa.String(), nullable=True),
        sa.Column("connection_id", sa.String(), nullable=True),
        sa.Column("connection_name", sa.String(), nullable=True),
        sa.Column("connection_spec_id", sa.String(), nullable=True),
        sa.Column("datasets", sa.JSON(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("handled_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_unhandled", "events", ["id"], sqlite_where=_UNHANDLED, postgresql_where=_UNHANDLED)
    op.create_index(op.f("ix_events_sandbox_id_id"), "events", ["sandbox_id", "id"])
    op.create_table(
        "deployment_states",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_deployment_states"),
    )
    op.add_column("runs", sa.Column("wait_reported", sa.JSON(), nullable=True))
    op.add_column("runs", sa.Column("request_id", sa.String(), nullable=True))
    op.add_column("destination_health", sa.Column("reported_at", sa.BigInteger(), nullable=True))
    op.add_column("destination_health", sa.Column("reported_since", sa.BigInteger(), nullable=True))
    op.add_column("flows", sa.Column("freshness_seconds", sa.BigInteger(), nullable=True))
    op.add_column("flows", sa.Column("delivered_up_to", sa.BigInteger(), nullable=True))
    op.add_column("flows", sa.Column("judged_from", sa.BigInteger(), nullable=True))
    op.add_column("flows", sa.Column("late_since", sa.BigInteger(), nullable=True))
    op.create_index("ix_flows_late", "flows", ["sandbox_id", "late_since"], sqlite_where=_LATE, postgresql_where=_LATE)
    op.execute("UPDATE flows SET delivered_up_to = last_run_started_at WHERE last_run_state = 'success'")
