"""Renders `/metrics`. A database or disk that hangs delays it by two seconds at most; the last values are shown."""

import asyncio
import logging
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy.pool import QueuePool

from offtake import __version__
from offtake.deployment.backend import Backend
from offtake.deployment.readiness import REASONS, Check, Reason
from offtake.metrics.exposition import render
from offtake.metrics.labels import SandboxLabels
from offtake.metrics.store_state import Sample, StoreState, read_sandboxes, read_state
from offtake.store.probe import StoreReader
from offtake.telemetry import definitions as metrics
from offtake.telemetry.counts import COUNTS
from offtake.telemetry.definitions import METRICS

_log = logging.getLogger(__name__)

FRESH_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.005
_STARTED_AT_ZERO: Final = (
    (metrics.STORE_ERRORS, ("busy",)),
    (metrics.STORE_ERRORS, ("full",)),
    (metrics.POOL_WAITS, ()),
    (metrics.TAKEN_OVER, ("run",)),
    (metrics.TAKEN_OVER, ("batch",)),
    (metrics.HTTP_REFUSED, ("address",)),
    (metrics.HTTP_REFUSED, ("server",)),
    (metrics.HTTP_IN_FLIGHT, ()),
    (metrics.HTTP_CONNECTIONS, ()),
)
"""Counters whose first increase would otherwise be missed by alerts."""


class MetricsPage:
    """The page of one process. Its values from the database are at most some seconds old, if the database answers.

    `whole`: whether it has the state of the deployment. Of workers, whose number is not limited, it has only what they
    counted. `seconds`: for so long, values from the database are shown again.
    """

    def __init__(self, backend: Backend, *, whole: bool = True, seconds: float = FRESH_SECONDS) -> None:
        self._backend = backend
        self._reader = StoreReader(backend.settings.store_url)
        self._read: Callable[[], StoreState] = partial(_read, self._reader, backend, whole=whole)
        self._state: StoreState | None = None
        self._seconds = 0.0
        self._has_failed = False
        self._disks: dict[str, tuple[int, int]] = {}
        self._places = _places(backend)
        self._labels = SandboxLabels()
        self._checks = (
            Check(
                "metrics",
                self._read_store,
                "store_unavailable",
                seconds=seconds,
                renew=self._reader.renew,
                logs=False,
            ),
            Check("disks", self._read_disks, "lake_unavailable", seconds=seconds, logs=False),
        )
        # Not the thread pool of requests, which may all wait for the database.
        self._renderer = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        for metric, labels in _STARTED_AT_ZERO:
            COUNTS.add(metric, *labels, by=0)

    async def render(self) -> bytes:
        """The page in the text format, version 0.0.4. Takes little more than two seconds at most."""
        for check in self._checks:
            check.begin()
        reasons = await self._backend.readiness.reasons()
        while not all(check.is_settled() for check in self._checks):
            await asyncio.sleep(_POLL_SECONDS)
        return await asyncio.get_running_loop().run_in_executor(self._renderer, self._text, reasons)

    def close(self) -> None:
        """Close the connection to the database."""
        self._renderer.shutdown(wait=False, cancel_futures=True)
        self._reader.close()

    def _read_store(self) -> None:
        began = time.perf_counter()
        try:
            state = self._read()
        except Exception as error:
            if not self._has_failed:
                _log.warning(
                    "/metrics cannot read the state of the deployment: %s", str(error).partition("\n")[0][:300]
                )
            self._has_failed = True
            raise
        self._has_failed = False
        self._state, self._seconds = state, time.perf_counter() - began

    def _read_disks(self) -> None:
        for name, folder in self._places.items():
            try:
                # Some folders are created when they are needed.
                usage = shutil.disk_usage(next(one for one in (folder, *folder.parents) if one.exists()))
            except OSError:
                self._disks.pop(name, None)
            else:
                self._disks[name] = usage.free, usage.total

    def _text(self, reasons: tuple[Reason, ...]) -> bytes:
        state = self._state
        if state is not None:
            self._labels.learn(state.sandboxes)
        values = {metric: COUNTS.values(metric) for metric in METRICS}
        for one in (*self._own_samples(reasons), *(state.samples if state is not None else ())):
            values[one.metric][one.labels] = one.value
        return render(
            {metric: self._labels.apply(metric, its) for metric, its in values.items()},
            {metric: COUNTS.distributions(metric) for metric in METRICS},
        )

    def _own_samples(self, reasons: tuple[Reason, ...]) -> Iterator[Sample]:
        backend = self._backend
        yield Sample(metrics.BUILD_INFO, (__version__, platform.python_version()), 1)
        yield Sample(metrics.STORE_UP, (), int(self._checks[0].reason() is None))
        yield Sample(metrics.STORE_SECONDS, (), self._seconds)
        for reason in REASONS:
            yield Sample(metrics.NOT_READY, (reason,), int(reason in reasons))
        difference = backend.readiness.clock_difference_seconds
        if difference is not None:
            yield Sample(metrics.CLOCK_DIFFERENCE, (), difference)
        for place, (free, size) in dict(self._disks).items():
            yield Sample(metrics.DISK_FREE, (place,), free)
            yield Sample(metrics.DISK_SIZE, (place,), size)
        pool = backend.database.engine.pool
        if isinstance(pool, QueuePool):
            yield Sample(metrics.POOL_SIZE, (), pool.size())
            yield Sample(metrics.POOL_IN_USE, (), pool.checkedout())


def _read(reader: StoreReader, backend: Backend, *, whole: bool) -> StoreState:
    with reader.reading() as session:
        return read_state(session, backend.clock.now_ms()) if whole else read_sandboxes(session)


def _places(backend: Backend) -> dict[str, Path]:
    """The folders of the deployment on this machine."""
    settings = backend.settings
    folders = {"data": settings.data_dir}
    if backend.readiness.warehouse_folder is not None:
        folders["warehouse"] = backend.readiness.warehouse_folder
    if settings.has_zone_folders:
        folders["landing_zone"] = settings.landing_zone_root
    if "://" not in settings.uploads_location:
        folders["uploads"] = settings.uploads_root
    return folders
