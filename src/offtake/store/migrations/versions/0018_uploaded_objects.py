"""Adds the objects that hold the parts of uploaded files, where uploads are in an object store."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("batch_files") as table:
        table.add_column(sa.Column("objects", sa.JSON(), nullable=True))
