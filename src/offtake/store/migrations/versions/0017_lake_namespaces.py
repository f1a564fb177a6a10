"""Adds namespaces that are kept in step, and to datasets the catalog of a registered table and when it was dropped."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_SCHEME = "iceberg://"


def upgrade() -> None:
    """Apply."""
    op.add_column("datasets", sa.Column("catalog_id", sa.String(), nullable=True))
    op.add_column("datasets", sa.Column("gone_at", sa.BigInteger(), nullable=True))
    op.create_index(op.f("ix_datasets_catalog_id_table_name"), "datasets", ["catalog_id", "table_name"])
    _fill_catalogs()
    op.create_table(
        "lake_namespaces",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("org_id", sa.String(), nullable=False),
        sa.Column("sandbox_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("updated_by", sa.String(), nullable=False),
        sa.Column("created_client", sa.String(), nullable=False),
        sa.Column("updated_client", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("catalog_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("steps", sa.JSON(), nullable=False),
        sa.Column("excluded", sa.JSON(), nullable=False),
        sa.Column("refused", sa.JSON(), nullable=False),
        sa.Column("cursor", sa.String(), nullable=False),
        sa.Column("tables", sa.BigInteger(), nullable=False),
        sa.Column("problem", sa.String(), nullable=True),
        sa.Column("synced_at", sa.BigInteger(), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["catalog_id"], ["lake_catalogs.id"], name="fk_lake_namespaces_catalog_id_lake_catalogs"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_lake_namespaces"),
    )
    op.create_index("uq_lake_namespaces_name", "lake_namespaces", ["catalog_id", "name"], unique=True)
    op.create_index(op.f("ix_lake_namespaces_due_at"), "lake_namespaces", ["due_at"])


def _fill_catalogs() -> None:
    """The catalog's id is the host of the name of a registered table."""
    datasets = sa.table("datasets", sa.column("id"), sa.column("table_name"), sa.column("catalog_id"))
    connection = op.get_bind()
    registered = sa.select(datasets.c.id, datasets.c.table_name).where(datasets.c.table_name.startswith(_SCHEME))
    for row in connection.execute(registered).all():
        catalog_id = row.table_name.removeprefix(_SCHEME).partition("/")[0]
        connection.execute(sa.update(datasets).where(datasets.c.id == row.id).values(catalog_id=catalog_id))
