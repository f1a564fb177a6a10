"""Files with too many fields are refused before their columns are built, in every format."""

import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offtake.lake.catalog import Lake
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.projection import ColumnNames, projection
from tests.lake.lakes import add_files

NAMES = [f"c{number}" for number in range(20_000)]


def objects(folder: Path, text: str) -> Path:
    path = folder / "wide.json"
    path.write_text(text)
    return path


def parquet(folder: Path, names: list[str]) -> Path:
    path = folder / "wide.parquet"
    pq.write_table(pa.table({name: [1] for name in names}), path)
    return path


def csv(folder: Path) -> Path:
    path = folder / "wide.csv"
    path.write_text(f"{','.join(NAMES)}\n{','.join('1' for _ in NAMES)}\n")
    return path


WIDE: dict[str, Callable[[Path], Path]] = {
    "csv": csv,
    "one line": lambda folder: objects(folder, "{" + ",".join(f'"{name}":1' for name in NAMES) + "}\n"),
    "many lines": lambda folder: objects(folder, "".join(f'{{"{name}":1}}\n' for name in NAMES)),
    "within": lambda folder: objects(folder, '{"a":{' + ",".join(f'"{name}":1' for name in NAMES) + "}}\n"),
    "document": lambda folder: objects(folder, "[" + ",".join(f'{{"{name}":1}}' for name in NAMES) + "]"),
    "parquet": lambda folder: parquet(folder, NAMES),
}


@pytest.mark.parametrize("form", WIDE)
def test_twenty_thousand_fields_are_refused_at_once(lake: Lake, tmp_path: Path, form: str) -> None:
    file = WIDE[form](tmp_path)
    begun = time.process_time()
    with pytest.raises(ImportRefusedError, match=r"more than 10,?000 (fields|columns)"):
        add_files(lake, file)
    # The limit is one second; building the columns would take ten.
    assert time.process_time() - begun < 3


def test_several_files_cannot_exceed_the_field_limit_together(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, parquet(tmp_path, NAMES[:6_000]))
    with pytest.raises(ImportRefusedError, match="more than 10000 fields"):
        add_files(lake, parquet(tmp_path, NAMES[6_000:12_000]))


def test_values_that_look_like_names_do_not_count_as_fields(lake: Lake, tmp_path: Path) -> None:
    lines = "".join(f'{{"a":{{"name":"k{number}"}},"b":"\\"k{number}\\": x"}}\n' for number in range(20_000))
    assert add_files(lake, objects(tmp_path, lines)).rows == 20_000


def test_the_columns_of_a_wide_table_are_matched_in_time_proportional_to_their_number() -> None:
    fields = [pa.field(f"c{one}", pa.int64(), metadata={"PARQUET:field_id": str(one + 1)}) for one in range(50_000)]
    target = pa.schema(fields)
    begin = time.process_time()
    for file in (target, pa.schema([pa.field(one.name, one.type) for one in fields])):
        projection(file, target, ColumnNames.of(target), lambda _field, _type: None)
    # A search among all columns for each one takes minutes.
    assert time.process_time() - begin < 20
