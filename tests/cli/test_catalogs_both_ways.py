"""The commands of catalogs in the same process and over the network: what they do, and what they refuse."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from tests.cli.test_both_ways import Way, json_of, refused, says
from tests.cli.test_both_ways import way as way  # noqa: PLC0414 - a fixture
from tests.deployment import Deployment, rows
from tests.rest_catalog import CLIENT, RestCatalogServer, rest_catalog
from tests.servers import Amazon, amazon

pytestmark = pytest.mark.matrix(one_in=2)

SCHEMA = pa.schema([("id", pa.int64())])


@pytest.fixture(scope="module")
def store() -> Iterator[Amazon]:
    with amazon() as found:
        found.client("s3").create_bucket(Bucket="lakehouse")
        yield found


@pytest.fixture
def keys(store: Amazon, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("CATALOG_CREDENTIAL", ":".join(CLIENT))
    monkeypatch.setenv("STORE_SECRET", store.secret_key)
    return {
        "s3.endpoint": store.endpoint,
        "s3.access-key-id": store.access_key,
        "s3.secret-access-key": store.secret_key,
        "s3.region": "us-east-1",
    }


@pytest.fixture
def server(keys: dict[str, str], tmp_path: Path) -> Iterator[RestCatalogServer]:
    url = f"sqlite:///{tmp_path / 'foreign.db'}"
    writer = SqlCatalog("foreign", uri=url, warehouse=f"s3://lakehouse/{tmp_path.name}", **keys)
    writer.create_namespace("sales")
    writer.create_table(("sales", "orders"), SCHEMA).append(pa.table({"id": [1, 2, 3]}))
    with rest_catalog(writer) as found:
        yield found


@pytest.fixture
def options(server: RestCatalogServer, keys: dict[str, str], tmp_path: Path) -> list[str]:
    (tmp_path / "secret").write_text(keys["s3.secret-access-key"] + "\n")
    plain = {name: keys[name] for name in ("s3.endpoint", "s3.access-key-id", "s3.region")} | {"uri": server.origin}
    found = [word for name, value in plain.items() for word in ("--property", f"{name}={value}")]
    secrets = [
        "--secret",
        "credential=env:CATALOG_CREDENTIAL",
        "--secret-file",
        f"s3.secret-access-key={tmp_path}/secret",
    ]
    return ["--type", "rest", *found, *secrets]


@pytest.fixture
def lakehouse(way: Way, options: list[str]) -> str:
    found: str = json_of(way, "catalog", "add", "lakehouse", *options)["id"]
    return found


def test_a_catalog_is_added_shown_tested_changed_and_removed(
    way: Way, lakehouse: str, server: RestCatalogServer, keys: dict[str, str]
) -> None:
    (listed,) = json_of(way, "catalog", "list")
    assert (listed["id"], listed["name"], listed["type"]) == (lakehouse, "lakehouse", "rest")
    for name in ("lakehouse", lakehouse, lakehouse[:8]):
        shown = json_of(way, "catalog", "show", name)
        assert shown == listed
    text = says(way, "catalog", "show", "lakehouse")
    assert f"uri\t{server.origin}" in text
    assert "credential\t********" in text
    assert CLIENT[1] not in text + json.dumps(shown)
    assert keys["s3.secret-access-key"] not in text + json.dumps(shown)
    assert "namespaces: sales" in says(way, "catalog", "test", "lakehouse")
    tested = json_of(way, "catalog", "test", "lakehouse", "--table", "sales.orders")
    assert tested["result"] is True
    assert tested["tableUuid"] in says(way, "catalog", "test", "lakehouse", "--table", "sales.orders")
    assert "has no table sales.odrers" in refused(way, "catalog", "test", "lakehouse", "--table", "sales.odrers")
    assert "is changed" in says(way, "catalog", "update", "lakehouse", "--property", "scope=x", "--name", "lake")
    assert json_of(way, "catalog", "show", "lake")["properties"]["scope"] == "x"
    after = json_of(way, "catalog", "update", "lake", "--unset", "scope", "--name", "lakehouse")
    assert ("scope" in after["properties"], after["name"]) == (False, "lakehouse")
    assert "is removed" in says(way, "catalog", "remove", "lakehouse")
    assert json_of(way, "catalog", "list") == []


def test_secrets_are_changed_and_entered_again_when_the_endpoint_changes(
    way: Way, lakehouse: str, server: RestCatalogServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    del lakehouse
    monkeypatch.setenv("OTHER", "reader:wrong")
    assert "is changed" in says(way, "catalog", "update", "lakehouse", "--secret", "credential=env:OTHER")
    assert "refuses access" in refused(way, "catalog", "test", "lakehouse")
    moved = ("--property", f"uri={server.origin}/")
    assert "must be sent again" in refused(way, "catalog", "update", "lakehouse", *moved)
    secrets = ("--secret", "credential=env:CATALOG_CREDENTIAL", "--secret", "s3.secret-access-key=env:STORE_SECRET")
    assert "is changed" in says(way, "catalog", "update", "lakehouse", *moved, *secrets)
    assert "Success" in says(way, "catalog", "test", "lakehouse", "--table", "sales.orders")


@pytest.mark.usefixtures("lakehouse")
def test_tables_and_namespaces_are_registered(way: Way, server: RestCatalogServer, deployed: Deployment) -> None:
    made = json_of(way, "dataset", "register", "orders", "--catalog", "lakehouse", "--table", "sales.orders")
    assert (made["catalog"], made["table"]) == ("lakehouse", "sales.orders")
    found = json_of(way, "dataset", "show", "orders")
    kept = {"catalogId": found["registered"]["catalogId"], "catalog": "lakehouse", "table": "sales.orders"}
    assert (found["rows"], found["registered"]) == (3, kept | {"uuid": found["registered"]["uuid"]})
    shown = says(way, "dataset", "show", "orders")
    assert "is the registered table sales.orders of catalog lakehouse\n" in shown
    assert f"it is read-only here; its UUID is {found['registered']['uuid']}\n" in shown
    assert "id\tlong\tFalse\n" in shown
    assert "new columns" not in shown
    assert "registered already" in refused(
        way, "dataset", "register", "again", "--catalog", "lakehouse", "--table", "sales.orders"
    )
    server.tables.create_table(("sales", "stock"), SCHEMA)
    registered = says(way, "dataset", "register", "--catalog", "lakehouse", "--namespace", "sales")
    assert registered == "namespace sales: 1 table appeared, 0 gone\n"
    server.tables.drop_table(("sales", "stock"))
    server.tables.create_table(("sales", "late"), SCHEMA)
    synced = json_of(way, "catalog", "sync", "lakehouse")["sales"]
    assert (synced["appeared"], synced["gone"], synced["problem"]) == (["sales.late"], ["sales.stock"], None)
    listed = says(way, "dataset", "list").splitlines()
    assert listed[0].split("\t")[-1] == "REGISTERED TABLE"
    assert any("sales.stock of catalog lakehouse, gone since 2026-03-01" in one for one in listed)
    assert any(one.endswith("\tsales.late of catalog lakehouse") for one in listed)
    assert "has no table sales.stock" in way("dataset", "show", "sales.stock")[2]
    assert "gone since 2026-03-01" in way("dataset", "show", "sales.stock")[1]
    assert "sales\t2\t0" in says(way, "catalog", "show", "lakehouse")
    assert "Delete them first" in refused(way, "catalog", "remove", "lakehouse")
    server.fails = 503
    assert "cannot be read at present" in refused(way, "catalog", "sync", "lakehouse")
    assert deployed.http.get("/data/foundation/catalog/dataSets").status_code == 200


def test_a_large_namespace_is_compared_completely(way: Way, lakehouse: str, server: RestCatalogServer) -> None:
    del lakehouse
    table = server.tables.create_table(("sales", "table_000"), SCHEMA)
    for number in range(1, 130):
        server.tables.register_table(("sales", f"table_{number:03}"), table.metadata_location)
    # Each of them has the UUID of the first, which is another table under its own name.
    found = json_of(way, "dataset", "register", "--catalog", "lakehouse", "--namespace", "sales")["sales"]
    assert len(found["appeared"]) == 131
    server.tables.drop_table(("sales", "table_129"))
    server.tables.create_table(("sales", "table_129"), SCHEMA)
    assert json_of(way, "catalog", "sync", "lakehouse")["sales"]["appeared"] == ["sales.table_129"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("catalog", "show", "lakehuose"), "No catalog has the id or the name lakehuose. Did you mean lakehouse?"),
        (("catalog", "update", "lakehouse"), "Nothing to change"),
        (("catalog", "update", "lakehouse", "--property", "scope=x", "--unset", "scope"), "both set and removed"),
        (("catalog", "update", "lakehouse", "--property", "scpoe=x"), "did you mean scope?"),
        (("catalog", "update", "lakehouse", "--unset", "uri"), "must be sent again: uri changes"),
        (("catalog", "sync", "lakehouse"), "has no namespace that is kept in step"),
        (("catalog", "add", "lakehouse", "--type", "rest", "--property", "uri=https://x"), "already exists"),
        (("catalog", "add", "x", "--type", "rest", "--secret", "token=abc"), "visible to other users"),
        (("catalog", "add", "x", "--type", "rset"), "is not a type of catalog; allowed: rest"),
        (
            ("dataset", "register", "x", "--catalog", "lakehouse", "--metadata", "s3://x"),
            "Catalog lakehouse is of type rest: name the table with --table",
        ),
        (("dataset", "register", "x", "--catalog", "nothing", "--table", "a.b"), "No catalog has the id or the name"),
        (("dataset", "register", "x", "--catalog", "lakehouse", "--table", "orders"), "must be a namespace and a name"),
        (("dataset", "register", "--catalog", "lakehouse", "--namespace", "slaes"), "has no namespace for slaes"),
    ],
)
@pytest.mark.usefixtures("lakehouse")
def test_what_does_not_fit_is_refused_in_one_sentence(way: Way, arguments: tuple[str, ...], problem: str) -> None:
    assert problem in refused(way, *arguments)


def test_what_is_for_the_operator_is_refused_over_the_network(way: Way, deployed: Deployment, tmp_path: Path) -> None:
    local = "--data-dir" in way.args[0]  # type: ignore[attr-defined] # it is a partial function
    folder, database = tmp_path / "tables", tmp_path / "own.db"
    folder.mkdir()
    writer = SqlCatalog("own", uri=f"sqlite:///{database}", warehouse=f"file://{folder}")
    writer.create_namespace("sales")
    table = writer.create_table(("sales", "orders"), SCHEMA)
    deployed.import_rows("events", rows(0, 1))
    says(way, "catalog", "add", "plain", "--type", "files")
    commands = [
        ("catalog", "add", "db", "--type", "sql", "--property", f"uri=sqlite:///{database}"),
        ("catalog", "add", "meta", "--type", "hive", "--property", "uri=thrift://metastore.example.org:9083"),
        ("catalog", "add", "own", "--type", "files", "--property", f"warehouse={folder}"),
        ("catalog", "add", "id", "--type", "files", "--property", "server-identity=s3"),
        ("dataset", "maintain", "events"),
    ]
    for command in commands:
        if local:
            says(way, *command)
        else:
            assert "for the operator" in refused(way, *command)
    catalog = "own" if local else "plain"
    registration = ("dataset", "register", "o", "--catalog", catalog, "--metadata", table.metadata_location)
    if local:
        assert "is registered" in says(way, *registration)
        assert "can be read" in says(way, "catalog", "test", "own", "--metadata", table.metadata_location)
        assert "is a table of another catalog" in refused(way, "dataset", "maintain", "o")
    else:
        assert "this is for the operator there only" in refused(way, *registration)
