"""Tables with a history, as a REST catalog answers them: ten appends, with many snapshots or many files before them."""

import json
import shutil
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.manifest import (
    DataFile,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    read_manifest_list,
    write_manifest,
    write_manifest_list,
)
from pyiceberg.table import Table
from pyiceberg.typedef import Record

from bench.performance.lakes.tables import IDENTIFIER, writer
from bench.performance.places import DATA
from offtake.cli.sample_data import SAMPLE_SCHEMA
from offtake.lake.parsing.columns import iceberg_schema
from tests.bucket_io import ROOT

APPENDS: Final = 10
_OLDEST: Final = 10**17
_MINUTE: Final = 60_000


def table(snapshots: int, files: int = 1) -> Path:
    """The folder of a table with so many snapshots, each of which added a manifest with so many files.

    The last ten are PyIceberg's, of one file. The older ones are metadata alone, as nothing reads their rows; with one
    file each, their manifests are not even there.
    """
    folder = DATA / f"lake-history-{snapshots}-{files}"
    if (folder / "made").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    catalog = writer(folder, ROOT.rstrip("/"))
    catalog.create_namespace(IDENTIFIER[0])
    made = catalog.create_table(IDENTIFIER, iceberg_schema(SAMPLE_SCHEMA), properties={"format-version": "2"})
    for _ in range(APPENDS):
        made.append(SAMPLE_SCHEMA.empty_table() if files > 1 else _one_row())
    document = _with_older(made, folder, snapshots - APPENDS, files)
    answers = folder / "v1" / "namespaces" / IDENTIFIER[0] / "tables"
    answers.mkdir(parents=True)
    (folder / "v1" / "config").write_text(json.dumps({"defaults": {}, "overrides": {}}), encoding="utf-8")
    answer = {"metadata-location": made.metadata_location, "metadata": document, "config": {}}
    (answers / IDENTIFIER[1]).write_text(json.dumps(answer), encoding="utf-8")
    (folder / "made").touch()
    return folder


def _one_row() -> pa.Table:
    columns = [pa.nulls(1, field.type) if field.nullable else _value(field.type) for field in SAMPLE_SCHEMA]
    return pa.Table.from_arrays(columns, schema=SAMPLE_SCHEMA)


def _value(kind: pa.DataType) -> pa.Array:
    return pa.array([""], kind) if pa.types.is_string(kind) else pa.array([0], pa.int64()).cast(kind)


def _with_older(made: Table, folder: Path, older: int, files: int) -> dict[str, Any]:
    """The table's metadata with older snapshots; the manifest lists of its own are written again to have theirs."""
    document: dict[str, Any] = json.loads(made.metadata.model_dump_json())
    own = document["snapshots"]
    first = json.loads(json.dumps(own[0]))
    before = [
        first
        | {
            "snapshot-id": _OLDEST + number,
            "sequence-number": number + 1,
            "timestamp-ms": first["timestamp-ms"] - (older - number) * _MINUTE,
            "manifest-list": f"{ROOT}bench/events/metadata/snap-{_OLDEST + number}-0-{uuid4()}.avro",
        }
        | ({"parent-snapshot-id": _OLDEST + number - 1} if number else {})
        for number in range(older)
    ]
    if before:
        own[0]["parent-snapshot-id"] = before[-1]["snapshot-id"]
    manifests = [_manifest(made, number, files) for number in range(older)]
    for snapshot in own:
        location = snapshot["manifest-list"]
        known = list(read_manifest_list(made.io.new_input(location)))
        for one in known:
            one.sequence_number += older
            one.min_sequence_number += older
        snapshot["sequence-number"] += older
        (folder / location.removeprefix(ROOT)).unlink()
        _write_list(made.io, snapshot, [*known, *reversed(manifests)])
    document["last-sequence-number"] += older
    document["snapshots"] = before + own
    document["snapshot-log"] = [
        {"timestamp-ms": one["timestamp-ms"], "snapshot-id": one["snapshot-id"]} for one in document["snapshots"]
    ]
    return document


def _write_list(io: FileIO, snapshot: dict[str, Any], manifests: list[ManifestFile]) -> None:
    with write_manifest_list(
        2,
        io.new_output(snapshot["manifest-list"]),
        snapshot["snapshot-id"],
        snapshot.get("parent-snapshot-id"),
        snapshot["sequence-number"],
        "deflate",
    ) as target:
        target.add_manifests(manifests)


def _manifest(made: Table, number: int, files: int) -> ManifestFile:
    location = f"{ROOT}bench/events/metadata/{uuid4()}-m0.avro"
    snapshot = _OLDEST + number
    if files > 1:
        spec, schema = made.spec(), made.schema()
        with write_manifest(2, spec, schema, made.io.new_output(location), snapshot, "deflate") as target:
            for _ in range(files):
                target.add(_entry(snapshot, len(schema.field_ids)))
        found = target.to_manifest_file()
        found.sequence_number = found.min_sequence_number = number + 1
        return found
    return ManifestFile.from_args(
        manifest_path=location,
        manifest_length=5000,
        partition_spec_id=0,
        content=ManifestContent.DATA,
        sequence_number=number + 1,
        min_sequence_number=number + 1,
        added_snapshot_id=snapshot,
        added_files_count=files,
        existing_files_count=0,
        deleted_files_count=0,
        added_rows_count=files,
        existing_rows_count=0,
        deleted_rows_count=0,
        partitions=[],
        key_metadata=None,
    )


def _entry(snapshot: int, columns: int) -> ManifestEntry:
    """An entry with statistics for every column, as writers give them."""
    counts = dict.fromkeys(range(1, columns + 1), 1000)
    bounds = dict.fromkeys(range(1, columns + 1), b"sixteen bytes ..")
    file = DataFile.from_args(
        content=0,
        file_path=f"{ROOT}bench/events/data/{uuid4()}.parquet",
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=1000,
        file_size_in_bytes=100_000,
        column_sizes=counts,
        value_counts=counts,
        null_value_counts=counts,
        nan_value_counts={},
        lower_bounds=bounds,
        upper_bounds=bounds,
        key_metadata=None,
        split_offsets=[4],
        equality_ids=None,
        sort_order_id=None,
        spec_id=0,
    )
    return ManifestEntry.from_args(status=ManifestEntryStatus.ADDED, snapshot_id=snapshot, data_file=file)
