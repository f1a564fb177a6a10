"""Adds runs that wait in the queue for a destination or a source, and the availability of destinations."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_READY = sa.text("status = 'waiting' AND not_before IS NULL")
_WAITS = sa.text("status = 'waiting' AND not_before IS NOT NULL")
_QUEUED = sa.text("status = 'waiting' AND address IS NOT NULL")
_UNALERTED = sa.text("status IN ('waiting', 'processing') AND waiting_since IS NOT NULL AND alerted_at IS NULL")
_INDEXES = (
    ("ix_runs_ready", ["created_at", "id"], _READY),
    ("ix_runs_waits", ["not_before", "fence", "created_at", "id"], _WAITS),
    ("ix_runs_windows", ["wait_until"], _WAITS),
    ("ix_runs_address", ["address"], _QUEUED),
    ("ix_runs_unalerted", ["waiting_since"], _UNALERTED),
)


def upgrade() -> None:
    """Apply. Queued runs get no address, and are claimed as before."""
    with op.batch_alter_table("connections") as table:
        table.add_column(sa.Column("address", sa.String(), nullable=True))
    with op.batch_alter_table("runs") as table:
        table.add_column(sa.Column("address", sa.String(), nullable=True))
        table.add_column(sa.Column("held", sa.Boolean(), nullable=False, server_default=sa.false()))
        for name in ("not_before", "deferred_at", "waiting_since", "wait_until", "alerted_at"):
            table.add_column(sa.Column(name, sa.BigInteger(), nullable=True))
        for name in ("wait_reason", "retries"):
            table.add_column(sa.Column(name, sa.JSON(), nullable=True))
    for name, columns, where in _INDEXES:
        op.create_index(name, "runs", columns, sqlite_where=where, postgresql_where=where)
    times = ("answered_at", "away_since", "noted_at", "next_at", "probing_until")
    op.create_table(
        "destination_health",
        sa.Column("address", sa.String(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in times),
        sa.Column("failures", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("reason", sa.JSON(), nullable=True),
        sa.Column("probe_run_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("address", name="pk_destination_health"),
    )
