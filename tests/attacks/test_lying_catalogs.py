"""A table that has rows is never exported as an empty one, whatever its catalog and its metadata say."""

import copy
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.avro.file import AvroFile, AvroOutputFile
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.typedef import Record
from pyiceberg.types import StructType

from tests.cli.conftest import offtake as offtake  # noqa: PLC0414 - a fixture
from tests.cli.deliveries import Offtake
from tests.deployment import Deployment
from tests.rest_catalog import CLIENT, RestCatalogServer, rest_catalog
from tests.servers import Amazon, amazon

SCHEMA = pa.schema([("id", pa.int64())])
BUCKET = "lakehouse"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def store() -> Iterator[Amazon]:
    with amazon() as found:
        found.client("s3").create_bucket(Bucket=BUCKET)
        yield found


@pytest.fixture
def keys(store: Amazon) -> dict[str, str]:
    return {
        "s3.endpoint": store.endpoint,
        "s3.access-key-id": store.access_key,
        "s3.secret-access-key": store.secret_key,
        "s3.region": "us-east-1",
    }


@pytest.fixture
def server(keys: dict[str, str], tmp_path: Path) -> Iterator[RestCatalogServer]:
    url = f"sqlite:///{tmp_path / 'foreign.db'}"
    writer = SqlCatalog("foreign", uri=url, warehouse=f"s3://{BUCKET}/{tmp_path.name}", **keys)
    writer.create_namespace("sales")
    with rest_catalog(writer) as found:
        yield found


@pytest.fixture
def table(server: RestCatalogServer) -> Table:
    """A table of ten rows, in two snapshots."""
    found = server.tables.create_table(("sales", "orders"), SCHEMA)
    for first in (0, 5):
        found.append(rows(first, 5))
    return found


@pytest.fixture
def flow(deployed: Deployment, offtake: Offtake, server: RestCatalogServer, keys: dict[str, str], table: Table) -> str:
    del table
    properties = {"uri": server.origin, "credential": ":".join(CLIENT), **keys}
    options = [word for name, value in properties.items() for word in ("--property", f"{name}={value}")]
    assert offtake("catalog", "add", "lakehouse", "--type", "rest", *options)[0] == 0
    registered = ("dataset", "register", "orders", "--catalog", "lakehouse", "--table", "sales.orders", "--json")
    return deployed.flow(json.loads(offtake(*registered)[1])["id"])


def next_run(deployed: Deployment, flow: str) -> tuple[str, int, str]:
    """The outcome of the flow's next run: its status, the rows that it delivered, and all that it says."""
    deployed.clock.advance(hours=3)
    deployed.run_due()
    run = deployed.runs(flow)[0]
    rows = run["metrics"]["recordSummary"].get("outputRecordCount", 0)
    return run["metrics"]["statusSummary"]["status"], rows, json.dumps(run)


def current_is_not_listed(document: Json) -> None:
    document["current-snapshot-id"] = 7
    document["refs"]["main"]["snapshot-id"] = 7


def no_snapshot_is_listed(document: Json) -> None:
    document["snapshots"] = []


def no_current_one(document: Json) -> None:
    document["current-snapshot-id"] = -1


def main_is_elsewhere(document: Json) -> None:
    document["refs"]["main"]["snapshot-id"] = document["snapshots"][0]["snapshot-id"]


def before_the_first(document: Json) -> None:
    document.update({"current-snapshot-id": -1, "refs": {}, "snapshots": [], "snapshot-log": []})
    document["last-sequence-number"] = 0


def only_other_branches(document: Json) -> None:
    document["current-snapshot-id"] = -1
    document["refs"] = {"side": document["refs"]["main"]}


CONTRADICTIONS: dict[Callable[[Json], None], str] = {
    current_is_not_listed: "its current snapshot, 7, is not among its snapshots",
    no_snapshot_is_listed: "is not among its snapshots",
    no_current_one: "its current snapshot is missing, but its branch main is at",
    main_is_elsewhere: "but its branch main is at",
}


def lie(server: RestCatalogServer, change: Callable[[Json], None]) -> None:
    """From now on, the catalog answers with this instead of the table's true metadata."""
    answer = copy.deepcopy(server.document(("sales", "orders")))
    change(answer["metadata"])
    server.answer = answer


@pytest.mark.parametrize("delivered", [False, True])
@pytest.mark.parametrize("change", CONTRADICTIONS)
def test_metadata_that_contradicts_itself_about_the_current_snapshot_fails_the_run(
    deployed: Deployment, server: RestCatalogServer, flow: str, delivered: bool, change: Callable[[Json], None]
) -> None:
    if delivered:
        assert next_run(deployed, flow)[:2] == ("success", 10)
    lie(server, change)
    status, _, text = next_run(deployed, flow)
    assert (status, CONTRADICTIONS[change] in text) == ("failed", True), text
    server.answer = None
    assert next_run(deployed, flow)[:2] == ("success", 0 if delivered else 10)


def test_metadata_from_before_the_delivered_snapshot_fails_the_run(
    deployed: Deployment, server: RestCatalogServer, table: Table, flow: str
) -> None:
    assert next_run(deployed, flow)[:2] == ("success", 10)
    lie(server, before_the_first)
    table.append(rows(10, 3))
    status, _, text = next_run(deployed, flow)
    assert (status, "an older version of its metadata" in text) == ("failed", True), text
    server.answer = None
    assert next_run(deployed, flow)[:2] == ("success", 3)


def test_a_table_whose_main_branch_has_no_snapshot_has_no_rows(
    deployed: Deployment, server: RestCatalogServer, flow: str
) -> None:
    """As after `CREATE OR REPLACE TABLE`, or when all writes are staged."""
    lie(server, only_other_branches)
    assert next_run(deployed, flow)[:2] == ("success", 0)
    server.answer = None
    assert next_run(deployed, flow)[:2] == ("success", 10)


def no_manifests(store: Amazon, table: Table) -> None:
    rewrite(store, manifest_list(table), lambda _record, _schema: None)


def manifests_without_entries(store: Amazon, table: Table) -> None:
    for location in manifests(table):
        rewrite(store, location, lambda _record, _schema: None)


def removed_entries(store: Amazon, table: Table) -> None:
    def change(entry: Record, schema: Schema) -> Record:
        entry[at(schema, 0)] = 2
        return entry

    for location in manifests(table):
        rewrite(store, location, change)


@pytest.mark.parametrize("change", [no_manifests, manifests_without_entries, removed_entries])
def test_a_snapshot_that_counts_files_but_lists_none_fails_the_run(
    deployed: Deployment, store: Amazon, table: Table, flow: str, change: Callable[[Amazon, Table], None]
) -> None:
    change(store, table)
    status, _, text = next_run(deployed, flow)
    assert (status, "lists no data files, but counts 2" in text) == ("failed", True), text


def counts_of_zero(store: Amazon, table: Table) -> None:
    """Of files and rows, in the manifest list; writers may leave them out, readers may skip what has none."""

    def change(manifest: Record, schema: Schema) -> Record:
        for field_id in (504, 505, 506, 512, 513, 514):
            manifest[at(schema, field_id)] = 0
        return manifest

    rewrite(store, manifest_list(table), change)


def files_of_zero_rows(store: Amazon, table: Table) -> None:
    def change(entry: Record, schema: Schema) -> Record:
        kind = schema.find_type(2)
        assert isinstance(kind, StructType)
        entry[at(schema, 2)][[one.field_id for one in kind.fields].index(103)] = 0
        return entry

    for location in manifests(table):
        rewrite(store, location, change)


@pytest.mark.parametrize("change", [counts_of_zero, files_of_zero_rows])
def test_counts_of_zero_hide_no_rows(
    deployed: Deployment, store: Amazon, table: Table, flow: str, change: Callable[[Amazon, Table], None]
) -> None:
    change(store, table)
    status, delivered, said = next_run(deployed, flow)
    if change is files_of_zero_rows:
        assert (status, "has 5 rows, but the table's metadata counts 0" in said) == ("failed", True)
    else:
        assert (status, delivered) == ("success", 10)


def rows(first: int, count: int) -> pa.Table:
    return pa.table({"id": range(first, first + count)}, schema=SCHEMA)


def key(location: str) -> str:
    return location.removeprefix(f"s3://{BUCKET}/")


def manifest_list(table: Table) -> str:
    snapshot = table.current_snapshot()
    assert snapshot is not None
    return str(snapshot.manifest_list)


def manifests(table: Table) -> list[str]:
    snapshot = table.current_snapshot()
    assert snapshot is not None
    return [one.manifest_path for one in snapshot.manifests(table.io)]


def at(schema: Schema, field_id: int) -> int:
    return [one.field_id for one in schema.fields].index(field_id)


def rewrite(store: Amazon, location: str, change: Callable[[Record, Schema], Record | None]) -> None:
    """Change the records of an Avro file; those for which there is none are left out."""
    client, io_ = store.client("s3"), PyArrowFileIO()
    with tempfile.TemporaryDirectory() as folder:
        old, new = f"{folder}/old", f"{folder}/new"
        client.download_file(BUCKET, key(location), old)
        with AvroFile[Record](io_.new_input(old)) as source:
            found = [change(record, source.schema) for record in source]
            kept = [record for record in found if record is not None]
            with AvroOutputFile[Record](io_.new_output(new), source.schema, "r", metadata=source.header.meta) as target:
                target.write_block(kept)
        client.upload_file(new, BUCKET, key(location))
