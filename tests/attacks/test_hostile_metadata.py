"""Metadata of registered tables that is damaged, too large, or of something else: one sentence, in bounded memory."""

import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.catalog.sql import SqlCatalog

from offtake.errors import DeliveryError
from offtake.lake import scan
from offtake.lake.catalogs.opening import CatalogConfig
from offtake.lake.registered import RegisteredTables
from offtake.lake.storage import table_metadata
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
