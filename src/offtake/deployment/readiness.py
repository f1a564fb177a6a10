"""Whether this process can do its work: the store and the lake answer, and the clocks agree."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, get_args

from offtake.clock import Clock
from offtake.deployment.storage_settings import warehouse_access
from offtake.errors import OfftakeError
from offtake.lake.locations import local_path
from offtake.lake.storage import objects
from offtake.lake.storage.access import FileAccess
from offtake.network.egress import Network
from offtake.settings import Settings
from offtake.store.probe import DatabaseProbe

_log = logging.getLogger(__name__)

Reason = Literal["draining", "store_unavailable", "clock_differs", "lake_unavailable"]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
"""Why a process is not ready: fixed codes, which anonymous callers may see."""

SILENT_SECONDS: Final = 2.0
"""A store that does not answer for so long counts as unavailable; no caller waits longer."""
LARGEST_DIFFERENCE_MS: Final = 30_000
_FRESH_SECONDS: Final = 1.0
_ABANDON_SECONDS: Final = 10.0
_OBJECT_STORE_SECONDS: Final = 10.0
"""Object stores charge for each request."""
_POLL_SECONDS: Final = 0.005


class NotReadyError(OfftakeError):
    """A check failed for this reason; the message is for the log."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Readiness:
    """Checks when it is asked, at most once a second; thread-safe, and cheap until it is asked.

    Each check runs in a thread of its own, one at a time: a database that hangs blocks neither callers nor requests.
    """

    def __init__(self, settings: Settings, clock: Clock, network: Network) -> None:
        access = warehouse_access(settings, network)
        self.warehouse_folder = None if access is not None else local_path(settings.lake_warehouse)
        """The folder of the warehouse on this machine; None for an object store."""
        self._clock = clock
        self._store = DatabaseProbe(settings.store_url, "alembic_version")
        self._catalog = DatabaseProbe(settings.lake_catalog_url, "iceberg_tables")
        lake_seconds = _FRESH_SECONDS if access is None else _OBJECT_STORE_SECONDS
        self._checks = [
            Check("store", self._check_store, "store_unavailable", renew=self._store.renew),
            Check("lake", lambda: _check_lake(self.warehouse_folder, access), "lake_unavailable", seconds=lake_seconds),
        ]
        if settings.lake_catalog_url != settings.store_url:
            self._checks.append(Check("catalog", self._catalog.now_ms, "lake_unavailable", renew=self._catalog.renew))
        self._draining = False
        self.clock_difference_seconds: float | None = None
        """The database's clock minus this machine's, at the last check; 0 for SQLite, None before the first check."""

    def start(self) -> None:
        """Create the warehouse's folder if it is missing. From now on, a missing folder means a lost disk."""
        if self.warehouse_folder is not None:
            self.warehouse_folder.mkdir(parents=True, exist_ok=True)

    def drain(self) -> None:
        """Be not ready from now on, because the process is about to stop."""
        self._draining = True

    async def reasons(self) -> tuple[Reason, ...]:
        """Why the process is not ready, in the order of `REASONS`; empty if it is. Takes two seconds at most."""
        if self._draining:
            return ("draining",)
        for check in self._checks:
            check.begin()
        while not all(check.is_settled() for check in self._checks):
            await asyncio.sleep(_POLL_SECONDS)
        found = {check.reason() for check in self._checks}
        return tuple(reason for reason in REASONS if reason in found)

    def close(self) -> None:
        """Close the connections of the checks."""
        self._store.close()
        self._catalog.close()

    def _check_store(self) -> None:
        before, began = self._clock.now_ms(), self._clock.elapsed_ms()
        theirs = self._store.now_ms()
        took = self._clock.elapsed_ms() - began
        self.clock_difference_seconds = 0.0 if theirs is None else (theirs - before - took / 2) / 1000
        # The database read its clock at some time between the two readings here.
        if theirs is not None and not -LARGEST_DIFFERENCE_MS <= theirs - before <= LARGEST_DIFFERENCE_MS + took:
            raise NotReadyError(
                "clock_differs",
                f"the database's clock is {(theirs - before) / 1000:+.0f} s from this machine's. Synchronise both.",
            )


class Check:
    """One check, whose result is kept for `seconds`. If `act` raises or hangs, `failed` is the reason.

    A thread that hangs is abandoned after ten seconds, the next one after twenty, and so on: `renew` is called, and
    another thread tries. Otherwise a connection that lost its other end would make the process unready for ever.
    `logs`: whether changes of the result are logged.
    """

    def __init__(
        self,
        name: str,
        act: Callable[[], object],
        failed: Reason,
        *,
        seconds: float = _FRESH_SECONDS,
        renew: Callable[[], object] = lambda: None,
        logs: bool = True,
    ) -> None:
        self._name, self._act, self._failed, self._seconds, self._renew = name, act, failed, seconds, renew
        self._lock = threading.Lock()
        self._began: float | None = None
        self._ended: float | None = None
        self._patience = _ABANDON_SECONDS
        self._attempt = 0
        self._hangs = False
        self._result: Reason | None = failed
        self._logged: Reason | None = None
        self._logs = logs

    def begin(self) -> None:
        """Start the check in a thread, unless it is running or its result is still fresh."""
        with self._lock:
            # A failure is checked again soon, so that the process is ready again soon.
            seconds = self._seconds if self._result is None else _FRESH_SECONDS
            now = time.monotonic()
            if self._began is not None:
                if now - self._began < self._patience:
                    return
                self._renew()
                self._patience, self._hangs = self._patience * 2, True
            elif self._ended is not None and now - self._ended < seconds:
                return
            self._attempt += 1
            thread = threading.Thread(
                target=self._run, args=(self._attempt,), name=f"readiness-{self._name}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                return  # no thread can be started now; the last result stays
            self._began = now

    def is_settled(self) -> bool:
        """Whether waiting longer is of no use: the check has ended, or it counts as failed."""
        with self._lock:
            return self._began is None or self._is_silent()

    def reason(self) -> Reason | None:
        """The result of the check; its failure if it does not end."""
        with self._lock:
            if not self._is_silent():
                return self._result
        self._log(self._failed, "no answer")
        return self._failed

    def _is_silent(self) -> bool:
        return self._hangs or (self._began is not None and time.monotonic() - self._began >= SILENT_SECONDS)

    def _run(self, attempt: int) -> None:
        result: Reason | None = None
        problem = ""
        try:
            self._act()
        except NotReadyError as error:
            result, problem = error.reason, str(error)
        except Exception as error:  # noqa: BLE001 - whatever fails, the process is not ready
            result, problem = self._failed, str(error).partition("\n")[0][:300] or type(error).__name__
        with self._lock:
            if attempt != self._attempt:
                return  # abandoned meanwhile
            self._began, self._ended, self._result = None, time.monotonic(), result
            self._patience, self._hangs = _ABANDON_SECONDS, False
        self._log(result, problem)

    def _log(self, result: Reason | None, problem: str) -> None:
        """Write one line for each change."""
        with self._lock:
            changed, self._logged = self._logged != result, result
        if not self._logs:
            return
        if changed and result is None:
            _log.info("the %s is available again", self._name)
        elif changed:
            _log.warning("not ready (%s): the check of the %s failed: %s", result, self._name, problem)


def _check_lake(folder: Path | None, access: FileAccess | None) -> None:
    if access is not None:
        network = replace(access.network, read_timeout=min(SILENT_SECONDS, access.network.read_timeout))
        # The folder is empty: a start of a server writes there, and removes what it wrote.
        next(objects.files_in(replace(access, network=network), f"{access.root}/.offtake-check"), None)
    elif folder is not None and not (folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK)):
        raise OfftakeError(f"{folder} is not a folder that can be written")
