"""Verifies the continuity of a flow's deliveries, dataset by dataset."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.catalog import datasets, lake_catalog_calls
from offtake.contract import problems
from offtake.contract.caller import Caller
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import DeliveryError
from offtake.flows import column_choices, continuity, flows
from offtake.flows.continuity import Continuity, DeliveredRange
from offtake.lake.catalog import Lake
from offtake.lake.snapshot_history import SnapshotStep, ancestry
from offtake.lake.table_names import TableName
from offtake.store.database import Database
from offtake.store.run_parts import is_delivered
from offtake.store.run_warnings import list_full_export_warnings
from offtake.store.tables import AuditEvent, Dataset, Flow, Run, RunDataset, SourceConnection, Watermark


@dataclass(frozen=True)
class DatasetVerification:
    """One dataset of a flow: its position, the number of runs that delivered it, and the result.

    `continuity` is None when each run exports in full: then there is nothing to check. `columns`: the paths of the
    chosen columns; empty when all are delivered.
    """

    dataset_id: str
    name: str
    position: int | None
    runs: int
    continuity: Continuity | None
    columns: Sequence[str] = ()

    def to_json(self) -> Json:
        """Render it for the API."""
        about: Json = {"dataSetId": self.dataset_id, "name": self.name, "position": self.position, "runs": self.runs}
        about |= {"columns": list(self.columns)} if self.columns else {}
        if self.continuity is None:
            return about | {"tiled": False}
        found = self.continuity
        ranges = [{"runId": one.run_id, "full": one.full, "from": one.start, "to": one.to} for one in found.ranges]
        return about | {
            "tiled": True,
            "ranges": ranges,
            "snapshotsChecked": found.checked,
            "flaws": [asdict(one) for one in found.faults],
            "pendingSnapshots": found.pending,
            "pendingRows": found.pending_rows,
        }


def verify_flow(database: Database, lake: Lake, caller: Caller, flow: Flow) -> list[DatasetVerification]:
    """Verify each dataset that the flow currently exports.

    Raises 1422 when a registered table cannot be read, and 3503 and 3504 as `lake_catalog_calls.read` does.
    """
    with database.reading() as session:
        source = session.get_one(SourceConnection, flow.source_connection_id)
        watermarks = session.scalars(select(Watermark).filter_by(flow_id=flow.id))
        positions = {one.dataset_id: one.snapshot_id for one in watermarks}
        ranges = _delivered_ranges(session, flow)
        restarts = _restarts(session, flow)
        rows = {one: session.get(Dataset, one) for one in source.dataset_ids}
    everything = flows.stored_schedule(flow).export_mode == "DAILY_FULL_EXPORT"
    columns, found = column_choices.paths_of(source), []
    for dataset_id, row in rows.items():
        ref = (source.refs or {}).get(dataset_id)
        history = _history(lake, caller, row, ref) if row else None
        position = positions.get(dataset_id)
        result = (
            None if everything else continuity.check_continuity(ranges[dataset_id], position, history or [], restarts)
        )
        name = row.name if row else dataset_id
        chosen = columns.get(dataset_id, ())
        found.append(DatasetVerification(dataset_id, name, position, len(ranges[dataset_id]), result, chosen))
    return found


def _history(lake: Lake, caller: Caller, row: Dataset, ref: str | None) -> list[SnapshotStep] | None:
    table = TableName(row.table_name)
    try:
        return lake_catalog_calls.read(caller, [table], lambda: ancestry(lake, table, ref=ref))
    except DeliveryError as error:
        raise Problem(problems.WRONG_ACTION, str(error), datasets.RESOURCE, row.id) from None


def _delivered_ranges(session: Session, flow: Flow) -> dict[str, list[DeliveredRange]]:
    """By dataset, the ranges delivered by runs that move the flow's position."""
    of_flow = select(Run).where(Run.flow_id == flow.id, Run.moves_position, Run.completed_at.is_not(None))
    runs = {run.id: run for run in session.scalars(of_flow)}
    planned = defaultdict[str, list[RunDataset]](list)
    for dataset in session.scalars(
        select(RunDataset).join(Run, Run.id == RunDataset.run_id).where(Run.flow_id == flow.id)
    ):
        planned[dataset.run_id].append(dataset)
    ranges = defaultdict[str, list[DeliveredRange]](list)
    for run in runs.values():
        if not is_delivered(run, planned[run.id]):
            continue
        for dataset in planned[run.id]:
            if dataset.error is None and dataset.to_snapshot is not None:
                ranges[dataset.dataset_id].append(_delivered_range(run, dataset, dataset.to_snapshot))
    return ranges


def _delivered_range(run: Run, dataset: RunDataset, to: int) -> DeliveredRange:
    return DeliveredRange(
        run_id=run.id,
        full=dataset.kind == "full",
        position=dataset.position,
        start=dataset.from_snapshot,
        to=to,
        explained=bool(list_full_export_warnings(run, dataset)),
        completed_at=run.completed_at or 0,
    )


def _restarts(session: Session, flow: Flow) -> int:
    """How often changes of the flow reset its position, according to the audit log."""
    changes = select(AuditEvent).where(AuditEvent.resource_id == flow.id, AuditEvent.action == "update")
    return sum(_is_restart(event) for event in session.scalars(changes))


def _is_restart(event: AuditEvent) -> bool:
    before, after = event.before or {}, event.after or {}
    modes = [one.get("scheduleParams", {}).get("exportMode") for one in (before, after)]
    return "sourceConnectionIds" in after or modes[0] != modes[1]
