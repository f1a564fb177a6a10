"""Backfills: what a run delivered, or a range of snapshots, goes out once more, into a folder of its own.

The flow's position stays, and no slot of its schedule is used up. It is an operator's act: a flow that is disabled can
be backfilled too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy.orm import Session

from offtake.access import audit
from offtake.contract.bodies import Json
from offtake.contract.caller import EXPORT_DATASETS, VIEW_DATASETS, Caller
from offtake.errors import OfftakeError
from offtake.flows import flows, runs
from offtake.flows.runs import NewRun
from offtake.lake import scan
from offtake.lake.catalog import Lake, TableName
from offtake.lake.snapshot_history import SnapshotStep, ancestry
from offtake.store import run_parts
from offtake.store import runs as store
from offtake.store.tables import Dataset, Flow, Run, SourceConnection

TRIGGER: Final = "backfill"
START: Final = "start"
NOW: Final = "now"


class BackfillRefusedError(OfftakeError):
    """The backfill cannot be made; nothing was written."""


@dataclass(frozen=True)
class Range:
    """All of snapshot `to`, or what came after the snapshot `since`; `to` None means the table's present one."""

    since: int | None
    to: int | None


@dataclass(frozen=True)
class Backfill:
    """What is to go out once more, checked against the tables: pins by dataset id, and the run it is taken from."""

    pins: Json
    run_id: str | None = None


def of_run(session: Session, lake: Lake, flow: Flow, run: Run, wanted: Sequence[str] = ()) -> Backfill:
    """The snapshots that the run had planned; with `wanted`, only of those datasets.

    Raises `BackfillRefusedError` when they are not known any more, or there is nothing to deliver again.
    """
    if run.flow_id != flow.id:
        raise BackfillRefusedError(f"--run: run {run.id} is not one of flow {flow.name}, but of flow {run.flow_id}.")
    if run.completed_at is None:
        raise BackfillRefusedError(f"--run: run {run.id} is still {run.status}; wait for its end.")
    pins = {
        dataset_id: pin
        for dataset_id, pin in runs.pins_of(run_parts.run_datasets(session, run.id)).items()
        if pin["full"] or pin["from_snapshot"] != pin["to_snapshot"]
    }
    lacking = [one for one in wanted if one not in pins]
    if lacking or not pins:
        named = f" of dataset(s) {', '.join(lacking)}" if lacking else ""
        raise BackfillRefusedError(f"--run: run {run.id} had nothing{named} to deliver; there is nothing to repeat.")
    pins = {dataset_id: pin for dataset_id, pin in pins.items() if not wanted or dataset_id in wanted}
    gone = [one for one in pins if one not in _exported_ranges(session, flow)]
    if gone:
        left = "; name the others with --dataset" if len(gone) < len(pins) else ""
        raise BackfillRefusedError(f"--run: the flow no longer exports dataset(s) {', '.join(gone)}{left}.")
    for dataset_id, pin in pins.items():
        # What has expired since must not come out as something else.
        _check("--run", session, lake, dataset_id, Range(pin["from_snapshot"], pin["to_snapshot"]))
    return Backfill(pins, run.id)


def of_range(session: Session, lake: Lake, flow: Flow, asked: Range, wanted: Sequence[str] = ()) -> Backfill:
    """The same range of snapshots of every dataset of the flow, or of those `wanted`.

    Raises `BackfillRefusedError` naming the option when a snapshot is not in the history of a dataset's table.
    """
    exported = _exported_ranges(session, flow)
    foreign = [one for one in wanted if one not in exported]
    if foreign:
        raise BackfillRefusedError(f"--dataset: flow {flow.name} does not export dataset(s) {', '.join(foreign)}.")
    pins: Json = {}
    for dataset_id in dict.fromkeys(wanted or exported):
        to = _check("--to", session, lake, dataset_id, asked)
        pins[dataset_id] = {"full": asked.since is None, "from_snapshot": asked.since, "to_snapshot": to}
    return Backfill(pins)


def request(session: Session, caller: Caller, flow_id: str, asked: Backfill, now_ms: int) -> Run:
    """Queue the backfill; raises `BackfillRefusedError` while a run of the flow is live."""
    caller.require(EXPORT_DATASETS)
    caller.require(VIEW_DATASETS)
    flow = flows.find(session, caller, flow_id, lock=True)
    live = store.live_run(session, flow.id)
    if live is not None:
        raise BackfillRefusedError(f"Run {live.id} of the flow is {live.status}; wait for its end, or cancel it.")
    at = runs.instant_beside_slots(session, flow, now_ms)
    new = NewRun(TRIGGER, at, list(asked.pins), moves_position=False, parent_run_id=asked.run_id, pins=asked.pins)
    row = runs.create(session, flow, new, now_ms)
    row.folder = _folder(row.id, now_ms)
    after = {"runId": row.id, "datasets": row.dataset_ids, "backfill": asked.pins, "folder": row.folder}
    audit.record(session, caller, now_ms, "run", (flows.KIND, flow.id), name=flow.name, after=after)
    return row


def _exported_ranges(session: Session, flow: Flow) -> list[str]:
    return session.get_one(SourceConnection, flow.source_connection_id).dataset_ids


def _check(option: str, session: Session, lake: Lake, dataset_id: str, asked: Range) -> int:
    """The snapshot that the range ends with; all of it must still be in the table's history."""
    row = session.get(Dataset, dataset_id)
    if row is None:
        raise BackfillRefusedError(f"--dataset: dataset {dataset_id} no longer exists.")
    which = f"dataset {row.name} ({row.id})"
    steps = ancestry(lake, TableName(row.table_name), asked.to)
    if steps is None and asked.to is not None:
        raise BackfillRefusedError(f"{option}: snapshot {asked.to} is not, or no longer, in the history of {which}.")
    if not steps:
        raise BackfillRefusedError(f"--to: {which} has no snapshot yet.")
    to = steps[-1].snapshot_id
    if asked.since is not None:
        _check_since("--from" if option == "--to" else option, steps, asked.since, which)
        plan = scan.open_table(lake, TableName(row.table_name)).increment(asked.since, to)
        if plan.kind != "incremental":
            raise BackfillRefusedError(f"{option}: the rows of that range cannot be had of {which}: {plan.warning}.")
    return to


def _check_since(option: str, steps: Sequence[SnapshotStep], since: int, which: str) -> None:
    to = steps[-1].snapshot_id
    if since == to:
        raise BackfillRefusedError(f"{option}: nothing comes after snapshot {since} up to snapshot {to} of {which}.")
    if all(step.snapshot_id != since for step in steps):
        how = f"does not come before snapshot {to} in the history of {which}, or is no longer known"
        raise BackfillRefusedError(f"{option}: snapshot {since} {how}.")


def _folder(run_id: str, now_ms: int) -> str:
    when = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"backfill-{when}-{run_id[:8]}"
