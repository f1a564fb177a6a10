"""The failed runs that a run continues from, because their files were kept."""

import logging
from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session

from offtake.clock import Clock
from offtake.errors import DeliveryError, OfftakeError
from offtake.exporting.disposal import decide
from offtake.exporting.job import ExportJob
from offtake.exporting.kept import Kept
from offtake.flows import flows
from offtake.scheduling.job_loader import JobLoader
from offtake.store import disposals, run_parts
from offtake.store.database import Database
from offtake.store.run_warnings import list_plan_warnings
from offtake.store.tables import Flow, Run, RunPart

_log = logging.getLogger(__name__)


def find_kept(loader: JobLoader, database: Database, clock: Clock, run_id: str) -> dict[str, Kept]:
    """The kept files of failed runs of the flow, by dataset, unless another run continues from them already.

    First decides for each earlier run whether its files are kept. Raises `DeliveryError` while that is not possible.
    """
    with database.reading() as session:
        candidates = _candidates(session, run_id)
        undecided = [run.id for run in candidates if run.disposal != disposals.KEPT]
        if not undecided:
            return _kept_of(session, candidates)
    for earlier in undecided:
        job = _load_job(loader, database, earlier)
        if job is not None:
            decide(job, database, clock.now_ms())
    with database.reading() as session:
        return _kept_of(session, _candidates(session, run_id))


def _kept_of(session: Session, candidates: Sequence[Run]) -> dict[str, Kept]:
    found: dict[str, Kept] = {}
    for run in candidates:
        if run.disposal == disposals.KEPT:
            found |= _kept(session, run)
    return found


def _kept(session: Session, run: Run) -> dict[str, Kept]:
    parts = defaultdict[str, list[RunPart]](list)
    for part in run_parts.run_parts(session, run.id):
        parts[part.dataset_id].append(part)
    return {
        one.dataset_id: Kept(run.id, one, parts[one.dataset_id], list_plan_warnings(run, one))
        for one in run_parts.run_datasets(session, run.id)
        if one.taken_over_by is None and any(part.finished_at for part in parts[one.dataset_id])
    }


def _candidates(session: Session, run_id: str) -> list[Run]:
    run = session.get_one(Run, run_id)
    flow = session.get(Flow, run.flow_id)
    return list(disposals.unfinished(session, run, moving=flow is not None and _is_resumed(run, flow)))


def _is_resumed(run: Run, flow: Flow) -> bool:
    """Whether the run delivers only what the flow has not delivered yet."""
    schedule = flows.stored_schedule(flow)
    everything = run.full_export or schedule.export_mode == "DAILY_FULL_EXPORT"
    return run.moves_position and (schedule.one_time or not everything)


def _load_job(loader: JobLoader, database: Database, run_id: str) -> ExportJob | None:
    """The earlier run's job; None when its destination was deleted."""
    try:
        with database.reading() as session:
            return loader.load(session, run_id)
    except DeliveryError:
        raise
    except (NoResultFound, OfftakeError):
        # The orphan sweeper reports the files that it left there.
        return None
