"""The plan of a run: its snapshots, their data files, the parts these are split into, and the parts' names.

Made once and stored with the run. Names derive from the run id and the part number, so writing a part is idempotent: a
retry overwrites the file with the same rows.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from offtake.documents import InfoItem
from offtake.errors import (
    ACCESS_DENIED,
    COLUMNS_LEFT_OUT,
    DATASET_FORBIDDEN,
    DATASET_GONE,
    DELETES_NOT_COUNTED,
    FILES_KEPT,
    SNAPSHOT_EXPIRED,
    DeliveryCode,
    DeliveryError,
)
from offtake.exporting.job import DatasetExport, ExportJob, join_key
from offtake.exporting.kept import Kept, repeats, take_over
from offtake.exporting.target import DeliveryTarget
from offtake.formats import pgp, types
from offtake.formats.registry import file_format, format_for
from offtake.lake import current_state, parts, scan, slicing
from offtake.lake.catalog import Lake
from offtake.lake.scan import TableScan
from offtake.lake.storage.access import FileAccess
from offtake.store.tables import RunDataset, RunPart

_TID_DIGITS: Final = 19
_NAMED: Final = 20


@dataclass(frozen=True)
class PartSize:
    """The most source bytes and rows of one delivered file; a row group is never split."""

    bytes: int
    rows: int


@dataclass
class Plan:
    """What will be stored: a row for each dataset, a row for each part, and warnings."""

    datasets: list[RunDataset]
    parts: list[RunPart]
    warnings: list[InfoItem]


def make_plan(
    job: ExportJob, lake: Lake, size: PartSize, kept: Mapping[str, Kept] | None = None, *, waited: bool = False
) -> Plan:
    """Pin a snapshot of each dataset and split its files into parts of at most `size`.

    A dataset that cannot be planned gets an error instead of parts; the others are exported. `kept`: files that failed
    runs have delivered, by dataset id; the plan continues from them. Raises transient `DeliveryError`s; with `waited`,
    those with a retry window of their own become the dataset's error instead.
    """
    plan = Plan([], [], [])
    for dataset in job.datasets:
        try:
            _plan_dataset(plan, job, dataset, lake, size, (kept or {}).get(dataset.dataset_id))
        except DeliveryError as error:
            if error.transient and not (waited and error.window is not None):
                raise
            plan.datasets.append(_row(job, dataset, error=error_document(error, dataset.dataset_id)))
    return plan


def error_document(error: DeliveryError, dataset_id: str | None = None) -> InfoItem:
    """Render a failure of a run or, with `dataset_id`, of a dataset."""
    item: InfoItem = {"code": error.code, "message": str(error), "type": "Error"}
    if dataset_id is not None:
        item["dataSetId"] = dataset_id
    return item


def part_name(run_id: str, number: int, extension: str) -> str:
    """`part-NNNNN-tid-<19 digits>-<run id>-<n>-1-c000<extension>` (contract, section 16.3) of attempt one."""
    digest = int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:8], "big")
    tid = str(digest % 10**_TID_DIGITS).zfill(_TID_DIGITS)
    return f"part-{number:05d}-tid-{tid}-{run_id}-{number + 1}-1-c000{extension}"


def file_ending(target: DeliveryTarget) -> str:
    """The file name extension at the target, by file type, compression and encryption."""
    extension = format_for(target.params.dataset_file_type, target.params.compression).extension
    return extension if target.encrypt_to is None else extension + pgp.EXTENSION


def _plan_dataset(
    plan: Plan, job: ExportJob, dataset: DatasetExport, lake: Lake, size: PartSize, kept: Kept | None
) -> None:
    table = scan.find_table(lake, dataset.table) if dataset.table and dataset.owner_may_read else None
    if dataset.table is None or (dataset.owner_may_read and dataset.has_table and table is None):
        raise DeliveryError(
            DATASET_GONE,
            f"Dataset {dataset.name} ({dataset.dataset_id}) no longer exists.",
            "Remove it from the flow's source connection.",
        )
    if not dataset.owner_may_read:
        raise DeliveryError(
            DATASET_FORBIDDEN,
            f"The user who last edited the flow no longer has access to dataset {dataset.name} ({dataset.dataset_id}).",
            "Grant that user view-datasets again, or let a user with access edit the flow.",
        )
    if kept is not None and table is not None and _continue(plan, job, dataset, table, size, kept):
        return
    snapshot = None if table is None else _snapshot(table, dataset)
    if table is None or snapshot is None:
        plan.datasets.append(_row(job, dataset))
        return
    found = _scan(table, dataset, snapshot)
    if found.kind == "full" and not found.files:
        current_state.check_no_files(table.table, snapshot)
    _warn(plan, dataset, found)
    schema = _schema(plan, job.target, dataset, table, snapshot)
    plan.datasets.append(_row(job, dataset, found=found, schema=schema))
    plan.parts.extend(_parts(job, dataset, found.files, len(plan.parts), size, table.access))


def _continue(plan: Plan, job: ExportJob, dataset: DatasetExport, table: TableScan, size: PartSize, kept: Kept) -> bool:
    """Plan the kept run's missing parts and the rows added since; False when the table's history does not allow it."""
    earlier = kept.plan
    if not kept.fits(dataset) or earlier.to_snapshot is None:
        return False
    to = earlier.to_snapshot
    end = to if repeats(dataset, earlier) else table.snapshot_of(dataset.ref)
    added = scan.ScanPlan(to, "incremental", ())
    if end is not None and end != to:
        added = table.increment(to, end)
    if end is None or added.kind == "full":
        why = added.warning or "the table has no snapshot any more"
        text = f"the files of run {kept.run_id}, which were kept, are delivered again: {why}"
        plan.warnings.append(_warning(dataset, text))
        return False
    if not kept.has_columns(dataset):
        text = f"the files of run {kept.run_id}, which were kept, are delivered again, because other columns are chosen"
        plan.warnings.append(_warning(dataset, text, FILES_KEPT))
        return False
    schema = _schema(plan, job.target, dataset, table, end)
    plan.warnings.extend(kept.warnings)
    _warn(plan, dataset, added)
    row = _row(job, dataset, found=added, schema=schema)
    row.kind, row.position, row.from_snapshot = earlier.kind, earlier.position, earlier.from_snapshot
    row.input_files += earlier.input_files
    row.input_rows += earlier.input_rows
    row.input_bytes += earlier.input_bytes
    row.deleted_rows += earlier.deleted_rows
    plan.datasets.append(row)
    for number, part in enumerate(kept.parts, start=len(plan.parts)):
        plan.parts.append(take_over(part, job.run_id, number, _key(job, dataset, number)))
    plan.parts.extend(_parts(job, dataset, added.files, len(plan.parts), size, table.access))
    return True


def _warn(plan: Plan, dataset: DatasetExport, found: scan.ScanPlan) -> None:
    if found.warning:
        plan.warnings.append(_warning(dataset, found.warning))
    if found.deleted_keys:
        text = (
            f"equality deletes of {found.deleted_keys} keys were added; it is not known how many rows of earlier "
            "deliveries they removed, so the count of deleted rows is without them"
        )
        plan.warnings.append(_warning(dataset, text, DELETES_NOT_COUNTED))


def _warning(dataset: DatasetExport, text: str, code: DeliveryCode = SNAPSHOT_EXPIRED) -> InfoItem:
    return {
        "code": code.code,
        "message": f"{dataset.name}: {text}",
        "type": "Warning",
        "dataSetId": dataset.dataset_id,
    }


def _key(job: ExportJob, dataset: DatasetExport, number: int) -> str:
    key = join_key(job.root, dataset.folder, part_name(job.run_id, number, file_ending(job.target)))
    longest = job.target.longest_key
    if longest is not None and len(key.encode()) > longest:
        raise DeliveryError(
            ACCESS_DENIED,
            f"A file name is longer than the destination's limit of {longest} bytes: {key[:200]}…",
            "Shorten the target connection's folder or its folder template.",
        )
    return key


def _schema(
    plan: Plan, target: DeliveryTarget, dataset: DatasetExport, table: TableScan, snapshot: int
) -> parts.TableSchema:
    """The schema of the delivered rows.

    Raises `DeliveryError`, naming the column, for a type that the file format does not support, and for a chosen column
    that the table has no more.
    """
    chosen = None if dataset.columns is None else table.select(snapshot, dataset.columns)
    schema = table.schema(snapshot, chosen)
    # Arrow represents a geometry as plain bytes: only Iceberg's schema names the type.
    types.check_iceberg(json.loads(schema.iceberg if chosen is None else chosen.schema.model_dump_json()))
    types.check_supported(schema.arrow_schema)
    file_format(target.params.dataset_file_type).check(schema.arrow_schema)
    if chosen is not None and chosen.later:
        names = ", ".join(chosen.later[:_NAMED]) + (" and others" if len(chosen.later) > _NAMED else "")
        text = f"snapshot {snapshot} is older than these chosen columns, which its files do not have: {names}"
        plan.warnings.append(_warning(dataset, text, COLUMNS_LEFT_OUT))
    return schema


def _snapshot(table: TableScan, dataset: DatasetExport) -> int | None:
    if dataset.pin is not None:
        return dataset.pin.to_snapshot
    current = table.snapshot_of(dataset.ref) if dataset.has_table else None
    if current is None and dataset.position is not None and table.access is not None:
        current_state.check_not_outdated(table.table, dataset.position)
    return current


def _scan(table: TableScan, dataset: DatasetExport, snapshot: int) -> scan.ScanPlan:
    pin = dataset.pin
    if pin is not None and not pin.full and pin.from_snapshot is not None:
        return table.increment(pin.from_snapshot, pin.to_snapshot)
    if pin is not None:
        return replace(table.full(snapshot), warning=pin.warning)
    if dataset.export == "full" or dataset.position is None:
        return table.full(snapshot)
    return table.increment(dataset.position, snapshot)


def _parts(
    job: ExportJob,
    dataset: DatasetExport,
    files: Iterable[scan.DataFile],
    first: int,
    size: PartSize,
    access: FileAccess | None,
) -> Iterable[RunPart]:
    for number, slices in enumerate(slicing.slices(files, size.bytes, size.rows, access), start=first):
        yield RunPart(
            run_id=job.run_id,
            number=number,
            dataset_id=dataset.dataset_id,
            key=_key(job, dataset, number),
            slices=parts.slices_to_json(slices),
            input_rows=sum(one.rows for one in slices),
            input_bytes=sum(one.bytes for one in slices),
        )


def _row(
    job: ExportJob,
    dataset: DatasetExport,
    *,
    found: scan.ScanPlan | None = None,
    schema: parts.TableSchema | None = None,
    error: InfoItem | None = None,
) -> RunDataset:
    files = found.files if found else ()
    return RunDataset(
        run_id=job.run_id,
        dataset_id=dataset.dataset_id,
        dataset_name=dataset.name,
        kind=found.kind if found else dataset.export,
        position=dataset.position,
        from_snapshot=_start_of_increment(dataset) if found and found.kind == "incremental" else None,
        to_snapshot=found.snapshot_id if found else None,
        schema=schema.to_json() if schema else None,
        folder=join_key(job.root, dataset.folder),
        input_files=len(files),
        input_rows=sum(file.rows for file in files),
        input_bytes=sum(file.bytes for file in files),
        deleted_rows=found.deleted_rows if found else 0,
        error=error,
    )


def _start_of_increment(dataset: DatasetExport) -> int | None:
    return dataset.pin.from_snapshot if dataset.pin else dataset.position
