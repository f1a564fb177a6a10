"""Files are imported completely, as one snapshot, or not at all."""

import datetime as dt
import gzip
import multiprocessing
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offtake.lake import scan
from offtake.lake.catalog import Lake
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.table_names import TableName
from tests.lake.lakes import TABLE, Row, add_files, everything_in, full, lake_in, ndjson

ROWS: list[Row] = [
    {"id": 1, "name": "Zürich", "place": {"city": "Bern", "at": [1.5, None]}, "tags": ["a", "b"]},
    {"id": 2, "name": None, "place": None, "tags": []},
    {"id": 3, "name": "", "place": {"city": None, "at": None}, "tags": None},
]


def parquet(path: Path, rows: list[Row], schema: pa.Schema | None = None) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return path


def gzipped(path: Path, plain: Path) -> Path:
    path.write_bytes(gzip.compress(plain.read_bytes()))
    return path


@pytest.mark.parametrize("kind", ["parquet", "ndjson", "ndjson.gz"])
def test_nested_rows_are_unchanged_after_the_round_trip(lake: Lake, tmp_path: Path, kind: str) -> None:
    file = parquet(tmp_path / "rows.parquet", ROWS) if kind == "parquet" else ndjson(tmp_path / "rows.ndjson", ROWS)
    if kind.endswith(".gz"):
        file = gzipped(tmp_path / "rows.jsonl.gz", file)
    done = add_files(lake, file)
    assert full(lake) == ROWS
    assert (done.rows, done.files) == (3, 1)
    assert done.bytes == sum(one.bytes for one in scan.open_table(lake, TABLE).full(done.snapshot_id).files)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_csv_is_imported_with_inferred_types(lake: Lake, tmp_path: Path, suffix: str) -> None:
    text = tmp_path / "plain.csv"
    text.write_text('id,name,paid,on\n1,"Zürich, ""HB""",1.5,2026-03-01\n2,,,\n', encoding="utf-8")
    add_files(lake, text if suffix == ".csv" else gzipped(tmp_path / "rows.csv.gz", text))
    assert full(lake) == [
        {"id": 1, "name": 'Zürich, "HB"', "paid": Decimal("1.5"), "on": dt.date(2026, 3, 1)},
        {"id": 2, "name": None, "paid": None, "on": None},
    ]


def test_every_type_of_a_parquet_file_keeps_its_values(lake: Lake, tmp_path: Path) -> None:
    at = dt.datetime(2026, 3, 1, 6, 0, 0, 123456)
    values: dict[str, tuple[pa.DataType, object, object]] = {
        "small": (pa.int8(), -5, -5),
        "unsigned": (pa.uint32(), 2**32 - 1, 2**32 - 1),
        "half": (pa.float32(), 0.5, 0.5),
        "price": (pa.decimal128(18, 4), Decimal("1.2345"), Decimal("1.2345")),
        "day": (pa.date32(), at.date(), at.date()),
        "clock": (pa.time64("us"), at.time(), at.time()),
        "local": (pa.timestamp("ms"), at.replace(microsecond=123000), at.replace(microsecond=123000)),
        "instant": (pa.timestamp("us", "Europe/Zurich"), at.replace(tzinfo=dt.UTC), at.replace(tzinfo=dt.UTC)),
        "raw": (pa.binary(), b"\x00\xff", b"\x00\xff"),
        "fixed": (pa.binary(2), b"\x00\xff", b"\x00\xff"),
        "text": (pa.large_string(), "é", "é"),
        "kind": (pa.dictionary(pa.int8(), pa.string()), "web", "web"),
        "counts": (pa.map_(pa.string(), pa.int64()), [("a", 1)], {"a": 1}),
        "lines": (pa.large_list(pa.struct([("sku", pa.string())])), [{"sku": "x"}], [{"sku": "x"}]),
    }
    schema = pa.schema([(name, kind) for name, (kind, _, _) in values.items()])
    add_files(lake, parquet(tmp_path / "types.parquet", [{name: one[1] for name, one in values.items()}], schema))
    assert full(lake) == [{name: one[2] for name, one in values.items()}]


def test_uuids_stay_uuids(lake: Lake, tmp_path: Path) -> None:
    one = uuid4()
    column = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([one.bytes], pa.binary(16)))
    pq.write_table(pa.table({"id": column}), tmp_path / "ids.parquet")
    add_files(lake, tmp_path / "ids.parquet")
    (row,) = full(lake)
    assert UUID(bytes=row["id"]) == one if isinstance(row["id"], bytes) else row["id"] == one


def test_several_files_are_one_snapshot_and_a_second_import_is_another(lake: Lake, tmp_path: Path) -> None:
    one, two = ndjson(tmp_path / "1.json", [{"id": 1}]), ndjson(tmp_path / "2.json", [{"id": 2}, {"id": 3}])
    add_files(lake, one, two)
    assert len(lake.load(TABLE).metadata.snapshots) == 1
    add_files(lake, one)
    assert [row["id"] for row in full(lake)] == [1, 2, 3, 1]
    assert len(lake.load(TABLE).metadata.snapshots) == 2


def test_columns_that_are_new_are_added_and_columns_that_are_missing_are_null(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, ndjson(tmp_path / "1.json", [{"id": 1, "place": {"city": "Bern"}, "old": "x"}]))
    add_files(lake, ndjson(tmp_path / "2.json", [{"place": {"zip": 3000, "city": "Biel"}, "id": 2, "new": [True]}]))
    assert full(lake) == [
        {"id": 1, "place": {"city": "Bern", "zip": None}, "old": "x", "new": None},
        {"id": 2, "place": {"city": "Biel", "zip": 3000}, "old": None, "new": [True]},
    ]


def test_rows_of_one_file_need_not_have_the_same_fields(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, ndjson(tmp_path / "1.json", [{"id": 1}, {"id": 2.5, "late": {"a": 1}}, {"late": {"b": "x"}}]))
    assert full(lake) == [
        {"id": 1.0, "late": None},
        {"id": 2.5, "late": {"a": 1, "b": None}},
        {"id": None, "late": {"a": None, "b": "x"}},
    ]


def test_text_is_converted_to_the_tables_types(lake: Lake, tmp_path: Path) -> None:
    at = dt.datetime(2026, 3, 1, 6, tzinfo=dt.UTC)
    schema = pa.schema([("at", pa.timestamp("us", "UTC")), ("price", pa.decimal128(9, 2)), ("share", pa.float64())])
    first = {"at": at, "price": Decimal("1.10"), "share": 0.5}
    add_files(lake, parquet(tmp_path / "1.parquet", [first], schema))
    add_files(lake, ndjson(tmp_path / "2.json", [{"at": "2026-03-01T06:00:00Z", "price": "1.10", "share": 1}]))
    assert full(lake) == [first, first | {"share": 1.0}]


def test_text_that_looks_like_a_time_stays_text(lake: Lake, tmp_path: Path) -> None:
    rows: list[Row] = [{"at": "2026-03-01T06:00:00Z", "on": ["2026-03-01"]}, {"at": "2026-03-01T06:00:00", "on": None}]
    add_files(lake, ndjson(tmp_path / "1.json", rows))
    assert full(lake) == rows


def test_objects_become_the_maps_and_text_the_dates_that_the_table_has(lake: Lake, tmp_path: Path) -> None:
    kinds = [("counts", pa.map_(pa.string(), pa.int64())), ("day", pa.date32()), ("clock", pa.time64("us"))]
    first = {"counts": {"a": 1}, "day": dt.date(2026, 3, 1), "clock": dt.time(6)}
    add_files(lake, parquet(tmp_path / "1.parquet", [first | {"counts": [("a", 1)]}], pa.schema(kinds)))
    more: list[Row] = [
        {"counts": {"b": 2, "a": None, "c": 3}, "day": "2026-03-02", "clock": "06:00:00.500"},
        {"counts": {}},
        {"counts": None},
        {"counts": {"z": 9, "b": 1}},
    ]
    add_files(lake, ndjson(tmp_path / "2.json", more))
    rows = full(lake)
    assert [row["counts"] for row in rows] == [{"a": 1}, {"b": 2, "c": 3}, {}, None, {"b": 1, "z": 9}]
    assert rows[1]["day"] == dt.date(2026, 3, 2)
    assert rows[1]["clock"] == dt.time(6, 0, 0, 500_000)


def test_a_column_without_values_is_text_or_has_the_tables_type(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, ndjson(tmp_path / "1.json", [{"id": 1, "late": None, "list": []}]))
    add_files(lake, ndjson(tmp_path / "2.json", [{"id": None, "late": "x", "list": ["y"]}]))
    assert full(lake) == [{"id": 1, "late": None, "list": []}, {"id": None, "late": "x", "list": ["y"]}]


def test_a_csv_column_is_text_if_a_later_value_has_another_form(lake: Lake, tmp_path: Path) -> None:
    lines = "".join(f"{n},{n},,{n}\n" for n in range(2000))
    (tmp_path / "1.csv").write_text(f"id,amount,note,code\n{lines}2000,0.5,late,x7\n")
    add_files(lake, tmp_path / "1.csv")
    rows = full(lake)
    assert rows[7] == {"id": 7, "amount": "7", "note": None, "code": "7"}
    assert rows[-1] == {"id": 2000, "amount": "0.5", "note": "late", "code": "x7"}


def test_csv_is_read_with_the_tables_types(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, ndjson(tmp_path / "1.json", [{"zip": "03000", "share": 0.5}]))
    (tmp_path / "2.csv").write_text("zip,share,new\n03001,1,5\n")
    add_files(lake, tmp_path / "2.csv")
    assert full(lake)[1] == {"zip": "03001", "share": 1.0, "new": 5}


REFUSED: list[tuple[str, Callable[[Path], object], str]] = [
    (
        "a.json",
        lambda path: ndjson(path, [{"id": "text"}]),
        r"a\.json, line 1: column id has both numbers and text",
    ),
    ("a.json", lambda path: ndjson(path, [{"id": 1, "place": [1]}]), "column place has both objects and arrays"),
    ("a.json", lambda path: path.write_text('{"id": 1}\n{"id": '), r"a\.json, line 2: "),
    ("a.json", lambda path: path.write_text('{"id": 1}\nnonsense\n'), r"a\.json, line 2: "),
    ("a.json", lambda path: path.write_bytes(b'{"id": 1, "name": "\xff"}\n'), r"a\.json, line 1: .*UTF-8"),
    ("a.json", lambda path: path.write_text("\n \n"), "no rows"),
    ("a.json.gz", lambda path: path.write_bytes(b"no gzip"), r"a\.json\.gz cannot be read"),
    ("a.json.gz", lambda path: path.write_bytes(gzip.compress(b'{"id": 1}\n' * 9999)[:-9]), r"a\.json\.gz"),
    ("a.csv", lambda path: path.write_text("id,name\n1,x,extra\n"), r"a\.csv, line 2: "),
    ("a.csv", lambda path: path.write_text("id,id\n1,2\n"), "two columns are named id"),
    ("a.csv", lambda path: path.write_text("id,name\n"), "no rows"),
    ("a.csv", lambda path: path.write_bytes(b""), "no rows"),
    ("a.parquet", lambda path: path.write_bytes(b"PAR1 and no more"), r"a\.parquet cannot be read"),
    ("a.parquet", lambda path: pq.write_table(pa.table({"id": pa.array([1], pa.duration("s"))}), path), "duration"),
    ("a.parquet", lambda path: pq.write_table(pa.table({"id": pa.array([2**63], pa.uint64())}), path), "exactly"),
    ("a.csv", lambda path: path.write_text("id\nx\n"), r"a\.csv, line 2: column id "),
    ("a.csv", lambda path: path.write_bytes(b"id,word\n1,\xff\n"), r"line 2, column word: .*not valid UTF-8"),
    ("a.txt", lambda path: path.write_text("id\n1\n"), r"its name must end in \.parquet"),
]


@pytest.mark.parametrize(("name", "make", "said"), REFUSED, ids=[f"{name}: {said}" for name, _, said in REFUSED])
def test_a_file_that_does_not_match_is_refused_completely(
    lake: Lake, tmp_path: Path, name: str, make: Callable[[Path], object], said: str
) -> None:
    good = ndjson(tmp_path / "good.json", [{"id": 1, "place": {"city": "Bern"}, "name": "x"}])
    before = add_files(lake, good).snapshot_id
    schema = lake.load(TABLE).schema()
    make(tmp_path / name)
    there = everything_in(tmp_path)
    with pytest.raises(ImportRefusedError, match=said) as refused:
        add_files(lake, good, tmp_path / name)
    assert "\n" not in str(refused.value)
    assert everything_in(tmp_path) == there
    assert scan.open_table(lake, TABLE).current_snapshot == before
    assert lake.load(TABLE).schema() == schema


def test_a_refused_first_import_creates_no_table(lake: Lake, tmp_path: Path) -> None:
    good = ndjson(tmp_path / "good.json", [{"id": 1}])
    bad = tmp_path / "bad.json"
    bad.write_text('{"id": 1}\n{"id": ')
    there = everything_in(tmp_path)
    with pytest.raises(ImportRefusedError):
        add_files(lake, good, bad)
    assert not lake.exists(TABLE)
    assert everything_in(tmp_path) == there


def test_errors_name_a_missing_file(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError, match=r"missing\.csv is not a file"):
        add_files(lake, tmp_path / "missing.csv")


def test_a_required_column_refuses_nulls(lake: Lake, tmp_path: Path) -> None:
    schema = pa.schema([pa.field("id", pa.int64(), nullable=False)])
    add_files(lake, parquet(tmp_path / "1.parquet", [{"id": 1}], schema))
    with pytest.raises(ImportRefusedError, match="required"):
        add_files(lake, ndjson(tmp_path / "2.json", [{"id": None, "other": 1}]))
    assert full(lake) == [{"id": 1}]


def _import_many(folder: str, name: str, count: int) -> None:
    lake = lake_in(Path(folder))
    for number in range(count):
        file = ndjson(Path(folder) / f"{name}-{number}.json", [{"who": name, "number": number, name: True}])
        add_files(lake, file)
    lake.close()


def test_concurrent_imports_by_processes_lose_no_rows(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, ndjson(tmp_path / "first.json", [{"who": "first", "number": 0}]))
    spawn = multiprocessing.get_context("spawn")
    importers = [spawn.Process(target=_import_many, args=(str(tmp_path), name, 4)) for name in ("a", "b", "c")]
    for importer in importers:
        importer.start()
    for importer in importers:
        importer.join()
    assert [importer.exitcode for importer in importers] == [0, 0, 0]
    rows = full(lake)
    assert sorted((row["who"], row["number"]) for row in rows) == sorted(
        [("first", 0), *((name, number) for name in "abc" for number in range(4))]
    )
    assert all(row[row["who"]] for row in rows if row["who"] != "first")
    assert len(lake.load(TABLE).metadata.snapshots) == 13


def test_tables_do_not_share_files(lake: Lake, tmp_path: Path) -> None:
    file = ndjson(tmp_path / "1.json", [{"id": 1}])
    add_files(lake, file)
    other = TableName("sales.other")
    add_files(lake, file, table=other)
    assert lake.location(other) != lake.location(TABLE)
    assert len(scan.open_table(lake, other).full(lake.load(other).current_snapshot().snapshot_id).files) == 1  # type: ignore[union-attr]  # it has one
