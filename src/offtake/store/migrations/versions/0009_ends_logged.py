"""Which thresholds before a flow's end have been logged."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Whether an end was filled in by default is part of the stored schedule since the first version."""
    with op.batch_alter_table("flows") as table:
        table.add_column(sa.Column("ends_logged", sa.JSON(), nullable=True))
