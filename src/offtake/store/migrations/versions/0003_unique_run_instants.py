"""Adds heartbeat counters of leases, recorded failures and sweeps of runs, and consecutive failures of flows."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SWEPT = sa.text("sweep_due IS NOT NULL")
_FAILING = sa.text("failures > 0")
_LIVE_POSITIONS = """
    UPDATE run_datasets SET position = (
        SELECT snapshot_id FROM watermarks JOIN runs ON runs.flow_id = watermarks.flow_id
        WHERE runs.id = run_datasets.run_id AND watermarks.dataset_id = run_datasets.dataset_id
    ) WHERE run_id IN (SELECT id FROM runs WHERE status IN ('waiting', 'processing'))
"""


def upgrade() -> None:
    """Apply. Releases every run and batch: their holders were processes of the previous version."""
    with op.batch_alter_table("batches") as table:
        table.add_column(sa.Column("beat", sa.BigInteger(), nullable=False, server_default="0"))
    with op.batch_alter_table("runs") as table:
        table.drop_column("lease_until")
        table.add_column(sa.Column("beat", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("claims", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("pins", sa.JSON(), nullable=True))
        table.add_column(sa.Column("folder", sa.String(), nullable=True))
        table.add_column(sa.Column("verdict", sa.JSON(), nullable=True))
        table.add_column(sa.Column("sweep_due", sa.BigInteger(), nullable=True))
    with op.batch_alter_table("run_datasets") as table:
        table.add_column(sa.Column("position", sa.BigInteger(), nullable=True))
    op.execute(sa.text("UPDATE batches SET lease_until = 0 WHERE status = 'processing'"))
    # The position of earlier full exports is unknown; live runs get the flow's current position.
    op.execute(sa.text("UPDATE run_datasets SET position = from_snapshot"))
    op.execute(sa.text(_LIVE_POSITIONS))
    with op.batch_alter_table("flows") as table:
        table.add_column(sa.Column("failures", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("failing_since", sa.BigInteger(), nullable=True))
    op.create_index("ix_runs_sweep", "runs", ["sweep_due"], sqlite_where=_SWEPT, postgresql_where=_SWEPT)
    op.create_index("ix_flows_failing", "flows", ["failures"], sqlite_where=_FAILING, postgresql_where=_FAILING)
