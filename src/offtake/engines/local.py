"""Exporting parts in a pool of worker processes. Processes, not threads: the NDJSON encoder holds the GIL."""

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
from offtake.telemetry import tracing

_MOST_RUNS: Final = 64
_POLL_SECONDS: Final = 0.2
_STOP_SECONDS: Final = 5.0
_MOST_DEATHS: Final = 3

_stop_flags: "Array[c_byte]"
_lease_expiries: "Array[c_double]"
_intents: IntentClient


@dataclass(frozen=True)
class _Pool:
    """Worker processes, and the server for their intents."""

    executor: ProcessPoolExecutor
    intents: IntentServer

    def close(self) -> None:
        """Stop the workers, and return when all intents that they sent are handled."""
        self.executor.shutdown(wait=True, cancel_futures=True)
        self.intents.close()


@dataclass
class _RunInPool:
    """The state of one run in the pool.

    `slot`: the index of its cancellation state in shared memory. `recorder`: records its intents. `pool`: the pool that
    executes its parts now.
    """

    slot: int
    recorder: Recorder
    cancellation: CancellationToken
    waiting: list[PartTask]
    pool: _Pool | None = None
    in_flight: dict[Future[WrittenPart], PartTask] = field(default_factory=dict)
    failures: dict[int, DeliveryError] = field(default_factory=dict)


class LocalEngine:
    """Exports parts in `processes` spawned worker processes, which start with the first part."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._context = multiprocessing.get_context("spawn")
        # Without locks: a process that is killed while it holds one would block all others. Reads are atomic.
        self._flags = self._context.RawArray("b", _MOST_RUNS)
        self._lease_expiries = self._context.RawArray("d", _MOST_RUNS)
        self._free = list(range(_MOST_RUNS))
        self._lock = threading.Lock()
        self._pool: _Pool | None = None
        self._recorders = Recorders()

    def run(
        self, tasks: Iterable[PartTask], cancellation: CancellationToken, record_intent: RecordIntent
    ) -> Iterator[WrittenPart]:
        """Yield finished parts as they finish; see `exporting.engine.Engine`."""
        deaths = 0
        with (
            self._recorders.recording(record_intent) as recorder,
            self._run_in_pool(tasks, cancellation, recorder) as run,
        ):
            while run.waiting and not run.failures:
                try:
                    yield from self._drain(run)
                except BrokenProcessPool:
                    deaths += 1
                    self._drop_pool(run)
                    recorder.check()
                    if deaths > _MOST_DEATHS:
                        raise _workers_keep_dying() from None
                    self._resubmit(run)
            if run.failures:
                raise PartsFailedError(run.failures)

    def close(self) -> None:
        """Stop the workers; parts in flight are cancelled."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            self._set_all(1)
            pool.close()
            self._set_all(0)

    def _drain(self, run: _RunInPool) -> Iterator[WrittenPart]:
        try:
            while run.in_flight or (run.waiting and not run.failures):
                self._lease_expiries[run.slot] = run.cancellation.lease_expires_at()
                self._submit(run)
                done, _ = wait(run.in_flight, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                run.recorder.check()
                raise_if_cancelled(run.cancellation)
                for future in done:
                    written = _result(future, run)
                    task = run.in_flight.pop(future)
                    if isinstance(written, WrittenPart):
                        yield written
                    else:
                        run.failures[task.number] = written
        except BrokenProcessPool:
            raise
        except BaseException:
            self._stop(run)
            raise

    def _submit(self, run: _RunInPool) -> None:
        # A short queue keeps the pool fair between runs.
        while run.waiting and not run.failures and len(run.in_flight) < self._processes + 1:
            task = run.waiting[-1]
            run.pool = self._open_pool()
            future = run.pool.executor.submit(_export_part, task, run.slot, run.recorder.ticket)
            run.in_flight[future] = task
            run.waiting.pop()

    def _resubmit(self, run: _RunInPool) -> None:
        """Retry the parts that were in flight when a worker died.

        Fails parts with an intent, which the run must check at the destination first, and parts at destinations where
        each attempt needs a new name: data that the dead worker sent may still arrive under the old one.
        """
        for task in run.in_flight.values():
            if task.number in run.recorder.announced or not task.target.limits().one_name:
                run.failures[task.number] = _worker_died()
            else:
                run.waiting.append(replace(task, again=True))
        run.in_flight.clear()

    def _stop(self, run: _RunInPool) -> None:
        """Cancel the run's parts. Waits a bounded time for workers that are blocked on the network."""
        self._flags[run.slot] = 1
        for future in run.in_flight:
            future.cancel()
        wait(run.in_flight, timeout=_STOP_SECONDS)

    @contextmanager
    def _run_in_pool(
        self, tasks: Iterable[PartTask], cancellation: CancellationToken, recorder: Recorder
    ) -> Iterator[_RunInPool]:
        with self._lock:
            slot = self._free.pop()
        self._flags[slot] = 0
        self._lease_expiries[slot] = cancellation.lease_expires_at()
        run = _RunInPool(slot, recorder, cancellation, list(reversed(list(tasks))))
        try:
            yield run
        finally:
            self._flags[slot] = 1
            self._free_after(slot, [future for future in run.in_flight if not future.done()])

    def _free_after(self, slot: int, stragglers: list[Future[WrittenPart]]) -> None:
        """Free the slot when no worker reads it any more, after all `stragglers` are done."""
        remaining = len(stragglers)

        def on_done(_future: object = None) -> None:
            nonlocal remaining
            with self._lock:
                remaining -= 1
                if remaining <= 0:
                    self._free.append(slot)

        if not stragglers:
            on_done()
        for future in stragglers:
            future.add_done_callback(on_done)

    def _open_pool(self) -> _Pool:
        with self._lock:
            if self._pool is None:
                intents = IntentServer(self._recorders)
                executor = ProcessPoolExecutor(
                    self._processes,
                    mp_context=self._context,
                    initializer=_initialize_worker,
                    initargs=(self._flags, self._lease_expiries, intents.address, tracing.child_setup()),
                )
                self._pool = _Pool(executor, intents)
            return self._pool

    def _drop_pool(self, run: _RunInPool) -> None:
        """Close the broken pool, unless another run did so already and opened the next one."""
        with self._lock:
            if self._pool is run.pool:
                self._pool = None
        if run.pool is not None:
            run.pool.close()

    def _set_all(self, value: int) -> None:
        for slot in range(_MOST_RUNS):
            self._flags[slot] = value


@dataclass(frozen=True)
class _SharedCancellationToken:
    """A run's cancellation token in its worker processes, through shared memory."""

    slot: int

    def cancelled(self) -> bool:
        return bool(_stop_flags[self.slot])

    def lease_expires_at(self) -> float:
        return _lease_expiries[self.slot]


def _result(future: Future[WrittenPart], run: _RunInPool) -> WrittenPart | DeliveryError:
    """The written part, or its transient error. Raises permanent errors."""
    try:
        return future.result()
    except DeliveryError as error:
        if not error.transient:
            del run.in_flight[future]
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
        "A worker process died before it confirmed a file.",
        "The export is retried. If this happens often, give the machine more memory.",
        transient=True,
    )


def _workers_keep_dying() -> DeliveryError:
    return DeliveryError(
        EXPORT_FAILED,
        "The worker processes that write the files keep dying.",
        "Give the machine more memory, or reduce OFFTAKE_EXPORT_PROCESSES or OFFTAKE_PART_BYTES.",
    )


def _initialize_worker(
    flags: "Array[c_byte]", lease_expiries: "Array[c_double]", intents: str, traces: tracing.Origin | None
) -> None:
    global _stop_flags, _lease_expiries, _intents
    _stop_flags, _lease_expiries, _intents = flags, lease_expiries, IntentClient(intents)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    if traces is not None:
        from offtake.telemetry.otlp import start_child  # noqa: PLC0415 - an extra, which takes long to load

        start_child(traces)


def _die_with_parent() -> None:
    # When the parent is killed, its workers would wait for ever, and perhaps continue to write.
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for([parent.sentinel])
        os._exit(1)


def _export_part(task: PartTask, slot: int, ticket: int) -> WrittenPart:
    return export_part(task, _SharedCancellationToken(slot), functools.partial(_intents.record, ticket))
