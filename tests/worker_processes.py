"""A crew: processes that carry out what is due in a deployment, killed or paused where a test says."""

import contextlib
import multiprocessing
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import func, select

from offtake import failpoints
from offtake.clock import Clock
from offtake.deployment.backend import Backend, open_backend
from offtake.engines.local import LocalEngine
from offtake.exporting.cancellation import CancellationToken
from offtake.exporting.engine import Engine
from offtake.exporting.part import PartTask, RecordIntent, WrittenPart, export_part
from offtake.scheduling.background import ingestor_of, worker_of
from offtake.scheduling.orphan_sweeper import remove_orphans
from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.settings import Settings
from offtake.store import batches, run_states, runs
from offtake.store.database import StoreBusyError
from offtake.store.leases import LeaseMonitor
from offtake.store.tables import Batch, Flow, Run
from tests.commands import context
from tests.local_parsers import LocalParsers

LEASE_SECONDS = 1.0


class LateClock(Clock):
    """The machine's time, so much later; what passes, passes as ever."""

    def __init__(self, later_ms: int) -> None:
        self._later_ms = later_ms

    def now_ms(self) -> int:
        return super().now_ms() + self._later_ms


@dataclass(frozen=True)
class Site:
    """Where a crew works: the settings of the deployment, and how much later than now it is there.

    `pools`: files are written by processes of their own, as a server has them; else by the crew's own, which come up
    in a third of the time.
    """

    folder: Path
    settings: dict[str, Any]
    later_ms: int = 0
    pools: bool = False

    @contextmanager
    def opened(self, later_ms: int = 0) -> Iterator[Backend]:
        settings = Settings(
            data_dir=self.folder, lease_seconds=LEASE_SECONDS, retry_initial_delay_seconds=0.01, **self.settings
        )
        backend = open_backend(settings, LateClock(self.later_ms + later_ms), LocalParsers.of)
        try:
            yield backend
        finally:
            backend.close()


class Inline:
    """An engine whose parts are carried out where they are asked for."""

    def run(
        self, tasks: Iterable[PartTask], cancellation: CancellationToken, record_intent: RecordIntent
    ) -> Iterator[WrittenPart]:
        for task in list(tasks):
            yield export_part(task, cancellation, record_intent)


@dataclass
class Worker:
    """One process of a crew. At a point where it is to stop, it sets `reached` and waits for `may_pass`."""

    process: multiprocessing.process.BaseProcess
    free: Event
    reached: Event
    may_pass: Event

    def let_work(self) -> None:
        """It takes runs and batches from now on; until then it only watches the others."""
        self.free.set()

    def killed(self, seconds: float = 60) -> None:
        """Wait until its fail-point has killed it, or has stopped what writes its files: then all of it is killed."""
        until = time.monotonic() + seconds
        while self.process.is_alive() and time.monotonic() < until:
            if self._stopped():
                self.end()
            self.process.join(0.01)
        assert self.process.exitcode == -signal.SIGKILL, f"it ended with {self.process.exitcode}"

    def done(self, seconds: float = 60) -> None:
        """Wait until it has found nothing more to do."""
        self.process.join(seconds)
        assert self.process.exitcode == 0, f"it ended with {self.process.exitcode}"

    def family(self) -> list[psutil.Process]:
        """It, and the processes that write its files."""
        try:
            own = psutil.Process(self.process.pid)
            return [own, *own.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def paused(self, site: Site, seconds: float = 60) -> None:
        """Wait until one of its processes has stopped at its fail-point, then stop all, as a stalled machine would.

        Not in the middle of a transaction, which keeps everybody else out of SQLite until it goes on.
        """
        until = time.monotonic() + seconds
        while not self._stopped():
            assert time.monotonic() < until
            assert self.process.is_alive()
            time.sleep(0.01)
        at_a_stop = self._at_a_stop()
        while True:
            for one in self.family():
                one.suspend()
            if _can_write(site):
                return
            for one in self.family():
                if one not in at_a_stop:
                    one.resume()
            time.sleep(0.05)

    def _stopped(self) -> bool:
        return self.reached.is_set() or bool(self._at_a_stop())

    def _at_a_stop(self) -> list[psutil.Process]:
        found = []
        for one in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                if one.status() == psutil.STATUS_STOPPED:
                    found.append(one)
        return found

    def go_on(self) -> None:
        for one in self.family():
            one.resume()
        # After that: it waits until those that wait have woken up.
        self.may_pass.set()

    def end(self) -> None:
        for one in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.join(10)


def start(site: Site, name: str, points: str = "", *, free: bool = True) -> Worker:
    """A process that ticks, carries out runs and brings batches in until there is nothing more to do."""
    may_work, reached, may_pass = context.Event(), context.Event(), context.Event()
    if free:
        may_work.set()
    process = context.Process(target=_work, args=(site, name, points, may_work, reached, may_pass), name=name)
    process.start()
    return Worker(process, may_work, reached, may_pass)


def _can_write(site: Site) -> bool:
    settings = Settings(data_dir=site.folder, **site.settings)
    if not settings.store_url.startswith("sqlite"):
        return True
    try:
        with closing(sqlite3.connect(settings.data_dir / "offtake.db", timeout=0.2)) as connection:
            connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    return True


def rest(site: Site) -> bool:
    """Whether nothing is due, queued or going on."""
    with site.opened() as backend:
        return _rest(backend)


def _rest(backend: Backend) -> bool:
    now = backend.clock.now_ms()
    counts = (
        select(func.count()).select_from(Run).where(Run.status.in_(run_states.LIVE)),
        select(func.count()).select_from(Batch).where(Batch.status.in_((batches.STAGED, batches.PROCESSING))),
        select(func.count()).select_from(Flow).where(Flow.next_run_s <= now // 1000),
        select(func.count()).select_from(Run).where(Run.sweep_due <= now),
    )
    with backend.database.reading() as session:
        return not any(session.scalar(count) for count in counts)


def restart(site: Site, name: str, points: str = "") -> Worker:
    """A process of a name whose last bearer is dead, as a server has that is started again."""
    with site.opened() as backend:
        runs.release_all_of(backend.database, name)
        batches.release_all_of(backend.database, name)
    return start(site, name, points)


def _look_on(backend: Backend, watch: LeaseMonitor, kind: type[Run | Batch]) -> None:
    """It sees the others' leases, as everybody does who looks for work."""
    with backend.database.reading() as session:
        held = session.execute(select(kind.id, kind.fence, kind.heartbeat_counter).where(kind.heartbeat_counter > 0))
        watch.is_expired((one, fence, beat) for one, fence, beat in held)


def _work(site: Site, name: str, points: str, may_work: Event, reached: Event, may_pass: Event) -> None:
    def hold() -> None:
        # Stopped by a signal, the process could never end a transaction that another of its threads has open.
        reached.set()
        may_pass.wait()

    os.environ[failpoints.ENV] = points
    engine = _forking_engine(points) if site.pools else None
    try:
        failpoints.arm(points, hold if points.endswith(":stop") else None)
        with site.opened() as backend:
            _work_in(backend, engine or Inline(), name, may_work)
    finally:
        # Whatever went wrong: who leaves its processes behind waits for their end for ever.
        if engine is not None:
            engine.close()


def _forking_engine(points: str) -> LocalEngine:
    """An engine whose process is forked now, while no other thread is there: a spawned one takes a second to start."""
    engine = LocalEngine(processes=1)
    engine._context = multiprocessing.get_context("fork")  # type: ignore[assignment] # noqa: SLF001 - only tests fork
    engine._open_pool().executor.submit(failpoints.arm, points).result()  # noqa: SLF001 - as above
    return engine


def _work_in(backend: Backend, engine: Engine, name: str, may_work: Event) -> None:
    never = threading.Event()
    worker, ingestor = worker_of(backend, engine, name), ingestor_of(backend, name)
    while not _rest(backend):
        if not may_work.is_set():
            _look_on(backend, worker.watch, Run)
            _look_on(backend, ingestor.watch, Batch)
            time.sleep(0.02)
            continue
        try:
            worked = ingestor.ingest_next(never)
            enqueue_due_runs(backend.database, backend.clock)
            worked |= worker.run_next(never)
            for _ in remove_orphans(backend):
                pass
        except StoreBusyError:
            # Whose transaction was ended because it was paused within hears it here, and goes on as a server does.
            worked = False
        if not worked:
            time.sleep(0.02)
