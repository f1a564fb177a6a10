"""Adds to source connections the branches and tags of the datasets that are not exported from main."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("source_connections", sa.Column("refs", sa.JSON(), nullable=True))
