"""Removes the content of a sandbox that is being reset or deleted, in short steps; a crash after any step is safe."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, exists, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from offtake.destinations.base import LandingZones
from offtake.destinations.zones import TYPES
from offtake.failpoints import failpoint
from offtake.lake.catalog import Lake
from offtake.lake.table_names import TableName
from offtake.lake.uploads import Uploads
from offtake.landing_zone import keys
from offtake.store import batches, run_states
from offtake.store.conditions import LIVE_RUN
from offtake.store.database import Database
from offtake.store.sandbox_states import ACTIVE, DELETED, DELETING, RESETTING
from offtake.store.tables import (
    Batch,
    BatchFile,
    Connection,
    Dataset,
    EventRow,
    Flow,
    Label,
    LakeCatalog,
    LakeNamespace,
    LandingZoneKey,
    ManagedResource,
    Run,
    RunDataset,
    RunPart,
    Sandbox,
    SourceConnection,
    Stamp,
    TargetConnection,
    Watermark,
)

_PAGE: Final = 100


@dataclass(frozen=True)
class PurgeTargets:
    """Locations of files outside the lake: landing zones, and the uploads of batches."""

    zones: LandingZones
    uploads: Uploads


@dataclass(frozen=True)
class _Kind:
    """A table with rows of a sandbox; `dependents`: columns of other tables that refer to these rows."""

    table: type[Stamp]
    dependents: tuple[InstrumentedAttribute[Any], ...] = ()


# Tables that refer to others come first.
_KINDS: Final = (
    _Kind(Run, (RunPart.run_id, RunDataset.run_id)),
    _Kind(Flow, (Watermark.flow_id, Label.entity_id)),
    _Kind(TargetConnection),
    _Kind(SourceConnection),
    _Kind(Connection),
)


def empty(database: Database, lake: Lake, targets: PurgeTargets, sandbox_id: str, now_ms: int) -> Iterator[None]:
    """Remove the sandbox's content, one short step per iteration; then set the sandbox active or deleted.

    Ends early while a worker still holds a run or a batch, which is asked to stop; call it again later. Every step is
    idempotent, also when processes run it concurrently.
    """
    with database.writing() as session:
        _stop(session, sandbox_id, now_ms)
    yield
    with database.reading() as session:
        if _is_held(session, sandbox_id, now_ms):
            return
    for kind in _KINDS:
        yield from _remove_rows(database, kind, sandbox_id)
    failpoint("sandbox_rows_removed")
    yield from _remove_batches(database, targets, sandbox_id)
    yield from _remove_datasets(database, lake, sandbox_id)
    yield from _remove_catalogs(database, sandbox_id)
    failpoint("sandbox_datasets_removed")
    yield from _remove_events(database, sandbox_id)
    yield from _remove_zone(database, targets, sandbox_id)
    failpoint("sandbox_zone_removed")
    _finish(database, sandbox_id, now_ms)


def _stop(session: Session, sandbox_id: str, now_ms: int) -> None:
    """Disable the flows, delete runs that have not started, cancel live runs, abort open batches."""
    of_sandbox = Flow.sandbox_id == sandbox_id
    session.execute(update(Flow).where(of_sandbox).values(state="disabled", next_run_s=None))
    of_sandbox_runs = Run.sandbox_id == sandbox_id
    # A run that has started and waits again may have files at its destination: a worker ends it.
    new = (of_sandbox_runs, Run.status == run_states.WAITING, Run.started_at.is_(None))
    for column in (RunPart.run_id, RunDataset.run_id):
        session.execute(delete(column.class_).where(column.in_(select(Run.id).where(*new))))
    session.execute(delete(Run).where(*new))
    live = (of_sandbox_runs, LIVE_RUN)
    session.execute(update(Run).where(*live).values(cancel_requested=True, not_before=None))
    # The higher fencing token stops an ingestor that is importing the batch.
    open_batches = (Batch.sandbox_id == sandbox_id, Batch.status.in_(batches.OPEN))
    session.execute(
        update(Batch).where(*open_batches).values(status=batches.ABORTED, fence=Batch.fence + 1, updated_at=now_ms)
    )


def _is_held(session: Session, sandbox_id: str, now_ms: int) -> bool:
    running = exists().where(Run.sandbox_id == sandbox_id, LIVE_RUN)
    importing = exists().where(Batch.sandbox_id == sandbox_id, Batch.lease_until > now_ms)
    return bool(session.scalar(select(or_(running, importing))))


def _remove_rows(database: Database, kind: _Kind, sandbox_id: str) -> Iterator[None]:
    while True:
        with database.writing() as session:
            ids = _some(session, kind.table, sandbox_id)
            if not ids:
                return
            for column in kind.dependents:
                session.execute(delete(column.class_).where(column.in_(ids)))
            session.execute(delete(kind.table).where(kind.table.id.in_(ids)))
        yield


def _remove_batches(database: Database, targets: PurgeTargets, sandbox_id: str) -> Iterator[None]:
    while True:
        with database.reading() as session:
            ids = _some(session, Batch, sandbox_id)
        if not ids:
            return
        for batch_id in ids:
            targets.uploads.remove(batch_id)
        with database.writing() as session:
            session.execute(delete(BatchFile).where(BatchFile.batch_id.in_(ids)))
            session.execute(delete(Batch).where(Batch.id.in_(ids)))
        yield


def _remove_datasets(database: Database, lake: Lake, sandbox_id: str) -> Iterator[None]:
    """Remove tables before the datasets' rows: after a crash, the row shows that work is left."""
    while True:
        with database.reading() as session:
            row = session.scalar(select(Dataset).filter_by(sandbox_id=sandbox_id).limit(1))
        if row is None:
            return
        lake.purge(TableName(row.table_name))
        with database.writing() as session:
            session.execute(delete(Label).where(Label.entity_id == row.id))
            session.execute(delete(Dataset).where(Dataset.id == row.id))
        yield


def _remove_catalogs(database: Database, sandbox_id: str) -> Iterator[None]:
    """Forget the catalogs of others, whose tables are not touched, and the tags of resources declared in files."""
    with database.writing() as session:
        session.execute(delete(LakeNamespace).where(LakeNamespace.sandbox_id == sandbox_id))
        session.execute(delete(LakeCatalog).where(LakeCatalog.sandbox_id == sandbox_id))
        session.execute(delete(ManagedResource).where(ManagedResource.sandbox_id == sandbox_id))
    yield


def _remove_events(database: Database, sandbox_id: str) -> Iterator[None]:
    old = select(EventRow.id).where(EventRow.sandbox_id == sandbox_id).order_by(EventRow.id).limit(_PAGE)
    while database.finds(old):
        with database.writing() as session:
            session.execute(delete(EventRow).where(EventRow.id.in_(session.scalars(old).all())))
        yield


def _remove_zone(database: Database, targets: PurgeTargets, sandbox_id: str) -> Iterator[None]:
    with database.writing() as session:
        sandbox = session.get_one(Sandbox, sandbox_id)
        session.execute(delete(LandingZoneKey).where(LandingZoneKey.sandbox_id == sandbox_id))
        sandbox_location = keys.sandbox_location(session, targets.zones, sandbox)
    for kind in TYPES:
        yield from sandbox_location.zone(kind).empty()


def _finish(database: Database, sandbox_id: str, now_ms: int) -> None:
    with database.writing() as session:
        sandbox = session.get_one(Sandbox, sandbox_id, with_for_update=True)
        tables = (kind.table for kind in (*_KINDS, _Kind(Batch), _Kind(Dataset)))
        if sandbox.state not in (RESETTING, DELETING) or any(_some(session, table, sandbox_id) for table in tables):
            return
        sandbox.state = ACTIVE if sandbox.state == RESETTING else DELETED
        sandbox.revision += 1
        sandbox.updated_at = now_ms


def _some(session: Session, table: type[Stamp], sandbox_id: str) -> list[str]:
    return list(session.scalars(select(table.id).where(table.sandbox_id == sandbox_id).limit(_PAGE)))
