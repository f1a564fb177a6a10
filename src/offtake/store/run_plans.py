"""The plan of a run: the pinned snapshots of each dataset, and the parts. Stored once; an outdated plan is refused."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.documents import InfoItem
from offtake.errors import LeaseLostError
from offtake.store import disposals
from offtake.store.batches import PROCESSING
from offtake.store.conditions import LIVE_RUN
from offtake.store.database import Database
from offtake.store.run_leases import Lease, lock_run
from offtake.store.run_parts import run_datasets, run_parts
from offtake.store.tables import Batch, Dataset, Run, RunDataset, RunPart, SourceConnection, Watermark


@dataclass(frozen=True)
class PlanBasis:
    """The state that a plan is based on.

    `rewrites`: the result of `count_rewrites` before planning. `continues`: (run id, dataset id) of the runs whose
    parts the plan has taken over. `manifest_key`: the key of the manifest file; empty when the run writes none.
    """

    rewrites: Mapping[str, int] = field(default_factory=dict)
    continues: Sequence[tuple[str, str]] = ()
    manifest_key: str | None = None


class PlanOutdatedError(Exception):
    """Data files of the plan are being rewritten, or have been since it was started; plan again."""


def load_plan(database: Database, lease: Lease) -> tuple[list[RunDataset], list[RunPart]] | None:
    """The stored plan, with datasets and parts in order; None when the run has not been planned."""
    with database.reading() as session:
        run = session.get_one(Run, lease.run_id)
        if run.planned_at is None:
            return None
        return run_datasets(session, run.id), run_parts(session, run.id)


def save_plan(
    database: Database,
    lease: Lease,
    datasets: list[RunDataset],
    parts: list[RunPart],
    warnings: list[InfoItem],
    now_ms: int,
    basis: PlanBasis = PlanBasis(),
) -> None:
    """Store the plan in one transaction.

    Raises `PlanOutdatedError` when a dataset's data files are being rewritten, or have been since planning started,
    or when another run has taken over the same parts.
    """
    with database.writing() as session:
        _save(session, lease, StoredPlan(datasets, parts, warnings, basis), now_ms)


@dataclass(frozen=True)
class StoredPlan:
    """What is stored of a plan: rows of its datasets and parts, warnings, and what it is based on."""

    datasets: list[RunDataset]
    parts: list[RunPart]
    warnings: list[InfoItem]
    basis: PlanBasis


def save_plans(database: Database, plans: Sequence[tuple[Lease, StoredPlan]], now_ms: int) -> set[str]:
    """Store the plans of several runs in one transaction. Returns the ids of the runs whose plans are stored.

    Left out are runs that another worker holds, and outdated plans, as of `save_plan`.
    """
    stored: set[str] = set()
    dataset_ids = {dataset_id for _, plan in plans for dataset_id in plan.basis.rewrites}
    with database.writing() as session:
        # All locks are taken in one order: two groups of runs may share datasets.
        for row, ids in ((Run, [lease.run_id for lease, _ in plans]), (Dataset, dataset_ids)):
            session.execute(select(row.id).where(row.id.in_(ids)).order_by(row.id).with_for_update())
        for lease, plan in sorted(plans, key=lambda one: one[0].run_id):
            with contextlib.suppress(LeaseLostError, PlanOutdatedError):
                _save(session, lease, plan, now_ms)
                stored.add(lease.run_id)
    return stored


def _save(session: Session, lease: Lease, plan: StoredPlan, now_ms: int) -> None:
    run = lock_run(session, lease)
    _check_rewrites(session, plan.basis.rewrites)
    for earlier, dataset_id in plan.basis.continues:
        if not disposals.hand_over(session, earlier, dataset_id, run.id):
            raise PlanOutdatedError(f"Another run continues from run {earlier}.")
    run.planned_at = run.updated_at = now_ms
    run.warnings = plan.warnings
    run.manifest_key = plan.basis.manifest_key
    session.add_all([*plan.datasets, *plan.parts])
    if not run.pins:
        _rename_chosen_columns(session, run, plan.datasets)


def _rename_chosen_columns(session: Session, run: Run, datasets: Iterable[RunDataset]) -> None:
    """Store the present paths of the run's chosen columns, so that the source connection shows renamed ones."""
    source = session.get(SourceConnection, run.source_connection_id)
    if source is None or not source.columns:
        return
    changed = dict(source.columns)
    for dataset in datasets:
        path_of = {field_id: path for path, field_id in dataset.columns.items()}
        stored = changed.get(dataset.dataset_id)
        if stored is not None and path_of:
            columns = [one | {"path": path_of.get(one["id"], one["path"])} for one in stored["columns"]]
            changed[dataset.dataset_id] = stored | {"columns": columns}
    if changed != source.columns:
        source.columns = changed


def count_rewrites(database: Database, dataset_ids: Iterable[str]) -> dict[str, int]:
    """How often each dataset's data files have been rewritten, by id; call it before reading the table."""
    query = select(Dataset.id, Dataset.rewrites).where(Dataset.id.in_(list(dataset_ids)))
    with database.reading() as session:
        return {row.id: row.rewrites for row in session.execute(query)}


def is_dataset_used_by_runs(session: Session, dataset_id: str) -> bool:
    """Whether a run has planned or delivered snapshots of the dataset.

    A failed run that delivered nothing counts too: it can be retried with the snapshots that it planned.
    """
    if session.scalar(select(Watermark.run_id).where(Watermark.dataset_id == dataset_id).limit(1)) is not None:
        return True
    planned = (
        select(RunDataset.run_id)
        .join(Run, Run.id == RunDataset.run_id)
        .where(RunDataset.dataset_id == dataset_id, RunDataset.to_snapshot.is_not(None) | LIVE_RUN)
    )
    if session.scalar(planned.limit(1)) is not None:
        return True
    unplanned = session.scalars(select(Run).where(LIVE_RUN, Run.planned_at.is_(None)))
    return any(dataset_id in (run.pins or {}) for run in unplanned)


def _check_rewrites(session: Session, rewrites: Mapping[str, int]) -> None:
    query = select(Dataset).where(Dataset.id.in_(list(rewrites))).order_by(Dataset.id)
    for dataset in session.scalars(query.with_for_update()):
        being_rewritten = select(Batch.id).where(
            Batch.dataset_id == dataset.id, Batch.status == PROCESSING, Batch.rewrites.is_(True)
        )
        if dataset.rewrites != rewrites[dataset.id] or session.scalar(being_rewritten.limit(1)) is not None:
            raise PlanOutdatedError(
                f"The data files of dataset {dataset.id} are being rewritten, or have been since planning started."
            )
