"""Adds names of files left by failed attempts at destinations without rename, until they are removed."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("run_parts", sa.Column("left", sa.JSON(), nullable=True))
