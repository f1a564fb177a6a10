"""Table histories: other branches, staged writes, rollbacks, expiry, recreated tables."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.manifest import ManifestEntry, ManifestEntryStatus
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import _FastAppendFiles
from pyiceberg.transforms import IdentityTransform

from offtake.errors import DeliveryError
from offtake.lake import manifest_cache, scan
from offtake.lake.catalog import Lake
from offtake.lake.locations import local_path
from offtake.lake.scan import TableScan
from tests.lake.lakes import TABLE, add, full, increment, lake_in, numbered
from tests.lake.other_writers import data_files


def current(lake: Lake) -> int:
    found = scan.open_table(lake, TABLE).current_snapshot
    assert found is not None
    return found


def rows(lake: Lake, *numbers: int) -> pa.Table:
    return pa.Table.from_pylist(numbered(*numbers), lake.load(TABLE).schema().as_arrow())


def stage(lake: Lake, *numbers: int) -> int:
    """Write-audit-publish: add a snapshot without a branch. Returns its id."""
    known = {one.snapshot_id for one in lake.load(TABLE).metadata.snapshots}
    lake.load(TABLE).append(rows(lake, *numbers), branch=None)
    (made,) = {one.snapshot_id for one in lake.load(TABLE).metadata.snapshots} - known
    return made


def test_other_branches_tags_and_staged_writes_are_ignored(lake: Lake) -> None:
    first = add(lake, numbered(1))
    lake.load(TABLE).manage_snapshots().create_branch(first, "side").create_tag(first, "v1").commit()
    lake.load(TABLE).append(rows(lake, 2), branch="side")
    stage(lake, 3)
    second = add(lake, numbered(4))
    assert current(lake) == second
    assert increment(lake, first) == [4]
    assert [row["n"] for row in full(lake)] == [1, 4]


def test_a_staged_write_is_exported_when_it_is_published(lake: Lake) -> None:
    first = add(lake, numbered(1))
    staged = stage(lake, 2)
    # Main has no new snapshot since: fast-forward it to the staged one.
    lake.load(TABLE).manage_snapshots().set_current_snapshot(staged).commit()
    assert increment(lake, first) == [2]


def test_a_cherry_picked_staged_write_is_exported_once(lake: Lake) -> None:
    first = add(lake, numbered(1))
    staged = stage(lake, 2)
    second = add(lake, numbered(3))
    pick(lake, staged)
    assert increment(lake, first) == [3, 2]
    assert increment(lake, second) == [2]
    add(lake, numbered(4))
    assert increment(lake, first) == [3, 2, 4]


def pick(lake: Lake, staged: int) -> None:
    """Cherry-pick, as other engines do: a new snapshot of main adds the staged snapshot's files."""
    table = lake.load(TABLE)
    snapshot = table.snapshot_by_id(staged)
    assert snapshot is not None
    transaction = table.transaction()
    with _FastAppendFiles(operation=Operation.APPEND, transaction=transaction, io=table.io) as producer:
        for file in scan.added_files(table, snapshot):
            producer.append_data_file(file)
    transaction.commit_transaction()


def test_a_tag_keeps_the_last_exported_snapshot_alive(lake: Lake) -> None:
    first = add(lake, numbered(1))
    second = add(lake, numbered(2))
    lake.load(TABLE).manage_snapshots().create_tag(first, "exported").create_tag(second, "kept").commit()
    third = add(lake, numbered(3))
    fourth = add(lake, numbered(4))
    assert increment(lake, first) == [2, 3, 4]
    lake.load(TABLE).maintenance.expire_snapshots().by_id(third).commit()
    # The tag keeps the snapshot, but the snapshots in between have expired.
    assert scan.open_table(lake, TABLE).increment(first, fourth).kind == "full"
    assert increment(lake, fourth) == []


def test_after_a_rollback_to_the_last_exported_snapshot_newer_rows_are_exported(lake: Lake) -> None:
    first = add(lake, numbered(1))
    add(lake, numbered(2))
    lake.load(TABLE).manage_snapshots().rollback_to_snapshot(first).commit()
    assert increment(lake, first) == []
    add(lake, numbered(3))
    assert increment(lake, first) == [3]


def test_a_rollback_before_the_last_exported_snapshot_and_forward_again(lake: Lake) -> None:
    first = add(lake, numbered(1))
    second = add(lake, numbered(2))
    lake.load(TABLE).manage_snapshots().rollback_to_snapshot(first).commit()
    plan = scan.open_table(lake, TABLE).increment(second, first)
    assert (plan.kind, sum(file.rows for file in plan.files)) == ("full", 1)
    lake.load(TABLE).manage_snapshots().set_current_snapshot(second).commit()
    assert increment(lake, second) == []


def test_a_recreated_table_is_exported_in_full(lake: Lake) -> None:
    first = add(lake, numbered(1, 2))
    lake.catalog.drop_table(TABLE)
    again = add(lake, numbered(3))
    plan = scan.open_table(lake, TABLE).increment(first, again)
    assert (plan.kind, sum(file.rows for file in plan.files)) == ("full", 1)
    assert plan.warning is not None
    # A run planned for a snapshot of the old table gets an error.
    for planned in (TableScan.full, TableScan.schema):
        with pytest.raises(DeliveryError, match="has been removed") as gone:
            planned(scan.open_table(lake, TABLE), first)
        assert gone.value.code == "EXPORT-1410-410"


def test_a_registered_table_keeps_its_own_history(lake: Lake, tmp_path: Path) -> None:
    first = add(lake, numbered(1))
    (tmp_path / "other").mkdir()
    other = lake_in(tmp_path / "other")
    add(other, numbered(2))
    lake.catalog.drop_table(TABLE)
    lake.catalog.register_table(TABLE, other.load(TABLE).metadata_location)
    other.close()
    assert scan.open_table(lake, TABLE).increment(first, current(lake)).kind == "full"
    assert [row["n"] for row in full(lake)] == [2]


def test_registering_older_metadata_is_a_rollback(lake: Lake) -> None:
    first = add(lake, numbered(1))
    older = lake.load(TABLE).metadata_location
    second = add(lake, numbered(2))
    lake.catalog.drop_table(TABLE)
    lake.catalog.register_table(TABLE, older)
    assert scan.open_table(lake, TABLE).increment(second, current(lake)).kind == "full"
    add(lake, numbered(3))
    assert increment(lake, first) == [3]


@pytest.mark.parametrize("lost", ["data", "manifest", "list", "metadata"])
def test_missing_files_are_reported_with_the_remedy(lake: Lake, lost: str) -> None:
    first = add(lake, numbered(1))
    at = add(lake, numbered(2))
    table = lake.load(TABLE)
    snapshot = table.current_snapshot()
    assert snapshot is not None
    paths = {
        "data": next(iter(data_files(table))),
        "manifest": snapshot.manifests(table.io)[0].manifest_path,
        "list": snapshot.manifest_list,
        "metadata": table.metadata_location,
    }
    local_path(paths[lost]).unlink()
    manifest_cache.forget()
    with pytest.raises(DeliveryError, match="was deleted") as gone:
        full(lake, at)
    assert gone.value.code == "EXPORT-1410-410"
    assert "it exports from the current snapshot" in gone.value.remedy
    if lost != "data":
        with pytest.raises(DeliveryError, match="was deleted"):
            scan.open_table(lake, TABLE).increment(first, at)


def test_a_dropped_table_is_reported(lake: Lake) -> None:
    at = add(lake, numbered(1))
    lake.catalog.drop_table(TABLE)
    for planned in (TableScan.full, TableScan.schema):
        with pytest.raises(DeliveryError, match=r"sales\.orders no longer exists") as gone:
            planned(scan.open_table(lake, TABLE), at)
        assert gone.value.code == "EXPORT-1404-404"


@pytest.mark.parametrize("change", ["version", "type"])
def test_metadata_of_newer_versions_is_refused_with_the_reason(lake: Lake, change: str) -> None:
    at = add(lake, numbered(1))
    path = local_path(lake.load(TABLE).metadata_location)
    document = json.loads(path.read_text(encoding="utf-8"))
    if change == "version":
        document["format-version"] = 9
    else:
        document["schemas"][0]["fields"].append({"id": 9, "name": "any", "type": "something", "required": False})
    path.write_text(json.dumps(document), encoding="utf-8")
    for planned in (
        lambda: scan.open_table(lake, TABLE).current_snapshot,
        lambda: scan.open_table(lake, TABLE).full(at),
        lambda: scan.open_table(lake, TABLE).increment(at, at),
        lambda: scan.open_table(lake, TABLE).schema(at),
    ):
        with pytest.raises(DeliveryError, match="cannot be read") as refused:
            planned()
        assert refused.value.code == "EXPORT-1500-500"
    # The existence of a table does not depend on whether it can be read.
    assert lake.exists(TABLE)


def test_rows_rewritten_by_pyiceberg_are_exported_again(lake: Lake) -> None:
    add(lake, numbered(1, 2, 3))
    with lake.load(TABLE).update_spec() as update:
        update.add_field("n", IdentityTransform())
    lake.load(TABLE).append(rows(lake, 4, 5))
    at = current(lake)
    lake.load(TABLE).dynamic_partition_overwrite(rows(lake, 4))
    assert increment(lake, at) == [4]
    at = current(lake)
    changed = pa.Table.from_pylist([{"n": 4, "city": "moved"}, {"n": 9, "city": "new"}], rows(lake).schema)
    lake.load(TABLE).upsert(changed, ["n"])
    assert sorted(increment(lake, at)) == [4, 9]
    assert scan.open_table(lake, TABLE).increment(at, current(lake)).deleted_rows == 1
    at = current(lake)
    # 1 and 3 were in one file with 2, and are rewritten without it.
    lake.load(TABLE).delete("n = 2")
    assert sorted(increment(lake, at)) == [1, 3]
    assert scan.open_table(lake, TABLE).increment(at, current(lake)).deleted_rows == 1


def test_merged_or_rewritten_manifests_do_not_affect_increments(lake: Lake) -> None:
    first = add(lake, numbered(1))
    with lake.load(TABLE).transaction() as transaction:
        transaction.set_properties({"commit.manifest-merge.enabled": "true", "commit.manifest.min-count-to-merge": "2"})
    for number in range(2, 7):
        lake.load(TABLE).append(rows(lake, number))
    snapshot = lake.load(TABLE).current_snapshot()
    assert snapshot is not None
    entries = [one for manifest in snapshot.manifests(lake.load(TABLE).io) for one in read_entries(lake, manifest)]
    assert ManifestEntryStatus.EXISTING in {one.status for one in entries}
    assert increment(lake, first) == [2, 3, 4, 5, 6]


def read_entries(lake: Lake, manifest: object) -> list[ManifestEntry]:
    return list(manifest.fetch_manifest_entry(lake.load(TABLE).io))  # type: ignore[attr-defined]
