"""Makes manifest files opt-in; existing target connections keep them, under the same names."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ASKED = "includeFileManifest"
_TARGETS = sa.table(
    "target_connections",
    sa.column("id", sa.String()),
    sa.column("params", sa.JSON()),
    sa.column("manifest_by_target", sa.Boolean()),
)


def upgrade() -> None:
    """Apply. Stores `includeFileManifest: true` in existing params without it, as it was the default then."""
    with op.batch_alter_table("target_connections") as table:
        table.add_column(sa.Column("manifest_by_target", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("runs") as table:
        table.add_column(sa.Column("manifest_key", sa.String(), nullable=True))
    connection = op.get_bind()
    connection.execute(sa.update(_TARGETS).values(manifest_by_target=True))
    for row in connection.execute(sa.select(_TARGETS.c.id, _TARGETS.c.params)).all():
        if _ASKED not in row.params:
            asked = sa.update(_TARGETS).where(_TARGETS.c.id == row.id)
            connection.execute(asked.values(params={**row.params, _ASKED: True}))
