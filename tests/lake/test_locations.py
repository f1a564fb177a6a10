"""Locations are taken literally, by Offtake and by PyIceberg, with any characters."""

from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType

from offtake.lake import ingest, scan, table_files
from offtake.lake.catalog import Lake
from offtake.lake.file_io import LocationsIO
from offtake.lake.locations import LocationError, file_system, is_local, local_path
from offtake.settings import Settings
from tests.lake.lakes import TABLE, add, add_files, full, increment, ndjson, numbered
from tests.lake.other_writers import compact, data_files, delete_positions

FOLDERS = [
    "with space",
    "Zürich",
    "50%",
    "%41%2F%",
    "a#b",
    "a?b",
    "a;b=c&d",
    'it\'s [x] "y"',
    "tab\there",
    "line\nbreak",
]
NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..")
)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_data_directory_of_any_name_holds_tables_that_are_written_read_and_removed(tmp_path: Path, name: str) -> None:
    settings = Settings.at(tmp_path / name)
    with closing(Lake(settings.lake_catalog_url, settings.lake_warehouse)) as lake:
        first = add(lake, numbered(1, 2))
        add_files(lake, ndjson(tmp_path / "more.ndjson", numbered(3)))
        lake.load(TABLE).append(pa.table({"n": [4], "city": ["town 4"]}))
        assert full(lake) == numbered(1, 2, 3, 4)
        delete_positions(lake.load(TABLE), list(data_files(lake.load(TABLE)))[-1], [0])
        assert sorted(increment(lake, first)) == [3, 4]
        compact(lake.load(TABLE), drop_deletes=True)
        assert len(full(lake)) == 3
        assert all(lake.warehouse.exists(file.uri) for file in table_files.files_of(lake.load(TABLE).metadata_location))
        ingest.clear(lake, TABLE, uuid4().hex)
        assert [str(one) for one in lake.tables_in("sales")] == [TABLE]
        lake.purge(TABLE)
        assert lake.tables_in("sales") == []
    # No folder with another name was created.
    assert {path.name for path in tmp_path.iterdir()} == {name, "more.ndjson"}


@pytest.mark.parametrize("value", ["Bern", "Zürich", "50%", "a/b", "c:d", "%41", "#?", " ", "a=b&c"])
def test_partitions_with_any_values_in_folder_names_are_read(lake: Lake, value: str) -> None:
    lake.catalog.create_namespace("sales")
    schema = Schema(NestedField(1, "city", StringType()), NestedField(2, "n", LongType()))
    spec = PartitionSpec(PartitionField(1, 1000, IdentityTransform(), "city"))
    table = lake.catalog.create_table(TABLE, schema, lake.location(TABLE), spec)
    table.append(pa.table({"city": [value], "n": [1]}))
    assert full(lake) == [{"city": value, "n": 1}]
    assert all(lake.warehouse.exists(file.uri) for file in table_files.files_of(lake.load(TABLE).metadata_location))


@given(NAMES)
def test_a_location_with_any_name_is_the_path_after_its_scheme(name: str) -> None:
    path = f"/folder/{name}"
    for location in (path, f"file://{path}", f"file:{path}", f"file://localhost{path}", f"FILE://{path}"):
        assert is_local(location)
        assert local_path(location) == Path(path)
        assert file_system(location)[1] == path
        assert LocationsIO.parse_location(location) == ("file", "", path)


@pytest.mark.parametrize(
    "location", ["file://host/data/x", "file:data/x", "file:", "ftp://host/x", "jdbc://x", "hf://datasets/x"]
)
def test_unsupported_locations_are_refused_by_name(location: str, tmp_path: Path) -> None:
    for resolve in (local_path, file_system, LocationsIO.parse_location):
        with pytest.raises(LocationError, match="The location"):
            resolve(location)
    with pytest.raises(LocationError, match=location.partition(":")[0]):
        Lake(f"sqlite:///{tmp_path / 'catalog.db'}", location)


def test_object_store_keys_are_taken_literally() -> None:
    for scheme in ("s3", "s3a"):
        assert LocationsIO.parse_location(f"{scheme}://bucket/a%20b#c") == ("s3", "bucket", "bucket/a%20b#c")
    assert not is_local("s3://bucket/a")


def test_tables_of_earlier_versions_with_plain_paths_are_read(tmp_path: Path) -> None:
    catalog = f"sqlite:///{tmp_path / 'catalog.db'}"
    folder = tmp_path / "warehouse"
    with closing(Lake(catalog, folder.as_uri())) as lake:
        add(lake, numbered(1))
    with closing(Lake(catalog, str(folder))) as lake:
        snapshot = add(lake, numbered(2))
        assert full(lake) == numbered(1, 2)
        assert {local_path(file.path).parent for file in scan.open_table(lake, TABLE).full(snapshot).files} == {
            local_path(lake.location(TABLE)) / "data"
        }
