"""A pool of processes on this machine. Processes, not threads: the NDJSON encoder holds the interpreter's lock."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for
from multiprocessing.sharedctypes import SynchronizedArray
from typing import Final

from offtake.errors import CancelledError, DeliveryError
from offtake.exporting.part import PartTask, Written, export_part

_MOST_RUNS: Final = 64
_POLL_SECONDS: Final = 0.2
_MOST_DEATHS: Final = 3

_stop_flags: "SynchronizedArray[int]"


class LocalEngine:
    """Carries out parts in `processes` spawned processes, started when the first part comes."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._context = multiprocessing.get_context("spawn")
        self._flags = self._context.Array("b", _MOST_RUNS)
        self._free = list(range(_MOST_RUNS))
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None

    def run(self, tasks: Iterable[PartTask], cancelled: Callable[[], bool]) -> Iterator[Written]:
        """Finished parts as they finish; see `exporting.engine.Engine`."""
        waiting = list(reversed(list(tasks)))
        deaths = 0
        with self._flag() as flag:
            while waiting:
                in_flight: dict[Future[Written], PartTask] = {}
                try:
                    yield from self._drain(waiting, in_flight, flag, cancelled)
                except BrokenProcessPool:
                    deaths += 1
                    self._replace_pool()
                    if deaths > _MOST_DEATHS:
                        raise _workers_die() from None
                    waiting.extend(in_flight.values())

    def close(self) -> None:
        """Stop the processes; parts in flight are cut off."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            self._set_all(1)
            pool.shutdown(wait=True, cancel_futures=True)
            self._set_all(0)

    def _drain(
        self,
        waiting: list[PartTask],
        in_flight: dict[Future[Written], PartTask],
        flag: int,
        cancelled: Callable[[], bool],
    ) -> Iterator[Written]:
        try:
            while waiting or in_flight:
                # A short queue keeps the pool fair between runs.
                while waiting and len(in_flight) < self._processes + 1:
                    in_flight[self._executor().submit(_do, waiting[-1], flag)] = waiting[-1]
                    waiting.pop()
                done, _ = wait(in_flight, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                _check(cancelled)
                for future in done:
                    written = future.result()
                    del in_flight[future]
                    yield written
        except BrokenProcessPool:
            raise
        except BaseException:
            self._stop(in_flight, flag)
            raise

    def _stop(self, in_flight: Iterable[Future[Written]], flag: int) -> None:
        """Wait until nothing of this run is being written any more, so that its debris can be removed."""
        self._flags[flag] = 1
        for future in in_flight:
            future.cancel()
        wait(in_flight)

    @contextmanager
    def _flag(self) -> Iterator[int]:
        with self._lock:
            flag = self._free.pop()
        self._flags[flag] = 0
        try:
            yield flag
        finally:
            with self._lock:
                self._free.append(flag)

    def _executor(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ProcessPoolExecutor(
                    self._processes, mp_context=self._context, initializer=_begin, initargs=(self._flags,)
                )
            return self._pool

    def _replace_pool(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def _set_all(self, value: int) -> None:
        for flag in range(_MOST_RUNS):
            self._flags[flag] = value


def _check(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise CancelledError("The run was asked to stop.")


def _workers_die() -> DeliveryError:
    return DeliveryError(
        "EXPORT-1500-500",
        "The processes that write the files keep dying.",
        "Give the machine more memory, or set OFFTAKE_PROCESSES or OFFTAKE_PART_BYTES lower.",
    )


def _begin(flags: "SynchronizedArray[int]") -> None:
    global _stop_flags  # noqa: PLW0603 - a process pool's only way to hand shared memory to its tasks
    _stop_flags = flags
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    # A killed parent leaves its pool waiting for ever, and perhaps writing.
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _do(task: PartTask, flag: int) -> Written:
    return export_part(task, lambda: bool(_stop_flags[flag]))
