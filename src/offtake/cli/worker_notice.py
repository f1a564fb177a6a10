"""Notices, on standard error, that no worker executes the run that a command follows."""

import time
from dataclasses import dataclass
from typing import Final

from offtake.cli import output
from offtake.cli.connecting import local_backend
from offtake.client.names import RUN
from offtake.client.server import Server

_PATIENCE_SECONDS: Final = 10.0
_UNSERVED_PATIENCE_SECONDS: Final = 1.0
_LEASE_SECONDS: Final = 120.0
_START_ONE: Final = "Start one: offtake serve, or offtake worker next to the server."


@dataclass
class WorkerNotice:
    """Prints a notice once for each time that the run stays without a worker.

    `works`: the command executes the run itself if no server was running when it began.
    """

    server: Server
    run_id: str
    works: bool
    is_printed: bool = False
    _since: float | None = None
    _seen: object = None

    def __post_init__(self) -> None:
        """Find out whether the command executes the run."""
        self.works = self.works and not self._is_served()

    def look(self, status: str, *, waits: bool, heartbeats: int | None) -> None:
        """Note the run's state. `waits`: for its destination; `heartbeats`: of its lease, None when unknown."""
        state = (status, waits, heartbeats)
        if state != self._seen or waits or status not in ("waiting", "processing"):
            self._seen, self._since, self.is_printed = state, time.monotonic(), False
            return
        if self.works or self.is_printed or self._since is None:
            return
        elapsed = time.monotonic() - self._since
        if elapsed >= self._patience(status, heartbeats):
            self.is_printed = True
            self._print(status, elapsed)

    def _patience(self, status: str, heartbeats: int | None) -> float:
        """Seconds after which a run in that state should have changed it."""
        if status == "processing":
            return _PATIENCE_SECONDS if heartbeats == 0 else _LEASE_SECONDS if heartbeats else float("inf")
        backend = local_backend(self.server)
        # A shared database may have workers on other machines.
        is_alone = backend is not None and backend.settings.database_url is None
        return _UNSERVED_PATIENCE_SECONDS if is_alone and not self._is_served() else _PATIENCE_SECONDS

    def _is_served(self) -> bool:
        """Whether a server may be running; False only for a data directory without one on this machine."""
        backend = local_backend(self.server)
        if backend is None:
            return True
        from offtake.cli.local_work import is_served  # noqa: PLC0415 - a remote command loads nothing of a server

        return is_served(backend)

    def _print(self, status: str, elapsed: float) -> None:
        if status == "processing":
            output.note(
                f"offtake: no worker has renewed the lease of run {self.run_id} for {elapsed:.0f} s. {_START_ONE} "
                "It continues the run."
            )
        elif not self._is_served():
            output.note(f"offtake: no server of {self.server.name} is running on this machine. {_START_ONE}")
        else:
            self._print_queue(elapsed)

    def _print_queue(self, elapsed: float) -> None:
        query = (("property", "metrics.statusSummary.status==processing"),)
        others = [one for one in self.server.get_all(RUN.path, query, most=100) if one["id"] != self.run_id]
        if others:
            running = output.count_of(len(others), "other run")
            output.note(f"offtake: run {self.run_id} is queued; in progress: {running}.")
        else:
            output.note(f"offtake: no worker has started run {self.run_id} for {elapsed:.0f} s. {_START_ONE}")
