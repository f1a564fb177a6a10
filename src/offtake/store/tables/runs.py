"""Runs, what they planned and delivered, and how far each flow has come."""

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from offtake.store.tables.base import Base, Json, Stamp

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
        Index(None, "sandbox_id", "flow_id", "updated_at", "id"),
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
    params: Mapped[Json | None]
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
