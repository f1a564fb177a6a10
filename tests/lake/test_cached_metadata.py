"""Metadata files are read once, within limits, and never shown through another catalog."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io import PY_IO_IMPL
from pyiceberg.manifest import ManifestEntry
from pyiceberg.table import Table

from offtake.errors import DeliveryError
from offtake.lake import manifest_cache
from offtake.lake.bounded_cache import BoundedCache
from offtake.lake.catalogs import metadata_cache
from offtake.lake.catalogs.opening import CatalogConfig, open_catalog
from offtake.lake.manifests import Manifests
from offtake.lake.scan import TableScan
from offtake.lake.storage.iceberg_io import AccessIO
from offtake.lake.table_names import TableName
from offtake.network.egress import Network
from tests import bucket_io
from tests.bucket_io import BUCKET, ROOT
from tests.object_server import ObjectServer, object_server
from tests.rest_catalog import CLIENT, RestCatalogServer, rest_catalog

SCHEMA = pa.schema([("id", pa.int64())])
IDENTIFIER = ("sales", "orders")
SNAPSHOTS = 12


@pytest.fixture(autouse=True)
def nothing_is_cached() -> None:
    manifest_cache.forget()
    metadata_cache.forget()


@pytest.fixture
def store() -> Iterator[ObjectServer]:
    with object_server() as found:
        yield found


@pytest.fixture
def writer(tmp_path: Path) -> SqlCatalog:
    """A table with one manifest a snapshot, whose files are named as objects of a bucket."""
    properties = {"warehouse": f"{ROOT}w", "folder": str(tmp_path / "lake"), PY_IO_IMPL: bucket_io.NAME}
    found = SqlCatalog("foreign", uri=f"sqlite:///{tmp_path / 'foreign.db'}", **properties)
    found.create_namespace("sales")
    table = found.create_table(IDENTIFIER, SCHEMA)
    for number in range(SNAPSHOTS):
        table.append(pa.table({"id": [number]}, schema=SCHEMA))
    return found


def served(store: ObjectServer, writer: SqlCatalog, folder: Path, **properties: str) -> TableScan:
    """The table as it is read from the store."""
    files = (folder / "lake").rglob("*.*")
    store.objects = {f"/{BUCKET}/{path.relative_to(folder / 'lake')}": path.read_bytes() for path in files}
    table = writer.load_table(IDENTIFIER)
    io = AccessIO(store.access(**properties))
    return TableScan(TableName("x"), Table(table.name(), table.metadata, table.metadata_location, io, table.catalog))


def paths(scan: TableScan, added: int) -> list[str]:
    """The files that the last snapshots added."""
    snapshots = scan.table.metadata.snapshots
    plan = scan.increment(snapshots[-1 - added].snapshot_id, snapshots[-1].snapshot_id)
    return [one.path for one in plan.files]


def test_an_increment_reads_the_manifests_of_its_range_once(
    store: ObjectServer, writer: SqlCatalog, tmp_path: Path
) -> None:
    scan = served(store, writer, tmp_path)
    found = paths(scan, 3)
    assert len(found) == 3
    assert len(store.requests) == 1 + 3  # the manifest list, and the manifests of three snapshots
    assert paths(scan, 3) == found
    assert len(store.requests) == 4
    assert len(paths(scan, 5)) == 5
    assert len(store.requests) == 6


def test_what_one_access_read_is_not_shown_through_another(
    store: ObjectServer, writer: SqlCatalog, tmp_path: Path
) -> None:
    paths(served(store, writer, tmp_path), 3)
    store.keys.clear()
    paths(served(store, writer, tmp_path, **{"s3.access-key-id": "another"}), 3)
    assert store.keys == ["another"] * 4
    other = served(store, writer, tmp_path, **{"s3.access-key-id": "third"})
    store.objects.clear()
    with pytest.raises(DeliveryError, match="was deleted"):
        paths(other, 3)


def test_a_manifest_list_does_not_change_what_another_one_says_of_a_manifest(
    store: ObjectServer, writer: SqlCatalog, tmp_path: Path
) -> None:
    scan = served(store, writer, tmp_path)
    snapshot = scan.table.current_snapshot()
    assert snapshot is not None
    manifests = Manifests(scan.table)
    (manifest, *_) = manifests.of(snapshot)
    expected = manifests.entries(manifest)[0].sequence_number
    hostile = type(manifest)(*(manifest[index] for index in range(len(manifest))))
    hostile[4] = 77
    assert Manifests(scan.table).entries(hostile)[0].sequence_number == 77
    again: ManifestEntry = Manifests(scan.table).entries(manifest)[0]
    assert again.sequence_number == expected


def test_entries_of_data_files_have_no_statistics(store: ObjectServer, writer: SqlCatalog, tmp_path: Path) -> None:
    scan = served(store, writer, tmp_path)
    snapshot = scan.table.current_snapshot()
    assert snapshot is not None
    for entry in Manifests(scan.table).live(snapshot):
        (whole,) = (
            one
            for manifest in snapshot.manifests(scan.table.io)
            for one in manifest.fetch_manifest_entry(scan.table.io)
            if one.data_file.file_path == entry.data_file.file_path
        )
        assert whole.data_file.value_counts
        lean = whole.data_file
        for index in (6, 7, 8, 9, 10, 11, 13):
            lean[index] = None
        assert [entry.data_file[index] for index in range(len(lean))] == [lean[index] for index in range(len(lean))]
        assert (entry.status, entry.snapshot_id, entry.sequence_number, entry.file_sequence_number) == (
            whole.status,
            whole.snapshot_id,
            whole.sequence_number,
            whole.file_sequence_number,
        )


def test_files_whose_names_could_be_used_again_are_read_each_time(
    store: ObjectServer, writer: SqlCatalog, tmp_path: Path
) -> None:
    scan = served(store, writer, tmp_path)
    snapshot = scan.table.current_snapshot()
    assert snapshot is not None
    store.objects[f"/{BUCKET}/m/v1.avro"] = store.objects[f"/{BUCKET}/{snapshot.manifest_list.removeprefix(ROOT)}"]
    plain = snapshot.model_copy(update={"manifest_list": f"{ROOT}m/v1.avro"})
    for expected in (1, 2):
        assert len(Manifests(scan.table).of(plain)) == SNAPSHOTS
        assert len(store.requests) == expected


def test_the_cache_keeps_the_most_recent_within_its_limit() -> None:
    cache: BoundedCache[str] = BoundedCache(100, 60)
    cache.put("a", "1", 40)
    cache.put("b", "2", 40)
    assert cache.get("a") == "1"
    cache.put("c", "3", 40)
    assert (cache.get("a"), cache.get("b"), cache.get("c"), cache.bytes) == ("1", None, "3", 80)
    cache.put("large", "4", 61)
    cache.put("a", "5", 10)
    assert (cache.get("large"), cache.get("a"), cache.bytes) == (None, "5", 50)


@pytest.fixture
def catalog(writer: SqlCatalog) -> Iterator[tuple[RestCatalogServer, Any]]:
    with rest_catalog(writer) as server:
        properties = {"uri": server.origin, "credential": ":".join(CLIENT), "warehouse": "", **keys()}
        yield server, CatalogConfig("1", "lakehouse", "rest", properties, Network())


def keys() -> dict[str, str]:
    return {"s3.access-key-id": "x", "s3.secret-access-key": "y"}


def test_metadata_that_a_server_answered_before_is_not_parsed_again(
    catalog: tuple[RestCatalogServer, CatalogConfig], writer: SqlCatalog
) -> None:
    server, config = catalog
    opened = open_catalog(config)
    first = opened.load(IDENTIFIER)
    assert opened.load(IDENTIFIER).metadata is first.metadata
    assert open_catalog(replace(config, id="2")).load(IDENTIFIER).metadata is not first.metadata
    writer.load_table(IDENTIFIER).append(pa.table({"id": [1]}, schema=SCHEMA))
    grown = opened.load(IDENTIFIER).metadata
    assert grown == writer.load_table(IDENTIFIER).metadata
    assert [one is other for one, other in zip(grown.snapshots, first.metadata.snapshots, strict=False)] == [
        True
    ] * SNAPSHOTS
    # A server that has one location for all states.
    server.answer = server.document(IDENTIFIER)
    assert opened.load(IDENTIFIER).metadata.last_updated_ms == server.answer["metadata"]["last-updated-ms"]
    server.answer["metadata"]["last-updated-ms"] += 1
    assert opened.load(IDENTIFIER).metadata.last_updated_ms == server.answer["metadata"]["last-updated-ms"]


def test_tables_by_their_metadata_are_parsed_once(store: ObjectServer, writer: SqlCatalog, tmp_path: Path) -> None:
    location = writer.load_table(IDENTIFIER).metadata_location
    served(store, writer, tmp_path)
    opened = open_catalog(CatalogConfig("1", "files", "files", store.access().properties, Network()))
    found = opened.load(("files", location))
    assert opened.load(("files", location)).metadata is found.metadata
