"""Waiting runs: ends those whose retry window has ended, and reports those that wait long."""

from dataclasses import dataclass, field
from typing import Final

from offtake.clock import Clock
from offtake.flows import windows
from offtake.flows.windows import Limits
from offtake.store import run_events, waits
from offtake.store.database import Database
from offtake.store.tables import Flow, Run

_LAST_TRY_MS: Final = 10_000
"""An overdue run may still get its last attempt for so long, also when the clock has jumped past its deadline."""
_MOST_LATE_MS: Final = 120_000
_MOST: Final = 2_000


@dataclass
class Expiry:
    """Ends the waits of a deployment's runs. `alert_seconds`: the wait after which the log names a run."""

    database: Database
    clock: Clock
    limits: Limits
    alert_seconds: float
    _seen: dict[str, int] = field(default_factory=dict)

    def end_waits(self) -> int:
        """Fail the runs whose retry window has ended; returns their number.

        A run gets a last attempt first. If no worker claims it in time, it fails nevertheless before the flow's next
        slot.
        """
        waits.set_windows(self.database, self._window)
        now, elapsed = self.clock.now_ms(), self.clock.elapsed_ms()
        late = waits.list_overdue(self.database, now, _MOST)
        self._seen = {run_id: self._seen.get(run_id, elapsed) for run_id, _, _ in late}
        grace = min(_MOST_LATE_MS, round(self.limits.margin * 500))
        over = [
            run_id
            for run_id, held, until in late
            if elapsed - self._seen[run_id] >= _LAST_TRY_MS and (held or now >= until + grace)
        ]
        return waits.give_up(self.database, over, now) if over else 0

    def correct(self) -> None:
        """Release runs whose wait ends too far ahead because the clock was set back."""
        waits.correct_clock(self.database, self.clock.now_ms())

    def alert(self) -> None:
        """Report each run that has waited long, once."""
        before = self.clock.now_ms() - round(self.alert_seconds * 1000)
        with self.database.reading() as session:
            if not waits.list_unalerted(session, before):
                return
        with self.database.writing() as session:
            now = self.clock.now_ms()
            for run in waits.list_unalerted(session, before):
                run.alerted_at = now
                seconds = max(0, now - (run.waiting_since or now)) / 1000
                fields = {"address": run.address, "seconds": seconds, **run_events.error_fields(run.wait_reason)}
                run_events.record(session, "run.waiting_long", run, now, **fields)

    def _window(self, flow: Flow | None, run: Run) -> int:
        return windows.window_of(flow, run.trigger, self.limits)(run.waiting_since or run.created_at)
