"""Runs: how they come to be, and how they are shown (contract, section 17)."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from sqlalchemy.orm import Session

from offtake.flows import entities
from offtake.flows.access import Caller
from offtake.flows.entities import Json
from offtake.store import runs
from offtake.store.tables import Flow, Run, RunDataset, RunPart, SourceConnection

_ENGINE: Final = "export-engine"
_MOST_FILES: Final = 1000


@dataclass(frozen=True)
class NewRun:
    """A run asked for: `scheduled_at` (epoch ms) names its folders; None for `dataset_ids` means all of the flow's."""

    trigger: str
    scheduled_at: int
    dataset_ids: list[str] | None = None
    full_export: bool = False
    moves_position: bool = True


def create(session: Session, flow: Flow, new: NewRun, now_ms: int) -> Run:
    """Queue a run of the flow. The database refuses a second live run, and a second run of one instant."""
    source = session.get_one(SourceConnection, flow.source_connection_id)
    client = _ENGINE
    row = Run(
        id=str(uuid4()),
        org_id=flow.org_id,
        sandbox_id=flow.sandbox_id,
        created_at=now_ms,
        updated_at=now_ms,
        created_by=f"{client}@AdobeID",
        updated_by=f"{client}@AdobeID",
        created_client=client,
        updated_client=client,
        version=str(uuid4()),
        flow_id=flow.id,
        flow_spec_id=flow.flow_spec_id,
        source_connection_id=flow.source_connection_id,
        target_connection_id=flow.target_connection_id,
        trigger=new.trigger,
        scheduled_at=new.scheduled_at,
        dataset_ids=new.dataset_ids or source.dataset_ids,
        full_export=new.full_export,
        moves_position=new.moves_position,
        status=runs.WAITING,
        cancel_requested=False,
        fence=0,
        errors=[],
        warnings=[],
    )
    session.add(row)
    return row


def render(session: Session, row: Run, caller: Caller) -> Json:
    """The run as the API shows it, with the whole metric tree."""
    datasets = runs.run_datasets(session, row.id)
    parts = [part for part in runs.run_parts(session, row.id) if part.finished_at]
    totals = _Totals(row, datasets, parts)
    parent = {"parentFlowRunId": row.parent_run_id} if row.parent_run_id else {}
    return (
        entities.envelope(row, caller)
        | {
            "flowId": row.flow_id,
            "flowSpec": entities.spec_ref(row.flow_spec_id),
            "providerRefId": row.id.replace("-", ""),
            "etag": entities.etag(row),
            "metrics": totals.metrics(),
            "activities": totals.activities(),
        }
        | parent
    )


class _Totals:
    """A run's rows summed up; once it is over, the five keys that clients poll for are all there."""

    def __init__(self, row: Run, datasets: list[RunDataset], parts: list[RunPart]) -> None:
        self.row, self.datasets, self.parts = row, datasets, parts
        self.over = row.completed_at is not None
        delivered = row.status == runs.SUCCESS or not self.over or any(not one.error for one in datasets)
        failed_whole = self.over and row.status == runs.FAILED and not any(one.error for one in datasets)
        self.delivered = parts if delivered and not failed_whole else []

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
        return read | ({"outputBytes": sum(one.bytes or 0 for one in self.delivered)} if self.over else {})

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
        extensions = {
            "exportKind": dataset.kind,
            "fromSnapshotId": dataset.from_snapshot,
            "toSnapshotId": dataset.to_snapshot,
        }
        failed = {"statusSummary": {"status": runs.FAILED, "errors": [dataset.error]}} if dataset.error else {}
        return entity | {"extensions": extensions | failed}

    def _infos(self) -> Json:
        failed = {"failedInfo": self.row.errors} if self.row.errors else {}
        return failed | ({"warningInfo": self.row.warnings} if self.row.warnings else {})

    def _files(self) -> Json:
        read = {"inputFileCount": sum(one.input_files for one in self.datasets)}
        return read | ({"outputFileCount": len(self.delivered)} if self.over else {})

    def _file_infos(self) -> list[Json]:
        return [_file_info(part) for part in self.delivered[:_MOST_FILES]]

    def _status(self) -> Json:
        return {"status": self.row.status} | ({"errors": self.row.errors} if self.row.errors else {})

    def _rows(self, dataset_id: str | None = None) -> int:
        return sum(one.rows or 0 for one in self.delivered if dataset_id in (None, one.dataset_id))


def _file_info(part: RunPart) -> dict[str, Any]:
    return {"path": part.key, "pathPrefix": part.key.rpartition("/")[0], "outputBytes": part.bytes}
