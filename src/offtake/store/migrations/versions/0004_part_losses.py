"""What a finished part could not hold, for the warnings of its run."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Parts that an earlier version finished have counted nothing."""
    with op.batch_alter_table("run_parts") as table:
        table.add_column(sa.Column("losses", sa.JSON(), nullable=True))
