"""The files of a failed run: kept if a consumer collected some of them or they cannot be removed, else removed.

The decision is made once, by the first process that comes to it: the worker that ends the run, the orphan sweeper, or
the flow's next run. All files are inspected before any is removed. A file that another process removes is never
mistaken for a collected one: where the destination can rename, a file is renamed before its record is deleted, and
removed afterwards.
"""

import logging
from collections.abc import Sequence
from typing import Final

from offtake.destinations.base import Pending, Sink
from offtake.errors import ACCESS_DENIED, DeliveryError
from offtake.exporting.attempts import remove_left
from offtake.exporting.job import ExportJob
from offtake.exporting.manifest import manifest_key
from offtake.failpoints import failpoint
from offtake.store import disposals
from offtake.store.database import Database
from offtake.store.tables import RunDataset, RunPart

_log = logging.getLogger(__name__)

_FIRST_REMOVAL: Final = 2
"""The number of the first attempt that removes files; the inspection before it counts as attempt one."""


def dispose(
    job: ExportJob, database: Database, datasets: Sequence[RunDataset], parts: Sequence[RunPart], now_ms: int
) -> None:
    """Decide whether the run's files are kept, and remove them if not; raises `DeliveryError`.

    The manifest is removed first, so that no consumer relies on files that are about to be removed. If the destination
    denies that, it usually denies removing the files too: they are kept, and the flow continues from them.
    """
    sink = job.target.open()
    try:
        refusal = _remove_manifest(sink, manifest_key(job, datasets, parts))
        _decide(job.run_id, sink, database, now_ms)
        failpoint("disposed")
        left = disposals.load(database, job.run_id)[1]
        # Also when the files are kept: a slow writer may have left a temporary file since.
        sink.clear([part.key for part in left])
        remove_left(sink, database, job.run_id, left)
        if refusal is not None:
            raise refusal
    finally:
        sink.close()


def decide(job: ExportJob, database: Database, now_ms: int) -> None:
    """Decide whether the run's files are kept; the orphan sweeper removes them if not. Raises `DeliveryError`."""
    sink = job.target.open()
    try:
        _decide(job.run_id, sink, database, now_ms)
    finally:
        sink.close()


def _remove_manifest(sink: Sink, key: str | None) -> DeliveryError | None:
    """Remove the manifest file; returns the error if the destination denies it. Raises a transient `DeliveryError`."""
    if key is None:
        return None
    try:
        sink.clear([key])
        sink.delete(key)
    except DeliveryError as error:
        if error.transient:
            raise
        return error
    return None


def _decide(run_id: str, sink: Sink, database: Database, now_ms: int) -> None:
    state, parts = disposals.load(database, run_id)
    if state is None:
        _inspect(run_id, sink, database, parts, now_ms)
        state, parts = disposals.load(database, run_id)
    if state == disposals.REMOVING:
        _remove(run_id, sink, database, parts, now_ms)


def _inspect(run_id: str, sink: Sink, database: Database, parts: Sequence[RunPart], now_ms: int) -> None:
    """Keep the run's files if one of them was collected; else begin to remove them."""
    proven = [part for part in parts if part.finished_at]
    announced = [part for part in parts if part.intended_at and not part.finished_at]
    elsewhere = {part.number for part in (*proven, *announced) if part.uri not in (None, sink.uri(part.key))}
    collected = [part.number for part in announced if part.number not in elsewhere and not _recall(sink, part)]
    gone = [part.number for part in proven if part.number not in elsewhere and _is_gone(sink, part)]
    withdrawn = [*elsewhere, *({part.number for part in announced} - elsewhere - set(collected))]
    if gone or collected:
        disposals.keep(database, run_id, withdrawn, collected, now_ms, elsewhere=len(elsewhere))
    else:
        disposals.begin_removal(database, run_id, withdrawn, now_ms, elsewhere=len(elsewhere))


def _is_gone(sink: Sink, part: RunPart) -> bool:
    """Whether a verified file is gone; False where the destination denies access.

    A file that cannot be inspected cannot be removed either, so it stays delivered.
    """
    try:
        return sink.is_gone(part.key)
    except DeliveryError as error:
        if error.kind != ACCESS_DENIED:
            raise
        return False


def _recall(sink: Sink, part: RunPart) -> bool:
    """Whether a file with a recorded intent was removed. One that is complete and cannot be removed is kept."""
    try:
        return sink.recall(part.key, Pending(part.bytes or 0, part.token))
    except DeliveryError as error:
        if error.transient or sink.size(part.key) != part.bytes:
            raise
        return False


def _remove(run_id: str, sink: Sink, database: Database, parts: Sequence[RunPart], now_ms: int) -> None:
    attempt = disposals.begin_removal(database, run_id, (), now_ms)
    if attempt is None:
        return
    withdrawn: list[int] = []
    stay: list[int] = []
    for part in (part for part in parts if part.finished_at):
        try:
            is_withdrawn = sink.recall(part.key, again=attempt > _FIRST_REMOVAL)
        except DeliveryError as error:
            if error.transient:
                raise
            # The decision to keep the files is reported as an event; this is the reason of one of them.
            _log.debug("run %s: a file stays, because it cannot be removed: %s", run_id, error)
            is_withdrawn = False
        (withdrawn if is_withdrawn else stay).append(part.number)
        failpoint("file_recalled")
    disposals.end_removal(database, run_id, attempt, withdrawn, stay, now_ms)
