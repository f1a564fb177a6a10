"""Backfills: export the snapshots of a run, or a range of snapshots, again into a separate folder.

The flow's position does not change, and no slot of its schedule is used. Only operators can start a backfill; a
disabled flow can be backfilled too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

from sqlalchemy.orm import Session

from offtake.access import audit
from offtake.catalog import lake_catalog_calls
from offtake.contract.caller import EXPORT_DATASETS, VIEW_DATASETS, Caller
from offtake.documents import Json
from offtake.errors import DeliveryError, OfftakeError
from offtake.flows import flows, runs
from offtake.flows.runs import NewRun
from offtake.lake import scan
from offtake.lake.catalog import Lake
from offtake.lake.snapshot_history import SnapshotStep, ancestry
from offtake.lake.table_names import TableName
from offtake.store import run_parts, run_states
from offtake.store import runs as store
from offtake.store.database import Database
from offtake.store.tables import Dataset, Flow, Run, SourceConnection
from offtake.store.tables.documents import Pins

TRIGGER: Final = "backfill"
START: Final = "start"
NOW: Final = "now"
Result = TypeVar("Result")


class BackfillRefusedError(OfftakeError):
    """The backfill is refused; nothing was written."""


@dataclass(frozen=True)
class Range:
    """Snapshot `to` in full, or the rows added after snapshot `since`. `to` None: the table's current snapshot."""

    since: int | None
    to: int | None


@dataclass(frozen=True)
class Tables:
    """Where a backfill reads the flow's tables, on behalf of the caller. No session may be open meanwhile."""

    database: Database
    lake: Lake
    caller: Caller

    def exported(self, flow: Flow) -> "Exported":
        """What the flow exports."""
        with self.database.reading() as session:
            source = session.get_one(SourceConnection, flow.source_connection_id)
            rows = {one: session.get(Dataset, one) for one in source.dataset_ids}
        return Exported(rows, source.refs or {})

    def read(self, row: Dataset, work: Callable[[TableName], Result]) -> Result:
        """What `work` returns, which reads the dataset's table.

        Raises `BackfillRefusedError` when it cannot be read, and 3503 and 3504 as `lake_catalog_calls.read` does.
        """
        name = TableName(row.table_name)
        try:
            return lake_catalog_calls.read(self.caller, [name], lambda: work(name))
        except DeliveryError as error:
            raise BackfillRefusedError(str(error)) from None


@dataclass(frozen=True)
class Exported:
    """The datasets of a flow by id, None for those that were deleted; `refs`: their branches and tags."""

    rows: Mapping[str, Dataset | None]
    refs: Mapping[str, str]


@dataclass(frozen=True)
class Backfill:
    """A backfill, checked against the tables: the pinned snapshots, and the run that it repeats, if any.

    `params`: the period that was asked for, as stored with the run.
    """

    pins: Pins
    run_id: str | None = None
    params: Json | None = None


def of_run(tables: Tables, flow: Flow, run: Run, selected: Sequence[str] = ()) -> Backfill:
    """A backfill of the snapshots that the run planned; with `selected`, of those datasets only.

    Raises `BackfillRefusedError` when a snapshot has expired, or when there is nothing to deliver.
    """
    if run.flow_id != flow.id:
        raise BackfillRefusedError(f"Run {run.id} belongs to flow {run.flow_id}, not to flow {flow.name}.")
    if run.completed_at is None:
        raise BackfillRefusedError(f"Run {run.id} is {run.status}; wait until it has ended.")
    with tables.database.reading() as session:
        planned = runs.pins_of(run_parts.run_datasets(session, run.id))
    pins = {
        dataset_id: pin
        for dataset_id, pin in planned.items()
        if pin["full"] or pin["from_snapshot"] != pin["to_snapshot"]
    }
    lacking = [one for one in selected if one not in pins]
    if lacking or not pins:
        named = f" of dataset(s) {', '.join(lacking)}" if lacking else ""
        raise BackfillRefusedError(f"Run {run.id} had no rows{named} to deliver, so there is nothing to repeat.")
    pins = {dataset_id: pin for dataset_id, pin in pins.items() if not selected or dataset_id in selected}
    exported = tables.exported(flow)
    gone = [one for one in pins if one not in exported.rows]
    if gone:
        left = "; select the others" if len(gone) < len(pins) else ""
        raise BackfillRefusedError(f"The flow no longer exports dataset(s) {', '.join(gone)}{left}.")
    for dataset_id, pin in pins.items():
        # Refuse expired snapshots: the run would deliver other rows.
        row = _existing(exported, dataset_id)
        _check(tables, row, Range(pin["from_snapshot"], pin["to_snapshot"]), None)
    return Backfill(pins, run.id)


def count_rows(session: Session, run: Run) -> int | None:
    """The rows that a backfill of the run delivers: those it delivered, or planned; None before its plan is known."""
    if run.status == run_states.SUCCESS and run.rows is not None:
        return run.rows
    planned = run_parts.run_datasets(session, run.id)
    return sum(one.input_rows for one in planned if not one.error) if planned else None


def of_range(tables: Tables, flow: Flow, snapshots: Range, selected: Sequence[str] = ()) -> Backfill:
    """A backfill of a snapshot range of all datasets of the flow, or of the `selected` ones.

    Raises `BackfillRefusedError` naming the snapshot when a snapshot is not in the history of a dataset's table.
    """
    exported = tables.exported(flow)
    foreign = [one for one in selected if one not in exported.rows]
    if foreign:
        raise BackfillRefusedError(f"Flow {flow.name} does not export dataset(s) {', '.join(foreign)}.")
    pins: Pins = {}
    for dataset_id in dict.fromkeys(selected or exported.rows):
        to = _check(tables, _existing(exported, dataset_id), snapshots, exported.refs.get(dataset_id))
        pins[dataset_id] = {"full": snapshots.since is None, "from_snapshot": snapshots.since, "to_snapshot": to}
    return Backfill(pins)


def of_dates(tables: Tables, flow: Flow, since_ms: int | None, to_ms: int, selected: Sequence[str] = ()) -> Backfill:
    """A backfill of the rows committed after `since_ms` until `to_ms` (epoch milliseconds), by the snapshots' times.

    `since_ms` None: everything that the tables held at `to_ms`. Datasets without a snapshot in that time are left out.
    Raises `BackfillRefusedError` when nothing is left, or when the rows cannot be determined.
    """
    exported = tables.exported(flow)
    pins: Pins = {}
    for dataset_id, row in exported.rows.items():
        if row is None or (selected and dataset_id not in selected):
            continue
        ref = exported.refs.get(dataset_id)
        steps = tables.read(row, partial(ancestry, tables.lake, ref=ref)) or []
        to = max((one for one in steps if one.timestamp_ms <= to_ms), key=lambda one: one.timestamp_ms, default=None)
        if to is None:
            continue
        since = _before(steps, since_ms)
        if since is None and since_ms is not None and steps[0].follows_expired:
            raise BackfillRefusedError(
                f"The history of dataset {dataset_id} before {_utc(steps[0].timestamp_ms)} has been removed "
                "(OFFTAKE_SNAPSHOT_DAYS), so the rows of that period cannot be separated from earlier ones. Choose a "
                "later start, or export everything until the end of the period."
            )
        if since == to.snapshot_id:
            continue
        _check(tables, row, Range(since, to.snapshot_id), ref)
        pins[dataset_id] = {"full": since is None, "from_snapshot": since, "to_snapshot": to.snapshot_id}
    if not pins:
        raise BackfillRefusedError("No dataset of the flow has a snapshot in that time; nothing was started.")
    start = {} if since_ms is None else {"windowStartTime": since_ms}
    return Backfill(pins, params=start | {"windowEndTime": to_ms})


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _before(steps: Sequence[SnapshotStep], since_ms: int | None) -> int | None:
    """The last snapshot until that time; None when there is none, so that everything is exported."""
    earlier = [one for one in steps if since_ms is not None and one.timestamp_ms <= since_ms]
    return max(earlier, key=lambda one: one.timestamp_ms).snapshot_id if earlier else None


def request(session: Session, caller: Caller, flow_id: str, backfill: Backfill, now_ms: int) -> Run:
    """Enqueue the backfill; raises `BackfillRefusedError` while a run of the flow is live."""
    caller.require(EXPORT_DATASETS)
    caller.require(VIEW_DATASETS)
    flow = flows.find(session, caller, flow_id, lock=True)
    live = store.live_run(session, flow.id)
    if live is not None:
        raise BackfillRefusedError(
            f"Run {live.id} of the flow is {live.status}; wait until it has ended, or cancel it."
        )
    at = runs.time_outside_slots(session, flow, now_ms)
    pins = backfill.pins
    new = NewRun(
        TRIGGER, at, list(pins), moves_position=False, parent_run_id=backfill.run_id, pins=pins, params=backfill.params
    )
    row = runs.create(session, flow, new, now_ms)
    row.folder = _folder(row.id, now_ms)
    after = {"runId": row.id, "datasets": row.dataset_ids, "backfill": pins, "folder": row.folder}
    audit.record(session, caller, now_ms, "run", (flows.KIND, flow.id), name=flow.name, after=after)
    return row


def _existing(exported: Exported, dataset_id: str) -> Dataset:
    row = exported.rows[dataset_id]
    if row is None:
        raise BackfillRefusedError(f"Dataset {dataset_id} no longer exists.")
    return row


def _check(tables: Tables, row: Dataset, snapshots: Range, ref: str | None) -> int:
    """The last snapshot of the range, all of which must still be in the table's history."""
    which = f"dataset {row.name} ({row.id})"
    steps = tables.read(row, partial(ancestry, tables.lake, upto=snapshots.to, ref=ref))
    if steps is None and snapshots.to is not None:
        raise BackfillRefusedError(f"Snapshot {snapshots.to} is not (or no longer) in the history of {which}.")
    if not steps:
        raise BackfillRefusedError(f"There is no snapshot of {which} yet.")
    to = steps[-1].snapshot_id
    if snapshots.since is not None:
        _check_since(steps, snapshots.since, which)
        since = snapshots.since
        plan = tables.read(row, lambda name: scan.open_table(tables.lake, name).increment(since, to))
        if plan.kind != "incremental":
            raise BackfillRefusedError(f"The rows of that range of {which} cannot be determined: {plan.warning}.")
    return to


def _check_since(steps: Sequence[SnapshotStep], since: int, which: str) -> None:
    to = steps[-1].snapshot_id
    if since == to:
        raise BackfillRefusedError(f"There is no snapshot of {which} after {since} up to {to}.")
    if all(step.snapshot_id != since for step in steps):
        how = f"is not, or no longer, before snapshot {to} in the history of {which}"
        raise BackfillRefusedError(f"Snapshot {since} {how}.")


def _folder(run_id: str, now_ms: int) -> str:
    when = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"backfill-{when}-{run_id[:8]}"
