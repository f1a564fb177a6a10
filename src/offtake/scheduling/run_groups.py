"""Groups of new runs: they are loaded by one session, and the plans of small ones are stored in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.exc import NoResultFound

from offtake.errors import OfftakeError
from offtake.exporting.context import RunContext
from offtake.exporting.job import ExportJob
from offtake.exporting.plan import Plan
from offtake.exporting.small_runs import plan_together
from offtake.lake.table_names import parse
from offtake.scheduling.job_loader import JobLoader
from offtake.store import disposals
from offtake.store.run_leases import Lease


@dataclass(frozen=True)
class PreparedRun:
    """A run's job and, if it is stored already, its plan."""

    job: ExportJob
    plan: Plan | None = None


def prepare(
    leases: Sequence[Lease], loader: JobLoader, context: RunContext
) -> tuple[dict[str, PreparedRun], list[Lease]]:
    """Load and plan new runs. Returns the planned ones by run id, and those that are to return to the queue.

    These are large, or may wait for a catalog: other workers execute them, so that no small run waits for them. Runs in
    neither are planned when they are executed, which reports why they could not be planned.
    """
    jobs: list[tuple[Lease, ExportJob]] = []
    others: list[Lease] = []
    with context.database.reading() as session:
        continuing = disposals.may_continue(session, [lease.run_id for lease in leases])
        for lease in leases:
            try:
                job = loader.load(session, lease.run_id)
            except (OfftakeError, NoResultFound):
                continue
            if _waits_for_catalog(job):
                others.append(lease)
            elif lease.run_id not in continuing:
                jobs.append((lease, job))
    plans, large = plan_together(jobs, context)
    prepared = {lease.run_id: PreparedRun(job, plans[lease.run_id]) for lease, job in jobs if lease.run_id in plans}
    return prepared, [*others, *large]


def _waits_for_catalog(job: ExportJob) -> bool:
    return any(one.table is not None and parse(one.table) is not None for one in job.datasets)
