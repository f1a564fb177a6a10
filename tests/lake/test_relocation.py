"""Relocated warehouses: no file refers to the old folder, and other readers read all rows."""

import gzip
import json
import os
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.avro.file import AvroFile
from pyiceberg.manifest import FileFormat, ManifestContent
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform
from pyiceberg.typedef import Record
from pyiceberg.types import BinaryType, DecimalType, DoubleType, StringType, TimestamptzType

from offtake.errors import OfftakeError
from offtake.lake import relocation, scan, table_files
from offtake.lake.catalog import Lake
from offtake.lake.file_io import LocationsIO
from offtake.lake.locations import local_path
from offtake.lake.relocation import Move, check_inside, relocate_tables
from tests.lake.lakes import TABLE, add, full, increment, move_warehouse, numbered
from tests.lake.other_writers import data_files, delete_equal, delete_positions, delete_vector, row_delta

PARTITIONED = {
    "d": DecimalType(9, 2),
    "t": TimestamptzType(),
    "u": StringType(),
    "b": BinaryType(),
    "f": DoubleType(),
}


def grown(lake: Lake) -> int:
    """Create a table with a history, partitions of many types and position deletes.

    Returns the snapshot before the last two.
    """
    add(lake, numbered(0, 1))
    with lake.load(TABLE).update_schema() as schema:
        for name, kind in PARTITIONED.items():
            schema.add_column(name, kind)
    with lake.load(TABLE).update_spec() as spec:
        for name in PARTITIONED:
            spec.add_field(name, IdentityTransform())
    values = {"d": Decimal("-1.50"), "t": 1_700_000_000_000_001, "u": "a#b?c%20d", "b": b"\0\xff", "f": -0.5}
    arrow = lake.load(TABLE).schema().as_arrow()
    at = add(lake, numbered(2))
    rows = pa.Table.from_pylist([{"n": n, "city": "x", **values} for n in (10, 11, 12)], arrow)
    lake.load(TABLE).append(rows)
    path = next(path for path, file in data_files(lake.load(TABLE)).items() if file.record_count == len(rows))
    delete_positions(lake.load(TABLE), path, [1], "exact")
    return at


def test_no_file_refers_to_the_old_folder_and_all_sizes_are_correct(lake: Lake, tmp_path: Path) -> None:
    at = grown(lake)
    with lake.load(TABLE).transaction() as change:
        change.set_properties({"write.data.path": f"{lake.load(TABLE).location()}/data", "note": "as it was"})
    rows, later = sorted(one["n"] for one in full(lake)), increment(lake, at)
    old, new = tmp_path / "warehouse", tmp_path / "other" / "ware house#1"
    before = snapshots(lake.load(TABLE))
    moved, _ = move_warehouse(lake, old, new)
    assert not old.exists()
    assert sorted(one["n"] for one in full(moved)) == rows == [0, 1, 2, 10, 12]
    assert increment(moved, at) == later == [10, 12]
    assert snapshots(moved.load(TABLE)) == before
    add(moved, numbered(20))
    assert increment(moved, at) == [10, 12, 20]
    assert_whole(moved.load(TABLE), str(old))
    moved.close()


def snapshots(table: Table) -> list[Any]:
    """The table's snapshots and files, without locations and without the sizes of rewritten files."""
    found = []
    for snapshot in table.snapshots():
        for manifest in snapshot.manifests(table.io):
            entries = manifest.fetch_manifest_entry(table.io, discard_deleted=False)
            of_data = [repr(_comparable_facts(entry.data_file)) for entry in entries]
            found.append((snapshot.snapshot_id, manifest.content, manifest.added_files_count, of_data))
    return found


def _comparable_facts(file: Any) -> list[Any]:
    return [file.content, file.partition, file.record_count, dict(file.value_counts or {}), file.sort_order_id]


def assert_whole(table: Table, old: str) -> None:
    """Assert that all files exist with the recorded sizes, and none refers to the old folder."""
    for path in local_path(table.location()).rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".avro":
                with AvroFile[Record](LocationsIO().new_input(str(path))) as source:
                    content = repr(list(source)).encode()
            elif path.suffix == ".parquet":
                content = str(pq.read_table(path, partitioning=None).to_pydict()).encode()
            assert old.encode() not in content, path
    for snapshot in table.snapshots():
        for manifest in snapshot.manifests(table.io):
            assert local_path(manifest.manifest_path).stat().st_size == manifest.manifest_length
            for entry in manifest.fetch_manifest_entry(table.io):
                assert local_path(entry.data_file.file_path).stat().st_size == entry.data_file.file_size_in_bytes


def test_equality_deletes_stay_unchanged(lake: Lake, tmp_path: Path) -> None:
    add(lake, numbered(0, 1))
    delete_equal(lake.load(TABLE), 1)
    (delete,) = _deletes(lake.load(TABLE))
    content = local_path(delete).read_bytes()
    moved, move = move_warehouse(lake, tmp_path / "warehouse", tmp_path / "new")
    assert local_path(move.new_location(delete)).read_bytes() == content
    assert _deletes(moved.load(TABLE)) == [move.new_location(delete)]
    moved.close()


def _deletes(table: Table) -> list[str]:
    snapshot = table.current_snapshot()
    assert snapshot is not None
    manifests = [one for one in snapshot.manifests(table.io) if one.content == ManifestContent.DELETES]
    return [entry.data_file.file_path for one in manifests for entry in one.fetch_manifest_entry(table.io)]


def copied(lake: Lake, folder: Path) -> tuple[list[str], Move]:
    """The warehouse copied to another folder, not rewritten yet."""
    shutil.copytree(folder / "warehouse", folder / "new")
    return [lake.load(TABLE).metadata_location], Move(f"file://{folder}/warehouse", f"file://{folder}/new")


@pytest.mark.parametrize("form", ["ORC", "AVRO", "PUFFIN"])
def test_deletes_that_cannot_be_rewritten_are_refused(lake: Lake, tmp_path: Path, form: str) -> None:
    add(lake, numbered(0, 1))
    (path,) = data_files(lake.load(TABLE))
    if form == "PUFFIN":
        delete_vector(lake.load(TABLE), path)
    else:
        row_delta(lake.load(TABLE), {path: [0]}, file_format=FileFormat(form))
    metadata, move = copied(lake, tmp_path)
    with pytest.raises(OfftakeError, match=f"the format {form}.*Set OFFTAKE_WAREHOUSE to the old folder"):
        relocate_tables(metadata, move)


def test_compressed_metadata_stays_compressed(lake: Lake, tmp_path: Path) -> None:
    add(lake, numbered(0))
    (metadata,), move = copied(lake, tmp_path)
    plain = local_path(move.new_location(metadata))
    packed = plain.with_name(plain.name.replace(".metadata.json", ".gz.metadata.json"))
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    relocate_tables([str(packed).replace("/new/", "/warehouse/")], move)
    assert json.loads(gzip.decompress(packed.read_bytes()))["location"].startswith(move.new)


def test_version_1_snapshots_with_their_own_manifest_lists_are_rewritten(lake: Lake, tmp_path: Path) -> None:
    add(lake, numbered(0))
    (manifest,) = [one.manifest_path for one in lake.load(TABLE).snapshots()[0].manifests(LocationsIO())]
    (metadata,), move = copied(lake, tmp_path)
    path = local_path(move.new_location(metadata))
    document = json.loads(path.read_text())
    del document["snapshots"][0]["manifest-list"]
    document["snapshots"][0]["manifests"] = [manifest]
    path.write_text(json.dumps(document))
    relocate_tables([metadata], move)
    assert json.loads(path.read_text())["snapshots"][0]["manifests"] == [move.new_location(manifest)]
    with AvroFile[Record](LocationsIO().new_input(move.new_location(manifest))) as source:
        assert "/warehouse/" not in repr(list(source))


def test_a_table_with_two_names_is_rewritten_once(lake: Lake, tmp_path: Path) -> None:
    add(lake, numbered(0, 1))
    lake.catalog.register_table(("sales", "again"), lake.load(TABLE).metadata_location)
    moved, _ = move_warehouse(lake, tmp_path / "warehouse", tmp_path / "warehouse" / "inside")
    assert [one["n"] for one in full(moved)] == [0, 1]
    assert moved.load(TABLE).location() == f"file://{tmp_path}/warehouse/inside/sales/orders"
    moved.close()


def outside(document: dict[str, Any], folder: Path) -> None:
    document["snapshots"][0]["manifest-list"] = f"file://{folder}/warehouse/../outside.avro"


def damaged(document: dict[str, Any], _: Path) -> None:
    document["snapshots"][0]["manifest-list"] = document["metadata-log"][0]["metadata-file"]


def lacking(document: dict[str, Any], _: Path) -> None:
    document["snapshots"][0]["manifest-list"] += "x"


def misshapen(document: dict[str, Any], _: Path) -> None:
    document["snapshots"] = 1


@pytest.mark.parametrize(
    ("harm", "problem"),
    [(outside, "outside the warehouse"), (damaged, "damaged"), (lacking, "lacks a file"), (misshapen, "damaged")],
)
def test_malicious_archives_are_refused(
    lake: Lake, tmp_path: Path, harm: Callable[[dict[str, Any], Path], None], problem: str
) -> None:
    add(lake, numbered(0))
    add(lake, numbered(1))
    (tmp_path / "outside.avro").write_text("mine")
    (metadata,), move = copied(lake, tmp_path)
    path = local_path(move.new_location(metadata))
    document = json.loads(path.read_text())
    harm(document, tmp_path)
    path.write_text(json.dumps(document))
    with pytest.raises(OfftakeError, match=problem):
        relocate_tables([metadata], move)
    assert (tmp_path / "outside.avro").read_text() == "mine"


def test_files_outside_the_warehouse_are_not_read(lake: Lake, tmp_path: Path) -> None:
    add(lake, numbered(0))
    _, move = copied(lake, tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # opening it blocks for ever
    for location in (f"file://{pipe}", "/dev/zero"):
        with pytest.raises(OfftakeError, match="outside the warehouse"):
            relocate_tables([location], move)


def test_a_decompression_bomb_as_metadata_is_refused(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(lake, numbered(0))
    (metadata,), move = copied(lake, tmp_path)
    monkeypatch.setattr(relocation, "_LARGEST_METADATA", 100_000)
    path = local_path(move.new_location(metadata))
    packed = path.with_name(path.name.replace(".metadata.json", ".gz.metadata.json"))
    packed.write_bytes(gzip.compress(b" " * 200_000 + path.read_bytes()))
    with pytest.raises(OfftakeError, match="more than 100000 bytes"):
        relocate_tables([str(packed).replace("/new/", "/warehouse/")], move)


@pytest.mark.parametrize(
    ("location", "moved"),
    [
        ("file:///a/b/t/x.parquet", "file:///n/t/x.parquet"),
        ("file:/a/b/t/x.parquet", "file:///n/t/x.parquet"),
        ("/a/b/t/x.parquet", "file:///n/t/x.parquet"),
        ("/a/b", "file:///n"),
        ("/a/bc/x", "/a/bc/x"),
        ("s3://a/b/x", "s3://a/b/x"),
        ("gopher://a/b/x", "gopher://a/b/x"),
        ("file:///a/b/p=%2F#1/x?y", "file:///n/p=%2F#1/x?y"),
    ],
)
def test_locations_in_any_form_are_rewritten(location: str, moved: str) -> None:
    assert Move("file:///a/b", "file:///n/").new_location(location) == moved


@pytest.mark.parametrize("name", ["location", "write.data.path", "write.metadata.path"])
def test_a_table_that_would_write_outside_the_warehouse_is_refused(lake: Lake, tmp_path: Path, name: str) -> None:
    add(lake, numbered(0))
    metadata, warehouse = lake.load(TABLE).metadata_location, f"file://{tmp_path}/warehouse"
    check_inside([metadata], warehouse)
    document = json.loads(local_path(metadata).read_text())
    (document if name == "location" else document["properties"])[name] = f"file://{tmp_path}/elsewhere"
    local_path(metadata).write_text(json.dumps(document))
    with pytest.raises(OfftakeError, match="outside the warehouse"):
        check_inside([metadata], warehouse)


def test_table_files_are_those_of_the_new_folder(lake: Lake, tmp_path: Path) -> None:
    add(lake, numbered(0, 1))
    moved, _ = move_warehouse(lake, tmp_path / "warehouse", tmp_path / "new")
    (metadata,) = table_files.metadata_locations(tmp_path / "catalog.db")
    assert all(local_path(one.uri).is_relative_to(tmp_path / "new") for one in table_files.files_of(metadata))
    assert scan.open_table(moved, TABLE).current_snapshot
    moved.close()
