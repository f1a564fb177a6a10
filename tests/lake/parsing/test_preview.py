"""Previews: the first rows of a file before its import."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offtake.lake.parsing.files import input_file
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.parsing.preview import preview


@pytest.mark.parametrize(
    "row",
    [{"a": [None, None]}, {"a": [{"b": None}, {"b": None}]}, {"a": [[None], [None, None]]}, {"a": {"b": [None, None]}}],
    ids=str,
)
def test_lists_with_only_nulls_are_shown(tmp_path: Path, row: dict[str, Any]) -> None:
    file = tmp_path / "a.json"
    file.write_text(f"{row}\n".replace("'", '"').replace("None", "null") * 3)
    assert preview(input_file(file), ParseOptions(), 2).to_pylist() == [row, row]


def test_dictionary_encoded_values_are_shown(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array(["x", "y", "x"]).dictionary_encode(), "b": [[None], None, []]})
    pq.write_table(table, tmp_path / "a.parquet")
    found = preview(input_file(tmp_path / "a.parquet"), ParseOptions(), 2)
    assert found.column("a").type == pa.string()
    assert found.to_pylist() == [{"a": "x", "b": [None]}, {"a": "y", "b": None}]
