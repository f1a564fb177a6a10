"""Lets several datasets of a sandbox have the same name."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. The name keeps an index, because commands look datasets up by name."""
    with op.batch_alter_table("datasets") as table:
        table.drop_constraint(op.f("uq_datasets_sandbox_id_name"), type_="unique")
        table.create_index(op.f("ix_datasets_sandbox_id_name"), ["sandbox_id", "name"])
