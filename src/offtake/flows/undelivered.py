"""Undelivered rows of failed runs. The flow's next run covers them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from offtake.contract.entities import ENABLED
from offtake.documents import Json
from offtake.errors import DATASET_GONE
from offtake.store import run_parts, run_states
from offtake.store.tables import Dataset, Flow, Run, RunDataset, RunPart, Watermark


@dataclass(frozen=True)
class Owed:
    """The undelivered rows of one dataset, after `since_snapshot` (delivered at `since_ms`); None for all rows.

    `rows` and `files`: as planned by the run; None when it had no plan. `gone`: the dataset or its table did not exist
    any more, or another table had its name.
    """

    dataset_id: str
    name: str
    since_snapshot: int | None
    since_ms: int | None
    rows: int | None
    files: int | None
    gone: bool = False

    def to_json(self) -> Json:
        """Render it for the API."""
        return {
            "dataSetId": self.dataset_id,
            "name": self.name,
            "sinceSnapshotId": self.since_snapshot,
            "sinceUTC": self.since_ms,
            "recordCount": self.rows,
            "fileCount": self.files,
        }


def owed_by(session: Session, row: Run) -> list[Owed]:
    """The undelivered rows of the run; empty unless it failed."""
    datasets = run_parts.run_datasets(session, row.id)
    return owed_by_all(session, [row], {row.id: datasets})[row.id]


def owed_by_all(
    session: Session, rows: Iterable[Run], planned: Mapping[str, Sequence[RunDataset]]
) -> dict[str, list[Owed]]:
    """The undelivered rows of each run, by run id. `planned`: the datasets of the runs' plans, by run id."""
    found = dict[str, list[Owed]]((row.id, []) for row in rows)
    failed = [row for row in rows if row.status == run_states.FAILED]
    if not failed:
        return found
    positions = _positions(session, failed)
    names = _names(session, failed)
    files = _files(session, failed)
    for row in failed:
        if planned.get(row.id):
            found[row.id] = [
                _of_plan(one, positions.get((row.flow_id, one.dataset_id)), files[row.id, one.dataset_id])
                for one in _undelivered(planned[row.id])
            ]
        else:
            found[row.id] = [
                _of_position(one, names.get(one, one), positions.get((row.flow_id, one))) for one in row.dataset_ids
            ]
    return found


def describe(owed: Owed) -> str:
    """Text for users, without the time."""
    since = "all rows" if owed.since_snapshot is None else f"rows added after snapshot {owed.since_snapshot}"
    planned = "" if owed.rows is None else f" ({owed.rows:,} rows in {owed.files} files as planned)"
    return f"dataset {owed.name} ({owed.dataset_id}): {since}{planned}"


def still_owed(session: Session, row: Run, owed: Sequence[Owed]) -> list[Owed]:
    """Those of the run's undelivered rows that no later run has delivered, without datasets that have none."""
    left = [one for one in owed if one.rows != 0]
    if not left or not row.moves_position:
        return left
    if session.get(Flow, row.flow_id) is None:
        # The positions are deleted with the flow; its runs are not.
        delivered = _delivered_later(session, row)
        return [one for one in left if one.dataset_id not in delivered]
    positions = _positions(session, [row])
    planned = {one.dataset_id: one.position for one in run_parts.run_datasets(session, row.id)}
    return [one for one in left if not _is_delivered(row, one, positions.get((row.flow_id, one.dataset_id)), planned)]


def _delivered_later(session: Session, failed: Run) -> set[str]:
    """The datasets that later runs of the same flow have delivered."""
    later = (Run.sandbox_id == failed.sandbox_id, Run.flow_id == failed.flow_id, Run.created_at >= failed.created_at)
    done = (Run.status == run_states.SUCCESS, Run.moves_position.is_(True), RunDataset.error.is_(None))
    found = select(RunDataset.dataset_id).distinct().join(Run, Run.id == RunDataset.run_id).where(*later, *done)
    return set(session.scalars(found))


def _is_delivered(row: Run, owed: Owed, position: Watermark | None, planned: Mapping[str, int | None]) -> bool:
    if position is None:
        return False
    if owed.dataset_id in planned:
        return position.snapshot_id != planned[owed.dataset_id]
    return position.updated_at > (row.completed_at or 0)


def sentence(owed: Owed, row: Run, flow: Flow | None, *, retries: bool) -> str:
    """The undelivered rows of the run and what delivers them, for pages. `retries`: the page offers to repeat it."""
    is_one = owed.rows == 1
    subject = "All rows" if owed.since_snapshot is None else "The rows added since the last delivery"
    subject = subject if owed.rows is None else f"{owed.rows:,} {'row' if is_one else 'rows'}"
    what = f"{subject} of {owed.name} {'is' if is_one else 'are'} not delivered yet."
    if owed.gone and flow is not None:
        return f"{what} Its table is gone, or another one has its name: runs fail until the dataset is replaced."
    return f"{what} {_deliverer(row, flow, 'it' if is_one else 'them', retries=retries)}".strip()


def _deliverer(row: Run, flow: Flow | None, them: str, *, retries: bool) -> str:
    if flow is None:
        return "The dataflow was deleted."
    if flow.state != ENABLED:
        return "The dataflow is disabled: enable it, then run it."
    if flow.next_run_s is None or not row.moves_position:
        return f"Retry to deliver {them}." if retries else ""
    return f"Retry, or the next run delivers {them}." if retries else f"The next run delivers {them}."


def remedy(flow: Flow | None, owed: Owed | None = None) -> str:
    """What delivers the undelivered rows."""
    if flow is None:
        return "its flow is deleted"
    if owed is not None and owed.gone:
        return "its runs fail until the table is there again, or the flow exports another dataset instead"
    if flow.state != ENABLED:
        return "the flow is disabled: enable it, then run offtake flow run"
    if flow.next_run_s is None:
        return "the schedule has no further slot: run offtake flow run"
    return "the flow's next run covers it"


def _undelivered(planned: Sequence[RunDataset]) -> Sequence[RunDataset]:
    """If some datasets could not be planned, the others were delivered."""
    return [one for one in planned if one.error] or planned


def _of_plan(dataset: RunDataset, position: Watermark | None, files: int) -> Owed:
    lacking = dataset.error is not None
    # Without a plan, a run starts at the flow's position.
    since = position.snapshot_id if lacking and position is not None else dataset.from_snapshot
    known = position is not None and position.snapshot_id == since
    return Owed(
        dataset.dataset_id,
        dataset.dataset_name,
        since,
        position.updated_at if known and position else None,
        None if lacking else dataset.input_rows,
        None if lacking else files,
        gone=dataset.error is not None and dataset.error["code"] == DATASET_GONE.code,
    )


def _of_position(dataset_id: str, name: str, position: Watermark | None) -> Owed:
    if position is None:
        return Owed(dataset_id, name, None, None, None, None)
    return Owed(dataset_id, name, position.snapshot_id, position.updated_at, None, None)


def _positions(session: Session, failed: Sequence[Run]) -> dict[tuple[str, str], Watermark]:
    of_flows = select(Watermark).where(Watermark.flow_id.in_({row.flow_id for row in failed}))
    return {(one.flow_id, one.dataset_id): one for one in session.scalars(of_flows)}


def _names(session: Session, failed: Sequence[Run]) -> dict[str, str]:
    ids = {dataset_id for row in failed for dataset_id in row.dataset_ids}
    return {row[0]: row[1] for row in session.execute(select(Dataset.id, Dataset.name).where(Dataset.id.in_(ids)))}


def _files(session: Session, failed: Sequence[Run]) -> dict[tuple[str, str], int]:
    counted = (
        select(RunPart.run_id, RunPart.dataset_id, func.count())
        .where(RunPart.run_id.in_([row.id for row in failed]))
        .group_by(RunPart.run_id, RunPart.dataset_id)
    )
    found = defaultdict[tuple[str, str], int](int)
    for run_id, dataset_id, count in session.execute(counted):
        found[run_id, dataset_id] = count
    return found
