"""A pool of processes on this machine. Processes, not threads: the NDJSON encoder holds the interpreter's lock."""

import functools
import multiprocessing
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from ctypes import Array, c_byte, c_double
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait as wait_for
from typing import Final

from offtake.engines.intents import IntentClient, IntentServer, Recorder, Recorders
from offtake.errors import EXPORT_FAILED, DeliveryError, OfftakeError, exhaustion
from offtake.exporting.cancellation import CancellationToken, raise_if_cancelled
from offtake.exporting.engine import PartsFailedError
from offtake.exporting.part import PartTask, RecordIntent, WrittenPart, export_part
from offtake.exporting.retry import exhausted_error

_MOST_RUNS: Final = 64
_POLL_SECONDS: Final = 0.2
_STOP_SECONDS: Final = 5.0
_MOST_DEATHS: Final = 3

_stop_flags: "Array[c_byte]"
_rights: "Array[c_double]"
_intents: IntentClient


@dataclass(frozen=True)
class _Pool:
    """Processes that write files, and what answers them when they have an intent."""

    executor: ProcessPoolExecutor
    intents: IntentServer

    def close(self) -> None:
        """End the processes; every intent that one of them has sent is answered when this returns."""
        self.executor.shutdown(wait=True, cancel_futures=True)
        self.intents.close()


@dataclass
class _RunInPool:
    """One run's parts on their way through the pool. `slot`: where in shared memory its processes find its leash.

    `recorder`: records its intents. `pool`: the one that has its parts now.
    """

    slot: int
    recorder: Recorder
    cancellation: CancellationToken
    waiting: list[PartTask]
    pool: _Pool | None = None
    in_flight: dict[Future[WrittenPart], PartTask] = field(default_factory=dict)
    failures: dict[int, DeliveryError] = field(default_factory=dict)


class LocalEngine:
    """Carries out parts in `processes` spawned processes, started when the first part comes."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._context = multiprocessing.get_context("spawn")
        # Without locks: a process that is killed while it holds one would stop all others. Each value is read whole.
        self._flags = self._context.RawArray("b", _MOST_RUNS)
        self._rights = self._context.RawArray("d", _MOST_RUNS)
        self._free = list(range(_MOST_RUNS))
        self._lock = threading.Lock()
        self._pool: _Pool | None = None
        self._recorders = Recorders()

    def run(
        self, tasks: Iterable[PartTask], cancellation: CancellationToken, record_intent: RecordIntent
    ) -> Iterator[WrittenPart]:
        """Finished parts as they finish; see `exporting.engine.Engine`."""
        deaths = 0
        with (
            self._recorders.recording(record_intent) as recorder,
            self._course(tasks, cancellation, recorder) as course,
        ):
            while course.waiting and not course.failures:
                try:
                    yield from self._drain(course)
                except BrokenProcessPool:
                    deaths += 1
                    self._drop_pool(course)
                    recorder.check()
                    if deaths > _MOST_DEATHS:
                        raise _workers_die() from None
                    self._resubmit(course)
            if course.failures:
                raise PartsFailedError(course.failures)

    def close(self) -> None:
        """Stop the processes; parts in flight are cut off."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            self._set_all(1)
            pool.close()
            self._set_all(0)

    def _drain(self, course: _RunInPool) -> Iterator[WrittenPart]:
        try:
            while course.in_flight or (course.waiting and not course.failures):
                self._rights[course.slot] = course.cancellation.lease_expires_at()
                self._submit(course)
                done, _ = wait(course.in_flight, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                course.recorder.check()
                raise_if_cancelled(course.cancellation)
                for future in done:
                    written = _result(future, course)
                    task = course.in_flight.pop(future)
                    if isinstance(written, WrittenPart):
                        yield written
                    else:
                        course.failures[task.number] = written
        except BrokenProcessPool:
            raise
        except BaseException:
            self._stop(course)
            raise

    def _submit(self, course: _RunInPool) -> None:
        # A short queue keeps the pool fair between runs.
        while course.waiting and not course.failures and len(course.in_flight) < self._processes + 1:
            task = course.waiting[-1]
            course.pool = self._open_pool()
            future = course.pool.executor.submit(_do, task, course.slot, course.recorder.ticket)
            course.in_flight[future] = task
            course.waiting.pop()

    def _resubmit(self, course: _RunInPool) -> None:
        """Have those parts done again that were in flight; of a part with an intent, the run finds out more first.

        Where each attempt needs a name of its own, the run gives it one: what the dead process has sent may still come.
        """
        for task in course.in_flight.values():
            if task.number in course.recorder.announced or not task.place.limits().one_name:
                course.failures[task.number] = _worker_died()
            else:
                course.waiting.append(replace(task, again=True))
        course.in_flight.clear()

    def _stop(self, course: _RunInPool) -> None:
        """Nothing of this run becomes visible any more. Who hangs at a silent server is not waited for long."""
        self._flags[course.slot] = 1
        for future in course.in_flight:
            future.cancel()
        wait(course.in_flight, timeout=_STOP_SECONDS)

    @contextmanager
    def _course(
        self, tasks: Iterable[PartTask], cancellation: CancellationToken, recorder: Recorder
    ) -> Iterator[_RunInPool]:
        with self._lock:
            slot = self._free.pop()
        self._flags[slot] = 0
        self._rights[slot] = cancellation.lease_expires_at()
        course = _RunInPool(slot, recorder, cancellation, list(reversed(list(tasks))))
        try:
            yield course
        finally:
            self._flags[slot] = 1
            self._free_after(slot, [future for future in course.in_flight if not future.done()])

    def _free_after(self, slot: int, stragglers: list[Future[WrittenPart]]) -> None:
        """Let the slot be used again once nobody looks into it any more."""
        left = len(stragglers)

        def ended(_future: object = None) -> None:
            nonlocal left
            with self._lock:
                left -= 1
                if left <= 0:
                    self._free.append(slot)

        if not stragglers:
            ended()
        for future in stragglers:
            future.add_done_callback(ended)

    def _open_pool(self) -> _Pool:
        with self._lock:
            if self._pool is None:
                intents = IntentServer(self._recorders)
                executor = ProcessPoolExecutor(
                    self._processes,
                    mp_context=self._context,
                    initializer=_begin,
                    initargs=(self._flags, self._rights, intents.address),
                )
                self._pool = _Pool(executor, intents)
            return self._pool

    def _drop_pool(self, course: _RunInPool) -> None:
        """Let go of the pool that broke; another run may have done so, and may have opened the next one."""
        with self._lock:
            if self._pool is course.pool:
                self._pool = None
        if course.pool is not None:
            course.pool.close()

    def _set_all(self, value: int) -> None:
        for slot in range(_MOST_RUNS):
            self._flags[slot] = value


@dataclass(frozen=True)
class _SharedCancellationToken:
    """The leash of a run, as its worker processes see it through shared memory."""

    slot: int

    def cancelled(self) -> bool:
        return bool(_stop_flags[self.slot])

    def lease_expires_at(self) -> float:
        return _rights[self.slot]


def _result(future: Future[WrittenPart], course: _RunInPool) -> WrittenPart | DeliveryError:
    """What came of a part: written, or not for a reason that passes. Raises what does not pass."""
    try:
        return future.result()
    except DeliveryError as error:
        if not error.transient:
            del course.in_flight[future]
            raise
        return error
    except OfftakeError:
        raise
    except Exception as error:
        cause = exhaustion(error)
        if cause is None:
            raise
        return exhausted_error(cause)


def _worker_died() -> DeliveryError:
    return DeliveryError(
        EXPORT_FAILED,
        "A process that writes files died before it had confirmed a file.",
        "The export is tried again; if that happens often, give the machine more memory.",
        transient=True,
    )


def _workers_die() -> DeliveryError:
    return DeliveryError(
        EXPORT_FAILED,
        "The processes that write the files keep dying.",
        "Give the machine more memory, or set OFFTAKE_EXPORT_PROCESSES or OFFTAKE_PART_BYTES lower.",
    )


def _begin(flags: "Array[c_byte]", rights: "Array[c_double]", intents: str) -> None:
    global _stop_flags, _rights, _intents
    _stop_flags, _rights, _intents = flags, rights, IntentClient(intents)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    # A killed parent leaves its pool waiting for ever, and perhaps writing.
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _do(task: PartTask, slot: int, ticket: int) -> WrittenPart:
    return export_part(task, _SharedCancellationToken(slot), functools.partial(_intents.record, ticket))
