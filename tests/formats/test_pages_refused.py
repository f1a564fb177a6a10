"""Files that cannot be recompressed are refused, before or within the file, fast, and with one exception."""

import itertools
import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offtake.formats import parquet
from offtake.formats.parquet_pages import thrift
from offtake.formats.parquet_pages.footer import NotRecompressibleError
from offtake.formats.parquet_pages.thrift import BINARY, I32, I64, STRUCT, Struct
from tests.formats import parquets, spark
from tests.formats.parquets import CODECS, Slice, footer, paged, with_footer, with_ids
from tests.matrix import examples

TABLE = pa.table({"n": pa.array(range(200)), "text": pa.array([f"town {n % 40}" for n in range(200)])})
TWICE = pa.concat_tables([TABLE, TABLE])
SCHEMA = with_ids(TABLE.schema)


def refusal(schema: pa.Schema, *slices: Slice, compression: str = "GZIP") -> str:
    with pytest.raises(NotRecompressibleError) as refused:
        paged(schema, compression, *slices)
    return str(refused.value)


def column(data: bytes, name: str, kind: pa.DataType, *, nullable: bool = True) -> str:
    return refusal(with_ids(pa.schema([pa.field(name, kind, nullable)])), (data, 0, None))


# Columns


def test_int96_timestamps_are_refused() -> None:
    data = (spark.FOLDER / "spark-int96.parquet").read_bytes()
    assert refusal(with_ids(spark.SCHEMA), (data, 0, None)) == "its columns are stored in another form"


def test_three_level_lists_of_spark_1_are_recompressed() -> None:
    data = (spark.FOLDER / "spark-legacy.parquet").read_bytes()
    rows, made = paged(with_ids(spark.SCHEMA), "GZIP", (data, 0, None))
    assert (rows, parquets.arrow_rows(made)) == (spark.ROWS, parquets.rows_of(spark.table()))


def test_two_level_lists_are_refused() -> None:
    kind = pa.list_(pa.field("element", pa.int64(), nullable=False))
    data = parquets.arrow(pa.table({"l": pa.array([[1, 2], None, []], kind)}), store_schema=False)
    old = parquets.of_two_levels(data)
    assert parquets.arrow_rows(old) == parquets.arrow_rows(data)
    assert column(old, "l", kind) == "its columns are stored in another form"


@pytest.mark.parametrize(
    "wanted",
    [
        pa.schema([("text", pa.string()), ("n", pa.int64())]),
        pa.schema([("n", pa.int64()), ("words", pa.string())]),
        pa.schema([("n", pa.int64())]),
        pa.schema([("n", pa.int64()), ("text", pa.string()), ("more", pa.string())]),
        pa.schema([("n", pa.int32()), ("text", pa.string())]),
        pa.schema([("n", pa.timestamp("us")), ("text", pa.string())]),
        pa.schema([("n", pa.int64()), ("text", pa.binary())]),
        pa.schema([pa.field("n", pa.int64(), nullable=False), ("text", pa.string())]),
    ],
    ids=["other order", "renamed", "dropped", "added", "other width", "other meaning", "bytes", "required"],
)
def test_files_with_other_columns_are_refused(wanted: pa.Schema) -> None:
    assert refusal(with_ids(wanted), (parquets.arrow(TABLE), 0, None)).startswith("its columns are stored")


def test_files_with_required_columns_for_optional_ones_are_refused() -> None:
    data = parquets.arrow(pa.table({"n": [1]}).cast(pa.schema([pa.field("n", pa.int64(), nullable=False)])))
    assert column(data, "n", pa.int64()) == "its columns are stored in another form"
    inner = pa.list_(pa.field("element", pa.int64(), nullable=False))
    data = parquets.arrow(pa.table({"l": pa.array([[1]], inner)}))
    assert column(data, "l", pa.list_(pa.int64())) == "its columns are stored in another form"


def test_types_known_only_from_the_arrow_schema_are_refused() -> None:
    # In files of an earlier library, only Arrow's own schema says that the bytes are UUIDs.
    data = parquets.arrow(pa.table({"id": pa.array([b"0" * 16], pa.uuid())}))
    end = footer(data)
    del thrift.inners(end, 2)[1][10]
    old = with_footer(data, end)
    assert pq.read_schema(pa.BufferReader(old)).field("id").type == pa.uuid()
    assert column(old, "id", pa.uuid()) == "its columns are stored as other types"


@pytest.mark.parametrize("kind", [pa.binary(), pa.string()])
@pytest.mark.parametrize("annotation", ["ENUM", "JSON", "BSON"])
def test_enum_json_and_bson_columns_are_refused(annotation: str, kind: pa.DataType) -> None:
    data = parquets.arrow(pa.table({"b": pa.array([b"x"], kind)}), store_schema=False)
    end = footer(data)
    element = thrift.inners(end, 2)[1]
    meaning: Struct = {{"ENUM": 4, "JSON": 12, "BSON": 13}[annotation]: (STRUCT, {})}
    element[10] = (STRUCT, meaning)
    assert column(with_footer(data, end), "b", kind).startswith("its columns are stored")


def test_files_get_their_own_tables_field_ids_for_equal_schemas() -> None:
    data = parquets.arrow(TABLE)
    for first in (1, 5, 1):
        schema = with_ids(TABLE.schema, first)
        assert schema == SCHEMA
        for compression in ("GZIP", "NONE"):
            assert parquets.field_ids(paged(schema, compression, (data, 0, None))[1]) == [None, first, first + 1]


def test_files_with_other_field_ids_get_the_tables_ids() -> None:
    other = parquets.arrow(TABLE.cast(with_ids(TABLE.schema, 7)), compression="gzip")
    none = parquets.arrow(TABLE, compression="gzip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "_LEAST_GROUP", 0)
        rows, made = paged(SCHEMA, "GZIP", (other, 0, None), (none, 0, None))
    assert (rows, parquets.field_ids(made)) == (400, [None, 1, 2])
    assert parquets.arrow_rows(made) == "\n".join([parquets.rows_of(TABLE)] * 2)


# Files


def test_files_of_different_writers_are_refused() -> None:
    ours, theirs = parquets.arrow(TABLE), parquets.polars(TABLE)
    assert refusal(SCHEMA, (ours, 0, None), (theirs, 0, None)) == "the files come from different writers"
    end = footer(ours) | {6: (BINARY, b"parquet-cpp-arrow version 1.0.0")}
    assert (
        refusal(SCHEMA, (ours, 0, None), (with_footer(ours, end), 0, None)) == "the files come from different writers"
    )


def test_small_row_groups_are_refused() -> None:
    data = parquets.arrow(TABLE, row_group_size=100)
    assert refusal(SCHEMA, (data, 0, None)) == "its row groups are small"
    assert refusal(SCHEMA, *[(data, 0, 1)] * 2) == "its row groups are small"
    assert paged(SCHEMA, "GZIP", (data, 1, 2))[0] == 100


def test_row_groups_without_rows_are_refused() -> None:
    assert refusal(SCHEMA, (parquets.arrow(TABLE.slice(0, 0)), 0, None)).endswith("an offset outside the file")


@pytest.mark.parametrize("columns", [["text"], ["n", "text"]])
def test_encrypted_files_are_refused(tmp_path: Path, columns: list[str]) -> None:
    in_clear = parquets.encrypted(TABLE, tmp_path / "file.parquet", columns, footer_too=False)
    assert refusal(SCHEMA, (in_clear, 0, None)) == "it is encrypted"
    wholly = parquets.encrypted(TABLE, tmp_path / "file.parquet", columns, footer_too=True)
    assert refusal(SCHEMA, (wholly, 0, None)).endswith("footer without encryption")


def test_missing_row_groups_are_refused() -> None:
    for first, last in ((0, 2), (2, None), (1, 3)):
        assert "fewer row groups" in refusal(SCHEMA, (parquets.arrow(TABLE), first, last))


def test_truncated_files_are_refused() -> None:
    data = parquets.arrow(TABLE, use_dictionary=False, write_page_index=True)
    for size in (0, 3, 8, 100, len(data) // 2, len(data) - 1):
        refusal(SCHEMA, (data[:size], 0, None))
    for lost in (1, 100, 1000):
        refusal(SCHEMA, (data[lost:], 0, None))
        refusal(SCHEMA, (data[:50] + data[50 + lost :], 0, None))


@pytest.mark.parametrize("ids", [True, False], ids=["byte for byte", "with another end"])
def test_a_file_truncated_while_it_is_copied_is_refused(tmp_path: Path, ids: bool) -> None:
    path = tmp_path / "file.parquet"
    path.write_bytes(parquets.arrow(TABLE.cast(SCHEMA) if ids else TABLE, compression="gzip", store_schema=False))
    with pa.OSFile(str(path)) as file:
        rows, made = parquet.gzip_pages(SCHEMA, [(file, 0, None)])
        assert rows == 200
        os.truncate(path, 100)
        with pytest.raises(NotRecompressibleError, match="truncated"):
            list(made)


# Pages and their metadata


def changed(data: bytes, change: Callable[[Struct, Struct], None]) -> bytes:
    """The file with changed metadata of its first column chunk: ColumnChunk and ColumnMetaData."""
    end = footer(data)
    chunk = thrift.inners(thrift.inners(end, 4)[0], 1)[0]
    change(chunk, thrift.inner(chunk, 3))
    return with_footer(data, end)


def sets(field: int, number: int, *, within: bool = True) -> Callable[[Struct, Struct], None]:
    def change(chunk: Struct, meta: Struct) -> None:
        (meta if within else chunk)[field] = (I64, number)

    return change


LIES: dict[str, Callable[[Struct, Struct], None]] = {
    "a chunk longer than the file": sets(7, 2**40),
    "a chunk of less than nothing": sets(7, -5),
    "a chunk that is too short": sets(7, 20),
    "a chunk that is too long": sets(7, 300),
    "pages before the file": sets(9, -(2**60)),
    "pages in the mark": sets(9, 0),
    "pages behind the file": sets(9, 2**60),
    "a dictionary elsewhere": sets(11, 40),
    "more values than there are": sets(5, 201),
    "fewer values than there are": sets(5, 199),
    "a codec of Hadoop's": sets(4, 5),
    "a codec that there is none of": sets(4, 77),
    "no codec": lambda _, meta: meta.pop(4) and None,
    "no place": lambda _, meta: meta.pop(9) and None,
    "text for a number": lambda _, meta: meta.update({9: (BINARY, b"x")}),
    "a number for metadata": lambda chunk, _: chunk.update({3: (I32, 3)}),
    "no metadata": lambda chunk, _: chunk.pop(3) and None,
    "another file": lambda chunk, _: chunk.update({1: (BINARY, b"other.parquet")}),
    "a key": lambda chunk, _: chunk.update({8: (STRUCT, {})}),
    "an offset index behind the file": sets(4, 2**40, within=False),
    "an offset index in a page": sets(4, 4, within=False),
    "an offset index of less than nothing": sets(5, -1, within=False),
    "a column index of too much": sets(7, 2**31 - 1, within=False),
    "a bloom filter of too much": lambda _, meta: meta.update({14: (I64, 4), 15: (I32, 2**31 - 1)}),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("compression", ["GZIP", "NONE"])
def test_wrong_chunk_metadata_is_refused(lie: str, compression: str) -> None:
    """For a part of a file, because a whole file with the right codec is copied without a check of its pages."""
    stored = "gzip" if compression == "GZIP" else "none"
    data = parquets.arrow(TWICE, row_group_size=200, write_page_index=True, compression=stored)
    assert paged(SCHEMA, compression, (data, 0, 1))[0] == 200
    began = time.process_time()
    refusal(SCHEMA, (changed(data, LIES[lie]), 0, 1), compression=compression)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "lie", [lambda group: group.update({3: (I64, 199)}), lambda group: thrift.inners(group, 1).pop()]
)
@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_wrong_row_group_metadata_is_refused(lie: Callable[[Struct], Any], codec: str) -> None:
    data = parquets.arrow(TABLE, compression=codec)
    end = footer(data)
    lie(thrift.inners(end, 4)[0])
    assert "a row group" in refusal(SCHEMA, (with_footer(data, end), 0, None))


HEADERS: dict[str, Callable[[Struct], None]] = {
    "a size of less than nothing": lambda header: header.update({3: (I32, -1)}),
    # Otherwise the page would be read in an endless loop.
    "a size that ends where the page begins": lambda header: header.update({3: (I32, -len(thrift.encode(header)))}),
    "a size of two gigabytes": lambda header: header.update({3: (I32, 2**31 - 1)}),
    "no size": lambda header: header.pop(3) and None,
    "two gigabytes before compression": lambda header: header.update({2: (I32, 2**31 - 1)}),
    "less than nothing before compression": lambda header: header.update({2: (I32, -1)}),
    "one byte more before compression": lambda header: header.update({2: (I32, thrift.number(header, 2) + 1)}),
    "one byte less before compression": lambda header: header.update({2: (I32, thrift.number(header, 2) - 1)}),
    "nothing before compression": lambda header: header.update({2: (I32, 0)}),
    "a page of an index": lambda header: header.update({1: (I32, 1)}),
    "a page of another version": lambda header: header.update({1: (I32, 3)}),
    "fewer values": lambda header: thrift.inner(header, 5).update({1: (I32, 7)}),
    "no values": lambda header: header.pop(5) and None,
    "another checksum": lambda header: header.update({4: (I32, 7)}),
}


WITHIN = {"one byte more before compression", "one byte less before compression", "nothing before compression"}


@pytest.mark.parametrize("lie", HEADERS)
@pytest.mark.parametrize("codec", CODECS)
def test_wrong_page_headers_are_refused(codec: str, lie: str) -> None:
    """The first page's header is replaced; the chunk's metadata is adjusted to its length."""
    table = TWICE.select(["n"])
    options: dict[str, Any] = {"use_dictionary": False, "write_statistics": False}
    data = parquets.arrow(table, compression=codec, row_group_size=200, **options)
    end = footer(data)
    meta = thrift.inner(thrift.inners(thrift.inners(end, 4)[0], 1)[0], 3)
    at = thrift.number(meta, 9)
    header, body = thrift.decode(data, at)
    HEADERS[lie](header)
    made = thrift.encode(header)
    meta[7] = (I64, thrift.number(meta, 7) - (body - at) + len(made))
    moved = with_footer(data[:at] + made + data[body:], end)
    began = time.process_time()
    for compression, same in (("GZIP", "gzip"), ("NONE", "none")):
        # A page that already has the codec is not decompressed.
        if codec != same or lie not in WITHIN:
            refusal(with_ids(table.schema), (moved, 0, 1), compression=compression)
    assert time.process_time() - began < 1


def test_version_2_pages_with_too_long_levels_are_refused() -> None:
    data = parquets.arrow(pa.table({"n": TABLE["n"]}), data_page_version="2.0", use_dictionary=False)
    header, body = thrift.decode(data, 4)
    for size in (-1, 2**31 - 1, 10_000):
        thrift.inner(header, 8)[5] = (I32, size)
        made = thrift.encode(header)
        end = footer(data)
        meta = thrift.inner(thrift.inners(thrift.inners(end, 4)[0], 1)[0], 3)
        meta[7] = (I64, thrift.number(meta, 7) - (body - 4) + len(made))
        refusal(with_ids(pa.schema([("n", pa.int64())])), (with_footer(b"PAR1" + made + data[body:], end), 0, None))


# Any damage

DAMAGED = {
    (codec, version): parquets.arrow(
        parquets.sample(30).select(["n", "text", "tags"]),
        compression=codec,
        data_page_version=version,
        write_page_checksum=True,
        write_page_index=True,
        max_rows_per_page=20,
    )
    for codec in CODECS
    for version in ("1.0", "2.0")
}
WHOLE = parquets.rows_of(parquets.sample(30).select(["n", "text", "tags"]))
OF_WHOLE = with_ids(parquets.sample(1).select(["n", "text", "tags"]).schema)


@settings(max_examples=examples(250), deadline=None)
@given(st.sampled_from(sorted(DAMAGED)), st.data())
def test_damaged_pages_with_checksums_are_refused_or_have_the_same_rows(
    of: tuple[str, str], draw: st.DataObject
) -> None:
    data = bytearray(DAMAGED[of])
    length = int.from_bytes(data[-8:-4], "little")
    pages = max(end for _, end in _bodies(bytes(data)))
    for _ in range(draw.draw(st.integers(1, 3))):
        at = draw.draw(st.integers(4, pages - 1))
        data[at] ^= draw.draw(st.integers(1, 255))
    assert len(data) - length > pages
    for compression in ("GZIP", "NONE"):
        try:
            _, made = paged(OF_WHOLE, compression, (bytes(data), 0, None))
        except NotRecompressibleError:
            continue
        # The damage is not in a page's body, but for example in a header's statistics.
        assert _same(made) or any(_hit(bytes(data), DAMAGED[of], place) for place in _headers(DAMAGED[of]))


def _same(made: bytes) -> bool:
    try:
        return parquets.arrow_rows(made) == WHOLE
    except (OSError, pa.ArrowException):
        # The reader reports the damage.
        return True


def _hit(damaged: bytes, whole: bytes, place: tuple[int, int]) -> bool:
    return damaged[slice(*place)] != whole[slice(*place)]


def _pages(data: bytes) -> Iterator[tuple[int, int, int]]:
    """For each page: the start of its header, the start of its body, and the end of its body."""
    for group in thrift.inners(footer(data), 4):
        for chunk in thrift.inners(group, 1):
            meta = thrift.inner(chunk, 3)
            at = min(thrift.number(meta, 9), thrift.number(meta, 11, 2**62))
            end = at + thrift.number(meta, 7)
            while at < end:
                header, body = thrift.decode(data, at)
                yield at, body, body + thrift.number(header, 3)
                at = body + thrift.number(header, 3)


def _bodies(data: bytes) -> list[tuple[int, int]]:
    return [(body, end) for _, body, end in _pages(data)]


def _headers(data: bytes) -> list[tuple[int, int]]:
    return [(begins, body) for begins, body, _ in _pages(data)]


@settings(max_examples=examples(250), deadline=None)
@given(st.sampled_from(sorted(DAMAGED)), st.data())
def test_any_damage_to_metadata_is_refused_or_harmless(of: tuple[str, str], draw: st.DataObject) -> None:
    """No other exception is raised, and it takes less than two seconds."""
    data, headers = bytearray(DAMAGED[of]), _headers(DAMAGED[of])
    length = int.from_bytes(data[-8:-4], "little")
    places = [*range(len(data) - 8 - length, len(data) - 4), *itertools.chain(*(range(*one) for one in headers))]
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.sampled_from(places))] = draw.draw(
            st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255)
        )
    began = time.process_time()
    try:
        _, made = paged(OF_WHOLE, draw.draw(st.sampled_from(["GZIP", "NONE"])), (bytes(data), 0, None))
    except NotRecompressibleError:
        pass
    else:
        assert made.endswith(b"PAR1")
    assert time.process_time() - began < 2


def test_any_metadata_length_is_handled() -> None:
    data = parquets.arrow(TABLE)
    for length in (0, 1, 7, len(data) - 12, len(data) - 8, len(data), 2**31, 2**32 - 1):
        refusal(SCHEMA, (data[:-8] + struct.pack("<I", length) + b"PAR1", 0, None))
