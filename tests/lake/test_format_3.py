"""Types and default values of format version 3, from metadata as other writers have it."""

import gzip
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offtake.errors import DeliveryError
from offtake.formats.declaration import WriteOptions
from offtake.formats.losses import LossCounter
from offtake.formats.registry import format_for
from offtake.lake import reading, scan, slicing
from offtake.lake.catalog import Lake
from offtake.lake.locations import local_path
from tests.lake.lakes import TABLE, add, full
from tests.lake.other_writers import data_files

DEFAULTS: list[tuple[Any, Any, Any]] = [
    ("boolean", True, True),
    ("int", 5, 5),
    ("long", 2**60, 2**60),
    ("float", 1.5, 1.5),
    ("double", 0.1, 0.1),
    ("decimal(9, 2)", "14.20", Decimal("14.20")),
    ("date", "2007-12-03", date(2007, 12, 3)),
    ("time", "22:31:08.123456", time(22, 31, 8, 123456)),
    ("timestamp", "2007-12-03T22:31:08.123456", datetime(2007, 12, 3, 22, 31, 8, 123456)),
    ("timestamptz", "2007-12-03T22:31:08.123456+00:00", datetime(2007, 12, 3, 22, 31, 8, 123456, UTC)),
    ("string", "x", "x"),
    ("uuid", "eb26bdb1-a1d8-4aa6-990e-da940875492c", UUID("eb26bdb1-a1d8-4aa6-990e-da940875492c")),
    ("fixed[3]", "0a0b0c", b"\n\x0b\x0c"),
    ("binary", "0a0b", b"\n\x0b"),
]


def with_schema(lake: Lake, fields: list[dict[str, Any]]) -> None:
    """Make the table one of version 3, whose current snapshot has the fields, as they are in metadata."""
    path = Path(local_path(lake.load(TABLE).metadata_location))
    document = json.loads(path.read_text(encoding="utf-8"))
    schema = {"type": "struct", "schema-id": 100, "fields": fields}
    document |= {"format-version": 3, "next-row-id": 0, "schemas": [*document["schemas"], schema]}
    document |= {"current-schema-id": 100, "last-column-id": 1000}
    document["snapshots"][-1]["schema-id"] = 100
    path.write_text(json.dumps(document), encoding="utf-8")


def field(field_id: int, name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"id": field_id, "name": name, "type": kind, "required": False, **more}


@pytest.mark.parametrize(("kind", "stored", "value"), DEFAULTS, ids=[str(one[0]) for one in DEFAULTS])
@pytest.mark.parametrize("required", [False, True])
def test_a_column_that_files_lack_has_its_initial_default(
    lake: Lake, kind: str, stored: Any, value: Any, required: bool
) -> None:
    inner = pa.struct([("x", pa.int64())])
    schema = pa.schema([("n", pa.int64()), ("s", inner), ("l", pa.list_(inner))])
    add(lake, [{"n": 1, "s": {"x": 1}, "l": [{"x": 1}, None]}, {"n": 2, "s": None, "l": None}], schema)
    default = {"initial-default": stored, "write-default": stored, "required": required}
    names = ("s", "s.x", "l", "l.element", "l.element.x")
    ids = {name: lake.load(TABLE).schema().find_field(name).field_id for name in names}
    of_s = {"type": "struct", "fields": [field(ids["s.x"], "x", "long"), field(201, "y", kind, **default)]}
    of_l = {"type": "struct", "fields": [field(ids["l.element.x"], "x", "long"), field(202, "y", kind, **default)]}
    elements = {"type": "list", "element-id": ids["l.element"], "element": of_l, "element-required": False}
    with_schema(
        lake,
        [
            field(1, "n", "long"),
            field(ids["s"], "s", of_s),
            field(ids["l"], "l", elements),
            field(203, "top", kind, **default),
            field(204, "missing", {"type": "struct", "fields": [field(205, "z", kind, **default)]}),
        ],
    )
    first, second = full(lake)
    assert (first["top"], second["top"]) == (value, value)
    assert (first["s"], second["s"]) == ({"x": 1, "y": value}, None)
    assert (first["l"], second["l"]) == ([{"x": 1, "y": value}, None], None)
    # A struct without a default is null, whatever its fields have.
    assert (first["missing"], second["missing"]) == (None, None)


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("timestamp_ns", "2007-12-03T22:31:08.123456789"),
        ({"type": "struct", "fields": [field(301, "x", "long")]}, {}),
        ({"type": "list", "element-id": 302, "element": "long", "element-required": False}, [1]),
    ],
)
def test_defaults_that_cannot_be_read_are_refused_by_name(lake: Lake, kind: Any, stored: Any) -> None:
    add(lake, [{"n": 1}])
    with_schema(lake, [field(1, "n", "long"), field(300, "top", kind, **{"initial-default": stored})])
    with pytest.raises(DeliveryError, match=r"a column has a default value of the type .*, which is not supported"):
        full(lake)


def test_timestamps_in_nanoseconds_keep_nine_digits(lake: Lake) -> None:
    kinds = {"t": "timestamp_ns", "z": "timestamptz_ns"}
    add(lake, [{"n": 1}, {"n": 2}, {"n": 3}])
    added = [field(300 + at, name, kind) for at, (name, kind) in enumerate(kinds.items())]
    with_schema(lake, [field(1, "n", "long"), *added])
    (path,) = data_files(lake.load(TABLE))
    types = (pa.int64(), pa.timestamp("ns"), pa.timestamp("ns", "UTC"))
    ids = (1, 300, 301)
    schema = pa.schema(
        [
            pa.field(name, kind, metadata={"PARQUET:field_id": str(one)})
            for name, kind, one in zip("ntz", types, ids, strict=True)
        ]
    )
    nanos = [1_700_000_000_123_456_789, -1, None]
    columns = [pa.array([1, 2, 3]), *(pa.array(nanos, kind) for kind in types[1:])]
    pq.write_table(pa.table(columns, schema=schema), local_path(path))
    table = scan.open_table(lake, TABLE)
    assert table.current_snapshot is not None
    delivered = table.schema(table.current_snapshot)
    assert delivered.arrow_schema.field("t").type == pa.timestamp("ns")
    pieces = slicing.slices(table.full(table.current_snapshot).files, 2**62, 2**62)[0]
    batches = list(reading.read(pieces, delivered))
    assert [one.value for one in batches[0].column("z")] == nanos
    with reading.unchanged_row_groups(pieces, delivered) as stored:
        assert stored is not None
    form = format_for("JSON", "GZIP", WriteOptions())
    lines = b"".join(form.encode(delivered.arrow_schema, iter(batches), form.level, _losses()))
    text = _gunzip(lines).decode().splitlines()
    assert text[0] == '{"n":1,"t":"2023-11-14T22:13:20.123456789","z":"2023-11-14T22:13:20.123456789Z"}'
    assert json.loads(text[1])["t"] == "1969-12-31T23:59:59.999999999"


def _losses() -> Any:
    return LossCounter()


def _gunzip(content: bytes) -> bytes:
    return gzip.decompress(content)


def test_files_with_microseconds_are_read_for_nanoseconds_if_they_fit(lake: Lake) -> None:
    schema = pa.schema([("n", pa.int64()), ("t", pa.timestamp("us"))])
    add(lake, [{"n": 1, "t": datetime(2026, 1, 1, 0, 0, 0, 1)}], schema)
    with_schema(lake, [field(1, "n", "long"), field(2, "t", "timestamp_ns")])
    (row,) = full(lake)
    assert row["t"].isoformat() == "2026-01-01T00:00:00.000001"
    (path,) = data_files(lake.load(TABLE))
    pq.write_table(pa.table({"n": [1], "t": pa.array([datetime(3000, 1, 1)], pa.timestamp("us"))}), local_path(path))
    with pytest.raises(DeliveryError, match="column t has values"):
        full(lake)
