"""Events of runs, with the names of their flow, datasets and destination."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from offtake.documents import InfoItem
from offtake.errors import split_remedy
from offtake.store import events
from offtake.store.events import Event, EventKind, FieldValue
from offtake.store.run_states import SUCCESS
from offtake.store.tables import Connection, Dataset, Flow, Run, RunDataset, RunPart, TargetConnection
from offtake.store.tables.documents import ReportedWait

_FILE_TYPE: Final = "datasetFileType"
REPEAT_MS: Final = 3_600_000
"""Waits of a run for the same cause are reported at most once in this time."""
_REPEAT_OWED_MS: Final = 86_400_000

# Built once, and executed on the connection: these queries are part of every run.
_NAMES: Final = (
    select(Connection.id, Connection.name, Connection.connection_spec_id, TargetConnection.params, Flow.name)
    .join(TargetConnection, TargetConnection.base_connection_id == Connection.id)
    .outerjoin(Flow, Flow.id == bindparam("flow_id"))
    .where(TargetConnection.id == bindparam("target_id"))
)
_DATASETS: Final = select(Dataset.id, Dataset.name).where(Dataset.id.in_(bindparam("ids", expanding=True)))


def record(session: Session, kind: EventKind, run: Run, now_ms: int, **fields: FieldValue) -> None:
    """Record an event of the run. Reads the names of its flow, connection and datasets by two queries."""
    events.record(session, of_run(session, kind, run, now_ms, **fields))


def of_run(session: Session, kind: EventKind, run: Run, now_ms: int, **fields: FieldValue) -> Event:
    """An event of the run, to be recorded."""
    ids = {"flow_id": run.flow_id, "target_id": run.target_connection_id}
    found = session.connection().execute(_NAMES, ids).one_or_none()
    connection_id, connection_name, spec_id, params, flow_name = found or (None,) * 5
    return Event(
        kind,
        run.sandbox_id,
        now_ms,
        flow_id=run.flow_id,
        flow_name=flow_name,
        run_id=run.id,
        connection_id=connection_id,
        connection_name=connection_name,
        connection_spec_id=spec_id,
        datasets=_dataset_names(session, run.dataset_ids),
        file_type=None if params is None else str(params.get(_FILE_TYPE, "")).upper(),
        request_id=run.request_id,
        fields=fields,
    )


def error_fields(error: InfoItem | None) -> dict[str, FieldValue]:
    """The fields `code`, `message` and `remedy` of an error; empty without one."""
    if error is None:
        return {}
    message, remedy = split_remedy(error["code"], error["message"])
    return {"code": error["code"], "message": message, "remedy": remedy}


def record_started(session: Session, run: Run, now_ms: int) -> None:
    """Record that a worker starts the run."""
    slot = run.scheduled_at if run.trigger == "schedule" else None
    record(session, "run.started", run, now_ms, trigger=run.trigger, slot=slot)


def record_end(session: Session, run: Run, now_ms: int, failures: int | None) -> None:
    """Record how the run ended, with its totals. `failures`: consecutive failures of its flow."""
    seconds = round(max(0, now_ms - (run.started_at or now_ms)) / 1000, 3)
    fields: dict[str, FieldValue] = {"trigger": run.trigger, "seconds": seconds}
    warnings = len(run.warnings) or None
    if run.status != SUCCESS and run.cancel_requested:
        record(session, "run.cancelled", run, now_ms, **fields)
        return
    delivered: dict[str, FieldValue] = {}
    if run.rows or run.bytes:
        rate = (round((run.bytes or 0) / seconds) or None) if seconds else None
        delivered = {
            "rows": run.rows,
            "bytes": run.bytes,
            "files": _count_files(session, run),
            "bytes_per_second": rate,
        }
    if run.status == SUCCESS:
        kind: EventKind = "run.delivered" if delivered else "run.nothing_new"
        record(session, kind, run, now_ms, **fields, **delivered, warnings=warnings)
        return
    error = error_fields(run.errors[0] if run.errors else None)
    record(session, "run.failed", run, now_ms, **fields, **delivered, **error, warnings=warnings, failures=failures)


def log_part(session: Session, run: Run, part: RunPart, now_ms: int) -> None:
    """Have the log and the metrics note a file that is complete; not stored."""
    names = select(RunDataset.dataset_name, Flow.name).outerjoin(Flow, Flow.id == run.flow_id)
    names = names.where(RunDataset.run_id == run.id, RunDataset.dataset_id == part.dataset_id)
    dataset_name, flow_name = session.execute(names).one_or_none() or (None, None)
    happened = Event(
        "run.part_done",
        run.sandbox_id,
        now_ms,
        flow_id=run.flow_id,
        flow_name=flow_name,
        run_id=run.id,
        datasets=[dataset_name] if dataset_name else [],
        request_id=run.request_id,
        fields={"file": part.key, "rows": part.rows, "bytes": part.bytes},
    )
    events.log_only(session, happened)


def record_wait(session: Session, run: Run, now_ms: int, until_ms: int | None) -> None:
    """Record that the run waits, unless the same cause was reported within the last hour: that is counted."""
    reason = run.wait_reason
    repeated = _count(run, reason["code"] if reason else "", now_ms, REPEAT_MS)
    if repeated is not None:
        fields = {**error_fields(reason), "address": run.address, "until": until_ms, "repeated": repeated or None}
        record(session, "run.waiting", run, now_ms, **fields)


def record_owed(session: Session, run: Run, now_ms: int, fields: Mapping[str, FieldValue]) -> None:
    """Record that files of a run that has ended are still at its destination, for one reason at most once a day."""
    if _count(run, f"files {fields.get('reason')}", now_ms, _REPEAT_OWED_MS) is not None:
        record(session, "run.files_owed", run, now_ms, **fields, files=_count_files(session, run) or None)


def _count_files(session: Session, run: Run) -> int:
    finished = select(func.count()).select_from(RunPart)
    return session.scalar(finished.where(RunPart.run_id == run.id, RunPart.finished_at.is_not(None))) or 0


def _count(run: Run, cause: str, now_ms: int, at_most_every_ms: int) -> int | None:
    """How often the cause occurred since its last report, if it is to be reported now; None if it is only counted."""
    last = run.wait_reported
    same = last is not None and last["code"] == cause
    if last is not None and same and 0 <= now_ms - last["at"] < at_most_every_ms:
        run.wait_reported = ReportedWait(code=cause, at=last["at"], more=last["more"] + 1)
        return None
    run.wait_reported = ReportedWait(code=cause, at=now_ms, more=0)
    return last["more"] if last is not None and same else 0


def _dataset_names(session: Session, dataset_ids: Sequence[str]) -> list[str]:
    found = dict(session.connection().execute(_DATASETS, {"ids": list(dataset_ids)}).all())
    return [found[one] for one in dataset_ids if one in found]
