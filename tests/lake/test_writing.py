"""How batches are split into files and encoded, which determines the cost of exports."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offtake.lake import ingest, scan, writing
from offtake.lake.catalog import Lake
from offtake.lake.locations import local_path
from tests.lake.lakes import TABLE, add_files, full, lake_in
from tests.lake.other_writers import data_files

ROWS = 20_000
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLUMNS: dict[str, tuple[Callable[[int], Any], bool]] = {
    "unique text": (lambda n: f"evt-{n:012d}", False),
    "times": (lambda n: NOON + timedelta(milliseconds=n * n % 86_400_000), False),
    "repeated text": (lambda n: f"customer {n % 50}", True),
    "repeated number": (lambda n: n * 7919 % 90 * 1_000_003, True),
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> pq.FileMetaData:
    """The metadata of the file for a batch with these columns, top-level and nested."""
    folder: Path = tmp_path_factory.mktemp("lake")
    flat = {name: [value(n) for n in range(ROWS)] for name, (value, _) in COLUMNS.items()}
    nested = pa.array([dict(zip(flat, row, strict=True)) for row in zip(*flat.values(), strict=True)])
    lists = pa.ListArray.from_arrays(pa.array(range(ROWS + 1), pa.int32()), nested)
    table = pa.table(flat | {"in": nested, "list": lists})
    lake = lake_in(folder)
    try:
        ingest.append(lake, TABLE, table.to_batches(), table.schema, "one")
        (file,) = map(local_path, data_files(lake.load(TABLE)))
        return pq.read_metadata(file)
    finally:
        lake.close()


@pytest.mark.parametrize("prefix", ["", "in.", "list.list.element."])
@pytest.mark.parametrize(("column", "repeats"), [(name, repeats) for name, (_, repeats) in COLUMNS.items()])
def test_only_columns_with_repeated_values_get_a_dictionary(
    stored: pq.FileMetaData, prefix: str, column: str, repeats: bool
) -> None:
    chunks = [stored.row_group(0).column(index) for index in range(stored.num_columns)]
    (chunk,) = [one for one in chunks if one.path_in_schema == prefix + column]
    assert chunk.has_dictionary_page == repeats


def test_large_batches_are_split_into_files_and_row_groups_of_bounded_size(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_FILE_BYTES", 400_000)
    table = pa.table({"n": range(300_000), "text": [str(n * 7919) for n in range(300_000)]})
    pq.write_table(table, tmp_path / "n.parquet")
    done = add_files(lake, tmp_path / "n.parquet")
    files = [one.path.removeprefix("file://") for one in scan.open_table(lake, TABLE).full(done.snapshot_id).files]
    assert len(files) == done.files > 2
    found = [pq.read_metadata(file) for file in files]
    assert all(one.row_group(n).num_rows <= 65_536 for one in found for n in range(one.num_row_groups))
    assert [row["n"] for row in full(lake)] == list(range(300_000))
