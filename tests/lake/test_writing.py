"""How the files of batches are encoded: what an export of them costs depends on it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offtake.lake import ingest
from offtake.lake.catalog import local_path
from tests.lake.lakes import TABLE, lake_in
from tests.lake.others import data_files

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
    """The metadata of the file that a batch of such columns, alone and within others, becomes."""
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
def test_values_that_repeat_get_a_dictionary_and_others_are_not_written_twice(
    stored: pq.FileMetaData, prefix: str, column: str, repeats: bool
) -> None:
    chunks = [stored.row_group(0).column(index) for index in range(stored.num_columns)]
    (chunk,) = [one for one in chunks if one.path_in_schema == prefix + column]
    assert chunk.has_dictionary_page == repeats
