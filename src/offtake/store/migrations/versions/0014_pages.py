"""Adds what the pages need: sessions, people of an OpenID Connect issuer, and the delivered rows and bytes of runs.

Housekeeping fills in the rows and bytes of earlier runs, in steps (`store.run_totals`).
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_FAILED = sa.text("last_run_state = 'failed'")
_RECENT = ["sandbox_id", "last_run_completed_at"]
_NO_TOTALS = sa.text("rows IS NULL AND completed_at IS NOT NULL")


def upgrade() -> None:
    """Apply."""
    op.add_column("runs", sa.Column("rows", sa.BigInteger(), nullable=True))
    op.add_column("runs", sa.Column("bytes", sa.BigInteger(), nullable=True))
    op.create_index(
        op.f("ix_runs_sandbox_id_updated_at_status_rows_bytes_started_at"),
        "runs",
        ["sandbox_id", "updated_at", "status", "rows", "bytes", "started_at"],
    )
    op.create_index(
        op.f("ix_batches_dataset_id_status_rows_bytes"), "batches", ["dataset_id", "status", "rows", "bytes"]
    )
    op.create_index("ix_runs_no_totals", "runs", ["id"], sqlite_where=_NO_TOTALS, postgresql_where=_NO_TOTALS)
    op.create_index("ix_flows_failed", "flows", _RECENT, sqlite_where=_FAILED, postgresql_where=_FAILED)
    op.create_index(op.f("ix_flows_sandbox_id_last_run_completed_at"), "flows", _RECENT)
    op.create_index(op.f("ix_flows_sandbox_id_next_run_s"), "flows", ["sandbox_id", "next_run_s"])
    op.add_column("clients", sa.Column("issuer", sa.String(), nullable=True))
    op.add_column("clients", sa.Column("subject", sa.String(), nullable=True))
    op.create_index("uq_clients_subject", "clients", ["issuer", "subject"], unique=True)
    op.add_column("role_subjects", sa.Column("from_groups", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "web_sessions",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name="fk_web_sessions_client_id_clients"),
        sa.PrimaryKeyConstraint("id", name="pk_web_sessions"),
    )
    op.create_index(op.f("ix_web_sessions_client_id"), "web_sessions", ["client_id"])
    op.create_index(op.f("ix_web_sessions_seen_at"), "web_sessions", ["seen_at"])
