"""Adds schema evolution as an option of datasets, content hashes of batches, and counters of table rewrites."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Existing datasets keep accepting new columns; new datasets do not by default."""
    with op.batch_alter_table("datasets") as table:
        table.add_column(sa.Column("evolves", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("declared", sa.JSON(), nullable=True))
        table.add_column(sa.Column("rewrites", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(sa.update(sa.table("datasets", sa.column("evolves", sa.Boolean()))).values(evolves=True))
    with op.batch_alter_table("batches") as table:
        table.add_column(sa.Column("evolve", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("content_hash", sa.String(), nullable=True))
        table.add_column(sa.Column("notes", sa.JSON(), nullable=False, server_default="[]"))
        table.add_column(sa.Column("rewrites", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("ix_batches_dataset_id_content_hash", "batches", ["dataset_id", "content_hash"])
