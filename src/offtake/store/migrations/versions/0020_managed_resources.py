"""Adds the tags of resources that are declared in files: the set of files that each belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "managed_resources",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("resource_id", sa.String(), nullable=False),
        sa.Column("org_id", sa.String(), nullable=False),
        sa.Column("sandbox_id", sa.String(), nullable=False),
        sa.Column("set_name", sa.String(), nullable=False),
        sa.Column("tagged_at", sa.BigInteger(), nullable=False),
        sa.Column("tagged_by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "resource_id", name="pk_managed_resources"),
    )
    op.create_index("ix_managed_resources_org_id_set_name", "managed_resources", ["org_id", "set_name"])
    op.create_index("ix_managed_resources_sandbox_id", "managed_resources", ["sandbox_id"])
