"""Tables of other catalogs, in an S3 server, are registered and exported: first everything, then what was added."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.catalog.sql import SqlCatalog

from tests.cli.deliveries import Offtake
from tests.deployment import Deployment
from tests.hive_metastore_server import hive_metastore
from tests.rest_catalog import CLIENT, RestCatalogServer, rest_catalog
from tests.servers import Amazon, amazon
from tests.web.browsing import signed_in, words

SCHEMA = pa.schema([("id", pa.int64()), ("city", pa.string())])
BUCKET = "lakehouse"


def rows(first: int, count: int) -> pa.Table:
    numbers = list(range(first, first + count))
    return pa.table({"id": numbers, "city": [f"city {one}" for one in numbers]}, schema=SCHEMA)


@dataclass
class Foreign:
    """A lakehouse of others: a catalog that writes, and the options with which Offtake adds it."""

    writer: Catalog
    options: list[str]
    server: RestCatalogServer | None = None
    storage: dict[str, str] = field(default_factory=dict)

    def create(self, name: str, **properties: str) -> Any:
        return self.writer.create_table(("sales", name), SCHEMA, properties=properties)

    def table(self, name: str) -> list[str]:
        """How Offtake names it."""
        return ["--table", f"sales.{name}"]


@pytest.fixture(scope="module")
def store() -> Iterator[Amazon]:
    with amazon() as found:
        found.client("s3").create_bucket(Bucket=BUCKET)
        yield found


def keys(store: Amazon) -> dict[str, str]:
    return {
        "s3.endpoint": store.endpoint,
        "s3.access-key-id": store.access_key,
        "s3.secret-access-key": store.secret_key,
        "s3.region": "us-east-1",
    }


def options(kind: str, **properties: str) -> list[str]:
    pairs = [f"{name}={value}" for name, value in properties.items()]
    return ["--type", kind, *(word for pair in pairs for word in ("--property", pair))]


def sql(store: Amazon, folder: Path, stack: ExitStack) -> Foreign:
    del stack
    url = f"sqlite:///{folder / 'foreign.db'}"
    writer = SqlCatalog("foreign", uri=url, warehouse=f"s3://{BUCKET}/{folder.name}", **keys(store))
    return Foreign(writer, options("sql", uri=url, **{"catalog-name": "foreign"}, **keys(store)), storage=keys(store))


def rest(store: Amazon, folder: Path, stack: ExitStack) -> Foreign:
    found = sql(store, folder, stack)
    server = stack.enter_context(rest_catalog(found.writer))  # type: ignore[arg-type] # it is a SQL catalog
    properties = {"uri": server.origin, "credential": ":".join(CLIENT), **keys(store)}
    return Foreign(found.writer, options("rest", **properties), server, keys(store))


def glue(store: Amazon, folder: Path, stack: ExitStack) -> Foreign:
    del stack
    credentials = {"glue.endpoint": store.endpoint, "glue.region": "us-east-1"}
    credentials |= {"glue.access-key-id": store.access_key, "glue.secret-access-key": store.secret_key}
    warehouse = f"s3://{BUCKET}/{folder.name}-glue"
    writer = GlueCatalog("foreign", warehouse=warehouse, **credentials, **keys(store))
    for one in writer.list_namespaces():
        for table in writer.list_tables(one):
            writer.drop_table(table)
        writer.drop_namespace(one)
    return Foreign(writer, options("glue", **credentials, **keys(store)), storage=keys(store))


def hive(store: Amazon, folder: Path, stack: ExitStack) -> Foreign:
    found = sql(store, folder, stack)
    server = stack.enter_context(hive_metastore(found.writer))  # type: ignore[arg-type] # as above
    return Foreign(
        found.writer, options("hive", uri=server.uri, ugi="reader:readers", **keys(store)), None, keys(store)
    )


KINDS: dict[str, Callable[[Amazon, Path, ExitStack], Foreign]] = {"sql": sql, "rest": rest, "glue": glue, "hive": hive}


@pytest.fixture(params=KINDS)
def foreign(request: pytest.FixtureRequest, store: Amazon, tmp_path: Path) -> Iterator[Foreign]:
    with ExitStack() as stack:
        found = KINDS[request.param](store, tmp_path, stack)
        found.writer.create_namespace("sales")
        yield found


def register(offtake: Offtake, foreign: Foreign, name: str = "orders") -> str:
    """Add the catalog and register the table; the dataset's id."""
    assert offtake("catalog", "add", "lakehouse", *foreign.options)[0] == 0
    code, out, err = offtake("dataset", "register", name, "--catalog", "lakehouse", *foreign.table(name), "--json")
    assert code == 0, err
    found: str = json.loads(out)["id"]
    return found


def next_run(deployed: Deployment, flow: str) -> dict[str, Any]:
    """The flow's run of its next slot."""
    deployed.clock.advance(hours=3)
    deployed.run_due()
    found: dict[str, Any] = deployed.runs(flow)[0]
    return found


def outcome(run: dict[str, Any]) -> tuple[str, int]:
    """The run's status, and the rows that it delivered."""
    metrics = run["metrics"]
    return metrics["statusSummary"]["status"], metrics["recordSummary"].get("outputRecordCount", 0)


def test_a_table_is_registered_and_exported_where_it_is(
    deployed: Deployment, offtake: Offtake, foreign: Foreign
) -> None:
    table = foreign.create("orders")
    for first in (0, 10):
        table.append(rows(first, 10))
    dataset = register(offtake, foreign)
    code, out, err = offtake("catalog", "test", "lakehouse", "--table", "sales.orders")
    assert (code, "sales" in out, str(table.metadata.table_uuid) in out) == (0, True, True), err
    assert "20 rows" in offtake("dataset", "show", "orders")[1]
    assert json.loads(offtake("dataset", "preview", "orders", "--rows", "1")[1])["id"] == 0
    flow = deployed.flow(dataset)
    deployed.run_due()
    assert outcome(deployed.runs(flow)[0]) == ("success", 20)
    table.append(rows(20, 5))
    assert outcome(next_run(deployed, flow)) == ("success", 5)
    assert outcome(next_run(deployed, flow)) == ("success", 0)
    assert offtake("flow", "verify", flow)[0] == 0
    eligible = deployed.http.get("/data/foundation/catalog/dataSets").json()
    assert dataset in eligible


def test_a_table_that_is_gone_or_another_one_fails_the_run_and_its_position_stays(
    deployed: Deployment, offtake: Offtake, foreign: Foreign
) -> None:
    table = foreign.create("orders")
    table.append(rows(0, 10))
    flow = deployed.flow(register(offtake, foreign))
    deployed.run_due()
    foreign.writer.drop_table(("sales", "orders"))
    gone = next_run(deployed, flow)
    assert outcome(gone)[0] == "failed"
    assert "Catalog lakehouse has no table sales.orders" in json.dumps(gone)
    foreign.create("orders").append(rows(0, 10))
    other = next_run(deployed, flow)
    assert outcome(other)[0] == "failed"
    assert "dropped and made again" in json.dumps(other)
    for shown in (offtake("flow", "show", flow)[1], offtake("run", "show", other["id"])[1]):
        (line,) = [one for one in shown.splitlines() if one.startswith("undelivered: ")]
        assert "rows added after snapshot" in line
        assert "its runs fail until the table is there again, or the flow exports another dataset" in line


def test_a_registered_table_is_read_only_and_forgotten_without_a_trace(
    deployed: Deployment, offtake: Offtake, foreign: Foreign, store: Amazon, tmp_path: Path
) -> None:
    foreign.create("orders").append(rows(0, 10))
    before = objects(store)
    dataset = register(offtake, foreign)
    file = tmp_path / "more.csv"
    file.write_text("id,city\n1,Bern\n")
    for command in (
        ("dataset", "import", "orders", str(file)),
        ("dataset", "import", "orders", str(file), "--dry-run"),
    ):
        code, _, err = offtake(*command)
        assert (code, "read-only" in err) == (1, True)
    body = {"datasetId": dataset, "inputFormat": {"format": "csv"}}
    refused = deployed.http.post("/data/foundation/import/batches", json=body)
    assert (refused.status_code, "read-only" in refused.text) == (400, True)
    code, _, err = offtake("catalog", "remove", "lakehouse")
    assert (code, "orders" in err) == (1, True)
    assert offtake("dataset", "delete", "orders")[0] == 0
    assert offtake("catalog", "remove", "lakehouse")[0] == 0
    assert objects(store) == before
    assert foreign.writer.table_exists(("sales", "orders"))


def objects(store: Amazon) -> set[tuple[str, str]]:
    """Every object of the bucket, with its checksum."""
    pages = store.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return {(one["Key"], one["ETag"]) for page in pages for one in page.get("Contents", ())}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--type", "rset", "--property", "uri=x"], "is not a type of catalog; allowed: rest, glue, hive, sql, files"),
        (["--type", "rest"], "/properties/uri: is required"),
        (["--type", "rest", "--property", "uri=ftp://x"], "must be a URL that starts with http:// or https://"),
        (["--type", "rest", "--property", "uri=http://u:p@x"], "must be a URL that starts with http:// or https://"),
        (["--type", "rest", "--property", "uri=http://169.254.169.254/"], "is denied"),
        (["--type", "rest", "--property", "uri=http://x", "--property", "credentail=a:b"], "did you mean credential?"),
        (["--type", "rest", "--property", "uri=http://x", "--property", "py-io-impl=os.path"], "it names code to run"),
        (
            ["--type", "rest", "--property", "uri=http://x", "--property", "rest.sigv4-enabled=true"],
            "Use a catalog of type glue",
        ),
        (["--type", "rest", "--property", "uri=http://x", "--property", "s3.anonymous=yes"], "must be true or false"),
        (["--type", "rest", "--property", "uri"], "give NAME=VALUE"),
        (["--type", "rest", "--property", "uri=http://x", "--property", "credential=abc"], "must be ID:SECRET"),
        (["--type", "rest", "--property", "uri=http://x", "--property", "credential=abc:"], "must be ID:SECRET"),
        (
            ["--type", "files", "--property", "s3.access-key-id=AKIA"],
            "/properties/s3.access-key-id: needs s3.secret-access-key too",
        ),
        (
            ["--type", "glue", "--property", "client.secret-access-key=x"],
            "/properties/client.secret-access-key: needs client.access-key-id too",
        ),
        (
            ["--type", "files", "--property", "adls.client-id=x"],
            "/properties/adls.client-id: needs adls.tenant-id and adls.client-secret too",
        ),
        (["--type", "rest", "--property", "uri=env:NOT_SET_ANYWHERE"], "no variable NOT_SET_ANYWHERE"),
        (["--type", "hive", "--property", "uri=http://x"], "must be a URL that starts with thrift://"),
        (["--type", "hive", "--property", "uri=thrift://169.254.169.254:9083"], "is denied"),
        (
            ["--type", "hive", "--property", "uri=thrift://x", "--property", "hive.kerberos-authentication=true"],
            "use the metastore's REST catalog",
        ),
        (["--type", "sql", "--secret-file", "uri=/not/there"], "/not/there cannot be read"),
    ],
)
def test_a_catalog_that_does_not_fit_is_refused_in_one_sentence(
    offtake: Offtake, arguments: list[str], problem: str
) -> None:
    code, out, err = offtake("catalog", "add", "wrong", *arguments)
    assert (code, out) == (1, "")
    assert problem in err
    assert "No catalogs yet" in offtake("catalog", "list")[2]


def test_wrong_names_are_refused_with_what_there_is(offtake: Offtake, foreign: Foreign) -> None:
    foreign.create("orders")
    register(offtake, foreign)
    for command, problem in (
        (("catalog", "add", "lakehouse", *foreign.options), "already exists"),
        (("catalog", "show", "lakehuose"), "Did you mean lakehouse?"),
        (("catalog", "test", "lakehouse", "--table", "sales.nothing"), "has no table sales.nothing"),
        (("catalog", "test", "lakehouse", "--table", "orders"), "must be a namespace and a name"),
        (("dataset", "register", "again", "--catalog", "lakehouse", "--table", "sales.orders"), "registered already"),
        (("dataset", "register", "x", "--catalog", "lakehouse", "--metadata", "s3://x"), "name the table with --table"),
        (("dataset", "register", "x", "--catalog", "lakehouse"), "Give either --table, --namespace or"),
    ):
        code, _, err = offtake(*command)
        assert (code, problem in err) == (1, True), err


def test_secrets_are_neither_shown_nor_stored_in_the_clear(
    deployed: Deployment, offtake: Offtake, foreign: Foreign, store: Amazon
) -> None:
    foreign.create("orders").append(rows(0, 3))
    register(offtake, foreign)
    shown = "".join(offtake(*command)[1] for command in (("catalog", "show", "lakehouse"), ("audit", "list", "--json")))
    assert store.secret_key not in shown
    content = (deployed.backend.settings.data_dir / "offtake.db").read_bytes()
    assert store.secret_key.encode() not in content
    assert CLIENT[1].encode() not in content


def test_a_table_without_a_catalog_is_named_by_its_metadata(
    deployed: Deployment, offtake: Offtake, store: Amazon, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        found = sql(store, tmp_path, stack)
        found.writer.create_namespace("sales")
        table = found.create("orders")
        table.append(rows(0, 4))
        assert offtake("catalog", "add", "plain", *options("files", **keys(store)))[0] == 0
        location = table.metadata_location
        folder = location.rpartition("/metadata/")[0]
        hintless = ("dataset", "register", "x", "--catalog", "plain", "--metadata", folder)
        for command in (hintless, ("catalog", "test", "plain", "--metadata", folder)):
            code, _, err = offtake(*command)
            assert (code, "has no metadata/version-hint.text" in err, err.count("\n")) == (1, True, 1)
        code, out, err = offtake("dataset", "register", "o", "--catalog", "plain", "--metadata", location, "--json")
        assert code == 0, err
        flow = deployed.flow(json.loads(out)["id"])
        deployed.run_due()
        assert outcome(deployed.runs(flow)[0]) == ("success", 4)


def test_the_pages_show_where_a_registered_table_is_kept_and_offer_no_import(
    deployed: Deployment, offtake: Offtake, store: Amazon, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        found = rest(store, tmp_path, stack)
        found.writer.create_namespace("sales")
        found.create("orders").append(rows(0, 3))
        dataset = register(offtake, found)
        person = signed_in(deployed)
        page = person.get(f"/ui/prod/datasets/{dataset}")
        assert "Kept in lakehouse sales.orders, read-only here" in words(page)
        assert "/datasets/import" not in page
        assert "Registered table" in words(person.get("/ui/prod/datasets"))
        assert "city 2" in words(person.get(f"/ui/prod/datasets/{dataset}/preview"))
        assert "append" in words(person.get(f"/ui/prod/datasets/{dataset}/snapshots")).lower()
        assert found.server is not None
        found.server.fails = 503
        away = words(person.get(f"/ui/prod/datasets/{dataset}"))
        assert "Kept in lakehouse" in away
        assert "cannot be read at present" in away


@pytest.mark.parametrize(
    ("kind", "properties", "said"),
    [
        ("sql", {"uri": "sqlite:////nowhere/catalog.db", "warehouse": "/nowhere"}, "nowhere/catalog.db of the catalog"),
        ("sql", {"uri": "postgresql+psycopg://u:p@127.0.0.1:9/x", "warehouse": "/nowhere"}, "its database answers"),
        ("sql", {"uri": "mysql://u:p@127.0.0.1:9/x", "warehouse": "/nowhere"}, "needs the package MySQLdb"),
        ("sql", {"uri": "nonsense", "warehouse": "/nowhere"}, "The uri of Catalog other is not one of a database"),
        ("files", {"warehouse": "/nowhere"}, "The folder /nowhere does not exist"),
        ("rest", {"uri": "http://127.0.0.1:9", "token": "t"}, "nothing answers at its URL"),
    ],
)
def test_the_error_for_a_missing_catalog_is_one_sentence(
    offtake: Offtake, kind: str, properties: dict[str, str], said: str
) -> None:
    assert offtake("catalog", "add", "other", *options(kind, **properties))[0] == 0
    code, out, err = offtake("catalog", "test", "other")
    assert (code, out, err.count("\n"), said in err) == (1, "", 1, True), err


def test_a_table_whose_files_cannot_be_read_is_not_registered(offtake: Offtake, store: Amazon, tmp_path: Path) -> None:
    """A REST catalog sends the metadata, whatever the credentials of the store are."""
    with ExitStack() as stack:
        foreign = rest(store, tmp_path, stack)
        foreign.writer.create_namespace("sales")
        foreign.create("orders").append(rows(0, 1))
        wrong = [one.replace(store.secret_key, "wrong") for one in foreign.options]
        assert offtake("catalog", "add", "lakehouse", *wrong)[0] == 0
        for words_of in (("catalog", "test", "lakehouse"), ("dataset", "register", "orders", "--catalog", "lakehouse")):
            code, out, err = offtake(*words_of, "--table", "sales.orders")
            assert (code, out, err.count("\n"), "403" in err or "SignatureDoesNotMatch" in err) == (1, "", 1, True), err
