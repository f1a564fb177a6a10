"""Deletion vectors of format version 3: applied to the rows of their data file, and counted."""

import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.manifest import DataFile

from offtake.errors import DeliveryError
from offtake.lake import scan
from offtake.lake.catalog import Lake
from offtake.lake.delete_files import DeletionVector
from offtake.lake.deletion_vectors import read_positions
from offtake.lake.locations import local_path
from offtake.lake.parts import FileSlice, at_new_locations, slices_from_json, slices_to_json
from tests.lake.format_3 import upgrade, vector_blob, vector_file, writing_format_3
from tests.lake.lakes import TABLE, add, full, increment, lake_in, numbered
from tests.lake.other_writers import add_vector, data_files, delete_by_vectors, delete_positions, row_delta


@pytest.fixture
def lake(tmp_path: Path) -> Any:
    opened = lake_in(tmp_path)
    add(opened, numbered(0))
    upgrade(opened.load(TABLE))
    yield opened
    opened.close()


def add_3(lake: Lake, *numbers: int) -> tuple[int, str]:
    """Append rows to a table of version 3. Returns the snapshot and the new file."""
    known = set(data_files(lake.load(TABLE)))
    with writing_format_3():
        snapshot = add(lake, numbered(*numbers))
    (path,) = set(data_files(lake.load(TABLE))) - known
    return snapshot, path


def current(lake: Lake) -> int:
    found = scan.open_table(lake, TABLE).current_snapshot
    assert found is not None
    return found


def numbers(lake: Lake) -> list[int]:
    return sorted(row["n"] for row in full(lake))


def test_a_vector_applies_to_its_data_file_and_a_later_one_replaces_it(lake: Lake) -> None:
    _, first = add_3(lake, 1, 2, 3)
    at, second = add_3(lake, 4, 5, 6)
    delete_by_vectors(lake.load(TABLE), {first: [0], second: [1]})
    assert numbers(lake) == [0, 2, 3, 4, 6]
    plan = scan.open_table(lake, TABLE).increment(at, current(lake))
    assert (plan.files, plan.deleted_rows) == ((), 2)
    between = current(lake)
    delete_by_vectors(lake.load(TABLE), {second: [0, 1]})
    assert numbers(lake) == [0, 2, 3, 6]
    # The second vector has the positions of the first: only the new ones count.
    assert scan.open_table(lake, TABLE).increment(between, current(lake)).deleted_rows == 1
    assert scan.open_table(lake, TABLE).increment(at, current(lake)).deleted_rows == 3


def test_rows_added_and_deleted_by_a_vector_in_the_range_are_not_exported(lake: Lake) -> None:
    start = current(lake)
    _, path = add_3(lake, 1, 2, 3)
    delete_by_vectors(lake.load(TABLE), {path: [0, 2]}, rows=rows(lake, 4))
    assert sorted(increment(lake, start)) == [2, 4]
    # A vector of the same commit applies to the rows that it adds; here, one of no rows.
    assert numbers(lake) == [0, 2, 4]


def rows(lake: Lake, *added: int) -> pa.Table:
    return pa.Table.from_pylist(numbered(*added), lake.load(TABLE).schema().as_arrow())


def test_a_vector_replaces_the_position_deletes_of_its_file(tmp_path: Path) -> None:
    lake = lake_in(tmp_path)
    add(lake, numbered(1, 2, 3))
    (path,) = data_files(lake.load(TABLE))
    delete_positions(lake.load(TABLE), path, [0])
    assert numbers(lake) == [2, 3]
    upgrade(lake.load(TABLE))
    # A writer merges position deletes into the vector; one that does not shows which of them is read.
    delete_by_vectors(lake.load(TABLE), {path: [2]})
    assert numbers(lake) == [1, 2]
    lake.close()


def test_position_deletes_and_vectors_of_different_files_apply_together(tmp_path: Path) -> None:
    lake = lake_in(tmp_path)
    add(lake, numbered(1, 2, 3))
    add(lake, numbered(4, 5, 6))
    first, second = sorted(data_files(lake.load(TABLE)))
    row_delta(lake.load(TABLE), {first: [0], second: [0]}, "range")
    upgrade(lake.load(TABLE))
    delete_by_vectors(lake.load(TABLE), {second: [0, 1]})
    assert len(numbers(lake)) == 3
    lake.close()


def described(lake: Lake, path: str, content: bytes, **changed: Any) -> DataFile:
    puffin = local_path(lake.load(TABLE).location()) / "data" / "vector.puffin"
    puffin.write_bytes(b"PFA1" + content + b"PFA1")
    known = {"data_file": path, "offset": 4, "size": len(content), "rows": 1, **changed}
    return vector_file(f"file://{puffin}", about=data_files(lake.load(TABLE))[path], **known)


GOOD = vector_blob([1])


@pytest.mark.parametrize(
    ("content", "changed", "why"),
    [
        (GOOD, {"rows": 2}, "it has 1 positions, and the manifest counts 2"),
        (GOOD, {"size": len(GOOD) - 1}, "its length differs from the one in the manifest"),
        (GOOD, {"size": len(GOOD) + 100}, "the file ends before it does"),
        (GOOD, {"size": 3}, "its size in the manifest is 3 bytes"),
        (GOOD, {"offset": 3}, "its length differs"),
        (GOOD[:-1] + b"\0", {}, "its CRC-32 checksum does not match"),
        (GOOD[:4] + b"abcd" + GOOD[8:], {}, "it does not start with the magic bytes"),
        (vector_blob([2**63 + 1]), {}, "it has a position beyond 63 bits"),
    ],
    ids=["rows", "short", "long", "tiny", "offset", "checksum", "magic", "large"],
)
def test_an_invalid_vector_is_refused_by_name(lake: Lake, content: bytes, changed: dict[str, Any], why: str) -> None:
    _, path = add_3(lake, 1, 2)
    add_vector(lake.load(TABLE), described(lake, path, content, **changed))
    with pytest.raises(DeliveryError, match=why) as refused:
        full(lake)
    assert "vector.puffin" in str(refused.value)
    assert refused.value.code == "EXPORT-1500-500"


def test_a_vector_with_a_damaged_bitmap_is_refused(tmp_path: Path) -> None:
    for number, bitmap in enumerate([b"", b"\xff" * 40, GOOD[8:-5], GOOD[8:-4] + b"\0"]):
        file = tmp_path / f"{number}.puffin"
        file.write_bytes(framed(bitmap))
        vector = DeletionVector(str(file), "data", 0, len(framed(bitmap)), 1)
        with pytest.raises(DeliveryError, match="is invalid"):
            read_positions(vector, None)


def framed(bitmap: bytes) -> bytes:
    body = bytes.fromhex("d1d33964") + bitmap
    return len(body).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def test_two_vectors_for_one_file_and_incomplete_entries_are_refused(lake: Lake) -> None:
    at, path = add_3(lake, 1, 2)
    twice = [described(lake, path, GOOD), described(lake, path, GOOD)]
    add_vector(lake.load(TABLE), *twice)
    with pytest.raises(DeliveryError, match="has 2 deletion vectors"):
        scan.open_table(lake, TABLE).full(current(lake))
    with writing_format_3():
        lake.load(TABLE).manage_snapshots().rollback_to_snapshot(at).commit()
    add_vector(lake.load(TABLE), described(lake, path, GOOD, data_file=None))
    with pytest.raises(DeliveryError, match="does not say where"):
        scan.open_table(lake, TABLE).full(current(lake))


def test_large_vectors_with_positions_beyond_32_bits_are_read(tmp_path: Path) -> None:
    positions = [*range(0, 1_000_000, 3), 2**32 - 1, 2**32, 2**40 + 5]
    content = vector_blob(positions)
    (tmp_path / "v.puffin").write_bytes(b"PFA1" + content)
    vector = DeletionVector(str(tmp_path / "v.puffin"), "data", 4, len(content), len(positions))
    assert read_positions(vector, None).to_pylist() == positions


def test_stored_slices_keep_vectors_and_share_delete_files() -> None:
    vector = DeletionVector("file:///old/v", "file:///old/a", 4, 50, 1)
    slices = [FileSlice("file:///old/a", 0, 1, 1, 2, (vector,)), FileSlice("file:///old/a", 1, None, 1, 2, (vector,))]
    stored = slices_to_json(slices)
    assert [len(one.get("deleteFiles", ())) for one in stored] == [1, 0]
    assert slices_from_json(stored) == tuple(slices)
    moved = slices_from_json(at_new_locations(stored, lambda path: path.replace("old", "new")))
    assert moved[1].delete_files == (DeletionVector("file:///new/v", "file:///new/a", 4, 50, 1),)
