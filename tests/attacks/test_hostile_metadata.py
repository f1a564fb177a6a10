"""Metadata of registered tables that is damaged, too large, or of something else: one sentence, in bounded memory."""

import bz2
import contextlib
import gzip
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import DataFile
from pyiceberg.typedef import Record

from offtake.errors import DeliveryError, InvalidInputError
from offtake.lake import avro_blocks, deletes, manifest_cache, scan, snapshot_history
from offtake.lake.avro_blocks import open_avro
from offtake.lake.catalogs import declarations
from offtake.lake.catalogs.lending import access_for
from offtake.lake.catalogs.opening import CatalogConfig
from offtake.lake.locations import LocationError
from offtake.lake.registered import RegisteredTables
from offtake.lake.storage import files, stores, table_metadata
from offtake.lake.storage.access import FileAccess, Kind, place_of
from offtake.lake.table_names import RegisteredTable, TableName
from offtake.network.egress import Network

SCHEMA = pa.schema([("id", pa.int64()), ("place", pa.struct([("city", pa.string())]))])


@pytest.fixture
def tables(tmp_path: Path) -> RegisteredTables:
    config = CatalogConfig("1", "folders", "files", {"warehouse": str(tmp_path)}, Network())
    return RegisteredTables(lambda _id: config)


@pytest.fixture
def valid(tmp_path: Path) -> dict[str, Any]:
    """The metadata of a table with two snapshots."""
    catalog = SqlCatalog("foreign", uri="sqlite://", warehouse=str(tmp_path / "lake"))
    catalog.create_namespace("sales")
    table = catalog.create_table("sales.orders", SCHEMA)
    for number in (1, 2):
        table.append(pa.table({"id": [number], "place": [{"city": "Bern"}]}, SCHEMA))
    found: dict[str, Any] = json.loads(Path(table.metadata_location.removeprefix("file://")).read_text())
    return found


def refused(tables: RegisteredTables, file: Path) -> str:
    with pytest.raises(DeliveryError) as error:
        tables.find_uuid("1", ("files", str(file)))
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 1000
    return text


@pytest.mark.parametrize("name", ["v1.gz.metadata.json", "v1.metadata.json.gz"])
def test_both_names_of_compressed_metadata_are_read(
    tables: RegisteredTables, valid: dict[str, Any], tmp_path: Path, name: str
) -> None:
    file = tmp_path / name
    file.write_bytes(gzip.compress(json.dumps(valid).encode()))
    assert tables.find_uuid("1", ("files", str(file))) == valid["table-uuid"]


@pytest.mark.parametrize("compress", [gzip.compress, bytes])
def test_metadata_that_is_too_large_is_refused_before_it_is_parsed(
    tables: RegisteredTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: Any
) -> None:
    monkeypatch.setattr(table_metadata, "LARGEST", 1024**2)
    monkeypatch.setattr("pyiceberg.table.metadata.TableMetadataUtil.parse_raw", lambda _text: pytest.fail("parsed"))
    file = tmp_path / "v1.gz.metadata.json"
    file.write_bytes(compress(b'{"format-version": 2, "x": "' + b"a" * 10 * 1024**2 + b'"}'))
    assert "larger than 1 MiB" in refused(tables, file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html></html>", "Invalid JSON"),
        (b"\xff\xfe", "damaged"),
        (b"\x1f\x8bnot gzip", "not valid gzip"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "cannot be read"),
        (b"{}", "cannot be read"),
        (b'{"format-version": 4}', "version 4"),
        (b'{"format-version": 1, "view-uuid": "x", "current-version-id": 1, "versions": []}', "describes a view"),
    ],
)
def test_what_is_no_metadata_is_refused_in_one_sentence(
    tables: RegisteredTables, tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "v1.metadata.json"
    file.write_bytes(content)
    assert said in refused(tables, file)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.search
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_metadata_is_read_or_refused_in_one_sentence(
    tables: RegisteredTables, valid: dict[str, Any], tmp_path: Path, data: st.DataObject
) -> None:
    """One value anywhere in the document is replaced or removed."""
    document = json.loads(json.dumps(valid))
    inside: Any = document
    while True:
        keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if isinstance(inside[key], dict | list) and inside[key] and data.draw(st.booleans()):
            inside = inside[key]
        elif data.draw(st.integers(0, 4)):
            inside[key] = data.draw(JSON)
            break
        else:
            del inside[key]
            break
    file = tmp_path / "v1.metadata.json"
    file.write_text(json.dumps(document))
    with contextlib.suppress(DeliveryError):
        uuid = tables.find_uuid("1", ("files", str(file)))
        table = tables.load(RegisteredTable("1", ("files", str(file)), uuid))
        found = scan.TableScan(TableName("orders"), table)
        if found.current_snapshot is not None:
            found.schema(found.current_snapshot)
            found.full(found.current_snapshot)


@pytest.fixture
def manifests(tables: RegisteredTables, valid: dict[str, Any], tmp_path: Path) -> tuple[Path, Path, Path]:
    """A table's metadata, its manifest list, and a manifest."""
    file = tmp_path / "v1.metadata.json"
    file.write_text(json.dumps(valid))
    listed = local(valid["snapshots"][-1]["manifest-list"])
    table = tables.load(RegisteredTable("1", ("files", str(file)), valid["table-uuid"]))
    snapshot = table.current_snapshot()
    assert snapshot is not None
    return file, listed, local(snapshot.manifests(table.io)[0].manifest_path)


def local(location: str) -> Path:
    return Path(location.removeprefix("file://"))


def plan(tables: RegisteredTables, file: Path, *, fresh: bool = True) -> scan.ScanPlan:
    if fresh:
        manifest_cache.forget()  # the tests change files that never change in a table
    uuid = tables.find_uuid("1", ("files", str(file)))
    table = tables.load(RegisteredTable("1", ("files", str(file)), uuid))
    found = scan.TableScan(TableName("orders"), table)
    assert found.current_snapshot is not None
    return found.full(found.current_snapshot)


def encode(number: int) -> bytes:
    """Avro's number."""
    value, found = number << 1, bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "deflate": lambda data: zlib.compress(data, 9, wbits=-15),
    "bzip2": bz2.compress,
    "zstandard": lambda data: pa.compress(data, "zstd", asbytes=True),
    "snappy": lambda data: pa.compress(data, "snappy", asbytes=True) + zlib.crc32(data).to_bytes(4, "big"),
}


def with_blocks(file: Path, codec: str, *blocks: tuple[int, bytes]) -> bytes:
    """The Avro file with another codec and other blocks: numbers of records, and stored bytes."""
    found = open_avro(file.read_bytes())
    sync = found.content[found.first - 16 : found.first]
    texts = (b"avro.schema", found.schema, b"avro.codec", codec.encode())
    header = b"Obj\x01" + encode(2) + b"".join(encode(len(one)) + one for one in texts) + encode(0) + sync
    return header + b"".join(encode(count) + encode(len(stored)) + stored + sync for count, stored in blocks)


def compressed(file: Path, codec: str, padding: bytes = b"") -> bytes:
    """The Avro file with another codec, and with bytes after the records of its only block."""
    ((count, data),) = open_avro(file.read_bytes()).blocks()
    return with_blocks(file, codec, (count, COMPRESSORS[codec](data + padding)))


@pytest.mark.parametrize("codec", COMPRESSORS)
def test_manifests_of_every_codec_are_read_within_limits(
    tables: RegisteredTables, manifests: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    file, listed, manifest = manifests
    for one in (listed, manifest):
        one.write_bytes(compressed(one, codec))
    assert [one.rows for one in plan(tables, file).files] == [1, 1]
    monkeypatch.setattr(avro_blocks, "LARGEST_BLOCK", 1024**2)
    for one in (manifest, listed):
        one.write_bytes(compressed(one, codec, bytes(2 * 1024**2)))
        with pytest.raises(DeliveryError, match="larger than 1 MiB"):
            plan(tables, file)


def test_a_manifest_that_names_too_many_files_is_refused_before_it_is_decoded(
    tables: RegisteredTables, manifests: tuple[Path, Path, Path]
) -> None:
    file, _, manifest = manifests
    manifest.write_bytes(with_blocks(manifest, "null", (avro_blocks.MOST_RECORDS + 1, b"")))
    with pytest.raises(DeliveryError, match="more than 1,000,000 records"):
        plan(tables, file)


HOSTILE_TYPES: dict[str, Any] = {
    "a type that contains itself": {
        "type": "record",
        "name": "a",
        "fields": [{"name": "a", "type": "a", "field-id": 9}],
    },
    "a list of nothing": {"type": "array", "items": {"type": "record", "name": "a", "fields": []}},
    "a list of nulls": {"type": "array", "items": "null"},
    "a union of three": ["null", "int", "string"],
    "a fixed value of 1 GB": {"type": "fixed", "name": "a", "size": 1_000_000_000},
    "a map": {"type": "map", "values": "int"},
    "a number": 7,
}


@pytest.mark.parametrize("name", HOSTILE_TYPES)
def test_a_manifest_with_a_type_that_manifests_do_not_have_is_refused(
    tables: RegisteredTables, manifests: tuple[Path, Path, Path], name: str
) -> None:
    file, _, manifest = manifests
    found = open_avro(manifest.read_bytes())
    schema = json.loads(found.schema)
    schema["fields"].append({"name": "more", "field-id": 9999, "type": HOSTILE_TYPES[name]})
    changed = json.dumps(schema).encode()
    content = found.content.replace(encode(len(found.schema)) + found.schema, encode(len(changed)) + changed)
    manifest.write_bytes(content)
    with pytest.raises(DeliveryError, match="its schema"):
        plan(tables, file)


def test_what_one_table_says_about_the_manifest_of_another_is_not_kept(
    tables: RegisteredTables, manifests: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """A manifest list that names the other table's manifest, as one of deletes."""
    file, listed, _ = manifests
    ((count, data),) = open_avro(listed.read_bytes()).blocks()
    records = fastavro.reader(io.BytesIO(listed.read_bytes()))
    hostile = [{**one, "content": 1, "added_snapshot_id": 7} for one in records if isinstance(one, dict)]
    assert len(hostile) == count
    assert data
    with (tmp_path / "hostile.avro").open("wb") as written:
        fastavro.writer(written, records.writer_schema, hostile)
    document = json.loads(file.read_text())
    document["snapshots"][-1]["manifest-list"] = str(tmp_path / "hostile.avro")
    other = tmp_path / "hostile.metadata.json"
    other.write_text(json.dumps(document))
    with contextlib.suppress(DeliveryError):
        plan(tables, other)
    assert [one.rows for one in plan(tables, file, fresh=False).files] == [1, 1]


@pytest.mark.search
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_a_manifest_is_read_or_refused_in_one_sentence(
    tables: RegisteredTables, manifests: tuple[Path, Path, Path], data: st.DataObject
) -> None:
    """Some bytes of the manifest list or of a manifest are replaced, removed or cut off, and restored afterwards."""
    file, *others = manifests
    changed = data.draw(st.sampled_from(others))
    content = changed.read_bytes()
    at, length = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 20))
    rest = content[at + length :] if data.draw(st.booleans()) else b""
    try:
        changed.write_bytes(content[:at] + data.draw(st.binary(max_size=20)) + rest)
        with contextlib.suppress(DeliveryError):
            plan(tables, file)
    finally:
        changed.write_bytes(content)


def test_snapshots_that_name_each_other_as_parents_end(
    tables: RegisteredTables, valid: dict[str, Any], tmp_path: Path
) -> None:
    first, last = valid["snapshots"]
    first["parent-snapshot-id"] = last["snapshot-id"]
    file = tmp_path / "v1.metadata.json"
    file.write_text(json.dumps(valid))
    table = tables.load(RegisteredTable("1", ("files", str(file)), valid["table-uuid"]))
    assert len(snapshot_history.lineage(table, table.snapshots()[-1])) == 2
    found = scan.TableScan(TableName("orders"), table).increment(7, last["snapshot-id"])
    assert (found.kind, [one.rows for one in found.files]) == ("full", [1, 1])


@pytest.mark.parametrize(
    ("kind", "location"),
    [
        ("s3", "s3://lake//own/t.json"),
        ("s3", "s3://../lake/own/t.json"),
        ("s3", "s3://./lake/own/t.json"),
        ("s3", "s3://lake/x/../own/t.json"),
        ("s3", "s3://lake/./own/t.json"),
        ("s3", "s3://x\\..\\lake/own/t.json"),
        ("s3", "s3://lake#/own/t.json"),
        ("s3", "s3://localhost:80#/t.json"),
        ("gs", "gs://..%2flake/own/t.json"),
        ("azure", "abfss://c@localhost:80%23.dfs.core.windows.net/t.json"),
        ("azure", "abfss://c@127\u30020\u30020\u30021#.dfs.core.windows.net/t.json"),
        ("azure", "abfss://c@.dfs.core.windows.net/t.json"),
    ],
)
def test_a_location_names_neither_another_host_nor_another_place(kind: Kind, location: str) -> None:
    with pytest.raises(LocationError, match="a name that no store has"):
        place_of(FileAccess(kind), location)


def test_only_catalogs_of_the_operator_read_folders(tmp_path: Path) -> None:
    for kind, allowed in (("rest", False), ("glue", False), ("files", True), ("sql", True)):
        assert declarations.find_type(kind).has_folders is allowed
    with pytest.raises(LocationError, match="no credentials"):
        access_for({"uri": "http://x", "warehouse": str(tmp_path)}, {}, Network(), ())


def test_only_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "v1.metadata.json").symlink_to("/dev/zero")
    access = FileAccess("folder", folder="/")
    with pytest.raises(LocationError, match="is not a file"):
        files.read_whole(str(tmp_path / "v1.metadata.json"), access)


def test_credentials_have_no_line_breaks() -> None:
    with pytest.raises(InvalidInputError, match="line break"):
        declarations.check(declarations.REST, {"uri": "http://x", "token": "secret\n"}, is_operator=True)


def test_partitions_are_compared_as_iceberg_does() -> None:
    def partition(value: float) -> Any:
        file = DataFile.from_args(partition=Record(value))
        file.spec_id = 0
        return deletes.partition_of(file)

    assert partition(float("nan")) == partition(float("nan"))
    assert partition(0.0) != partition(-0.0)
    assert partition(2.5) == partition(2.5)


def test_a_location_does_not_choose_the_storage_account() -> None:
    """Everyone can have an account at Azure: it would get the shared access signature."""
    place = place_of(FileAccess("azure"), "abfss://c@attacker.dfs.core.windows.net/t.json")
    of_victim = FileAccess("azure", {"adls.sas-token.victim.dfs.core.windows.net": "sig=1"})
    for access in (FileAccess("azure", {"adls.sas-token": "sig=1"}), of_victim):
        with pytest.raises(LocationError, match=r"Set adls\.account-name"):
            stores.store_of(access, place)
    named = FileAccess("azure", {"adls.sas-token": "sig=1", "adls.account-name": "victim"})
    with pytest.raises(LocationError, match="not in the catalog's account victim"):
        stores.store_of(named, place)
