"""Adds to flows the warnings before their end that have been logged."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Whether an end was set by default is already in the stored schedules."""
    with op.batch_alter_table("flows") as table:
        table.add_column(sa.Column("ends_logged", sa.JSON(), nullable=True))
