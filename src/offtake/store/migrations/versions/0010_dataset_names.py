"""Several datasets of a sandbox may have one name."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Names are looked up by commands, so that they keep an index."""
    with op.batch_alter_table("datasets") as table:
        table.drop_constraint(op.f("uq_datasets_sandbox_id_name"), type_="unique")
        table.create_index(op.f("ix_datasets_sandbox_id_name"), ["sandbox_id", "name"])
