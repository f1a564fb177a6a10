"""Runs, their plans and files, and the position (watermark) of each flow."""

from collections.abc import Mapping

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from offtake.documents import InfoItem, Json, Retries, SliceDocument, TableSchemaDocument
from offtake.formats.losses import LossDocument
from offtake.store.tables.base import Base, Stamp
from offtake.store.tables.documents import ManifestRecord, Pins, ReportedWait

LIVE = text("status IN ('waiting', 'processing')")
READY = text("status = 'waiting' AND not_before IS NULL")
WAITS = text("status = 'waiting' AND not_before IS NOT NULL")
QUEUED = text("status = 'waiting' AND address IS NOT NULL")
UNALERTED = text("status IN ('waiting', 'processing') AND waiting_since IS NOT NULL AND alerted_at IS NULL")
SWEPT = text("sweep_due IS NOT NULL")
QUOTA = text("quota_since IS NOT NULL")
NO_TOTALS = text("rows IS NULL AND completed_at IS NOT NULL")


class Run(Stamp, Base):
    """One execution of a flow. A flow has one run per scheduled instant, and at most one live run.

    Every write about a run checks `fence`, the fencing token of the current lease; the holder increments
    `heartbeat_counter`, which is 0 when the run is free. A run with a `failure` has failed, and only its files are
    still to be removed. `sweep_due`: when a sweep looks for leftover files. `claims`: claims since its last progress.

    `disposal`: whether the files of a failed run are removed or kept (`store.disposals`); None until that is decided.
    `removals`: attempts to remove them. `sweep_error`: why the last sweep failed; None if it did not.

    `rows`, `bytes`: what it delivered, set when it ends (`store.run_totals`).

    A run that waits for its destination or its source is in the queue: no worker claims it before `not_before`.
    `wait_reported`: the last event about its waits or, when it has ended, about files that it left; None before it.

    `request_id`: of the request that created it; None for runs of the schedule. `traceparent`: the context of the trace
    that created it; None without tracing.
    """

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("flow_id", "scheduled_at"),
        Index("uq_runs_live", "flow_id", unique=True, sqlite_where=LIVE, postgresql_where=LIVE),
        Index("ix_runs_sweep", "sweep_due", sqlite_where=SWEPT, postgresql_where=SWEPT),
        Index("ix_runs_owed", "sandbox_id", sqlite_where=SWEPT, postgresql_where=SWEPT),
        Index("ix_runs_queue", "status", "created_at", sqlite_where=LIVE, postgresql_where=LIVE),
        Index("ix_runs_ready", "created_at", "id", sqlite_where=READY, postgresql_where=READY),
        Index("ix_runs_waits", "not_before", "fence", "created_at", "id", sqlite_where=WAITS, postgresql_where=WAITS),
        Index("ix_runs_windows", "wait_until", sqlite_where=WAITS, postgresql_where=WAITS),
        Index("ix_runs_address", "address", sqlite_where=QUEUED, postgresql_where=QUEUED),
        Index("ix_runs_unalerted", "waiting_since", sqlite_where=UNALERTED, postgresql_where=UNALERTED),
        Index("ix_runs_quota", "sandbox_id", sqlite_where=QUOTA, postgresql_where=QUOTA),
        Index("ix_runs_no_totals", "id", sqlite_where=NO_TOTALS, postgresql_where=NO_TOTALS),
        Index(None, "sandbox_id", "updated_at", "id"),
        Index(None, "sandbox_id", "created_at", "id"),
        Index(None, "sandbox_id", "flow_id", "updated_at", "id"),
        Index(None, "sandbox_id", "updated_at", "status", "rows", "bytes", "started_at"),
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
    """As in the request (`flows.runs.RunParams`), in milliseconds."""
    pins: Mapped[Pins | None]
    """The snapshots to export; for datasets that are not pinned, those since the flow's position."""
    folder: Mapped[str | None]
    """The subfolder of the target that everything is written to; None for the target's folder itself."""
    fence: Mapped[int]
    heartbeat_counter: Mapped[int] = mapped_column("beat", default=0)
    claims: Mapped[int] = mapped_column(default=0)
    lease_owner: Mapped[str | None]
    planned_at: Mapped[int | None]
    started_at: Mapped[int | None]
    completed_at: Mapped[int | None]
    rows: Mapped[int | None]
    bytes: Mapped[int | None]
    failure: Mapped[InfoItem | None] = mapped_column("verdict")
    sweep_due: Mapped[int | None]
    sweep_error: Mapped[InfoItem | None]
    disposal: Mapped[str | None]
    removals: Mapped[int] = mapped_column(default=0)
    location: Mapped[str | None]
    manifest_key: Mapped[str | None]
    """The planned key of the manifest file; empty for no file, None without a plan or before revision 0006."""
    address: Mapped[str | None]
    """The destination's address (`Connection.address`, else the connection's id); None for local destinations."""
    not_before: Mapped[int | None]
    held: Mapped[bool] = mapped_column(default=False)
    """Whether `not_before` comes from the destination's availability, not from the run itself."""
    deferred_at: Mapped[int | None]
    """When `not_before` was set; a value in the future means that the clock has been set back since."""
    waiting_since: Mapped[int | None]
    wait_reason: Mapped[InfoItem | None]
    wait_until: Mapped[int | None]
    """When the wait ends at the latest, and the run fails; None until that is computed."""
    quota_since: Mapped[int | None]
    """Since when the run is held for its sandbox's quota (`store.quotas`), with `not_before` at the month's end."""
    retries: Mapped[Retries | None]
    alerted_at: Mapped[int | None]
    wait_reported: Mapped[ReportedWait | None]
    request_id: Mapped[str | None]
    traceparent: Mapped[str | None]
    manifest: Mapped[ManifestRecord | None]
    """The manifest file as written; None for no file. In a live run: the intent to complete it."""
    errors: Mapped[list[InfoItem]]
    warnings: Mapped[list[InfoItem]]


class RunDataset(Base):
    """The plan of a run for one dataset, and its result. The snapshot range is (from, to].

    `position`: the flow's position when the plan was made; the position moves only if it is still there.
    `taken_over_by`: the run that continues from a failed run with kept files, or `store.disposals.NO_RUN`.
    """

    __tablename__ = "run_datasets"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    dataset_id: Mapped[str] = mapped_column(primary_key=True)
    dataset_name: Mapped[str]
    kind: Mapped[str]
    position: Mapped[int | None]
    from_snapshot: Mapped[int | None]
    to_snapshot: Mapped[int | None]
    schema: Mapped[TableSchemaDocument | None]
    folder: Mapped[str]
    input_files: Mapped[int]
    input_rows: Mapped[int]
    input_bytes: Mapped[int]
    deleted_rows: Mapped[int]
    error: Mapped[InfoItem | None]
    taken_over_by: Mapped[str | None]

    @property
    def columns(self) -> Mapping[str, int]:
        """The ids of the chosen columns by path; empty when all are delivered."""
        return {} if self.schema is None else self.schema.get("columns", {})


class RunPart(Base):
    """One file of a run: planned once; recorded when the destination has confirmed that it is complete.

    `intended_at`: when the intent to complete it was recorded, with its rows, bytes and hash; `token`: the temporary
    name that the last step replaces; `uri`: the file's URI at that time. A part with `intended_at` and without
    `finished_at` may be complete: the destination is checked before it is written again.

    `left`: names of files that attempts may have left and that are to be removed; it includes `key` until that file is
    complete. Only for destinations where each attempt writes under its own final name.

    `cpu_ms`: the CPU time of writing the file, by the process that wrote it and its child processes; None for a file
    that another run wrote, or that a version before revision 0024 recorded.

    `losses`: values that the file's format could not hold; None without losses, or when the part was recorded by a
    version before revision 0004.
    """

    __tablename__ = "run_parts"

    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[str]
    key: Mapped[str]
    slices: Mapped[list[SliceDocument]]
    input_rows: Mapped[int]
    input_bytes: Mapped[int]
    rows: Mapped[int | None]
    bytes: Mapped[int | None]
    sha256: Mapped[str | None]
    losses: Mapped[list[LossDocument] | None]
    finished_at: Mapped[int | None]
    intended_at: Mapped[int | None]
    token: Mapped[str | None]
    uri: Mapped[str | None]
    left: Mapped[list[str] | None]
    cpu_ms: Mapped[int | None]


class Watermark(Base):
    """The last snapshot of a dataset that a flow has delivered."""

    __tablename__ = "watermarks"

    flow_id: Mapped[str] = mapped_column(primary_key=True)
    dataset_id: Mapped[str] = mapped_column(primary_key=True)
    snapshot_id: Mapped[int]
    run_id: Mapped[str]
    updated_at: Mapped[int]
