"""A deployment in the middle of its work: one run delivered, rows wait, and the next run was killed half-way."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from offtake.access import access
from offtake.engines.local import LocalEngine
from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.store import run_states
from offtake.store.tables import Run, RunPart, Watermark
from tests import worker_processes
from tests.deployment import Deployment, deployment, rows, table_of
from tests.fake_clock import FakeClock
from tests.worker_processes import Site

BEFORE, AFTER, PARTS = 20, 5, 4
ROWS = BEFORE + AFTER * PARTS
SLOT_MS = 3 * 3_600_000


@dataclass(frozen=True)
class HalfDone:
    """A deployment, wherever it is now."""

    site: Site
    flow: str
    dataset: str

    def at(self, folder: Path, **settings: Any) -> "HalfDone":
        """The same deployment in another folder, with other settings."""
        return replace(self, site=replace(self.site, folder=folder, settings={"part_bytes": 1, **settings}))

    def finish(self) -> None:
        """A new process carries out what is left; another batch comes, and the flow's next run delivers it."""
        worker_processes.start(self.site, "next").done()

    def run_again(self, engine: LocalEngine) -> None:
        """Import three more rows, and run the flow: only they are due."""
        with self.site.opened() as backend:
            clock = FakeClock(backend.clock.now_ms() + SLOT_MS)
            caller = access.operator_caller(backend.database)
            # Nothing of these calls the API, so that no client is needed.
            opened = Deployment(replace(backend, clock=clock), None, clock, None, caller, engine)  # type: ignore[arg-type]
            opened.import_rows("events", rows(ROWS, 3))
            enqueue_due_runs(backend.database, clock)
            while opened.worker.run_next(threading.Event()):
                pass

    def check(self, more: int = 0) -> None:
        """Every row was delivered, once; no run failed; the position is where the last run ended."""
        with self.site.opened() as backend:
            zone = backend.settings.landing_zone_root / "prod"
            with backend.database.reading() as session:
                runs = session.scalars(select(Run).order_by(Run.created_at)).all()
                assert [(one.status, one.errors, one.warnings) for one in runs] == [
                    (run_states.SUCCESS, [], []) for _ in runs
                ]
                keys = session.scalars(select(RunPart.key)).all()
                (position,) = session.scalars(select(Watermark)).all()
            assert position.run_id == runs[-1].id
            ids = table_of([zone / key for key in keys])["id"].to_pylist()
            assert Counter(ids) == Counter(range(ROWS + more))
            files = {str(one.relative_to(zone)) for one in zone.rglob("*") if one.is_file()}
            assert files == set(keys)


def half_done(folder: Path, engine: LocalEngine, **settings: Any) -> HalfDone:
    """Make it, on SQLite unless the settings name another database; no process is left."""
    chosen = {"part_bytes": 1, **settings}
    started = FakeClock(time.time_ns() // 1_000_000)
    with deployment(folder, started, engine, **chosen) as deployed:
        dataset = deployed.import_rows("events", rows(0, BEFORE))
        flow = deployed.flow(dataset)
        deployed.run_due()
        for part in range(PARTS):
            deployed.import_rows("events", rows(BEFORE + part * AFTER, AFTER))
    site = Site(folder, chosen, later_ms=SLOT_MS)
    worker_processes.start(site, "killed", "part_recorded:2").killed()
    return HalfDone(site, flow, dataset)
