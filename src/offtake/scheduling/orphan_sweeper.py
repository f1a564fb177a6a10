"""Finds and removes what dead or failed runs have left at their destinations.

Files are removed only of runs whose failure is committed: no worker delivers them, and no other run uses their names.
Of delivered runs, only temporary and superseded files are removed.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from sqlalchemy import select
from sqlalchemy.exc import NoResultFound

from offtake.deployment.backend import Backend
from offtake.documents import InfoItem
from offtake.errors import DeliveryError, OfftakeError
from offtake.exporting.cleanup import remove_temporary_files
from offtake.exporting.disposal import dispose
from offtake.exporting.plan import error_document
from offtake.failpoints import failpoint
from offtake.scheduling.job_loader import JobLoader
from offtake.store import run_events, run_parts
from offtake.store.events import FieldValue
from offtake.store.run_states import SECOND_LOOK_MS
from offtake.store.tables import Run

_AT_ONCE: Final = 20
_SOON_MS: Final = 30_000
_RARELY_MS: Final = 3_600_000
_DAY_MS: Final = 86_400_000
_LONG_MS: Final = 7 * _DAY_MS
"""After so long without an answer, a destination is tried once a day; a sweep is never abandoned."""


def remove_orphans(backend: Backend) -> Iterator[None]:
    """Inspect each run whose sweep is due; yields after each run."""
    now = backend.clock.now_ms()
    # A sweep due more than a day ahead was recorded before the clock was set back: it is due now.
    waits = Run.sweep_due.between(now + 1, now + _DAY_MS)
    due = select(Run.id).where(Run.sweep_due.is_not(None), ~waits).order_by(Run.sweep_due).limit(_AT_ONCE)
    if not backend.database.finds(due):
        return
    with backend.database.reading() as session:
        waiting = session.scalars(due).all()
    for run_id in waiting:
        _inspect(backend, run_id, now)
        yield


def _inspect(backend: Backend, run_id: str, now: int) -> None:
    loader = JobLoader(backend.vault, backend.zones, backend.network)
    with backend.database.reading() as session:
        run = session.get(Run, run_id)
        if run is None or run.completed_at is None:
            return
        datasets, parts = run_parts.run_datasets(session, run_id), run_parts.run_parts(session, run_id)
        try:
            job = loader.load(session, run_id)
        except (NoResultFound, OfftakeError):
            gone = "Its destination was deleted. Remove the files that the run left there by hand."
            _set_sweep_due(backend, run_id, None, {"reason": "deleted", "message": gone})
            return
    age = now - run.completed_at
    try:
        if run.failure is not None:
            dispose(job, backend.database, datasets, parts, now)
        else:
            remove_temporary_files(job, backend.database, datasets, parts)
    except DeliveryError as error:
        pause = min(_RARELY_MS, max(_SOON_MS, age)) if abs(age) < _LONG_MS else _DAY_MS
        document = error_document(error)
        owed = {"reason": "pending", **run_events.error_fields(document)}
        _set_sweep_due(backend, run_id, now + pause, owed, document)
        return
    failpoint("swept")
    # A slow writer may have written again since; it cannot after the second sweep.
    _set_sweep_due(backend, run_id, run.completed_at + SECOND_LOOK_MS if 0 <= age < SECOND_LOOK_MS else None)


def _set_sweep_due(
    backend: Backend,
    run_id: str,
    due: int | None,
    owed: Mapping[str, FieldValue] | None = None,
    error: InfoItem | None = None,
) -> None:
    """Set when the run is swept next. `owed`: why its files stay, to be reported. `error`: of a sweep that failed."""
    with backend.database.writing() as session:
        run = session.get(Run, run_id)
        if run is None:
            return
        run.sweep_due, run.sweep_error = due, error
        if owed is not None:
            run_events.record_owed(session, run, backend.clock.now_ms(), owed)
