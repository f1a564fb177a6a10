"""Adds to run parts the values that their file format could not hold, for the run's warnings."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Parts of earlier versions have no counts."""
    with op.batch_alter_table("run_parts") as table:
        table.add_column(sa.Column("losses", sa.JSON(), nullable=True))
