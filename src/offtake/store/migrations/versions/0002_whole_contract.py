"""Adds roles, the audit log, labels, uploaded batches and landing zone keys."""

import time
from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STAGED = "status IN ('staged', 'processing')"


def upgrade() -> None:
    """Apply."""
    _make_tables()
    _extend_batches()
    _give_roles()
    with op.batch_alter_table("datasets") as table:
        table.add_column(sa.Column("file_description", sa.JSON(), nullable=True))
        table.add_column(sa.Column("classification", sa.JSON(), nullable=True))
        table.add_column(sa.Column("error_diagnostics", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("flows") as table:
        table.add_column(sa.Column("policy", sa.JSON(), nullable=True))
    with op.batch_alter_table("runs") as table:
        table.add_column(sa.Column("params", sa.JSON(), nullable=True))
        table.drop_index(op.f("ix_runs_flow_id_updated_at_id"))
        # SQLite prefers the index that matches most equality conditions; queries for a flow's runs include the sandbox.
        table.create_index(
            op.f("ix_runs_sandbox_id_flow_id_updated_at_id"), ["sandbox_id", "flow_id", "updated_at", "id"]
        )
    with op.batch_alter_table("sandboxes") as table:
        table.add_column(sa.Column("revision", sa.BigInteger(), nullable=False, server_default="1"))
        table.add_column(sa.Column("created_by", sa.String(), nullable=False, server_default="system@AdobeID"))
        table.add_column(sa.Column("updated_by", sa.String(), nullable=False, server_default="system@AdobeID"))


def _make_tables() -> None:
    op.create_table(
        "audit_events",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("org_id", sa.String(), nullable=False),
        sa.Column("sandbox_name", sa.String(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.String(), nullable=False),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("remote", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("resource_type", sa.String(), nullable=False),
        sa.Column("resource_id", sa.String(), nullable=False),
        sa.Column("resource_name", sa.String(), nullable=True),
        sa.Column("before", sa.JSON(), nullable=True),
        sa.Column("after", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    op.create_index(op.f("ix_audit_events_org_id_id"), "audit_events", ["org_id", "id"])
    op.create_index(op.f("ix_audit_events_org_id_sandbox_name_id"), "audit_events", ["org_id", "sandbox_name", "id"])
    op.create_index(op.f("ix_audit_events_resource_id_id"), "audit_events", ["resource_id", "id"])
    op.create_table(
        "labels",
        sa.Column("entity_id", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("entity_id", "label", name=op.f("pk_labels")),
    )
    op.create_table(
        "roles",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("org_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("permissions", sa.JSON(), nullable=False),
        sa.Column("sandboxes", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("updated_by", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organisations.id"], name=op.f("fk_roles_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roles")),
        sa.UniqueConstraint("org_id", "name", name=op.f("uq_roles_org_id_name")),
    )
    op.create_table(
        "role_subjects",
        sa.Column("role_id", sa.String(), nullable=False),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name=op.f("fk_role_subjects_client_id")),
        sa.ForeignKeyConstraint(["role_id"], ["roles.id"], name=op.f("fk_role_subjects_role_id")),
        sa.PrimaryKeyConstraint("role_id", "client_id", name=op.f("pk_role_subjects")),
    )
    op.create_index(op.f("ix_role_subjects_client_id"), "role_subjects", ["client_id"])
    op.create_table(
        "landing_zone_keys",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("sandbox_id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["sandbox_id"], ["sandboxes.id"], name=op.f("fk_landing_zone_keys_sandbox_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_landing_zone_keys")),
    )
    op.create_index(
        op.f("ix_landing_zone_keys_sandbox_id_type_created_at"),
        "landing_zone_keys",
        ["sandbox_id", "type", "created_at"],
    )


def _extend_batches() -> None:
    with op.batch_alter_table("batches") as table:
        table.drop_index(op.f("ix_batches_dataset_id"))
        table.drop_constraint(op.f("fk_batches_dataset_id"), type_="foreignkey")
        for name in ("org_id", "sandbox_id", "created_by", "updated_by", "updated_client", "version"):
            table.add_column(sa.Column(name, sa.String(), nullable=False, server_default=""))
        for name in ("updated_at", "input_rows", "input_bytes", "failed_rows", "fence"):
            table.add_column(sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
        for name, empty in (("input_format", "{}"), ("tags", "{}"), ("replaces", "[]"), ("errors", "[]")):
            table.add_column(sa.Column(name, sa.JSON(), nullable=False, server_default=empty))
        table.add_column(sa.Column("external_id", sa.String(), nullable=True))
        table.add_column(sa.Column("error_diagnostics", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("failed_percentage", sa.Double(), nullable=False, server_default="0"))
        table.add_column(sa.Column("started_at", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("lease_owner", sa.String(), nullable=True))
        table.add_column(sa.Column("lease_until", sa.BigInteger(), nullable=True))
    of_dataset = "(SELECT {0} FROM datasets WHERE datasets.id = batches.dataset_id)"
    filled = ", ".join(f"{name} = {of_dataset.format(name)}" for name in ("org_id", "sandbox_id", "created_by"))
    op.execute(f"UPDATE batches SET {filled}, version = id, updated_client = created_client")  # noqa: S608 - contains no user input
    op.execute(
        "UPDATE batches SET updated_by = created_by, updated_at = coalesce(completed_at, created_at), "
        "started_at = created_at, input_rows = rows, input_bytes = bytes"
    )
    staged = sa.text(_STAGED)
    op.create_index(
        "ix_batches_queue", "batches", ["status", "updated_at"], sqlite_where=staged, postgresql_where=staged
    )
    op.create_index(op.f("ix_batches_dataset_id_created_at_id"), "batches", ["dataset_id", "created_at", "id"])
    op.create_index(op.f("ix_batches_sandbox_id_created_at_id"), "batches", ["sandbox_id", "created_at", "id"])
    op.create_table(
        "batch_files",
        sa.Column("batch_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("received", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_batch_files_batch_id")),
        sa.PrimaryKeyConstraint("batch_id", "name", name=op.f("pk_batch_files")),
    )


def _give_roles() -> None:
    """Move permissions from clients to roles: each organisation's administrators get a role."""
    with op.batch_alter_table("clients") as table:
        table.add_column(sa.Column("kind", sa.String(), nullable=False, server_default="user"))
        table.add_column(sa.Column("rotated_at", sa.BigInteger(), nullable=True))
        table.alter_column("secret_hash", existing_type=sa.String(), nullable=True)
    connection = op.get_bind()
    clients = sa.table("clients", sa.column("id"), sa.column("org_id"))
    roles = sa.Table("roles", sa.MetaData(), autoload_with=connection)
    subjects = sa.table("role_subjects", sa.column("role_id"), sa.column("client_id"))
    made: dict[str, str] = {}
    for client in connection.execute(sa.select(clients)).all():
        if client.org_id not in made:
            made[client.org_id] = str(uuid4())
            now = time.time_ns() // 1_000_000
            connection.execute(
                roles.insert().values(
                    id=made[client.org_id],
                    org_id=client.org_id,
                    name="Administrators",
                    description="Everything, in every sandbox.",
                    permissions=["*"],
                    sandboxes=["*"],
                    labels=["*"],
                    created_at=now,
                    updated_at=now,
                    created_by="system@AdobeID",
                    updated_by="system@AdobeID",
                )
            )
        connection.execute(subjects.insert().values(role_id=made[client.org_id], client_id=client.id))
    with op.batch_alter_table("clients") as table:
        table.drop_column("permissions")
