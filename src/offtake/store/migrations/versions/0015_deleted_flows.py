"""Adds an index of the deletions of flows in the audit log: the pages show the names of deleted flows."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_DELETIONS = sa.text("resource_type = 'flows' AND action = 'delete'")


def upgrade() -> None:
    """Apply."""
    columns = ["org_id", "sandbox_name", "id"]
    op.create_index(
        "ix_audit_events_deleted_flows",
        "audit_events",
        columns,
        sqlite_where=_DELETIONS,
        postgresql_where=_DELETIONS,
    )
