"""Renders runs for the API, with the metric tree (contract, sections 17.1 and 17.2)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.contract import entities
from offtake.contract.caller import Caller
from offtake.documents import Json
from offtake.flows.run_waits import wait_of
from offtake.flows.undelivered import Owed, owed_by_all
from offtake.store import attempts, disposals, run_states
from offtake.store.tables import Run, RunDataset, RunPart

_MOST_FILES: Final = 1000


@dataclass(frozen=True)
class _File:
    """The rendered fields of a finished part."""

    dataset_id: str
    key: str
    rows: int
    bytes: int


def render(session: Session, row: Run, caller: Caller) -> Json:
    """Render the run for the API, with the whole metric tree."""
    return render_all(session, [row], caller)[0]


def render_all(session: Session, rows: Sequence[Run], caller: Caller) -> list[Json]:
    """Render the runs for the API, with one query for all datasets and one for all files."""
    ids = [row.id for row in rows]
    datasets = defaultdict[str, list[RunDataset]](list)
    for dataset in session.scalars(
        select(RunDataset).where(RunDataset.run_id.in_(ids)).order_by(RunDataset.dataset_id)
    ):
        datasets[dataset.run_id].append(dataset)
    files = defaultdict[str, list[_File]](list)
    # Not whole rows: a part's slices are long, and not rendered.
    columns = (RunPart.run_id, RunPart.dataset_id, RunPart.key, RunPart.rows, RunPart.bytes)
    finished = select(*columns).where(RunPart.run_id.in_(ids), RunPart.finished_at.is_not(None))
    for run_id, dataset_id, key, count, size in session.execute(finished.order_by(RunPart.run_id, RunPart.number)):
        files[run_id].append(_File(dataset_id, key, count or 0, size or 0))
    owed, left = owed_by_all(session, rows, datasets), attempts.leftover_names(session, ids)
    totals = {row.id: _Totals(row, datasets[row.id], files[row.id], owed[row.id], left.get(row.id, ())) for row in rows}
    return [_render(row, caller, totals[row.id]) for row in rows]


def _render(row: Run, caller: Caller, totals: "_Totals") -> Json:
    parent = {"parentFlowRunId": row.parent_run_id} if row.parent_run_id else {}
    return (
        entities.audit_fields(row, caller)
        | {
            "flowId": row.flow_id,
            "flowSpec": entities.spec_ref(row.flow_spec_id),
            "providerRefId": row.id.replace("-", ""),
            "etag": entities.etag(row),
            "metrics": totals.metrics(),
            "activities": totals.activities(),
        }
        | {"extensions": {"trigger": row.trigger, "scheduledAt": row.scheduled_at}}
        | parent
        | ({"params": row.params} if row.params else {})
    )


class _Totals:
    """The totals of a run; once it has ended, they have all five keys that clients poll for."""

    def __init__(
        self, row: Run, datasets: list[RunDataset], files: list[_File], owed: list[Owed], left: Sequence[str]
    ) -> None:
        self.row, self.datasets, self.files, self.owed, self.left = row, datasets, files, owed, left
        self.over = row.completed_at is not None
        delivered = row.status == run_states.SUCCESS or not self.over or any(not one.error for one in datasets)
        failed_whole = self.over and row.status == run_states.FAILED and not any(one.error for one in datasets)
        kept = row.disposal == disposals.KEPT
        self.delivered = files if kept or (delivered and not failed_whole) else []

    def metrics(self) -> Json:
        return {
            "durationSummary": self._duration(),
            "sizeSummary": self._sizes(),
            "recordSummary": self._records() | self._summaries() | self._infos(),
            "fileSummary": self._files() | {"manifest": {"fileInfo": self._file_infos()}},
            "statusSummary": self._status() | {"activityRefs": [self.row.id]},
        }

    def activities(self) -> list[Json]:
        if self.row.started_at is None:
            return []
        source = {"type": "Dataset", "ids": self.row.dataset_ids}
        target = {"type": "Folder", "ids": sorted({one.folder for one in self.datasets})}
        return [
            {
                "id": self.row.id,
                "name": "Dataset Export Activity",
                "updatedAtUTC": self.row.updated_at,
                "durationSummary": self._duration(),
                "latencySummary": {},
                "sizeSummary": self._sizes(),
                "recordSummary": self._records(),
                "fileSummary": self._files(),
                "statusSummary": self._status(),
                "sourceInfo": [{"id": self.row.source_connection_id, "type": "SourceConnection", "reference": source}],
                "targetInfo": [{"id": self.row.target_connection_id, "type": "TargetConnection", "reference": target}],
            }
        ]

    def _duration(self) -> Json:
        ended = {"completedAtUTC": self.row.completed_at} if self.over else {}
        return ({"startedAtUTC": self.row.started_at} if self.row.started_at else {}) | ended

    def _sizes(self) -> Json:
        read = {"inputBytes": sum(one.input_bytes for one in self.datasets)}
        return read | ({"outputBytes": sum(one.bytes for one in self.delivered)} if self.over else {})

    def _records(self) -> Json:
        read: Json = {"inputRecordCount": sum(one.input_rows for one in self.datasets)}
        if not self.over:
            return read
        written = self._rows()
        return read | {
            "createdRecordCount": written,
            "outputRecordCount": written,
            "deletedRecordCount": sum(one.deleted_rows for one in self.datasets),
            "skippedRecordCount": 0,
            "failedRecordCount": 0,
        }

    def _summaries(self) -> Json:
        read = [
            {"id": f"dataset:{one.dataset_id}", "inputRecordCount": one.input_rows, "skippedRecordCount": 0}
            for one in self.datasets
        ]
        written = [self._entity(one) for one in self.datasets]
        source = {"id": self.row.source_connection_id, "skippedRecordCount": 0, "entitySummaries": read}
        target = {"id": self.row.target_connection_id, "entitySummaries": written}
        rows = self._rows()
        return {
            "sourceSummaries": [source | {"inputRecordCount": sum(one.input_rows for one in self.datasets)}],
            "targetSummaries": [target | {"createdRecordCount": rows, "outputRecordCount": rows}],
        }

    def _entity(self, dataset: RunDataset) -> Json:
        rows = self._rows(dataset.dataset_id)
        entity: Json = {"id": f"dataset:{dataset.dataset_id}", "createdRecordCount": rows, "outputRecordCount": rows}
        extensions: Json = {
            "exportKind": dataset.kind,
            "fromSnapshotId": dataset.from_snapshot,
            "toSnapshotId": dataset.to_snapshot,
        }
        extensions |= {"columns": list(dataset.columns)} if dataset.columns else {}
        failed = {"statusSummary": {"status": run_states.FAILED, "errors": [dataset.error]}} if dataset.error else {}
        return entity | {"extensions": extensions | failed}

    def _infos(self) -> Json:
        failed = {"failedInfo": self.row.errors} if self.row.errors else {}
        return failed | ({"warningInfo": self.row.warnings} if self.row.warnings else {})

    def _files(self) -> Json:
        read = {"inputFileCount": sum(one.input_files for one in self.datasets)}
        return read | ({"outputFileCount": len(self.delivered)} if self.over else {})

    def _file_infos(self) -> list[Json]:
        return [_file_info(one) for one in self.delivered[:_MOST_FILES]]

    def _status(self) -> Json:
        wait = wait_of(self.row)
        extensions: Json = {"waiting": wait.to_json()} if wait else {}
        extensions |= {"owed": {"datasets": [one.to_json() for one in self.owed]}} if self.owed else {}
        extensions |= {"toBeRemoved": {"files": list(self.left)}} if self.left else {}
        errors = {"errors": self.row.errors} if self.row.errors else {}
        return {"status": self.row.status} | errors | ({"extensions": extensions} if extensions else {})

    def _rows(self, dataset_id: str | None = None) -> int:
        return sum(one.rows for one in self.delivered if dataset_id in (None, one.dataset_id))


def _file_info(file: _File) -> dict[str, Any]:
    return {"path": file.key, "pathPrefix": file.key.rpartition("/")[0], "outputBytes": file.bytes}
