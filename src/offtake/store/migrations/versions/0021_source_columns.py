"""Adds to source connections the chosen columns of the datasets that are not exported with all columns."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("source_connections", sa.Column("columns", sa.JSON(), nullable=True))
