"""Parquet files of other writers: values are imported exactly or as text, or the file is refused with the column."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offtake.formats.ndjson import lines
from offtake.lake import scan, table_description
from offtake.lake.catalog import Lake
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.options import Nanoseconds, ParseOptions
from tests.lake.lakes import TABLE, add_files, full

NS = 1_600_000_000_123_456_789


def parquet(folder: Path, name: str = "a.parquet", **columns: pa.Array) -> Path:
    pq.write_table(pa.table(columns), folder / name)
    return folder / name


def types(lake: Lake) -> dict[str, str]:
    return {one.name: one.type for one in table_description.describe(lake, TABLE).fields}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (pa.timestamp("ns"), "2020-09-13T12:26:40.123456789"),
        (pa.timestamp("ns", "Europe/Zurich"), "2020-09-13T12:26:40.123456789Z"),
        (pa.time64("ns"), "12:26:40.123456789"),
    ],
)
def test_nanoseconds_are_imported_as_text_truncated_or_refused(
    lake: Lake, tmp_path: Path, kind: pa.DataType, text: str
) -> None:
    value = NS % 86_400_000_000_000 if pa.types.is_time(kind) else NS
    file = parquet(tmp_path, t=pa.array([value, None], pa.int64()).cast(kind), n=pa.array([1, 2]))
    made = add_files(lake, file)
    assert full(lake) == [{"t": text, "n": 1}, {"t": None, "n": 2}]
    assert made.notes == ("a.parquet: column t has times finer than microseconds and is imported as text.",)
    lake.purge(TABLE)
    with pytest.raises(ImportRefusedError, match=r"column t has times finer than microseconds.*Set nanoseconds"):
        add_files(lake, file, options=ParseOptions(nanoseconds="refuse"))
    made = add_files(lake, file, options=ParseOptions(nanoseconds="truncate"))
    assert "truncated" in made.notes[0]
    assert full(lake)[0]["t"].microsecond == 123456


@pytest.mark.parametrize("nanoseconds", ["text", "truncate", "refuse"])
def test_nanoseconds_without_a_fraction_of_microseconds_are_times(
    lake: Lake, tmp_path: Path, nanoseconds: Nanoseconds
) -> None:
    nested = pa.array([{"t": [NS // 1000 * 1000]}], pa.struct([("t", pa.list_(pa.timestamp("ns")))]))
    add_files(lake, parquet(tmp_path, s=nested), options=ParseOptions(nanoseconds=nanoseconds))
    assert full(lake) == [{"s": {"t": [dt.datetime(2020, 9, 13, 12, 26, 40, 123456)]}}]


def test_a_microsecond_column_refuses_nanoseconds(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, parquet(tmp_path, t=pa.array([dt.datetime(2026, 3, 1)], pa.timestamp("us"))))
    finer = parquet(tmp_path, "b.parquet", t=pa.array([0, NS], pa.timestamp("ns")))
    with pytest.raises(ImportRefusedError, match=r"b\.parquet, row 2: column t"):
        add_files(lake, finer)
    add_files(lake, finer, options=ParseOptions(nanoseconds="truncate"))
    assert full(lake)[2]["t"] == dt.datetime(2020, 9, 13, 12, 26, 40, 123456)


def test_int96_timestamps_are_read_as_microseconds(lake: Lake, tmp_path: Path) -> None:
    days = [dt.datetime(1600, 1, 1), dt.datetime(2020, 1, 2, 3, 4, 5, 678901), dt.datetime(9999, 12, 31, 23, 59, 59)]
    table = pa.table({"t": pa.array(days, pa.timestamp("us"))})
    pq.write_table(table, tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)
    add_files(lake, tmp_path / "a.parquet")
    assert [row["t"] for row in full(lake)] == days


def test_json_8_bit_booleans_and_unsigned_integers_are_imported(lake: Lake, tmp_path: Path) -> None:
    add_files(
        lake,
        parquet(
            tmp_path,
            j=pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a":1}', None])),
            b=pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0], pa.int8())),
            small=pa.array([1, 2], pa.uint64()),
            large=pa.array([1, 2**64 - 1], pa.uint64()),
        ),
    )
    assert types(lake) == {"j": "string", "b": "boolean", "small": "long", "large": "decimal(38, 0)"}
    assert full(lake)[1] == {"j": None, "b": False, "small": 2, "large": Decimal(2**64 - 1)}


def test_dates_beyond_pythons_calendar_are_imported_and_exported(lake: Lake, tmp_path: Path) -> None:
    days = pa.array([-1_000_000, 0, 2_932_897], pa.int32()).cast(pa.date32())
    times = pa.array([-62_135_596_800_000_001, 0, 253_402_300_800_000_000], pa.timestamp("us"))
    made = add_files(
        lake,
        parquet(
            tmp_path,
            d=days,
            t=times,
            l=pa.array([[{"d": 2_932_897}], [], None], pa.list_(pa.struct([("d", pa.date32())]))),
        ),
    )
    add_files(lake, parquet(tmp_path, "b.parquet", d=days, t=times))
    assert len(scan.open_table(lake, TABLE).full(made.snapshot_id).files) == 1
    out = b"".join(map(lines, table_description.preview(lake, TABLE, 3).to_batches())).decode().splitlines()
    assert [json.loads(line)["d"] for line in out] == ["-0768-02-04", "1970-01-01", "+10000-01-01"]
    assert json.loads(out[2])["t"] == "+10000-01-01T00:00:00"


STRUCT_KEYS = pa.array([[({"a": 1}, 2)]], pa.map_(pa.struct([("a", pa.int64())]), pa.int64()))
REFUSED: dict[str, tuple[dict[str, pa.Array], str]] = {
    "duration": ({"v": pa.array([1], pa.duration("s"))}, "column v has the type duration"),
    "wide decimal": ({"v": pa.array([Decimal(10) ** 50], pa.decimal256(60, 0))}, "column v has the type decimal256"),
    "keys that are structs": ({"v": STRUCT_KEYS}, "column v is a map with nested keys"),
    "NUL": ({"a\0b": pa.array([1])}, "NUL character in its name"),
    "dots": ({"a": pa.array([{"b": 1}]), "a.b": pa.array([1])}, r"column a\.b exists twice"),
}


@pytest.mark.parametrize(("columns", "reason"), REFUSED.values(), ids=list(REFUSED))
def test_columns_that_no_export_supports_are_refused(
    lake: Lake, tmp_path: Path, columns: dict[str, pa.Array], reason: str
) -> None:
    with pytest.raises(ImportRefusedError, match=reason):
        add_files(lake, parquet(tmp_path, **columns))
    assert not lake.exists(TABLE)


def test_invalid_utf_8_is_refused_with_row_and_column(lake: Lake, tmp_path: Path) -> None:
    for name, kind in (("plain", pa.string()), ("nested", pa.list_(pa.string()))):
        raw = pa.array([b"fine", b"\xff"], pa.binary())
        values = raw if name == "plain" else pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), raw)
        schema = pa.schema([("n", pa.int64()), (name, kind)])
        table = pa.Table.from_arrays(
            [pa.array([1, 2]), values.view(kind) if name == "plain" else values.cast(pa.list_(pa.binary()))],
            names=["n", name],
        )
        if name == "plain":
            pq.write_table(table, tmp_path / "a.parquet")
        else:
            made = pa.ListArray.from_arrays(values.offsets, values.values.view(pa.string()))
            pq.write_table(pa.Table.from_arrays([pa.array([1, 2]), made], schema=schema), tmp_path / "a.parquet")
        with pytest.raises(ImportRefusedError, match=f"a.parquet, row 2: column {name} has text that is not UTF-8"):
            add_files(lake, tmp_path / "a.parquet")
    assert not lake.exists(TABLE)


def test_a_double_that_does_not_fit_a_float_is_refused_with_its_row(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, parquet(tmp_path, f=pa.array([1.5], pa.float32())))
    add_files(lake, parquet(tmp_path, "b.parquet", f=pa.array([0.1, 16777216.0])))
    with pytest.raises(ImportRefusedError, match=r"c\.parquet, row 2: column f"):
        add_files(lake, parquet(tmp_path, "c.parquet", f=pa.array([1.0, 16777217.0])), evolve=False)
    assert [row["f"] for row in full(lake)] == [1.5, pa.scalar(0.1, pa.float32()).as_py(), 16777216.0]


def test_text_for_a_numeric_column_is_refused(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, parquet(tmp_path, v=pa.array([1])))
    with pytest.raises(ImportRefusedError, match=r"b\.parquet: column v is long in the dataset, but the file has text"):
        add_files(lake, parquet(tmp_path, "b.parquet", v=pa.array(["1"])))
