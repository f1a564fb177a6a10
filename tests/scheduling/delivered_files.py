"""A flow of a whole deployment, and what tests of time ask of it."""

import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select, text

from offtake.exporting import run as exporting_run
from offtake.scheduling.background import worker_of
from offtake.scheduling.scheduler import enqueue_due_runs, repair_future_slots
from offtake.store import run_states
from offtake.store.tables import Flow, Run, Watermark
from tests.deployment import Deployment, rows, table_of

HOUR = 3600
DAY = 24 * HOUR
ONCE = {"exportMode": "DAILY_FULL_EXPORT", "timeUnit": "day", "interval": 0}
DAILY = {"timeUnit": "day", "interval": 1}
STAGES = ["waiting", "planned", "parts"]
"""How far a live run has come."""


@dataclass
class Exported:
    """A deployment with a flow and what tests ask of it; hours are counted from its first slot."""

    deployed: Deployment
    dataset: str
    flow: str
    start: int
    monkeypatch: pytest.MonkeyPatch
    count: int = 0

    def append(self, count: int = 4) -> None:
        """So many new rows, in two batches: two files, and with small parts two parts."""
        for _ in range(2):
            self.deployed.import_rows("events", rows(self.count, count // 2))
            self.count += count // 2

    def pass_time(self, **time: float) -> None:
        """Let time pass; whatever is due then is carried out, as a server does that comes up again."""
        self.deployed.clock.advance(**time)
        self.serve()

    def set_clock(self, **time: float) -> None:
        """Set the clock while the server runs."""
        self.deployed.clock.set_by(**time)
        self.serve()

    def serve(self) -> None:
        """What the scheduler and a worker do until nothing is left to do."""
        repair_future_slots(self.deployed.backend.database, self.deployed.clock)
        self.deployed.run_due()
        self.deployed.sign_in()

    def begin(self, stage: str) -> None:
        """The run that is due is made, and brought as far as `stage` says; then its worker lets go of it."""
        database, clock = self.deployed.backend.database, self.deployed.clock
        assert len(enqueue_due_runs(database, clock)) == 1
        if stage != "waiting":
            self.go_on(until=None if stage == "planned" else "part_recorded")

    def go_on(self, *, until: str | None) -> None:
        """A worker takes the run up and stops when it has planned it, or at that point."""
        stop = threading.Event()
        with self.monkeypatch.context() as patched:
            if until is None:
                stop.set()
            else:
                patched.setattr(exporting_run, "failpoint", lambda name: stop.set() if name == until else None)
            worker = worker_of(self.deployed.backend, self.deployed.engine, "stopped")
            assert worker.run_next(stop)
        (live,) = [run for run in self.runs() if run.status in run_states.LIVE]
        assert (live.planned_at is not None, live.heartbeat_counter) == (True, 0)

    def edit(self, **schedule: Any) -> None:
        """Change the schedule."""
        self.patch("/scheduleParams", schedule)

    def patch(self, path: str, value: Any) -> None:
        self.deployed.sign_in()
        self.deployed.patch(f"/flows/{self.flow}", [{"op": "replace", "path": path, "value": value}])

    def act(self, op: str) -> None:
        self.deployed.sign_in()
        self.deployed.post(f"/flows/{self.flow}/action?op={op}", {}, 200)

    def runs(self) -> list[Run]:
        """The flow's runs, in the order in which they were made, whatever the clock said."""
        of_flow = select(Run).filter_by(flow_id=self.flow).order_by(text("rowid"))
        with self.deployed.backend.database.reading() as session:
            return list(session.scalars(of_flow))

    def slots(self) -> list[float]:
        """The slots that have run, in hours."""
        return [(run.scheduled_at / 1000 - self.start) / HOUR for run in self.runs()]

    def next(self) -> float | None:
        """The flow's next slot, in hours."""
        with self.deployed.backend.database.reading() as session:
            due = session.get_one(Flow, self.flow).next_run_s
        return None if due is None else (due - self.start) / HOUR

    def position(self) -> int | None:
        with self.deployed.backend.database.reading() as session:
            known = session.get(Watermark, (self.flow, self.dataset))
        return known.snapshot_id if known else None

    def manifests(self) -> list[dict[str, Any]]:
        """What each run delivered that delivered files, in the order in which the runs were made."""
        kept = {one["flowRunId"]: one for one in self.deployed.manifests()}
        return [kept[run.id] for run in self.runs() if run.id in kept]

    def folders(self) -> list[str]:
        """Where each run that has delivered put its first file."""
        return [str(one["exportResults"][0]["sinkPath"]) for one in self.manifests()]

    def delivered(self) -> list[list[int]]:
        """The ids in the files that each manifest names."""
        return [table_of(self.deployed.delivered(one))["id"].to_pylist() for one in self.manifests()]

    def check_all_once(self) -> None:
        """Every row of the source was delivered, and none twice."""
        counted = Counter(row for ids in self.delivered() for row in ids)
        assert counted == Counter(range(self.count))
        assert {run.status for run in self.runs()} == {"success"}


def make(deployed: Deployment, monkeypatch: pytest.MonkeyPatch, **schedule: Any) -> Exported:
    small = deployed.backend.settings.model_copy(update={"part_bytes": 1})
    object.__setattr__(deployed.backend, "settings", small)
    dataset = deployed.import_rows("events", rows(0, 2))
    start = deployed.clock.now_seconds()
    flow = deployed.flow(dataset, schedule=schedule)
    made = Exported(deployed, dataset, flow, start, monkeypatch, count=2)
    made.append(2)
    return made
