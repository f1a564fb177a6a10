"""Tables of Iceberg's own REST server are registered and exported. Run by `make interop`, which fetches the server."""

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.rest import RestCatalog

from tests.cli.conftest import offtake as offtake  # noqa: PLC0414 - a fixture
from tests.cli.deliveries import Offtake
from tests.deployment import Deployment, table_of
from tests.interop.reference_server import reference_server
from tests.interop.spark_tables import BUCKET, unpack
from tests.servers import Amazon, amazon

SCHEMA = pa.schema([("id", pa.int64()), ("city", pa.string())])


@pytest.fixture(scope="module")
def store() -> Iterator[Amazon]:
    with amazon() as found:
        found.client("s3").create_bucket(Bucket=BUCKET)
        yield found


@pytest.fixture(scope="module", params=[False, True], ids=["own keys", "lent keys"])
def server(request: pytest.FixtureRequest, store: Amazon) -> Iterator[tuple[str, dict[str, str]]]:
    """The server, and the properties with which Offtake adds it."""
    with reference_server(store, BUCKET, lends=request.param) as uri:
        keys = {"s3.access-key-id": store.access_key, "s3.secret-access-key": store.secret_key}
        yield (
            uri,
            {"uri": uri, "s3.endpoint": store.endpoint, "s3.region": "us-east-1", **({} if request.param else keys)},
        )


@pytest.fixture
def writer(store: Amazon, server: tuple[str, dict[str, str]]) -> Iterator[RestCatalog]:
    """PyIceberg, which writes through the server; its tables are removed afterwards."""
    keys = {"s3.access-key-id": store.access_key, "s3.secret-access-key": store.secret_key}
    found = RestCatalog("writer", uri=server[0], **keys, **{"s3.endpoint": store.endpoint, "s3.region": "us-east-1"})
    for namespace in (("sales",), ("sales", "eu"), ("spark",)):
        found.create_namespace_if_not_exists(namespace)
    yield found
    for namespace in (("sales",), ("sales", "eu"), ("spark",)):
        for table in found.list_tables(namespace):
            found.drop_table(table)


def add_catalog(offtake: Offtake, server: tuple[str, dict[str, str]]) -> None:
    options = [word for name, value in server[1].items() for word in ("--property", f"{name}={value}")]
    code, _, err = offtake("catalog", "add", "lakehouse", "--type", "rest", *options)
    assert code == 0, err


def register(offtake: Offtake, table: str) -> str:
    """The table's dataset."""
    code, out, err = offtake("dataset", "register", "data", "--catalog", "lakehouse", "--table", table, "--json")
    assert code == 0, err
    found: str = json.loads(out)["id"]
    return found


def rows(first: int, count: int) -> pa.Table:
    return pa.table({"id": range(first, first + count), "city": [f"town {n}" for n in range(count)]}, schema=SCHEMA)


def outcome(deployed: Deployment, flow: str) -> tuple[str, int]:
    """The status of the flow's next run, and the rows that it delivered."""
    deployed.clock.advance(hours=3)
    deployed.run_due()
    metrics: Any = deployed.runs(flow)[0]["metrics"]
    return metrics["statusSummary"]["status"], metrics["recordSummary"].get("outputRecordCount", 0)


@pytest.mark.parametrize("name", [("sales", "orders"), ("sales", "eu", "orders"), ("sales", "with space")])
def test_a_table_is_exported_in_full_and_by_increments(
    deployed: Deployment,
    offtake: Offtake,
    server: tuple[str, dict[str, str]],
    writer: RestCatalog,
    name: tuple[str, ...],
) -> None:
    table = writer.create_table(name, SCHEMA)
    table.append(rows(0, 10))
    add_catalog(offtake, server)
    code, out, err = offtake("catalog", "test", "lakehouse", "--table", ".".join(name))
    assert (code, "sales" in out, str(table.metadata.table_uuid) in out) == (0, True, True), err
    flow = deployed.flow(register(offtake, ".".join(name)))
    assert outcome(deployed, flow) == ("success", 10)
    table.append(rows(10, 5))
    assert outcome(deployed, flow) == ("success", 5)
    table.delete("id < 3")
    assert outcome(deployed, flow) == ("success", 7)  # the rows that stay in the file are written again
    assert offtake("flow", "verify", flow)[0] == 0
    writer.drop_table(name)
    assert outcome(deployed, flow)[0] == "failed"
    assert "has no table" in json.dumps(deployed.runs(flow)[0])


def test_tables_that_spark_wrote_are_exported(
    deployed: Deployment,
    offtake: Offtake,
    server: tuple[str, dict[str, str]],
    writer: RestCatalog,
    store: Amazon,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    add_catalog(offtake, server)
    folder = tmp_path_factory.mktemp("spark")
    expected = unpack("merge_on_read_v2", folder)
    for path in folder.rglob("*"):
        if path.is_file():
            store.client("s3").upload_file(str(path), BUCKET, str(path.relative_to(folder)))
    writer.register_table("spark.changes", expected["metadata"])
    flow = deployed.flow(register(offtake, "spark.changes"))
    newest = expected["snapshots"][-1]["rows"]
    assert outcome(deployed, flow) == ("success", len(newest))
    (manifest,) = deployed.manifests()
    delivered = table_of(deployed.delivered(manifest))
    assert sorted(delivered["id"].to_pylist()) == sorted(row["id"] for row in newest)


def test_what_is_not_there_is_reported_in_one_sentence(
    offtake: Offtake, server: tuple[str, dict[str, str]], writer: RestCatalog
) -> None:
    del writer
    add_catalog(offtake, server)
    for table, problem in (("sales.nothing", "has no table sales.nothing"), ("nowhere.orders", "has no table")):
        code, _, err = offtake("dataset", "register", "data", "--catalog", "lakehouse", "--table", table)
        assert (code, problem in err, err.count("\n")) == (1, True, 1), err
