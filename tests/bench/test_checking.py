"""The benchmark compares with tools that deliver the same rows only."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.performance import checking
from bench.performance.checking import Held
from offtake.cli.sample_data import SAMPLE_SCHEMA, customer_events
from offtake.formats.registry import format_for

ROWS = 2000


def events() -> Iterator[pa.RecordBatch]:
    return customer_events(ROWS, seed=1, start_ms=1_767_225_600_000)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Held:
    file = tmp_path_factory.mktemp("source") / "events.parquet"
    pq.write_table(pa.Table.from_batches(events()), file)
    return checking.held("parquet", [file])


def lines() -> list[bytes]:
    text = b"".join(format_for("JSON", "GZIP").encode(SAMPLE_SCHEMA, events(), 1))
    return gzip.decompress(text).splitlines(keepends=True)


def written(path: Path, rows: list[bytes]) -> Held:
    path.write_bytes(gzip.compress(b"".join(rows)))
    return checking.held("json-gzip", [path])


def test_the_same_rows_in_another_order_are_the_same_rows(source: Held, tmp_path: Path) -> None:
    assert checking.differences(source, written(tmp_path / "a.json.gz", lines()[::-1]), "ours") == []


@pytest.mark.matrix(one_in=3)
@pytest.mark.parametrize(
    ("was", "now"), [(b'"quantity":2', b'"quantity":3'), (b'"points":', b'"lost":'), (b'"customer"', b'"client"')]
)
def test_a_single_value_that_is_another_is_seen(source: Held, tmp_path: Path, was: bytes, now: bytes) -> None:
    rows = lines()
    place = next(number for number, row in enumerate(rows) if was in row)
    rows[place] = rows[place].replace(was, now, 1)
    with pytest.raises(SystemExit, match="other rows"):
        checking.differences(source, written(tmp_path / "a.json.gz", rows), "a peer")


def test_a_row_twice_in_place_of_another_is_seen(source: Held, tmp_path: Path) -> None:
    rows = lines()
    rows[1] = rows[0]
    with pytest.raises(SystemExit, match="other rows"):
        checking.differences(source, written(tmp_path / "a.json.gz", rows), "a peer")


def test_values_in_another_form_are_reported(source: Held, tmp_path: Path) -> None:
    rows = [row.replace(b'"timestamp":"2026', b'"timestamp":"1926') for row in lines()]
    assert checking.differences(source, written(tmp_path / "a.json.gz", rows), "a peer") == ["timestamps"]
