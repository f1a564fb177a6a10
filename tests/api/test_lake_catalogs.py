"""Catalogs of others over HTTP: added, changed, tested, browsed, and their tables registered as datasets."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from offtake.cli.main import main
from tests.deployment import Deployment
from tests.rest_catalog import CLIENT, RestCatalogServer, rest_catalog
from tests.servers import Amazon, amazon

CATALOGS = "/data/foundation/catalog/lakeCatalogs"
DATASETS = "/data/foundation/catalog/dataSets"
SCHEMA = pa.schema([("id", pa.int64())])
MASK = "********"


@pytest.fixture(scope="module")
def store() -> Iterator[Amazon]:
    with amazon() as found:
        found.client("s3").create_bucket(Bucket="lakehouse")
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
    writer = SqlCatalog("foreign", uri=url, warehouse=f"s3://lakehouse/{tmp_path.name}", **keys)
    writer.create_namespace("sales")
    with ExitStack() as stack:
        yield stack.enter_context(rest_catalog(writer))


def body(server: RestCatalogServer, keys: dict[str, str], **more: str) -> dict[str, Any]:
    properties = {"uri": server.origin, "credential": ":".join(CLIENT), **keys, **more}
    return {"name": "lakehouse", "type": "rest", "properties": properties}


@pytest.fixture
def catalog(deployed: Deployment, server: RestCatalogServer, keys: dict[str, str]) -> str:
    return str(deployed.post(CATALOGS, body(server, keys))["id"])


def shown(deployed: Deployment, catalog: str) -> dict[str, Any]:
    answer = deployed.http.get(f"{CATALOGS}/{catalog}")
    found: dict[str, Any] = answer.json()["items"][0]
    assert answer.headers["etag"] == found["etag"]
    return found


def change(deployed: Deployment, catalog: str, document: Any, method: str = "PATCH") -> Any:
    headers = {"If-Match": shown(deployed, catalog)["etag"]}
    return deployed.http.request(method, f"{CATALOGS}/{catalog}", json=document, headers=headers)


def messages(answer: Any) -> str:
    return str(answer.json()["detail"])


def test_a_catalog_is_added_listed_shown_and_removed(
    deployed: Deployment, server: RestCatalogServer, keys: dict[str, str], catalog: str
) -> None:
    found = shown(deployed, catalog)
    assert (found["name"], found["type"], found["sandboxName"]) == ("lakehouse", "rest", "prod")
    assert found["properties"] == body(server, keys)["properties"] | {
        "credential": MASK,
        "s3.secret-access-key": MASK,
    }
    for number in range(3):
        deployed.post(CATALOGS, body(server, keys) | {"name": f"other {number}"})
    page = deployed.http.get(CATALOGS, params={"limit": 3, "orderby": "name"}).json()
    assert [one["name"] for one in page["items"]] == ["lakehouse", "other 0", "other 1"]
    following = deployed.http.get("/data/foundation/catalog" + page["_links"]["next"]["href"]).json()
    assert [one["name"] for one in following["items"]] == ["other 2"]
    assert deployed.http.get(CATALOGS, params={"property": "name==lakehouse", "count": "true"}).json() == {"count": 1}
    assert deployed.http.delete(f"{CATALOGS}/{catalog}").status_code == 202
    assert deployed.http.get(f"{CATALOGS}/{catalog}").status_code == 404
    events = deployed.http.get("/data/foundation/audit/events?property=assetType==Catalog").json()
    actions = [one["action"] for one in events["_embedded"]["events"]]
    assert (actions.count("Create"), actions.count("Delete")) == (4, 1)
    assert CLIENT[1] not in str(events)


@pytest.mark.parametrize(
    ("change_of", "problem"),
    [
        ({"type": "rset"}, "is not a type of catalog; allowed: rest, glue,"),
        ({"type": "sql"}, "sql is for the operator on the server's machine only"),
        ({"type": "hive"}, "hive is for the operator on the server's machine only"),
        ({"type": "files", "properties": {"warehouse": "/srv/lake"}}, "is for the operator on the server's machine"),
        ({"properties": {}}, "/properties/uri: is required"),
        ({"properties": {"uri": "http://x", "server-identity": "s3"}}, "is for the operator on the server's machine"),
        ({"properties": {"uri": "http://x", "credentail": "a:b"}}, "did you mean credential?"),
        ({"properties": {"uri": "http://x", "py-io-impl": "os.path"}}, "it names code to run"),
        ({"properties": {"uri": "http://169.254.169.254/"}}, "is denied"),
        ({"properties": {"uri": "http://x", "token": MASK}}, "is the mask of a secret"),
        ({"properties": {"uri": "http://x", "s3.region": "x.example/"}}, "part of a host name"),
        ({"properties": {"uri": 1}}, "/properties/uri"),
        ({"name": "a/b"}, "/name: must have 1 to 255"),
        ({"name": "lakehouse"}, "A catalog named lakehouse already exists"),
    ],
)
def test_a_catalog_that_does_not_fit_is_refused(
    deployed: Deployment,
    server: RestCatalogServer,
    keys: dict[str, str],
    catalog: str,
    change_of: dict[str, Any],
    problem: str,
) -> None:
    del catalog
    answer = deployed.http.post(CATALOGS, json=body(server, keys) | {"name": "other"} | change_of)
    assert answer.status_code in (400, 409), answer.text
    assert problem in messages(answer)
    assert "CATALOG-" in answer.json()["type"]


def test_a_stored_secret_stays_with_its_endpoint(
    deployed: Deployment, server: RestCatalogServer, keys: dict[str, str], catalog: str
) -> None:
    renamed = change(deployed, catalog, {"name": "renamed", "properties": {"scope": "PRINCIPAL_ROLE:ALL"}})
    assert renamed.status_code == 200, renamed.text
    assert test(deployed, catalog)["result"]
    for name, value in (
        ("uri", "http://attacker.example"),
        ("oauth2-server-uri", "http://attacker.example/token"),
        ("s3.endpoint", "http://attacker.example"),
        ("s3.region", "eu-west-1"),
        ("s3.access-key-id", "other"),
        ("gcs.service.host", "http://attacker.example"),
    ):
        refused = change(deployed, catalog, {"properties": {name: value}})
        assert (refused.status_code, "must be sent again" in messages(refused)) == (400, True), name
        refused = change(deployed, catalog, [{"op": "add", "path": f"/properties/{name}", "value": value}])
        assert refused.status_code == 400, name
        assert "must be sent again" in messages(refused)
    whole = body(server, keys, scope="x") | {"name": "whole"}
    moved = whole["properties"] | {"uri": f"{server.origin}/"}
    assert change(deployed, catalog, whole | {"properties": moved}, "PUT").status_code == 200
    assert test(deployed, catalog)["result"]
    kept = whole["properties"] | {"uri": f"{server.origin}/", "credential": MASK, "s3.secret-access-key": MASK}
    assert change(deployed, catalog, whole | {"properties": kept}, "PUT").status_code == 200
    assert test(deployed, catalog)["result"]
    without = {name: value for name, value in kept.items() if name != "credential"}
    assert change(deployed, catalog, whole | {"properties": without}, "PUT").status_code == 200
    assert "credential" not in shown(deployed, catalog)["properties"]
    back = change(deployed, catalog, whole | {"properties": kept}, "PUT")
    assert "is the mask of a secret" in messages(back)


def test(deployed: Deployment, catalog: str, **query: str) -> Any:
    return deployed.http.get(f"{CATALOGS}/{catalog}/test", params=query).json()


test.__test__ = False  # type: ignore[attr-defined]


def test_a_change_needs_the_current_version_and_the_type_stays(deployed: Deployment, catalog: str) -> None:
    path = f"{CATALOGS}/{catalog}"
    assert deployed.http.patch(path, json={"name": "x"}).json()["type"].endswith("CATALOG-1403-400")
    stale = deployed.http.patch(path, json={"name": "x"}, headers={"If-Match": '"other"'})
    assert stale.status_code == 412
    assert "cannot be changed from rest" in messages(change(deployed, catalog, {"type": "glue"}))
    assert change(deployed, catalog, []).status_code == 400


def test_what_the_operator_added_is_changed_over_http_only_within_the_rules_for_people(
    deployed: Deployment, server: RestCatalogServer, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--data-dir", str(deployed.backend.settings.data_dir)]
    options = ["--property", f"uri={server.origin}", "--property", "server-identity=s3"]
    assert main(["catalog", "add", "own", "--type", "rest", *options, *folder]) == 0
    assert main(["catalog", "add", "db", "--type", "sql", "--property", "uri=sqlite:///x.db", *folder]) == 0
    capsys.readouterr()
    ids = {one["name"]: one["id"] for one in deployed.http.get(CATALOGS).json()["items"]}
    assert change(deployed, ids["own"], {"name": "renamed"}).status_code == 200
    for properties in ({"uri": "http://attacker.example"}, {"s3.endpoint": "http://attacker.example"}):
        refused = change(deployed, ids["own"], {"properties": properties})
        assert (refused.status_code, "for the operator" in messages(refused)) == (400, True)
    removed = change(deployed, ids["own"], {"properties": {"server-identity": None}})
    assert "for the operator" in messages(removed)
    assert "for the operator" in messages(change(deployed, ids["db"], {"name": "renamed"}))


def test_a_test_names_what_is_wrong(
    deployed: Deployment, server: RestCatalogServer, keys: dict[str, str], catalog: str
) -> None:
    table = server.tables.create_table(("sales", "orders"), SCHEMA)
    tested = test(deployed, catalog, table="sales.orders")
    namespaces = [{"name": "sales", "steps": ["sales"]}]
    assert tested == {"result": True, "namespaces": namespaces, "tableUuid": str(table.metadata.table_uuid)}
    assert test(deployed, catalog) == {"result": True, "namespaces": namespaces}
    missing = test(deployed, catalog, table="sales.nothing")
    assert "has no table sales.nothing" in missing["errors"][0]["message"]
    server.views.append(("sales", "summary"))
    assert "is a view" in test(deployed, catalog, table="sales.summary")["errors"][0]["message"]
    server.fails = 503
    assert "cannot be read at present" in test(deployed, catalog)["errors"][0]["message"]
    server.fails = None
    wrong = deployed.post(CATALOGS, body(server, keys, credential="reader:wrong") | {"name": "wrong"})["id"]
    refused = test(deployed, wrong)
    assert (refused["result"], "refuses access" in refused["errors"][0]["message"]) == (False, True)


def test_namespaces_and_tables_are_listed_by_pages_and_searched(
    deployed: Deployment, server: RestCatalogServer, catalog: str
) -> None:
    for number in range(5):
        server.tables.create_table(("sales", f"orders_{number}"), SCHEMA)
    spaces = deployed.http.get(f"{CATALOGS}/{catalog}/namespaces").json()
    assert spaces["items"] == [{"name": "sales", "steps": ["sales"]}]
    query: dict[str, str] = {"namespace": "sales", "limit": "2"}
    page = deployed.http.get(f"{CATALOGS}/{catalog}/tables", params=query).json()
    assert ([one["name"] for one in page["items"]], page["total"]) == (["sales.orders_0", "sales.orders_1"], 5)
    following = deployed.http.get("/data/foundation/catalog" + page["_links"]["next"]["href"]).json()
    assert [one["name"] for one in following["items"]] == ["sales.orders_2", "sales.orders_3"]
    found = deployed.http.get(f"{CATALOGS}/{catalog}/tables", params=query | {"search": "_4"}).json()
    assert [one["steps"] for one in found["items"]] == [["sales", "orders_4"]]
    wrong = deployed.http.get(f"{CATALOGS}/{catalog}/tables", params={"namespace": "slaes"})
    assert (wrong.status_code, "has no namespace for slaes" in messages(wrong)) == (400, True), wrong.text
    server.fails = 503
    away = deployed.http.get(f"{CATALOGS}/{catalog}/tables", params=query)
    assert (away.status_code, "cannot be read at present" in messages(away)) == (502, True)


def test_a_list_without_an_end_is_refused(
    deployed: Deployment, server: RestCatalogServer, catalog: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offtake.lake.catalogs.rest._MOST_PAGES", 50)
    server.endless = True
    answer = deployed.http.get(f"{CATALOGS}/{catalog}/namespaces")
    assert (answer.status_code, "has more than 50 pages" in messages(answer)) == (400, True)


def test_a_table_is_registered_exported_and_forgotten(
    deployed: Deployment, server: RestCatalogServer, catalog: str
) -> None:
    server.tables.create_table(("sales", "orders"), SCHEMA).append(pa.table({"id": [1, 2, 3]}))
    path = f"{CATALOGS}/{catalog}/dataSets"
    (reference,) = deployed.post(path, {"name": "orders", "table": "sales.orders"})
    dataset = reference.removeprefix("@/dataSets/")
    document = deployed.http.get(f"{DATASETS}/{dataset}").json()[dataset]
    assert document["extensions"]["adobe_lakeHouse"]["metrics"]["rowCount"] == 3
    flow = deployed.flow(dataset)
    deployed.run_due()
    assert deployed.runs(flow)[0]["metrics"]["recordSummary"]["outputRecordCount"] == 3
    again = deployed.http.post(path, json={"name": "again", "table": ["sales", "orders"]})
    assert (again.status_code, "registered already, as dataset orders" in messages(again)) == (409, True)
    used = deployed.http.delete(f"{CATALOGS}/{catalog}")
    assert (used.status_code, "Datasets are registered from catalog lakehouse: orders" in messages(used)) == (409, True)
    assert deployed.http.delete(f"{DATASETS}/{dataset}?force=true").status_code == 200
    assert deployed.http.delete(f"{CATALOGS}/{catalog}").status_code == 202
    assert server.tables.table_exists(("sales", "orders"))


@pytest.mark.parametrize(
    ("sent", "status", "problem"),
    [
        ({"name": "x"}, 400, "/table: is required"),
        ({"name": "x", "table": "orders"}, 400, "must be a namespace and a name"),
        ({"name": "x", "table": ["sales", ""]}, 400, "must be a namespace and a name"),
        ({"name": "x", "table": "sales.nothing"}, 400, "has no table sales.nothing"),
        ({"name": "taken", "table": "sales.orders"}, 409, "already has the name taken"),
        ({"name": "", "table": "sales.orders"}, 400, "/name"),
        ({"name": "x", "metadata": "file:///x.json"}, 400, "whose tables have names"),
    ],
)
def test_a_registration_that_does_not_fit_is_refused(
    deployed: Deployment, server: RestCatalogServer, catalog: str, sent: dict[str, Any], status: int, problem: str
) -> None:
    server.tables.create_table(("sales", "orders"), SCHEMA)
    deployed.import_rows("taken", [{"id": 1}])
    answer = deployed.http.post(f"{CATALOGS}/{catalog}/dataSets", json=sent)
    assert (answer.status_code, problem in messages(answer)) == (status, True), answer.text


def test_metadata_on_this_machine_is_for_the_operator(deployed: Deployment, keys: dict[str, str]) -> None:
    new = {"name": "plain", "type": "files", "properties": keys}
    catalog = deployed.post(CATALOGS, new)["id"]
    for location in ("file:///srv/lake/v1.metadata.json", "/srv/lake/v1.metadata.json", "srv/lake"):
        sent = {"name": "x", "metadata": location}
        answer = deployed.http.post(f"{CATALOGS}/{catalog}/dataSets", json=sent)
        assert (answer.status_code, "for the operator there only" in messages(answer)) == (400, True)
    missing = {"name": "x", "metadata": "s3://lakehouse/nothing.metadata.json"}
    answer = deployed.http.post(f"{CATALOGS}/{catalog}/dataSets", json=missing)
    assert answer.status_code == 400, answer.text


def test_the_permission_is_needed_and_grants_nothing_else(deployed: Deployment, catalog: str) -> None:
    calls = (
        ("GET", "", None),
        ("POST", "", {"name": "x", "type": "rest", "properties": {"uri": "http://x"}}),
        ("GET", f"/{catalog}", None),
        ("GET", f"/{catalog}/test", None),
        ("GET", f"/{catalog}/namespaces", None),
        ("GET", f"/{catalog}/tables?namespace=sales", None),
        ("POST", f"/{catalog}/dataSets", {"name": "x", "table": "sales.orders"}),
        ("DELETE", f"/{catalog}", None),
    )
    with deployed.acting(deployed.new_client("manage-datasets", "view-datasets")):
        for method, path, sent in calls:
            answer = deployed.http.request(method, CATALOGS + path, json=sent)
            assert (answer.status_code, "manage-catalogs" in answer.text) == (403, True), (method, path)
    with deployed.acting(deployed.new_client("manage-catalogs")):
        answer = deployed.http.post(f"{CATALOGS}/{catalog}/dataSets", json={"name": "x", "table": "sales.orders"})
        assert (answer.status_code, "manage-datasets" in answer.text) == (403, True)
        assert deployed.http.get(DATASETS).status_code == 403


def test_the_types_are_listed_with_their_properties(deployed: Deployment) -> None:
    types = {one["type"]: one for one in deployed.http.get("/data/foundation/catalog/lakeCatalogTypes").json()["types"]}
    assert types["sql"]["operatorOnly"]
    assert {one["name"] for one in types["rest"]["properties"] if one["required"]} == {"uri"}
