"""Parts copied page by page, or byte for byte: the table's rows arrive, and what the part reports of them is right."""

import hashlib
import random
import resource
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import ListType, LongType, NestedField, StringType

from offtake.errors import CancelledError, DeliveryError
from offtake.exporting.part import PartTask, WrittenPart, export_part
from offtake.exporting.target import DeliveryTarget
from offtake.formats.parquet import plain_pages
from offtake.formats.parquet_pages import thrift
from offtake.formats.parquet_pages.footer import NotRecompressibleError
from offtake.lake import ingest, reading, scan, slicing
from offtake.lake.catalog import Lake
from offtake.lake.locations import local_path
from tests.cancellations import FREE, unrecorded
from tests.exporting.test_encrypted_part import BUCKET, after, bucket, children, files_below, place
from tests.formats import parquets, spark
from tests.formats.parquets import arrow_rows, chunks, field_ids, footer, with_footer
from tests.formats.test_parquet_options import check_plain
from tests.keyring import Keyring
from tests.lake.lakes import TABLE, add, full, lake_in, numbered
from tests.lake.other_writers import data_files, delete_positions
from tests.lake.test_columns import append, create
from tests.servers import S3Server, rclone_s3

KEY = "out/part-1.parquet"


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    opened = lake_in(tmp_path)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with rclone_s3(tmp_path_factory.mktemp("s3")) as server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture
def not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are not read in this test, so that what arrives went page by page."""

    def read(*_: Any, **__: Any) -> None:
        raise AssertionError("the part's rows were decoded")

    monkeypatch.setattr(reading, "read", read)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How often a part's rows were read; in this test each one's must be."""
    real, found = reading.read, list[int]()

    def read(*of: Any, **options: Any) -> Iterator[pa.RecordBatch]:
        found.append(1)
        return real(*of, **options)

    monkeypatch.setattr(reading, "read", read)
    yield found
    assert found


def task(lake: Lake, to: DeliveryTarget, most_bytes: int = 2**62) -> PartTask:
    """The table in one part."""
    snapshot = scan.open_table(lake, TABLE).current_snapshot
    assert snapshot is not None
    (part,) = slicing.slices(scan.open_table(lake, TABLE).full(snapshot).files, most_bytes, 2**62)
    schema = scan.open_table(lake, TABLE).schema(snapshot)
    return PartTask(7, KEY, tuple(part), schema, to, again=False)


def delivered(lake: Lake, tmp_path: Path, compression: str = "GZIP", **params: Any) -> bytes:
    """The table exported as one file; checks what the part reports of it, and that there is no other file."""
    zone = tmp_path / "zone"
    to = place("Data Landing Zone", zone, path="out", compression=compression, **params)
    written = export_part(task(lake, to), FREE, unrecorded)
    (file,) = files_below(zone)
    data = file.read_bytes()
    rows = parquets.metadata(data).num_rows
    assert file == zone / "prod" / KEY
    assert written == WrittenPart(7, rows, len(data), hashlib.sha256(data).hexdigest(), uri=str(file))
    return data


def table_of(lake: Lake, rows: pa.Table, **options: Any) -> Path:
    """Import the rows, and rewrite the table's file with these options of pyarrow's and the table's field ids."""
    snapshot = ingest.append(lake, TABLE, rows.to_batches(), rows.schema, uuid4().hex).snapshot_id
    (file,) = map(local_path, data_files(lake.load(TABLE)))
    schema = scan.open_table(lake, TABLE).schema(snapshot).arrow_schema
    file.write_bytes(parquets.arrow(rows.cast(schema), **options))
    return file


SAMPLE = parquets.sample(300).drop_columns(["four"])
"""Without the one type that imports make another of."""


@pytest.mark.usefixtures("not_decoded")
@pytest.mark.parametrize(("compression", "codec"), parquets.TARGETS.items())
@pytest.mark.parametrize("stored", ["snappy", "zstd"])
def test_a_part_goes_page_by_page(lake: Lake, tmp_path: Path, stored: str, compression: str, codec: str) -> None:
    rows = nullable(SAMPLE)
    table_of(lake, rows, compression=stored, write_page_index=True)
    data = delivered(lake, tmp_path, compression)
    assert arrow_rows(data) == parquets.rows_of(rows)
    assert {chunk.compression for chunk in chunks(data)} == {codec}
    assert all(chunk.has_offset_index for chunk in chunks(data))


@pytest.mark.usefixtures("not_decoded")
@pytest.mark.parametrize(("compression", "stored"), [("GZIP", "gzip"), ("NONE", "none")])
def test_a_file_that_is_as_asked_for_goes_byte_for_byte(
    lake: Lake, tmp_path: Path, compression: str, stored: str
) -> None:
    file = table_of(lake, nullable(SAMPLE), compression=stored, row_group_size=100)
    assert delivered(lake, tmp_path, compression) == file.read_bytes()


@pytest.mark.usefixtures("not_decoded")
@pytest.mark.parametrize("stored", ["none", "zstd"])
def test_files_that_pass_through_keep_their_row_groups_and_have_no_statistics_where_they_had_none(
    lake: Lake, tmp_path: Path, stored: str
) -> None:
    rows = pa.table({"n": pa.array(range(300_000)), "text": pa.array(["a", "b", "c"] * 100_000)})
    file = table_of(lake, rows, compression=stored, row_group_size=250_000, write_statistics=["n"])
    data = delivered(lake, tmp_path, "NONE")
    assert parquets.kept(data) == parquets.kept(file.read_bytes())
    found = parquets.metadata(data)
    assert [found.row_group(index).num_rows for index in range(found.num_row_groups)] == [250_000, 50_000]
    assert [chunk.is_stats_set for chunk in chunks(data)] == [True, False] * 2


def test_files_that_are_encoded_have_row_groups_of_bounded_size_and_statistics(
    lake: Lake, tmp_path: Path, decoded: list[int]
) -> None:
    rows = pa.table({"n": pa.array(range(300_000)), "text": pa.array(["a", "b", "c"] * 100_000)})
    table_of(lake, rows, compression="zstd", row_group_size=250_000, write_statistics=False)
    data = delivered(lake, tmp_path, parquetEncoding="PLAIN")
    found = parquets.metadata(data)
    assert max(found.row_group(index).num_rows for index in range(found.num_row_groups)) <= 74_000
    assert all(chunk.is_stats_set for chunk in chunks(data))
    assert decoded


def test_uuids_go_out_as_text_where_the_target_asks_for_it(lake: Lake, tmp_path: Path, decoded: list[int]) -> None:
    rows = nullable(SAMPLE)
    table_of(lake, rows, compression="snappy")
    read = pq.read_table(pa.BufferReader(delivered(lake, tmp_path, uuidAsText=True)))
    assert read.schema.field("id").type == pa.string()
    expected = [None if one is None else str(one) for one in rows["id"].to_pylist()]
    assert read["id"].to_pylist() == expected
    assert parquets.rows_of(read.drop_columns(["id"])) == parquets.rows_of(rows.drop_columns(["id"]))
    assert decoded


@pytest.mark.usefixtures("not_decoded")
def test_a_part_without_uuids_goes_page_by_page_also_when_they_are_to_be_text(lake: Lake, tmp_path: Path) -> None:
    rows = nullable(SAMPLE.drop_columns(["id"]))
    file = table_of(lake, rows, compression="gzip")
    assert delivered(lake, tmp_path, uuidAsText=True) == file.read_bytes()


def test_a_part_with_dictionaries_is_decoded_where_the_target_asks_for_plain_pages(
    lake: Lake, tmp_path: Path, decoded: list[int]
) -> None:
    rows = nullable(SAMPLE)
    # Under the target's codec already: without the option, it would go byte for byte.
    table_of(lake, rows, compression="gzip")
    data = delivered(lake, tmp_path, parquetEncoding="plain")
    assert arrow_rows(data) == parquets.rows_of(rows)
    check_plain(data)
    assert decoded


@pytest.mark.usefixtures("not_decoded")
@pytest.mark.parametrize("stored", ["gzip", "snappy"])
def test_a_part_that_is_plain_goes_page_by_page_where_the_target_asks_for_it(
    lake: Lake, tmp_path: Path, stored: str
) -> None:
    rows = nullable(SAMPLE)
    table_of(lake, rows, compression=stored, use_dictionary=False)
    data = delivered(lake, tmp_path, parquetEncoding="PLAIN")
    assert arrow_rows(data) == parquets.rows_of(rows)
    check_plain(data)


@pytest.mark.parametrize("file_type", ["JSON", "PARQUET"])
@pytest.mark.parametrize(
    ("params", "asked"),
    [({}, {"invalid_text": "fail"}), ({"invalidText": "replace"}, {"invalid_text": "replace"})],
)
def test_the_reader_is_asked_for_what_the_target_says_of_invalid_text(
    lake: Lake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file_type: str,
    params: dict[str, str],
    asked: dict[str, str],
) -> None:
    add(lake, numbered(1, 2))
    found: dict[str, list[dict[str, Any]]] = {"read": [], "unchanged_row_groups": []}

    def noting(name: str) -> Callable[..., Any]:
        real = getattr(reading, name)

        def called(*of: Any, **options: Any) -> Any:
            found[name].append({key: value for key, value in options.items() if key != "check"})
            return real(*of)

        return called

    for name in found:
        monkeypatch.setattr(reading, name, noting(name))
    to = place("Data Landing Zone", tmp_path / "zone", None, path="out", datasetFileType=file_type, **params)
    given = task(lake, to)
    assert export_part(replace(given, slices=given.slices * 2), FREE, unrecorded).rows == 4
    stored = [asked] if file_type == "PARQUET" else []
    # Two small row groups are read also for Parquet.
    assert found == {"read": [asked], "unchanged_row_groups": stored}


@pytest.mark.usefixtures("not_decoded")
def test_half_a_file_gets_an_end_of_its_own(lake: Lake, tmp_path: Path) -> None:
    rows = noise(3000)
    file = table_of(lake, rows, compression="gzip", row_group_size=1000)
    whole = task(lake, place("Data Landing Zone", tmp_path / "zone", path="out", compression="GZIP"))
    (piece,) = whole.slices
    pieces = replace(piece, first=2, last=None, rows=1000), replace(piece, first=0, last=1, rows=1000)
    written = export_part(replace(whole, slices=pieces), FREE, unrecorded)
    data = (tmp_path / "zone" / "prod" / KEY).read_bytes()
    assert written == WrittenPart(7, 2000, len(data), hashlib.sha256(data).hexdigest(), uri=written.uri)
    expected = pa.concat_tables([rows.slice(2000), rows.slice(0, 1000)])
    assert arrow_rows(data) == parquets.rows_of(expected)
    assert len(data) < file.stat().st_size


@pytest.mark.usefixtures("not_decoded")
@pytest.mark.parametrize("stored", ["gzip", "zstd"])
def test_files_without_field_ids_get_the_table_s(lake: Lake, tmp_path: Path, stored: str) -> None:
    add(lake, numbered(1, 2))
    (file,) = map(local_path, data_files(lake.load(TABLE)))
    rows = pa.Table.from_pylist(numbered(1, 2))
    file.write_bytes(before := parquets.arrow(rows, compression=stored, write_page_index=True))
    data = delivered(lake, tmp_path)
    assert (field_ids(before), field_ids(data)) == ([None, None, None], [None, 1, 2])
    # Of a file that is under the right codec nothing changes but its end.
    end = len(before) - 8 - int.from_bytes(before[-8:-4], "little")
    assert (data[:end] == before[:end]) == (stored == "gzip")
    assert parquets.check_pages(data) == parquets.check_pages(before)
    assert arrow_rows(data) == parquets.rows_of(rows)


SPARK = sorted(path.stem for path in spark.FOLDER.glob("spark-*.parquet"))


@pytest.mark.parametrize("name", SPARK)
def test_spark_s_files_are_delivered(lake: Lake, tmp_path: Path, name: str, request: pytest.FixtureRequest) -> None:
    file = table_of(lake, spark.table())
    file.write_bytes((spark.FOLDER / f"{name}.parquet").read_bytes())
    request.getfixturevalue("decoded" if name == "spark-int96" else "not_decoded")
    assert arrow_rows(delivered(lake, tmp_path)) == parquets.rows_of(spark.table())


# Parts whose rows are decoded after all


def add_column(lake: Lake) -> None:
    with lake.load(TABLE).update_schema() as update:
        update.add_column("more", LongType())
    append(lake, [{"n": 3, "city": "c", "more": 3}])


def swap(lake: Lake) -> None:
    for old, new in (("n", "x"), ("m", "n"), ("x", "m")):
        with lake.load(TABLE).update_schema() as update:
            update.rename_column(old, new)
    with lake.load(TABLE).update_schema() as update:
        update.move_first("n")
    append(lake, [{"n": 3, "m": 3}])


def other_writer(lake: Lake) -> None:
    add(lake, numbered(3))
    (_, file) = map(local_path, data_files(lake.load(TABLE)))
    file.write_bytes(parquets.polars(pa.Table.from_pylist(numbered(1, 2))))


def delete_one(lake: Lake) -> None:
    add(lake, numbered(3))
    delete_positions(lake.load(TABLE), next(iter(data_files(lake.load(TABLE)))), [0], "exact")


HISTORIES: dict[str, tuple[list[dict[str, Any]], Callable[[Lake], object]]] = {
    "a column more": (numbered(1, 2), add_column),
    "columns that swapped their names": ([{"n": 1, "m": -1}, {"n": 2, "m": -2}], swap),
    "files of two writers": (numbered(1, 2), other_writer),
    "small files": (numbered(1, 2), lambda lake: add(lake, numbered(3))),
    "deleted rows": (numbered(1, 2), delete_one),
}


@pytest.mark.parametrize("history", HISTORIES)
def test_what_cannot_go_page_by_page_is_decoded(lake: Lake, tmp_path: Path, history: str, decoded: list[int]) -> None:
    rows, change = HISTORIES[history]
    add(lake, rows)
    change(lake)
    found = pq.read_table(pa.BufferReader(delivered(lake, tmp_path))).to_pylist()
    assert len(decoded) == 1
    assert found == full(lake)
    assert len(found) == (2 if history == "deleted rows" else 3)


@pytest.mark.usefixtures("decoded")
def test_columns_that_were_required_may_be_null_in_what_is_delivered(lake: Lake, tmp_path: Path) -> None:
    create(lake, Schema(NestedField(1, "n", LongType(), required=True), NestedField(2, "text", StringType())))
    append(lake, [{"n": 1, "text": "x"}])
    with lake.load(TABLE).update_schema() as update:
        update.make_column_optional("n")
    append(lake, [])
    data = delivered(lake, tmp_path)
    assert pq.read_schema(pa.BufferReader(data)).field("n").nullable
    assert arrow_rows(data) == "{'n': 1, 'text': 'x'}"


@pytest.mark.usefixtures("decoded")
def test_lists_as_the_oldest_writers_have_them(lake: Lake, tmp_path: Path) -> None:
    items = ListType(3, LongType(), element_required=True)
    create(lake, Schema(NestedField(1, "n", LongType()), NestedField(2, "l", items)))
    append(lake, [{"n": n, "l": []} for n in range(3)])
    (file,) = map(local_path, data_files(lake.load(TABLE)))
    kind = pa.list_(pa.field("element", pa.int64(), nullable=False))
    rows = pa.table({"n": pa.array([1, 2, 3]), "l": pa.array([[1, 2], None, []], kind)})
    file.write_bytes(parquets.of_two_levels(parquets.arrow(rows, store_schema=False)))
    assert arrow_rows(delivered(lake, tmp_path)) == parquets.rows_of(rows)


@pytest.mark.parametrize("footer_too", [False, True])
def test_an_encrypted_file_is_reported_and_not_delivered(lake: Lake, tmp_path: Path, footer_too: bool) -> None:
    add(lake, numbered(1, 2))
    (file,) = map(local_path, data_files(lake.load(TABLE)))
    parquets.encrypted(pa.Table.from_pylist(numbered(1, 2)), file, ["city"], footer_too=footer_too)
    with pytest.raises(DeliveryError, match="cannot be read"):
        delivered(lake, tmp_path)
    assert files_below(tmp_path / "zone") == []


def test_a_part_of_more_files_than_a_process_may_open_is_decoded(
    lake: Lake, tmp_path: Path, decoded: list[int]
) -> None:
    add(lake, numbered(*range(3)))
    given = task(lake, place("Data Landing Zone", tmp_path / "zone", path="out"))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (psutil.Process().num_fds() + 300, before[1]))
    try:
        written = export_part(replace(given, slices=given.slices * 500), FREE, unrecorded)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert (written.rows, decoded) == (1500, [1])


# Parts that turn out unsuited in their middle, or cannot be read


def noise(count: int, width: int = 1000) -> pa.Table:
    """Rows that no codec makes smaller."""
    source = random.Random(7)
    return pa.table({"n": pa.array(range(count)), "b": pa.array([source.randbytes(width) for _ in range(count)])})


def unsuited_at_its_end(data: bytes) -> bytes:
    """The file with one page less in the last offset index, which decoding does not need."""
    end = footer(data)
    chunk = thrift.inners(thrift.inners(end, 4)[-1], 1)[-1]
    at, size = thrift.number(chunk, 4), thrift.number(chunk, 5)
    index, _ = thrift.decode(data, at)
    thrift.inners(index, 1).pop()
    made = thrift.encode(index)
    chunk[5] = (thrift.I32, len(made))
    return with_footer(data[:at] + made.ljust(size, b"\0") + data[at + size :], end)


@pytest.fixture(params=["folder", "bucket"])
def to(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[DeliveryTarget, Callable[[], dict[str, bytes]]]:
    """A place, and what lies there; uploads that dangle are said to lie there."""
    if request.param == "folder":
        zone = tmp_path / "zone"
        return place("Data Landing Zone", zone, path="out"), lambda: {
            path.relative_to(zone / "prod").as_posix(): path.read_bytes() for path in files_below(zone)
        }
    s3: S3Server = request.getfixturevalue("s3")
    client = s3.client()
    client.delete_object(Bucket=BUCKET, Key=KEY)

    def lies() -> dict[str, bytes]:
        found = {
            one["Key"]: client.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read()
            for one in client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        }
        with suppress(client.exceptions.NoSuchUpload):  # what rclone says of a bucket that has never had one
            found |= {
                f"{one['Key']} (dangling)": b""
                for one in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
            }
        return found

    return bucket(s3, tmp_path), lies


def test_a_part_that_turns_out_unsuited_in_its_middle_is_delivered_decoded(
    lake: Lake, to: tuple[DeliveryTarget, Callable[[], dict[str, bytes]]], decoded: list[int]
) -> None:
    rows = noise(24_000)
    file = table_of(lake, rows, compression="snappy", write_page_index=True, row_group_size=8000)
    file.write_bytes(unsuited_at_its_end(file.read_bytes()))
    written = export_part(task(lake, to[0]), FREE, unrecorded)
    ((key, data),) = to[1]().items()
    assert (key, decoded) == (KEY, [1])
    assert written == WrittenPart(7, 24_000, len(data), hashlib.sha256(data).hexdigest(), uri=written.uri)
    assert pq.read_table(pa.BufferReader(data)).equals(rows)


def test_most_of_a_part_has_gone_out_when_it_turns_out_unsuited(lake: Lake, tmp_path: Path) -> None:
    """The premise of the last test."""
    file = table_of(lake, noise(24_000), compression="snappy", write_page_index=True, row_group_size=8000)
    file.write_bytes(unsuited_at_its_end(file.read_bytes()))
    given = task(lake, place("Data Landing Zone", tmp_path / "zone", path="out"))
    gone = list[int]()
    with reading.unchanged_row_groups(given.slices, given.schema) as stored:
        assert stored is not None
        _, made = plain_pages(given.schema.arrow_schema, stored)
        with pytest.raises(NotRecompressibleError, match="offset index"):
            gone.extend(len(chunk) for chunk in made)
    assert sum(gone) > 20_000_000


def test_a_part_of_pages_that_is_cancelled_leaves_nothing(
    lake: Lake, to: tuple[DeliveryTarget, Callable[[], dict[str, bytes]]]
) -> None:
    table_of(lake, noise(24_000), compression="snappy", row_group_size=8000)
    for times in (1, 2, 9):
        with pytest.raises(CancelledError):
            export_part(task(lake, to[0]), after(times), unrecorded)
        assert to[1]() == {}


@pytest.mark.usefixtures("not_decoded")
def test_an_encrypted_part_goes_page_by_page(lake: Lake, tmp_path: Path, keys: Keyring) -> None:
    rows = nullable(SAMPLE)
    table_of(lake, rows, compression="snappy")
    plain = delivered(lake, tmp_path)
    to = place("Data Landing Zone", tmp_path / "sealed", path="out", compression="GZIP")
    written = export_part(task(lake, replace(to, encrypt_to=keys.key("rsa"))), FREE, unrecorded)
    (file,) = files_below(tmp_path / "sealed")
    message = file.read_bytes()
    assert written == WrittenPart(7, 300, len(message), hashlib.sha256(message).hexdigest(), uri=written.uri)
    assert keys.decrypt(message) == plain
    assert children() == []


def test_an_encrypted_part_that_turns_out_unsuited_is_delivered_decoded(
    lake: Lake, tmp_path: Path, keys: Keyring, decoded: list[int]
) -> None:
    rows = noise(3000)
    file = table_of(lake, rows, compression="snappy", write_page_index=True)
    file.write_bytes(unsuited_at_its_end(file.read_bytes()))
    to = replace(place("Data Landing Zone", tmp_path / "zone", path="out"), encrypt_to=keys.key("rsa"))
    written = export_part(task(lake, to), FREE, unrecorded)
    (file,) = files_below(tmp_path / "zone")
    assert (written.rows, written.bytes, decoded) == (3000, file.stat().st_size, [1])
    assert pq.read_table(pa.BufferReader(keys.decrypt(file.read_bytes()))).equals(rows)
    assert children() == []


@pytest.mark.parametrize("compression", ["GZIP", "NONE"])
@pytest.mark.parametrize("codec", parquets.CODECS)
def test_a_damaged_page_is_reported_and_not_delivered(lake: Lake, tmp_path: Path, codec: str, compression: str) -> None:
    if parquets.TARGETS[compression] == {"gzip": "GZIP", "none": "UNCOMPRESSED"}.get(codec):
        # Goes byte for byte: its own checksums tell.
        file = table_of(lake, noise(2000, 100), compression=codec, write_page_checksum=True)
        spoil(file)
        with pytest.raises(OSError, match="CRC"):
            arrow_rows(delivered(lake, tmp_path, compression))
        return
    spoil(table_of(lake, noise(2000, 100), compression=codec, write_page_checksum=True))
    with pytest.raises(DeliveryError, match="cannot be read") as refused:
        delivered(lake, tmp_path, compression)
    assert refused.value.code == "EXPORT-1500-500"
    assert files_below(tmp_path / "zone") == []


def spoil(file: Path) -> None:
    """Another byte in the middle of the last column's pages."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x55
    file.write_bytes(data)


def test_a_truncated_file_is_reported_and_not_delivered(lake: Lake, tmp_path: Path) -> None:
    file = table_of(lake, noise(2000, 100))
    whole = file.read_bytes()
    # With its end in place, and 50,000 bytes lost within.
    for lost in (whole[:-1000], whole[:50_000] + whole[100_000:]):
        file.write_bytes(lost)
        with pytest.raises(DeliveryError, match="cannot be read"):
            delivered(lake, tmp_path)
        assert files_below(tmp_path / "zone") == []


def nullable(table: pa.Table) -> pa.Table:
    return table.cast(pa.schema([field.with_nullable(True) for field in table.schema]))
