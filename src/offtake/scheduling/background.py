"""The scheduler, the workers and the ingestor of one process, as background threads."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from offtake.deployment.backend import Backend
from offtake.engines.local import LocalEngine
from offtake.exporting.context import RunContext
from offtake.exporting.engine import Engine
from offtake.exporting.plan import PartSize
from offtake.exporting.retry import RetryPolicy
from offtake.flows.failure_alerts import alert_failing_flows
from offtake.flows.flow_ends import report_ends
from offtake.flows.windows import Limits
from offtake.formats.registry import FORMATS
from offtake.logs import retried
from offtake.scheduling.catalog_sync import sync_loop
from offtake.scheduling.expiry import Expiry
from offtake.scheduling.freshness import FreshnessJudge
from offtake.scheduling.housekeeping import maintenance_loop
from offtake.scheduling.ingestor import Ingestor
from offtake.scheduling.job_loader import JobLoader
from offtake.scheduling.notifier import Notifier
from offtake.scheduling.predecessors import find_kept
from offtake.scheduling.scheduler import enqueue_due_runs, repair_future_slots
from offtake.scheduling.worker import Worker
from offtake.scheduling.worker_watch import WorkerWatch
from offtake.settings import Settings
from offtake.store import batches, quotas, runs
from offtake.store.database import Database, StoreBusyError, StoreFullError
from offtake.store.leases import LeaseMonitor
from offtake.telemetry.counts import COUNTS
from offtake.telemetry.definitions import SCHEDULER_TICK

_log = logging.getLogger(__name__)

_TICK_SECONDS = 1.0
_SHORTEST_PAUSE_SECONDS = 0.05
"""The shortest pause between two scheduler rounds."""
_RUNS_AT_ONCE = 2
_BATCHES_AT_ONCE = 2
"""Batches of different datasets are imported in parallel."""
_REPAIR_MS = 60_000


@dataclass(frozen=True)
class ProcessRoles:
    """The roles of a process: `schedules` enqueues due runs and does maintenance, `works` executes runs and imports."""

    schedules: bool = True
    works: bool = True


@contextmanager
def background_services(backend: Backend, owner: str, duties: ProcessRoles = ProcessRoles()) -> Iterator[None]:
    """Run scheduler, workers and ingestors until the block ends; then release this process's leases, within seconds.

    `owner` names this process's leases; those of a dead process with the same name are released at once.
    """
    runs.release_all_of(backend.database, owner)
    batches.release_all_of(backend.database, owner)
    stop = threading.Event()
    engine = LocalEngine(backend.settings.export_processes)
    threads: list[threading.Thread] = []
    if duties.schedules:
        threads.append(threading.Thread(target=_schedule, args=(backend, stop), name="scheduler"))
        threads.append(threading.Thread(target=maintenance_loop, args=(backend, stop), name="housekeeping"))
        threads.append(threading.Thread(target=sync_loop, args=(backend, stop), name="catalogs"))
        threads.append(threading.Thread(target=Notifier(backend).run, args=(stop,), name="notifier"))
    if duties.works:
        for number in range(_BATCHES_AT_ONCE):
            work = ingestor_of(backend, owner).work
            threads.append(threading.Thread(target=work, args=(stop,), name=f"ingestor-{number}"))
        worker = worker_of(backend, engine, owner)
        names = [f"worker-{number}" for number in range(_RUNS_AT_ONCE)]
        threads += [threading.Thread(target=worker.work, args=(stop,), name=name) for name in names]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        backend.database.wakeup.notify()
        for thread in threads:
            thread.join()
        engine.close()


@contextmanager
def run_worker(backend: Backend, owner: str, run_id: str) -> Iterator[None]:
    """Execute one run by lease in a background thread until the block ends; then release it, within seconds."""
    stop = threading.Event()
    engine = LocalEngine(backend.settings.export_processes)
    worker = replace(worker_of(backend, engine, owner), only=run_id)
    thread = threading.Thread(target=worker.work, args=(stop,), name="worker")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        backend.database.wakeup.notify()
        thread.join()
        engine.close()


def worker_of(backend: Backend, engine: Engine, owner: str) -> Worker:
    """A worker with this deployment's settings."""
    settings = backend.settings
    loader = JobLoader(backend.vault, backend.zones, backend.network, limits_of(settings))
    context = RunContext(
        database=backend.database,
        lake=backend.lake,
        engine=engine,
        clock=backend.clock,
        part_size=PartSize(settings.part_bytes, settings.part_rows),
        retry_policy=RetryPolicy(
            settings.retry_initial_delay_seconds, settings.part_max_attempts, settings.run_max_retries
        ),
        gzip={one.name: one.gzip(settings) for one in FORMATS},
        pin_host_key=lambda job: loader.with_pinned_host_key(job, backend.database, backend.clock),
        find_kept=lambda run_id: find_kept(loader, backend.database, backend.clock, run_id),
    )
    return Worker(context, loader, owner, _lease_monitor(backend), settings.lease_seconds)


def ingestor_of(backend: Backend, owner: str) -> Ingestor:
    """An ingestor with this deployment's settings."""
    lease = backend.settings.lease_seconds
    return Ingestor(
        backend.database,
        backend.lake,
        backend.parsers,
        backend.uploads,
        backend.clock,
        owner,
        _lease_monitor(backend),
        lease,
    )


def limits_of(settings: Settings) -> Limits:
    """The limits of how long this deployment's runs wait."""
    return Limits(settings.retry_margin_seconds, settings.retry_window_seconds)


def _lease_monitor(backend: Backend) -> LeaseMonitor:
    return LeaseMonitor(backend.clock.elapsed_ms, round(backend.settings.lease_seconds * 1000))


def _schedule(backend: Backend, stop: threading.Event) -> None:
    database, clock, settings = backend.database, backend.clock, backend.settings
    repaired_at: int | None = None

    expiry = Expiry(database, clock, limits_of(settings), settings.retry_alert_seconds)

    judge, workers = FreshnessJudge(database, clock), WorkerWatch(database, clock)

    def alert() -> None:
        alert_failing_flows(
            database, clock.now_ms(), settings.failure_alert_threshold, disable=settings.disable_flow_after_alert
        )

    def repair() -> None:
        repair_future_slots(database, clock)
        expiry.correct()

    while not stop.is_set():
        seen = database.wakeup.generation
        if repaired_at is None or clock.elapsed_ms() - repaired_at >= _REPAIR_MS:
            begun = clock.elapsed_ms()
            repaired_at = begun if _log_crash("repairing slots", repair) else repaired_at
            _log_crash("reporting ends of flows", lambda: report_ends(database, clock))
        if _log_crash("enqueueing due runs", lambda: enqueue_due_runs(database, clock)):
            COUNTS.set(SCHEDULER_TICK, to=clock.now_ms() / 1000)
        _log_crash("alerting about failing flows", alert)
        _log_crash("applying quotas", lambda: quotas.settle_all(database, clock.now_ms()))
        _log_crash("ending waits", lambda: _end_waits(database, expiry))
        _log_crash("judging the freshness of flows", judge.judge_if_due)
        _log_crash("watching for workers", workers.look_if_due)
        database.wakeup.wait(seen, _TICK_SECONDS)
        stop.wait(_SHORTEST_PAUSE_SECONDS)


def _end_waits(database: Database, expiry: Expiry) -> None:
    if runs.any_live(database):
        expiry.end_waits()
        expiry.alert()


def _log_crash(what: str, act: Callable[[], object]) -> bool:
    """Call `act` and log its errors, so that one failing task does not block the others; whether it succeeded."""
    try:
        act()
    except (StoreBusyError, StoreFullError) as error:
        _log.warning("%s was not possible: %s Retrying.", what, error, extra=retried(what))
        return False
    except Exception:  # noqa: BLE001 - the scheduler survives every error
        _log.exception("%s failed; retrying", what, extra=retried(what))
        return False
    return True
