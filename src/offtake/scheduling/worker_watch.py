"""Reports that runs wait in the queue and no worker executes any, and that workers are back."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, or_, select

from offtake.clock import Clock
from offtake.store import events
from offtake.store.conditions import HELD_RUN
from offtake.store.database import Database, StoreConflictError
from offtake.store.events import Event
from offtake.store.health import IN_QUEUE
from offtake.store.tables import DeploymentState, Run

MISSING_MS: Final = 120_000
_EVERY_MS: Final = 15_000
_STATE: Final = "workers.missing"
_REMEDY: Final = "Start a worker (offtake worker, or a server without --no-worker), or see its log."


@dataclass(frozen=True)
class _Waiting:
    """The run that a worker would claim next, and how many are ready."""

    run_id: str
    fence: int
    not_before: int | None


@dataclass
class WorkerWatch:
    """Watches a deployment's queue. A worker is seen by its claims and by the heartbeats of its runs.

    Idle workers leave no trace, so nothing is known about them while no run is ready. All times are of the monotonic
    clock of this process. Several schedulers may watch: a change is reported once.
    """

    database: Database
    clock: Clock
    _looked_at: int | None = None
    _held: dict[str, tuple[int, int]] | None = None
    _waiting: _Waiting | None = None
    _since: int = 0

    def look_if_due(self) -> None:
        """Look, unless that was done within 15 seconds."""
        elapsed = self.clock.elapsed_ms()
        if self._looked_at is None or elapsed - self._looked_at >= _EVERY_MS:
            self._looked_at = elapsed
            self.look()

    def look(self) -> None:
        """Note the state of the queue, and report when workers are missing or back."""
        now, elapsed = self.clock.now_ms(), self.clock.elapsed_ms()
        ready = (IN_QUEUE, or_(Run.not_before.is_(None), Run.not_before <= now))
        with self.database.reading() as session:
            first = select(Run.id, Run.fence, Run.not_before).where(*ready).order_by(Run.created_at, Run.id).limit(1)
            found = session.execute(first).one_or_none()
            claimed = session.execute(select(Run.id, Run.fence, Run.heartbeat_counter).where(HELD_RUN))
            held = {run_id: (fence, counter) for run_id, fence, counter in claimed}
            missing = session.get(DeploymentState, _STATE) is not None
        waiting = None if found is None else _Waiting(*found)
        works = self._held is not None and held != self._held
        if waiting is None or works or waiting != self._waiting:
            self._since = elapsed
        self._held, self._waiting = held, waiting
        if missing and (waiting is None or works):
            self._report_back(now)
        elif not missing and waiting is not None and elapsed - self._since >= MISSING_MS:
            self._report_missing(now, now - (elapsed - self._since))

    def _report_missing(self, now_ms: int, since_ms: int) -> None:
        ready = select(func.count()).where(IN_QUEUE, or_(Run.not_before.is_(None), Run.not_before <= now_ms))
        # Another scheduler may report it at the same time.
        with suppress(StoreConflictError), self.database.writing() as session:
            if session.get(DeploymentState, _STATE) is not None:
                return
            session.add(DeploymentState(name=_STATE, since=since_ms))
            fields = {"runs": session.scalar(ready), "since": since_ms, "remedy": _REMEDY}
            events.record(session, Event("workers.missing", events.DEPLOYMENT, now_ms, fields=fields))

    def _report_back(self, now_ms: int) -> None:
        with self.database.writing() as session:
            state = session.get(DeploymentState, _STATE, with_for_update=True)
            if state is None:
                return
            fields = {"since": state.since, "seconds": max(0, now_ms - state.since) / 1000}
            session.delete(state)
            events.record(session, Event("workers.back", events.DEPLOYMENT, now_ms, fields=fields))
