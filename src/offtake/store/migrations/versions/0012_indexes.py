"""Adds indexes for queries that scanned whole tables: loading batches, and runs by creation time."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_LOADING = sa.text("status = 'loading'")


def upgrade() -> None:
    """Apply."""
    op.create_index(op.f("ix_runs_sandbox_id_created_at_id"), "runs", ["sandbox_id", "created_at", "id"])
    op.create_index("ix_batches_loading", "batches", ["updated_at"], sqlite_where=_LOADING, postgresql_where=_LOADING)
