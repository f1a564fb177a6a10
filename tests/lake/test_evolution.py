"""Schema evolution by later batches: new columns, first types, promotions, rewrites, and refusals."""

from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offtake.lake import ingest, scan
from offtake.lake.catalog import Lake
from offtake.lake.commits import find_commit
from offtake.lake.ingest import Attempt, CommittedBatch
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import input_file
from offtake.lake.parsing.options import ParseOptions
from tests.lake.conftest import IN_S3_TOO
from tests.lake.lakes import TABLE, Row, add, add_files, everything_in, full, increment, ndjson

pytestmark = IN_S3_TOO


def types(lake: Lake) -> dict[str, str]:
    return {field.name: str(field.field_type) for field in lake.load(TABLE).schema().fields}


UNDELIVERED: dict[str, Any] = {"evolve": False, "may_rewrite": lambda: True}


def rows(path: Path, *some: Row) -> Path:
    return ndjson(path / f"{uuid4().hex}.json", list(some))


def csv(path: Path, text: str) -> Path:
    made = path / f"{uuid4().hex}.csv"
    made.write_text(text)
    return made


def test_new_columns_are_refused_unless_the_dataset_evolves(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, rows(tmp_path, {"id": 1, "place": {"city": "Bern"}}))
    there, schema = everything_in(tmp_path / "warehouse"), lake.load(TABLE).schema()
    wide = rows(tmp_path, {"id": 2, "place": {"city": "Biel", "zip": 2500}, "tag": "x"})
    with pytest.raises(
        ImportRefusedError, match=r"columns place\.zip, tag are not in the dataset.*allow the import to add"
    ):
        add_files(lake, wide, evolve=False)
    assert everything_in(tmp_path / "warehouse") == there
    assert lake.load(TABLE).schema() == schema
    made = add_files(lake, wide, evolve=True)
    assert made.notes == ("Column place.zip is new.", "Column tag is new.")
    assert full(lake)[1] == {"id": 2, "place": {"city": "Biel", "zip": 2500}, "tag": "x"}


def test_a_column_of_nulls_gets_its_type_from_the_first_value_and_keeps_its_position(
    lake: Lake, tmp_path: Path
) -> None:
    first: Row = {"a": None, "id": 1, "in": {"x": None, "y": 1}}
    add_files(lake, rows(tmp_path, first))
    for more in ({"a": 1.5, "id": 2, "in": {"x": {"deep": [1]}, "y": 2}}, {"a": 2.5, "id": 3, "in": None}):
        add_files(lake, rows(tmp_path, more), evolve=False)
    assert [list(row) for row in full(lake)] == [["a", "id", "in"]] * 3
    assert full(lake) == [
        {"a": None, "id": 1, "in": {"x": None, "y": 1}},
        {"a": 1.5, "id": 2, "in": {"x": {"deep": [1]}, "y": 2}},
        {"a": 2.5, "id": 3, "in": None},
    ]
    assert types(lake)["a"] == "double"


@pytest.mark.parametrize(
    ("empty", "filled"),
    [
        ([], [1, 2]),
        ([], [{"a": 1}]),
        ([None, None], [True]),
        ([[]], [[1.5]]),
        ({"l": []}, {"l": ["x"]}),
        ({"l": [{"m": []}]}, {"l": [{"m": [3]}]}),
    ],
)
def test_empty_lists_get_their_type_from_the_first_element(lake: Lake, tmp_path: Path, empty: Any, filled: Any) -> None:
    before = add_files(lake, rows(tmp_path, {"id": 1, "v": empty}, {"id": 2, "v": None}))
    add_files(lake, rows(tmp_path, {"id": 3, "v": empty}), evolve=False)
    add_files(lake, rows(tmp_path, {"id": 4, "v": filled}), evolve=False)
    assert full(lake) == [{"id": 1, "v": empty}, {"id": 2, "v": None}, {"id": 3, "v": empty}, {"id": 4, "v": filled}]
    assert increment(lake, before.snapshot_id, key="id") == [3, 4]


def test_empty_objects_are_imported_and_get_fields_later(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, rows(tmp_path, {"id": 1, "attrs": {}}, {"id": 2, "attrs": None}))
    add_files(lake, rows(tmp_path, {"id": 3, "attrs": {}}), evolve=False)
    add_files(lake, rows(tmp_path, {"id": 4, "attrs": {"color": "red", "more": {}}}), evolve=False)
    add_files(lake, rows(tmp_path, {"id": 5, "attrs": {"color": None, "more": {"n": 1}}}), evolve=False)
    found = [row["attrs"] for row in full(lake)]
    nothing = {"color": None, "more": None}
    assert found == [nothing, None, nothing, {"color": "red", "more": {"n": None}}, {"color": None, "more": {"n": 1}}]


def test_rows_without_fields_are_imported_and_the_dataset_gets_columns_later(lake: Lake, tmp_path: Path) -> None:
    assert add_files(lake, rows(tmp_path, {}, {})).rows == 2
    assert add_files(lake, rows(tmp_path, {}), evolve=False).rows == 1
    add_files(lake, rows(tmp_path, {"a": 1}), evolve=False)
    assert full(lake) == [{"a": None}, {"a": None}, {"a": None}, {"a": 1}]
    with pytest.raises(ImportRefusedError, match="column b is not in the dataset"):
        add_files(lake, rows(tmp_path, {"b": 1}), evolve=False)


def test_decimals_are_widened_to_38_digits_when_a_batch_needs_it(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, csv(tmp_path, "amount\n1.50\n"))
    assert types(lake) == {"amount": "decimal(18, 2)"}
    add_files(lake, csv(tmp_path, "amount\n12345678901234567890.25\n"), evolve=False)
    assert types(lake) == {"amount": "decimal(38, 2)"}
    assert [row["amount"] for row in full(lake)] == [Decimal("1.50"), Decimal("12345678901234567890.25")]


def test_whole_numbers_of_32_bits_are_promoted_and_floats_are_not(lake: Lake, tmp_path: Path) -> None:
    add(lake, [{"n": 1, "f": 0.5}], pa.schema([("n", pa.int32()), ("f", pa.float32())]))
    add_files(lake, rows(tmp_path, {"n": 2**40, "f": 0.1}), evolve=False)
    assert types(lake) == {"n": "long", "f": "float"}
    with pytest.raises(ImportRefusedError, match=r"line 2: column f "):
        add_files(lake, rows(tmp_path, {"n": 1, "f": 0.25}, {"n": 1, "f": 123456789.123}), evolve=False)


CHANGES: list[tuple[str, list[str], str, list[Any]]] = [
    ("json", ['{"v":10}', '{"v":10.5}'], "double", [10.0, 10.5]),
    ("json", ['{"v":10.5}', '{"v":12345678901234567.25}'], "decimal(38, 2)", ["10.50", "12345678901234567.25"]),
    ("json", ['{"v":1}', '{"v":18446744073709551615}'], "decimal(38, 0)", ["1", "18446744073709551615"]),
    ("json", ['{"v":[{"n":1}]}', '{"v":[{"n":0.5}]}'], "", [[{"n": 1.0}], [{"n": 0.5}]]),
    ("csv", ["v,w\n10,x\n", "v,w\n10.5,x\n"], "string", ["10", "10.5"]),
    ("csv", ["v,w\n5.5,x\n", "v,w\n5.25,x\n"], "double", [5.5, 5.25]),
    ("csv", ["v,w\ntrue,x\n", "v,w\nyes,x\n"], "string", ["true", "yes"]),
    ("csv", ["v,w\n2026-03-01,x\n", "v,w\nsoon,x\n"], "string", ["2026-03-01", "soon"]),
    ("csv", ["v,w\n2026-03-01T06:00:00Z,x\n", "v,w\n2026-03-01,x\n"], "string", ["2026-03-01T06:00:00Z", "2026-03-01"]),
]


@pytest.mark.parametrize(("kind", "texts", "wanted", "values"), CHANGES)
def test_types_change_by_a_rewrite_before_the_first_export(
    lake: Lake, tmp_path: Path, kind: str, texts: list[str], wanted: str, values: list[Any]
) -> None:
    files = []
    for number, text in enumerate(texts):
        files.append(tmp_path / f"{number}.{kind}")
        files[-1].write_text(text)
    first = ingest.ingest(lake, TABLE, [input_file(files[0])], Attempt("first"))
    assert first is not None
    snapshots = len(lake.load(TABLE).metadata.snapshots)
    made = add_files(lake, files[1], **UNDELIVERED)
    assert len(made.notes) == 1
    assert made.notes[0].startswith("Column v")
    assert [row["v"] for row in full(lake)] == [Decimal(one) if "decimal" in wanted else one for one in values]
    assert not wanted or types(lake)["v"] == wanted
    assert len(lake.load(TABLE).metadata.snapshots) == snapshots + 2
    # The first batch is still found, is before the second one in increments, and can be reverted.
    assert find_commit(lake, TABLE, "first") == first
    plan = scan.open_table(lake, TABLE).increment(first.snapshot_id, made.snapshot_id)
    assert sum(file.rows for file in plan.files) == 1
    assert plan.deleted_rows == 0
    ingest.revert(lake, TABLE, CommittedBatch("first", first.snapshot_id, first.rows))
    assert len(full(lake)) == 1


def test_a_rewrite_keeps_the_batches_separate(lake: Lake, tmp_path: Path) -> None:
    made = [add_files(lake, rows(tmp_path, {"id": n, "v": n}, {"id": n + 100, "v": None})) for n in range(4)]
    add_files(lake, rows(tmp_path, {"id": 9, "v": 0.5}), **UNDELIVERED)
    add_files(lake, rows(tmp_path, {"id": 10, "v": 2**63}), **UNDELIVERED)
    assert types(lake)["v"] == "decimal(38, 1)"
    assert [row["v"] for row in full(lake) if row["id"] < 4] == [Decimal(n) for n in range(4)]
    for number, one in enumerate(made):
        assert sorted(increment(lake, one.snapshot_id, key="id")) == sorted(
            [*(n for n in range(number + 1, 4)), *(n + 100 for n in range(number + 1, 4)), 9, 10]
        )


def test_types_cannot_change_after_an_export_and_the_error_says_what_to_do(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, rows(tmp_path, {"v": 10}))
    there = everything_in(tmp_path / "warehouse")
    with pytest.raises(ImportRefusedError, match=r"line 2: column v .*exported.*another dataset"):
        add_files(lake, rows(tmp_path, {"v": 10}, {"v": 10.5}), evolve=True)
    assert everything_in(tmp_path / "warehouse") == there


def test_declared_types_cannot_change(lake: Lake, tmp_path: Path) -> None:
    schema = pa.schema(
        [pa.field("id", pa.int32(), nullable=False), ("price", pa.decimal128(9, 2)), ("at", pa.date32())]
    )
    ingest.declare(lake, TABLE, schema)
    assert scan.open_table(lake, TABLE).current_snapshot is None
    add_files(lake, csv(tmp_path, "id,price,at\n1,10,2026-03-01\n"), **UNDELIVERED)
    add_files(lake, rows(tmp_path, {"id": 2, "price": 10.5, "at": None}), **UNDELIVERED)
    assert types(lake) == {"id": "int", "price": "decimal(9, 2)", "at": "date"}
    for bad, reason in (
        ({"id": 2**40}, "line 1: column id"),
        ({"id": 1, "price": 1.234}, "line 1: column price"),
        ({"price": 1}, "column id is required, but missing in the file"),
        ({"id": None, "price": 1}, "line 1: column id is required, but a value is missing"),
        ({"id": 1, "new": 1}, "column new is not in the dataset"),
        ({"id": 1, "at": "2026-13-01"}, "line 1: column at"),
        ({"id": "1"}, "line 1: column id is int in the dataset, but the file has text"),
    ):
        with pytest.raises(ImportRefusedError, match=reason):
            add_files(lake, rows(tmp_path, bad), **UNDELIVERED)
    assert len(full(lake)) == 2


def test_types_can_be_declared_with_the_files(lake: Lake, tmp_path: Path) -> None:
    wanted = ParseOptions(types={"zip": pa.string(), "share": pa.float64()})
    add_files(lake, csv(tmp_path, "id,zip,share\n1,3000,1\n"), options=wanted)
    assert types(lake) == {"id": "long", "zip": "string", "share": "double"}
    with pytest.raises(ImportRefusedError, match="column other, but no file has it"):
        add_files(lake, csv(tmp_path, "id\n1\n"), options=ParseOptions(types={"other": pa.string()}))
    with pytest.raises(ImportRefusedError, match="Column zip is declared as long, but is string in the dataset"):
        add_files(lake, csv(tmp_path, "zip\n1\n"), options=ParseOptions(types={"zip": pa.int64()}))


def test_a_declared_type_of_a_new_column_is_used(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, csv(tmp_path, "id\n1\n"))
    options, evolving = ParseOptions(types={"new": pa.int64()}), UNDELIVERED | {"evolve": True}
    for file in (csv(tmp_path, "id,new\n2,x\n"), rows(tmp_path, {"new": 1}, {"new": 2**70})):
        with pytest.raises(ImportRefusedError, match=r'line [12]: column new [^.]*\. The value is "\w+"\.$'):
            add_files(lake, file, options=options, **evolving)
        with pytest.raises(ImportRefusedError, match=r'line [12]: column new [^.]*\. The value is "\w+"\.$'):
            ingest.dry_run(lake, TABLE, [input_file(file)], Attempt("x", **evolving), options)
    add_files(lake, csv(tmp_path, "id,new\n2,3\n"), options=options, **evolving)
    assert types(lake) == {"id": "long", "new": "long"}


def test_a_dry_run_reports_changes_and_writes_nothing(lake: Lake, tmp_path: Path) -> None:
    new = ingest.dry_run(lake, TABLE, [input_file(csv(tmp_path, "a;b\n1;x\n"))], Attempt("x"), ParseOptions())
    assert (new.rows, new.columns_added, new.types_changed) == (1, ("a", "b"), ())
    assert any("delimiter" in note for note in new.notes)
    assert not lake.exists(TABLE)
    add_files(lake, rows(tmp_path, {"v": 10, "late": None}))
    there = everything_in(tmp_path / "warehouse")
    attempt = Attempt("x", evolve=True, may_rewrite=lambda: True)
    more = input_file(rows(tmp_path, {"v": 0.5, "late": 1, "new": 1}, {"v": 1}))
    found = ingest.dry_run(lake, TABLE, [more], attempt, ParseOptions())
    assert (found.rows, found.columns_added, set(found.types_changed)) == (2, ("new",), {"v", "late"})
    with pytest.raises(ImportRefusedError, match="not in the dataset"):
        ingest.dry_run(lake, TABLE, [more], Attempt("x"), ParseOptions())
    assert everything_in(tmp_path / "warehouse") == there


def test_files_of_both_kinds_in_one_import_agree_on_empty_columns(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, rows(tmp_path, {"a": 1, "b": 1}), csv(tmp_path, "a,b\n,2\n"))
    add_files(lake, rows(tmp_path, {"a": None, "b": 3}), csv(tmp_path, "a,b\n5,4\n"), evolve=False)
    assert [(row["a"], row["b"]) for row in full(lake)] == [(1, 1), (None, 2), (None, 3), (5, 4)]


def test_a_column_that_got_its_type_late_can_be_rewritten_with_the_others(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, rows(tmp_path, {"a": None, "b": 1, "s": {"x": None}}))
    add_files(lake, rows(tmp_path, {"a": 1, "b": 2, "s": {"x": 1}}), **UNDELIVERED)
    add_files(lake, rows(tmp_path, {"a": 1.5, "b": 3.5, "s": {"x": 0.5}}), **UNDELIVERED)
    assert [(row["a"], row["b"], row["s"]["x"]) for row in full(lake)] == [(None, 1, None), (1, 2, 1), (1.5, 3.5, 0.5)]


def test_an_empty_object_gets_fields_while_another_column_changes_type(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, rows(tmp_path, {"a": {"x": {}, "y": 1, "z": []}}))
    add_files(lake, rows(tmp_path, {"a": {"x": {"k": 1}, "y": 1.5, "z": [1]}}), **UNDELIVERED)
    assert [row["a"] for row in full(lake)] == [
        {"x": {"k": None}, "y": 1.0, "z": []},
        {"x": {"k": 1}, "y": 1.5, "z": [1]},
    ]


def test_a_required_column_stays_required_when_its_type_changes(lake: Lake, tmp_path: Path) -> None:
    add(lake, [{"a": 1}], pa.schema([pa.field("a", pa.int64(), nullable=False)]))
    lake.purge(TABLE)
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [1]}, pa.schema([pa.field("a", pa.int64(), nullable=False)])), file)
    add_files(lake, file)
    add_files(lake, rows(tmp_path, {"a": 1.5}), **UNDELIVERED)
    with pytest.raises(ImportRefusedError, match="line 1: column a is required, but a value is missing"):
        add_files(lake, rows(tmp_path, {"a": None}, {"a": 2}), **UNDELIVERED)
    assert [row["a"] for row in full(lake)] == [1.0, 1.5]


def test_a_struct_with_a_required_field_can_be_null_but_the_field_cannot(lake: Lake, tmp_path: Path) -> None:
    inner = pa.struct([pa.field("x", pa.string(), nullable=False)])
    tags = pa.list_(pa.field("element", pa.int64(), nullable=False))
    ingest.declare(lake, TABLE, pa.schema([("a", inner), ("b", pa.int64()), ("l", tags)]))
    add_files(lake, rows(tmp_path, {"b": 1}, {"a": {"x": "z"}, "l": [1]}, {"a": None, "l": None}))
    assert [row["a"] for row in full(lake)] == [None, {"x": "z"}, None]
    for bad, column in (({"a": {}}, r"a\.x"), ({"l": [1, None]}, r"l\[\]")):
        with pytest.raises(ImportRefusedError, match=rf"line 2: column {column} is required, but a value is missing"):
            add_files(lake, rows(tmp_path, {"b": 1, "l": [1], "a": {"x": "y"}}, bad))


def test_columns_without_an_exact_text_form_do_not_become_text(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": pa.array([b"abc"]), "s": pa.array([{"x": 1}]), "b": [1]}), file)
    add_files(lake, file)
    add_files(lake, csv(tmp_path, "a,s,b\n,,2\n"), **UNDELIVERED)
    with pytest.raises(ImportRefusedError, match="line 2: column a "):
        add_files(lake, csv(tmp_path, "a,b\nhello,2\n"), **UNDELIVERED)
    assert [row["a"] for row in full(lake)] == [b"abc", None]


def test_numbers_become_text_as_exports_write_them(lake: Lake, tmp_path: Path) -> None:
    values = [8.171991e19, 1e22, 0.1, -0.5, 1e-7, 123456789012345680.0]
    add_files(lake, rows(tmp_path, *({"v": one, "w": "x"} for one in values)))
    add_files(lake, csv(tmp_path, "v,w\nhey,x\n"), **UNDELIVERED)
    texts = [row["v"] for row in full(lake)]
    assert [Decimal(one) for one in texts[:-1]] == [Decimal(repr(one)) for one in values]
    assert texts[0] == "8.171991e19"


def test_empty_lists_within_lists_are_imported(lake: Lake, tmp_path: Path) -> None:
    add_files(lake, rows(tmp_path, {"a": [None, []]}, {"a": [[], None, []]}))
    assert [row["a"] for row in full(lake)] == [[None, []], [[], None, []]]


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (
            pa.decimal128(18, 2),
            'n,v\n1,1.5\n2,1.50\n3,"1.234,50"\n4,x\n',
            (
                "line 4: column v must have numbers that fit decimal(18,2), without leading zeros or plus signs. "
                'The value is "1.234,50": numbers are read with a decimal point, not with a decimal comma, '
                'such as "1234.50".'
            ),
        ),
        (
            pa.int64(),
            "n,v\n1,2\n2,0815\n",
            'whole numbers (long) without leading zeros or plus signs. The value is "0815".',
        ),
        (pa.date32(), "n,v\n1,31.12.2024\n", 'The value is "31.12.2024": dates are read in the form 2024-12-31.'),
        (pa.int64(), f"n,v\n1,{'9' * 200}\n", f'The value is "{"9" * 60}…".'),
    ],
    ids=["decimal comma", "leading zero", "date", "long"],
)
def test_a_value_that_does_not_fit_its_declared_type_is_shown_with_its_line(
    lake: Lake, tmp_path: Path, kind: pa.DataType, text: str, message: str
) -> None:
    with pytest.raises(ImportRefusedError) as refused:
        add_files(lake, csv(tmp_path, text), options=ParseOptions(types={"v": kind}))
    assert message in str(refused.value)


def test_the_column_in_the_message_is_the_one_that_is_wrong_in_the_first_wrong_row(lake: Lake, tmp_path: Path) -> None:
    options = ParseOptions(types={"a": pa.int64(), "b": pa.int64()})
    with pytest.raises(ImportRefusedError, match=r'line 2: column b must have .* The value is "y"'):
        add_files(lake, csv(tmp_path, "a,b\n1,y\nx,2\n"), options=options)
