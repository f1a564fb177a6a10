"""Adds to runs the error of the last attempt to remove their files, and an index of those to be swept by sandbox."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("runs", sa.Column("sweep_error", sa.JSON(), nullable=True))
    swept = sa.text("sweep_due IS NOT NULL")
    op.create_index("ix_runs_owed", "runs", ["sandbox_id"], sqlite_where=swept, postgresql_where=swept)
