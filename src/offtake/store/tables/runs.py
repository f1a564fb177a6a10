"""Runs, what they planned and delivered, and how far each flow has come."""

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from offtake.store.tables.base import Base, Json, Stamp

LIVE = text("status IN ('waiting', 'processing')")
READY = text("status = 'waiting' AND not_before IS NULL")
WAITS = text("status = 'waiting' AND not_before IS NOT NULL")
QUEUED = text("status = 'waiting' AND address IS NOT NULL")
UNALERTED = text("status IN ('waiting', 'processing') AND waiting_since IS NOT NULL AND alerted_at IS NULL")
SWEPT = text("sweep_due IS NOT NULL")


class Run(Stamp, Base):
    """One execution of a flow. A flow has one run per scheduled instant, and at most one live run.

    Every write about a run carries `fence`, the number that its present holder was given with the lease;
    `heartbeat_counter` is counted up while the holder lives, 0 when the run is free. A run with a `failure` has failed,
    and only its files are still to be removed. `sweep_due`: when somebody looks for what was left behind. `claims`:
    since its last progress.

    `disposal`: what becomes of the files of a run with a verdict (`store.disposals`); None until that is decided.
    `removals`: how often their removal was begun.

    A run that waits for its destination or its source is in the queue: no worker claims it before `not_before`.
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("flow_id", "scheduled_at"),
        Index("uq_runs_live", "flow_id", unique=True, sqlite_where=LIVE, postgresql_where=LIVE),
        Index("ix_runs_sweep", "sweep_due", sqlite_where=SWEPT, postgresql_where=SWEPT),
        Index("ix_runs_queue", "status", "created_at", sqlite_where=LIVE, postgresql_where=LIVE),
        Index("ix_runs_ready", "created_at", "id", sqlite_where=READY, postgresql_where=READY),
        Index("ix_runs_waits", "not_before", "fence", "created_at", "id", sqlite_where=WAITS, postgresql_where=WAITS),
        Index("ix_runs_windows", "wait_until", sqlite_where=WAITS, postgresql_where=WAITS),
        Index("ix_runs_address", "address", sqlite_where=QUEUED, postgresql_where=QUEUED),
        Index("ix_runs_unalerted", "waiting_since", sqlite_where=UNALERTED, postgresql_where=UNALERTED),
        Index(None, "sandbox_id", "updated_at", "id"),
        Index(None, "sandbox_id", "created_at", "id"),
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
    pins: Mapped[Json | None]
    """The snapshots to export, by dataset id; without one, those since the flow's position."""
    folder: Mapped[str | None]
    """A folder of the target's own that everything goes into; None for the target's folder itself."""
    fence: Mapped[int]
    heartbeat_counter: Mapped[int] = mapped_column("beat", default=0)
    claims: Mapped[int] = mapped_column(default=0)
    lease_owner: Mapped[str | None]
    planned_at: Mapped[int | None]
    started_at: Mapped[int | None]
    completed_at: Mapped[int | None]
    failure: Mapped[Json | None] = mapped_column("verdict")
    sweep_due: Mapped[int | None]
    disposal: Mapped[str | None]
    removals: Mapped[int] = mapped_column(default=0)
    location: Mapped[str | None]
    manifest_key: Mapped[str | None]
    """Where the plan puts the manifest file; empty for no file, None without a plan or before revision 0006."""
    address: Mapped[str | None]
    """The destination's address (`Connection.address`, else its id); None for places of this deployment's own."""
    not_before: Mapped[int | None]
    held: Mapped[bool] = mapped_column(default=False)
    """Whether `not_before` is its destination's, and not the run's own."""
    deferred_at: Mapped[int | None]
    """When `not_before` was set: later than now, the clock has been set back since."""
    waiting_since: Mapped[int | None]
    wait_reason: Mapped[Json | None]
    wait_until: Mapped[int | None]
    """When the run is given up at the latest; None while nobody has worked that out."""
    retries: Mapped[Json | None]
    """By what failed: how often it did, and when it did first."""
    alerted_at: Mapped[int | None]
    manifest: Mapped[Json | None]
    """The manifest file as it was written: its key, bytes and SHA-256; None for no file.

    Of a run that is not over: as it is about to be completed, with its address as `uri` and `token` as in `RunPart`.
    """
    errors: Mapped[list[Json]]
    warnings: Mapped[list[Json]]


class RunDataset(Base):
    """What a run's plan pinned for one dataset, and what came of it. Snapshots: (from, to].

    `position`: what the flow had delivered when the plan was made; the position moves from there and nowhere else.
    `taken_over_by`: the run that continues from a failed run that kept its files, or `store.disposals.NOBODY`.
    """

    __tablename__ = "run_datasets"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    dataset_id: Mapped[str] = mapped_column(primary_key=True)
    dataset_name: Mapped[str]
    kind: Mapped[str]
    position: Mapped[int | None]
    from_snapshot: Mapped[int | None]
    to_snapshot: Mapped[int | None]
    schema: Mapped[Json | None]
    folder: Mapped[str]
    input_files: Mapped[int]
    input_rows: Mapped[int]
    input_bytes: Mapped[int]
    deleted_rows: Mapped[int]
    error: Mapped[Json | None]
    taken_over_by: Mapped[str | None]


class RunPart(Base):
    """One file of a run: planned once, recorded once the destination has confirmed that it is complete.

    `intended_at`: when the last step of writing it was announced, with the rows, bytes and hash that it then has;
    `token` is the temporary name that the last step replaces, `uri` the file's address at that time. A part with
    `intended_at` and without `finished_at` may be complete: the destination is asked before it is written again.

    `left`: names under which attempts may have left a file that is to be removed, `key` among them until its file
    counts; only where files are written under their final names, and each attempt has its own.

    `losses`: values that the file's format could not hold, as documents of `formats.losses`; None for no losses, and
    in parts that a version before revision 0004 recorded.
    """

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
    losses: Mapped[list[Json] | None]
    finished_at: Mapped[int | None]
    intended_at: Mapped[int | None]
    token: Mapped[str | None]
    uri: Mapped[str | None]
    left: Mapped[list[str] | None]


class Watermark(Base):
    """The last snapshot of a dataset that a flow has delivered."""

    __tablename__ = "watermarks"

    flow_id: Mapped[str] = mapped_column(primary_key=True)
    dataset_id: Mapped[str] = mapped_column(primary_key=True)
    snapshot_id: Mapped[int]
    run_id: Mapped[str]
    updated_at: Mapped[int]
