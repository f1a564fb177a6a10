"""The tables. Instants are epoch milliseconds (UTC) unless a column's name ends in `_s` (seconds)."""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Json = dict[str, Any]


class Base(DeclarativeBase):
    """Names every constraint, so that migrations can speak of them on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads this plain class attribute
        int: BigInteger,
        Json: JSON,
        list[str]: JSON,
        list[Json]: JSON,
        bytes: LargeBinary,
        str: String,
    }


class Organisation(Base):
    """An organisation; its id ends in `@AdobeOrg`."""

    __tablename__ = "organisations"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[int]


class Sandbox(Base):
    """A room within an organisation; nothing crosses it."""

    __tablename__ = "sandboxes"
    __table_args__ = (UniqueConstraint("org_id", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisations.id"))
    name: Mapped[str]
    title: Mapped[str]
    type: Mapped[str]
    state: Mapped[str]
    is_default: Mapped[bool]
    created_at: Mapped[int]
    updated_at: Mapped[int]


class Client(Base):
    """An API client. Its secret is kept as a salted hash only."""

    __tablename__ = "clients"

    id: Mapped[str] = mapped_column(primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisations.id"))
    name: Mapped[str]
    account_id: Mapped[str]
    secret_hash: Mapped[str]
    permissions: Mapped[list[str]]
    created_at: Mapped[int]
    revoked_at: Mapped[int | None]


class SigningKey(Base):
    """A key that signs tokens, sealed by the vault."""

    __tablename__ = "signing_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    sealed: Mapped[bytes]
    created_at: Mapped[int]
    retired_at: Mapped[int | None]


class Stamp:
    """Who made and last changed a row, when, in which sandbox; `version` changes with every write."""

    id: Mapped[str] = mapped_column(primary_key=True)
    org_id: Mapped[str]
    sandbox_id: Mapped[str]
    created_at: Mapped[int]
    updated_at: Mapped[int]
    created_by: Mapped[str]
    updated_by: Mapped[str]
    created_client: Mapped[str]
    updated_client: Mapped[str]
    version: Mapped[str]


class Entity(Stamp):
    """What connections and flows have in common (contract, section 6.1)."""

    name: Mapped[str]
    description: Mapped[str | None]
    state: Mapped[str]


class Dataset(Stamp, Base):
    """A dataset: 24 hexadecimal digits for an id, and the Iceberg table that holds its rows."""

    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("sandbox_id", "name"),)

    name: Mapped[str]
    description: Mapped[str | None]
    table_name: Mapped[str]
    schema_ref: Mapped[Json | None]
    tags: Mapped[Json]


class Batch(Base):
    """A batch of rows that became visible in a dataset as one snapshot."""

    __tablename__ = "batches"

    id: Mapped[str] = mapped_column(primary_key=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    status: Mapped[str]
    snapshot_id: Mapped[int | None]
    rows: Mapped[int]
    bytes: Mapped[int]
    created_at: Mapped[int]
    completed_at: Mapped[int | None]
    created_client: Mapped[str]


class Connection(Entity, Base):
    """A base connection. `auth_public` holds the params with secrets masked, `auth_sealed` all of them."""

    __tablename__ = "connections"
    __table_args__ = (Index(None, "sandbox_id", "updated_at", "id"),)

    connection_spec_id: Mapped[str]
    auth_spec_name: Mapped[str | None]
    auth_public: Mapped[Json | None]
    auth_sealed: Mapped[bytes | None]
    encryption: Mapped[Json | None]


class SourceConnection(Entity, Base):
    """Which datasets go out."""

    __tablename__ = "source_connections"
    __table_args__ = (Index(None, "sandbox_id", "updated_at", "id"),)

    connection_spec_id: Mapped[str]
    base_connection_id: Mapped[str]
    dataset_ids: Mapped[list[str]]
    data: Mapped[Json | None]


class TargetConnection(Entity, Base):
    """Where, and in which file format, they go."""

    __tablename__ = "target_connections"
    __table_args__ = (Index(None, "sandbox_id", "updated_at", "id"),)

    connection_spec_id: Mapped[str]
    base_connection_id: Mapped[str] = mapped_column(ForeignKey("connections.id"), index=True)
    params: Mapped[Json]


class Flow(Entity, Base):
    """A source, a target and a schedule. Run bookkeeping does not change its version (contract, section 5.6)."""

    __tablename__ = "flows"
    __table_args__ = (
        Index(None, "sandbox_id", "updated_at", "id"),
        Index("ix_flows_due", "next_run_s", sqlite_where=text("next_run_s IS NOT NULL")),
    )

    flow_spec_id: Mapped[str]
    source_connection_id: Mapped[str] = mapped_column(ForeignKey("source_connections.id"), index=True)
    target_connection_id: Mapped[str] = mapped_column(ForeignKey("target_connections.id"), index=True)
    schedule: Mapped[Json]
    next_run_s: Mapped[int | None]
    last_operation: Mapped[Json]
    last_run_id: Mapped[str | None]
    last_run_state: Mapped[str | None]
    last_run_started_at: Mapped[int | None]
    last_run_completed_at: Mapped[int | None]


LIVE = text("status IN ('waiting', 'processing')")


class Run(Stamp, Base):
    """One execution of a flow. A flow has one run per scheduled instant, and at most one live run.

    Every write about a run carries `fence`, the number that its present holder was given with the lease.
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("flow_id", "scheduled_at"),
        Index("uq_runs_live", "flow_id", unique=True, sqlite_where=LIVE, postgresql_where=LIVE),
        Index("ix_runs_queue", "status", "created_at", sqlite_where=LIVE, postgresql_where=LIVE),
        Index(None, "sandbox_id", "updated_at", "id"),
        Index(None, "flow_id", "updated_at", "id"),
    )

    flow_id: Mapped[str]
    flow_spec_id: Mapped[str]
    source_connection_id: Mapped[str]
    target_connection_id: Mapped[str]
    trigger: Mapped[str]
    scheduled_at: Mapped[int]
    dataset_ids: Mapped[list[str]]
    full_export: Mapped[bool]
    moves_position: Mapped[bool]
    status: Mapped[str]
    cancel_requested: Mapped[bool]
    parent_run_id: Mapped[str | None]
    fence: Mapped[int]
    lease_owner: Mapped[str | None]
    lease_until: Mapped[int | None]
    planned_at: Mapped[int | None]
    started_at: Mapped[int | None]
    completed_at: Mapped[int | None]
    location: Mapped[str | None]
    manifest: Mapped[Json | None]
    errors: Mapped[list[Json]]
    warnings: Mapped[list[Json]]


class RunDataset(Base):
    """What a run's plan pinned for one dataset, and what came of it. Snapshots: (from, to]."""

    __tablename__ = "run_datasets"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    dataset_id: Mapped[str] = mapped_column(primary_key=True)
    dataset_name: Mapped[str]
    kind: Mapped[str]
    from_snapshot: Mapped[int | None]
    to_snapshot: Mapped[int | None]
    schema: Mapped[Json | None]
    folder: Mapped[str]
    input_files: Mapped[int]
    input_rows: Mapped[int]
    input_bytes: Mapped[int]
    deleted_rows: Mapped[int]
    error: Mapped[Json | None]


class RunPart(Base):
    """One file of a run: planned once, recorded once it is whole at the destination."""

    __tablename__ = "run_parts"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[str]
    key: Mapped[str]
    slices: Mapped[list[Json]]
    input_rows: Mapped[int]
    input_bytes: Mapped[int]
    rows: Mapped[int | None]
    bytes: Mapped[int | None]
    sha256: Mapped[str | None]
    finished_at: Mapped[int | None]


class Watermark(Base):
    """The last snapshot of a dataset that a flow has delivered."""

    __tablename__ = "watermarks"

    flow_id: Mapped[str] = mapped_column(primary_key=True)
    dataset_id: Mapped[str] = mapped_column(primary_key=True)
    snapshot_id: Mapped[int]
    run_id: Mapped[str]
    updated_at: Mapped[int]
