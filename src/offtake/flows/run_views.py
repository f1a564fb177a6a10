"""A run for people: what it delivers where, how far it is, and its files a page at a time."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from offtake.access import labels
from offtake.contract.caller import VIEW_DESTINATIONS, Caller
from offtake.flows import deleted_flows, runs
from offtake.flows.flows import stored_schedule
from offtake.flows.run_waits import RunWait, wait_of
from offtake.flows.schedule import Schedule
from offtake.flows.undelivered import Owed, owed_by
from offtake.store import attempts, quotas, run_parts, run_states
from offtake.store.health import IN_QUEUE
from offtake.store.tables import Connection, Flow, Run, RunDataset, RunPart, TargetConnection

PAGE: Final = 50
_RECENT_MS: Final = 60_000


@dataclass(frozen=True)
class Progress:
    """How far a run is. `planned` 0: there is no plan yet. `wait`: it is in the queue.

    `input_rows` and `read_rows`: of all parts and of the finished ones. `recent_bytes`: finished in the last minute.
    """

    status: str
    waits: bool
    cancelling: bool
    planned: int
    finished: int
    rows: int
    bytes: int
    input_rows: int
    read_rows: int
    recent_bytes: int
    started_ms: int | None
    updated_ms: int

    @property
    def state(self) -> str:
        """The name of the state for people: `queued`, `waiting`, `processing`, or as stored."""
        if self.status == run_states.WAITING:
            return "waiting" if self.waits else "queued"
        return self.status

    def seconds_left(self, now_ms: int) -> float | None:
        """An estimate from the rows that were read so far; None when nothing is known yet."""
        if self.started_ms is None or not self.read_rows or self.status != run_states.PROCESSING:
            return None
        elapsed = max(0, now_ms - self.started_ms) / 1000
        return elapsed / self.read_rows * (self.input_rows - self.read_rows)


@dataclass(frozen=True)
class RunView:
    """A run with what it refers to. `flow`, `target`, `account`: None when they were deleted.

    `flow_name`: also of a deleted flow; empty when it is not known.
    """

    run: Run
    flow: Flow | None
    flow_name: str
    schedule: Schedule | None
    target: TargetConnection | None
    account: Connection | None
    datasets: Sequence[RunDataset]
    progress: Progress
    wait: RunWait | None
    owed: Sequence[Owed]
    left: Sequence[str]
    parent_run_id: str | None


@dataclass(frozen=True)
class RunLine:
    """A run in a list. `flow_name`: also of a deleted flow; empty when it is not known."""

    run_id: str
    flow_id: str
    flow_name: str
    deleted: bool
    trigger: str
    state: str
    created_ms: int
    started_ms: int | None
    ended_ms: int | None
    rows: int | None
    bytes: int | None
    reason: str
    cancelled: bool


def find_run(session: Session, caller: Caller, run_id: str) -> RunView:
    """The caller's run; raises 1439."""
    caller.require(VIEW_DESTINATIONS)
    run = runs.find(session, caller, run_id)
    target = session.get(TargetConnection, run.target_connection_id)
    account = session.get(Connection, target.base_connection_id) if target is not None else None
    flow = session.get(Flow, run.flow_id)
    names = {} if flow is not None else deleted_flows.names_of(session, caller, [run.flow_id])
    return RunView(
        run=run,
        flow=flow,
        schedule=stored_schedule(flow) if flow is not None else None,
        flow_name=flow.name if flow is not None else names.get(run.flow_id, ""),
        target=target,
        account=account,
        datasets=run_parts.run_datasets(session, run.id),
        progress=progress_of(session, [run.id])[run.id],
        wait=wait_of(run),
        owed=owed_by(session, run),
        left=attempts.leftover_names(session, [run.id]).get(run.id, ()),
        parent_run_id=run.parent_run_id,
    )


def progress_of(session: Session, run_ids: Collection[str]) -> Mapping[str, Progress]:
    """How far these runs are, by id; unknown runs are left out. Permissions are the caller's business."""
    columns = (Run.id, Run.status, Run.waiting_since, Run.cancel_requested, Run.started_at, Run.updated_at)
    rows = session.execute(select(*columns).where(Run.id.in_(run_ids))).all()
    newest = max((row.updated_at for row in rows), default=0)
    done = RunPart.finished_at.is_not(None)
    sums = {
        "planned": func.count(),
        "finished": func.count(RunPart.finished_at),
        "rows": func.sum(RunPart.rows).filter(done),
        "bytes": func.sum(RunPart.bytes).filter(done),
        "input_rows": func.sum(RunPart.input_rows),
        "read_rows": func.sum(RunPart.input_rows).filter(done),
        "recent_bytes": func.sum(RunPart.bytes).filter(RunPart.finished_at > newest - _RECENT_MS),
    }
    query = select(RunPart.run_id, *sums.values()).where(RunPart.run_id.in_(run_ids)).group_by(RunPart.run_id)
    parts: dict[str, dict[str, int | None]] = {}
    for row in session.execute(query):
        parts[row[0]] = dict(zip(sums, row[1:], strict=True))
    return {
        row.id: Progress(
            status=row.status,
            waits=row.waiting_since is not None,
            cancelling=row.cancel_requested,
            **{name: int(parts.get(row.id, {}).get(name) or 0) for name in sums},
            started_ms=row.started_at,
            updated_ms=row.updated_at,
        )
        for row in rows
    }


def files_of(session: Session, run_id: str, first: int) -> tuple[list[RunPart], bool]:
    """The finished files of a run, 50 from number `first`, and whether more follow."""
    finished = select(RunPart).where(RunPart.run_id == run_id, RunPart.finished_at.is_not(None))
    found = session.scalars(finished.order_by(RunPart.number).offset(first).limit(PAGE + 1)).all()
    return list(found[:PAGE]), len(found) > PAGE


def file_of(session: Session, run_id: str, number: int) -> RunPart | None:
    """The finished file with that number; None when there is none."""
    part = session.get(RunPart, (run_id, number))
    return part if part is not None and part.finished_at is not None else None


def list_runs(
    session: Session, caller: Caller, flow_id: str | None, status: str | None, first: int, most: int = PAGE
) -> tuple[list[RunLine], bool]:
    """The runs of a flow, or of the sandbox, newest first: `most` from `first`, and whether more follow."""
    caller.require(VIEW_DESTINATIONS)
    conditions: list[ColumnElement[bool]] = [Run.sandbox_id == caller.sandbox_id, labels.visible(Run.flow_id, caller)]
    if flow_id is not None:
        conditions.append(Run.flow_id == flow_id)
    if status is not None:
        conditions.append(_has_status(status))
    query = select(Run).where(*conditions).order_by(Run.updated_at.desc(), Run.id.desc()).offset(first).limit(most + 1)
    found = session.scalars(query).all()
    ids = {run.flow_id for run in found[:most]}
    names = dict(session.execute(select(Flow.id, Flow.name).where(Flow.id.in_(ids))).all())
    gone = ids - names.keys()
    deleted = deleted_flows.names_of(session, caller, gone) if gone else {}
    return [_line(run, names, deleted) for run in found[:most]], len(found) > most


def _has_status(status: str) -> ColumnElement[bool]:
    if status == "live":
        return Run.status.in_(run_states.LIVE)
    if status == "delivered":
        return and_(Run.status == run_states.SUCCESS, or_(Run.rows != 0, Run.rows.is_(None)))
    if status == "empty":
        return and_(Run.status == run_states.SUCCESS, Run.rows == 0)
    if status == "quota":
        return and_(quotas.HELD, IN_QUEUE)
    return Run.status == status


def _line(run: Run, names: Mapping[str, str], deleted: Mapping[str, str]) -> RunLine:
    waits = run.status == run_states.WAITING
    state = ("waiting" if run.waiting_since is not None else "queued") if waits else run.status
    cancelled = run.cancel_requested and run.status == run_states.FAILED
    reason = run.errors[0]["message"] if run.errors else ""
    if run.wait_reason is not None and waits:
        reason = run.wait_reason["message"]
    return RunLine(
        run_id=run.id,
        flow_id=run.flow_id,
        flow_name=names.get(run.flow_id, deleted.get(run.flow_id, "")),
        deleted=run.flow_id not in names,
        trigger=run.trigger,
        state=state,
        created_ms=run.created_at,
        started_ms=run.started_at,
        ended_ms=run.completed_at,
        rows=run.rows,
        bytes=run.bytes,
        reason=reason,
        cancelled=cancelled,
    )
