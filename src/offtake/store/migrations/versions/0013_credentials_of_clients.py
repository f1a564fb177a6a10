"""Assigns landing zone credentials to clients. Existing credentials have no client, so they are revoked."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute(sa.text("UPDATE landing_zone_keys SET revoked_at = created_at WHERE revoked_at IS NULL"))
    op.add_column("landing_zone_keys", sa.Column("client_id", sa.String(), nullable=True))
    op.add_column("landing_zone_keys", sa.Column("deletes", sa.Boolean(), nullable=True))
