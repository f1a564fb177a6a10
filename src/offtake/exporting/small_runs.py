"""Small runs: the plans of several are stored in one transaction."""

from collections.abc import Sequence
from typing import Final

from offtake.errors import DeliveryError
from offtake.exporting.context import RunContext
from offtake.exporting.job import ExportJob
from offtake.exporting.manifest import manifest_key
from offtake.exporting.plan import Plan, make_plan
from offtake.failpoints import failpoint
from offtake.store import run_plans
from offtake.store.run_leases import Lease
from offtake.store.run_plans import PlanBasis, StoredPlan

_MOST_BYTES: Final = 16 * 1024 * 1024
"""The most source bytes of a small run."""
_MOST_PARTS: Final = 16


def is_small(plan: Plan) -> bool:
    """Whether a run with this plan takes about as long as its transactions."""
    return len(plan.parts) <= _MOST_PARTS and sum(part.input_bytes for part in plan.parts) <= _MOST_BYTES


def plan_together(jobs: Sequence[tuple[Lease, ExportJob]], context: RunContext) -> tuple[dict[str, Plan], list[Lease]]:
    """Plan new runs. Returns the stored plans of the small ones, by run id, and the leases of the large ones.

    Runs in neither could not be planned at the first attempt; nothing is stored of them.
    """
    small: list[tuple[Lease, Plan, StoredPlan]] = []
    large: list[Lease] = []
    for lease, job in jobs:
        try:
            plan = make_plan(job, context.lake, context.part_size)
        except DeliveryError:
            continue
        if not is_small(plan):
            large.append(lease)
            continue
        basis = PlanBasis(job.rewrites, manifest_key=manifest_key(job, plan.datasets, plan.parts) or "")
        small.append((lease, plan, StoredPlan(plan.datasets, plan.parts, plan.warnings, basis)))
    failpoint("planned")
    stored = run_plans.save_plans(context.database, [(lease, plan) for lease, _, plan in small], context.clock.now_ms())
    failpoint("plan_stored")
    return {lease.run_id: plan for lease, plan, _ in small if lease.run_id in stored}, large
