"""Adds the intent to complete a file, and whether the files of failed runs are removed or kept."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Files of ended runs count as removed: the earlier version removed them, or a sweep will."""
    with op.batch_alter_table("run_parts") as table:
        table.add_column(sa.Column("intended_at", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("token", sa.String(), nullable=True))
        table.add_column(sa.Column("uri", sa.String(), nullable=True))
    with op.batch_alter_table("runs") as table:
        table.add_column(sa.Column("disposal", sa.String(), nullable=True))
        table.add_column(sa.Column("removals", sa.BigInteger(), nullable=False, server_default="0"))
    with op.batch_alter_table("run_datasets") as table:
        table.add_column(sa.Column("taken_over_by", sa.String(), nullable=True))
    runs = sa.table("runs", sa.column("disposal", sa.String()), sa.column("completed_at", sa.BigInteger()))
    op.execute(sa.update(runs).where(runs.c.completed_at.is_not(None)).values(disposal="removed"))
