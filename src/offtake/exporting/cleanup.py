"""Failing a run: the failure is committed first, then the run's files are removed.

Files are removed only after their run's failure is committed: from then on no worker delivers them, and no other run
uses their names. So several processes may remove them, even one that has lost the lease.
"""

import logging
import threading
from collections.abc import Sequence
from contextvars import copy_context
from typing import Final

from offtake.errors import CANCELLED, DeliveryError
from offtake.exporting.attempts import remove_left
from offtake.exporting.context import RunContext
from offtake.exporting.disposal import dispose
from offtake.exporting.job import ExportJob
from offtake.exporting.manifest import manifest_key
from offtake.exporting.plan import error_document
from offtake.failpoints import failpoint
from offtake.store import run_plans, runs
from offtake.store.database import Database
from offtake.store.run_leases import Lease
from offtake.store.run_states import SECOND_LOOK_MS
from offtake.store.tables import RunDataset, RunPart

_log = logging.getLogger(__name__)

_REMOVAL_SECONDS: Final = 10.0
_SOON_MS: Final = 30_000


def fail_run(job: ExportJob | None, lease: Lease, context: RunContext, error: DeliveryError) -> None:
    """End the run as failed; positions stay. The failure is committed first, for good, then its files are removed.

    For a run whose failure is already recorded, `error` is ignored and only the files are removed. `job` is None when
    it could not be loaded or its destination does not answer: then, and when removal takes longer than ten seconds, the
    orphan sweeper removes the files later. Raises `LeaseLostError` when another worker has the run.
    """
    if lease.failure is None:
        runs.record_failure(context.database, lease, error_document(error), context.clock.now_ms())
        failpoint("run_failed")
    plan = run_plans.load_plan(context.database, lease)
    # A run without parts may have written a manifest file; without the job, its key is unknown.
    wrote = plan is not None and (job is None or bool(_keys(job, *plan)))
    clean = not wrote or (job is not None and plan is not None and _remove_within_deadline(job, context, *plan))
    failpoint("files_removed")
    now = context.clock.now_ms()
    due = None if not wrote else now + (SECOND_LOOK_MS if clean else _SOON_MS)
    runs.fail(context.database, lease, error_document(error), now, sweep_due=due)


def remove_temporary_files(
    job: ExportJob, database: Database, datasets: Sequence[RunDataset], parts: Sequence[RunPart]
) -> None:
    """Remove only the temporary files that dead writers of the run left; raises `DeliveryError`."""
    keys = _keys(job, datasets, parts)
    if not keys:
        return
    sink = job.target.open()
    try:
        sink.clear(keys)
        remove_left(sink, database, job.run_id, [part for part in parts if part.finished_at])
    finally:
        sink.close()


def cancelled_error() -> DeliveryError:
    """The failure of a cancelled run."""
    return DeliveryError(CANCELLED, "The run was cancelled.")


def _keys(job: ExportJob, datasets: Sequence[RunDataset], parts: Sequence[RunPart]) -> list[str]:
    manifest = manifest_key(job, datasets, parts)
    return [*([] if manifest is None else [manifest]), *(part.key for part in parts)]


def _remove_within_deadline(
    job: ExportJob, context: RunContext, datasets: Sequence[RunDataset], parts: Sequence[RunPart]
) -> bool:
    """Whether all files were removed in time; a destination that does not answer must not block the end of the run."""
    removed = False

    def remove() -> None:
        nonlocal removed
        try:
            dispose(job, context.database, datasets, parts, context.clock.now_ms())
            removed = True
        except DeliveryError as error:
            # If it fails again, the orphan sweeper reports it.
            _log.debug("run %s: its files cannot be removed yet: %s", job.run_id, error)
        except Exception:  # noqa: BLE001 - the orphan sweeper retries; the run must end nevertheless
            _log.exception("run %s: its files cannot be removed yet", job.run_id)

    # The context has the span of the run.
    thread = threading.Thread(target=copy_context().run, args=(remove,), name=f"removal-{job.run_id}", daemon=True)
    thread.start()
    thread.join(_REMOVAL_SECONDS)
    return removed
