"""Catalog: datasets are made, changed, listed and deleted; batches are listed (contract, section 23)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from offtake.catalog import datasets
from offtake.contract.caller import MANAGE_DATASETS, VIEW_DATASETS, VIEW_DESTINATIONS
from offtake.engines.local import LocalEngine
from tests.conftest import NOON
from tests.deployment import ZONE, Deployment, deployment, rows, source_body
from tests.fake_clock import FakeClock
from tests.postgres import migrated_database

CATALOG = "/data/foundation/catalog"
CONFIGS = f"/connectionSpecs/{ZONE}/configs?outputType=activationDatasets&outputField=datasets"
SCHEMA = {"id": "https://ns.example.org/schemas/loyalty", "contentType": "application/vnd.adobe.xed+json;version=1"}


def call(deployed: Deployment, method: str, path: str, status: int = 200, **more: Any) -> Any:
    answer = deployed.http.request(method, CATALOG + path, **more)
    assert answer.status_code == status, answer.text
    return answer.json()


def get(deployed: Deployment, path: str, status: int = 200) -> Any:
    return call(deployed, "GET", path, status)


def make(deployed: Deployment, name: str, **more: Any) -> str:
    (path,) = call(deployed, "POST", "/dataSets", 201, json={"name": name, **more})
    return str(path.removeprefix("@/dataSets/"))


def one(deployed: Deployment, dataset: str, query: str = "") -> Any:
    return get(deployed, f"/dataSets/{dataset}{query}")[dataset]


def code(problem: Any) -> str:
    return str(problem["type"].rpartition("/")[2])


def test_a_dataset_is_made_as_the_contract_has_it(deployed: Deployment) -> None:
    body = {
        "name": "Loyalty members",
        "description": "Everybody",
        "schemaRef": SCHEMA,
        "fileDescription": {"persisted": True, "containerFormat": "parquet", "format": "parquet"},
        "tags": {"unifiedProfile": ["enabled:true"]},
        "unknown": {"ignored": True},
    }
    answer = deployed.http.post(f"{CATALOG}/dataSets", json=body)
    (path,) = answer.json()
    dataset = path.removeprefix("@/dataSets/")
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{CATALOG}/dataSets/{dataset}"
    assert len(dataset) == 24
    shown = one(deployed, dataset)
    assert {**shown, **body} == shown | {"unknown": {"ignored": True}, "tags": body["tags"]}
    assert shown["tags"]["unifiedProfile"] == ["enabled:true"]
    assert shown["tags"]["adobe/siphon/table/format"] == ["iceberg"]
    assert shown["tags"]["adobe/pqs/table"] == ["loyalty_members"]
    assert shown["classification"]["dataBehavior"] == "record"
    assert shown["extensions"]["adobe_lakeHouse"]["metrics"] == {"rowCount": 0, "storageSize": 0}
    assert (shown["aspect"], shown["state"], shown["version"]) == ("production", "DRAFT", "1.0.0")
    assert shown["files"] == f"@/dataSetFiles?dataSetId={dataset}"
    assert "lastBatchId" not in shown


def test_a_dataset_without_rows_can_be_exported(deployed: Deployment) -> None:
    dataset = make(deployed, "empty")
    assert [item["id"] for item in deployed.get(CONFIGS)["items"]] == [dataset]
    flow = deployed.flow(dataset)
    deployed.run_due()
    metrics = deployed.runs(flow)[0]["metrics"]
    assert (metrics["statusSummary"]["status"], metrics["recordSummary"]["outputRecordCount"]) == ("success", 0)
    deployed.import_rows("empty", rows(0, 3))
    deployed.clock.advance(hours=3)
    deployed.run_due()
    assert deployed.runs(flow)[0]["metrics"]["recordSummary"]["outputRecordCount"] == 3


def test_a_dataset_shows_its_rows_and_columns(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 3))
    shown = one(deployed, dataset)
    assert shown["extensions"]["adobe_lakeHouse"]["metrics"]["rowCount"] == 3
    assert shown["lastBatchStatus"] == "success"
    assert shown["lastBatchId"] == shown["lastSuccessfulBatch"]
    schema = one(deployed, dataset, "?properties=observableSchema,name")
    assert set(schema) == {"observableSchema", "name"}
    properties = schema["observableSchema"]["properties"]
    assert {name: found["type"] for name, found in properties.items()} == {
        "id": "integer",
        "city": "string",
        "tags": "array",
    }


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"description": "no name"},
        {"name": ""},
        {"name": " "},
        {"name": "x" * 256},
        {"name": "line\nfeed"},
        {"name": 5},
        {"name": None},
        {"name": "x", "tags": []},
        {"name": "x", "tags": {"": ["a"]}},
        {"name": "x", "tags": {"a": [{}]}},
        {"name": "x", "schemaRef": "x"},
        {"name": "x", "schemaRef": {"contentType": "x"}},
        {"name": "x", "fileDescription": {"format": "docx"}},
        {"name": "x", "classification": {"dataBehavior": "odd"}},
        {"name": "x", "enableErrorDiagnostics": "perhaps"},
        {"name": "x", "extensions": {"adobe_lakeHouse": {"rowExpiration": {"ttlValue": "P1D"}}}},
        {"name": "\u202ex\u0000"},
    ],
)
def test_a_dataset_that_cannot_be_made_says_why(standing: Deployment, body: Any) -> None:
    problem = call(standing, "POST", "/dataSets", 400, json=body)
    assert problem["status"] == 400
    assert problem["detail"]
    assert get(standing, "/dataSets") == {}


@pytest.mark.parametrize("name", ["Zürich ☃", "emoji 😀", "שלום", "a/b\\c", "'; DROP TABLE datasets; --", "%_*"])
def test_names_may_be_any_text(deployed: Deployment, name: str) -> None:
    dataset = make(deployed, name)
    assert one(deployed, dataset)["name"] == name
    deployed.import_rows(f" {name} ", rows(0, 1))
    assert list(get(deployed, "/dataSets")) == [dataset]


def test_several_datasets_may_have_one_name(deployed: Deployment) -> None:
    body = {"name": "AAM Devices Data", "schemaRef": {"id": "https://ns.example.org/s/x"}}
    first, second, other = (make(deployed, one) for one in ("AAM Devices Data", "AAM Devices Data", "other"))
    call(deployed, "PUT", f"/dataSets/{second}", 200, json=body)
    call(deployed, "PATCH", f"/dataSets/{other}", 200, json={"name": body["name"]})
    assert set(get(deployed, "/dataSets?name=AAM Devices Data")) == {first, second, other}


def test_equal_names_are_equal_however_they_are_composed(deployed: Deployment) -> None:
    make(deployed, "Zu\u0308rich")
    make(deployed, "Z\u00fcrich")
    assert len(get(deployed, "/dataSets?name=Z\u00fcrich")) == 2


def test_an_unknown_dataset_is_not_found(deployed: Deployment) -> None:
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        problem = call(deployed, method, "/dataSets/616d53e0a6de2719486fb024", 404, json={"name": "x"})
        assert problem["status"] == 404
        assert code(problem) == "CATALOG-1439-404"


def test_a_part_is_laid_over_a_dataset(deployed: Deployment) -> None:
    dataset = make(deployed, "one", description="before", tags={"a": ["1"], "b": ["2"]})
    path = f"/dataSets/{dataset}"
    change = {"description": "after", "tags": {"a": ["3"], "b": None, "c": ["4"]}}
    assert call(deployed, "PATCH", path, json=change) == [f"@/dataSets/{dataset}"]
    shown = one(deployed, dataset)
    assert (shown["description"], shown["version"]) == ("after", "1.0.1")
    assert {key: shown["tags"].get(key) for key in "abc"} == {"a": ["3"], "b": None, "c": ["4"]}
    call(deployed, "PATCH", path, json={"description": None})
    assert "description" not in one(deployed, dataset)
    patch = [{"op": "add", "path": "/tags/d", "value": ["5"]}, {"op": "replace", "path": "/name", "value": "two"}]
    headers = {"content-type": "application/json-patch+json"}
    call(deployed, "PATCH", path, json=patch, headers=headers)
    assert (one(deployed, dataset)["name"], one(deployed, dataset)["tags"]["d"]) == ("two", ["5"])
    call(deployed, "PUT", path, json={"name": "three"})
    shown = one(deployed, dataset)
    assert shown["name"] == "three"
    assert "d" not in shown["tags"]


@pytest.mark.parametrize(
    "body", [{}, [], "x", {"name": ""}, {"tags": {"a": 5}}, [{"op": "move", "path": "/name"}], [{"op": "remove"}]]
)
def test_a_change_that_cannot_be_made_changes_nothing(deployed: Deployment, body: Any) -> None:
    dataset = make(deployed, "one")
    before = one(deployed, dataset)
    call(deployed, "PATCH", f"/dataSets/{dataset}", 400, json=body)
    assert one(deployed, dataset) == before


def test_a_change_may_name_the_version_it_means(deployed: Deployment) -> None:
    dataset = make(deployed, "one")
    path = f"/v2/dataSets/{dataset}"
    for headers in ({"If-Match": "1.0.9"}, {"If-None-Match": "1.0.0"}, {"If-None-Match": "*"}):
        problem = call(deployed, "PATCH", path, 412, json={"name": "two"}, headers=headers)
        assert code(problem) == "CATALOG-1404-412"
    problem = call(deployed, "PATCH", f"{path}?if-match=1.0.9", 412, json={"name": "two"})
    assert code(problem) == "CATALOG-1404-412"
    problem = call(deployed, "PATCH", f"{path}?if-match=1.0.0", 400, json={"name": "x"}, headers={"If-Match": "1.0.9"})
    assert code(problem) == "CATALOG-1452-400"
    call(deployed, "PATCH", f"{path}?if-match=1.0.0", json={"name": "one"})
    for headers in ({"If-Match": '"1.0.1"'}, {"If-None-Match": "1.0.1"}, {}):
        call(deployed, "PATCH", path, json={"name": "two"}, headers=headers)


def test_a_dataset_that_flows_export_is_deleted_only_when_forced(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 3))
    flow = deployed.flow(dataset)
    problem = call(deployed, "DELETE", f"/dataSets/{dataset}", 409)
    assert code(problem) == "CATALOG-3409-409"
    assert flow in problem["detail"]
    assert "flow" in problem["detail"]
    files = set(deployed.backend.settings.data_dir.rglob("*.parquet"))
    assert files
    call(deployed, "DELETE", f"/dataSets/{dataset}?force=true")
    get(deployed, f"/dataSets/{dataset}", 404)
    assert get(deployed, "/batches") == {}
    assert not set(deployed.backend.settings.data_dir.rglob("*.parquet"))
    deployed.run_due()
    errors = deployed.runs(flow)[0]["metrics"]["statusSummary"]["errors"]
    assert errors[0]["code"] == "EXPORT-1404-404"
    again = deployed.import_rows("events", rows(0, 1))
    assert again != dataset


def test_a_dataset_of_no_flow_is_deleted_at_once(deployed: Deployment) -> None:
    dataset = make(deployed, "one")
    assert call(deployed, "DELETE", f"/dataSets/{dataset}") == [f"@/dataSets/{dataset}"]
    assert get(deployed, "/dataSets") == {}


@pytest.fixture
def three(deployed: Deployment) -> Deployment:
    return with_three(deployed)


def with_three(deployed: Deployment) -> Deployment:
    """Datasets alpha (with rows), beta and Gamma, a second apart."""
    deployed.import_rows("alpha", rows(0, 3))
    deployed.clock.advance(seconds=1)
    make(deployed, "beta", description="second", tags={"kind": ["a", "b"]}, schemaRef=SCHEMA)
    deployed.clock.advance(seconds=1)
    make(deployed, "Gamma", tags={"kind": ["c"]}, enableErrorDiagnostics=True)
    return deployed


@pytest.fixture(scope="module")
def standing_three(tmp_path_factory: pytest.TempPathFactory, engine: LocalEngine) -> Iterator[Deployment]:
    """The same for all tests that only read."""
    with deployment(tmp_path_factory.mktemp("three") / "data", FakeClock(NOON), engine) as opened:
        yield with_three(opened)


FOUND: list[tuple[str, list[str] | None]] = [
    ("", ["Gamma", "beta", "alpha"]),
    ("limit=2", ["Gamma", "beta"]),
    ("limit=2&start=1", ["beta", "alpha"]),
    ("limit=1&offset=2", ["alpha"]),
    ("limit=100&start=101", []),
    ("orderBy=asc:created", ["alpha", "beta", "Gamma"]),
    ("orderBy=desc:name", None),
    ("orderBy=asc:description,desc:created", ["Gamma", "alpha", "beta"]),
    ("name=beta", ["beta"]),
    ("name=beta,alpha", ["beta", "alpha"]),
    ("name=!beta", ["Gamma", "alpha"]),
    ("name=*a", ["Gamma", "beta", "alpha"]),
    ("name=g*", ["Gamma"]),
    ("name=zzz", []),
    ("property=name~et", ["beta"]),
    ("property=name==beta", ["beta"]),
    ("property=name!=beta", ["Gamma", "alpha"]),
    ("property=description", ["beta"]),
    ("property=!description", ["Gamma", "alpha"]),
    ("property=created>0&property=description", ["beta"]),
    ("property=created<0", []),
    ("property=lastBatchId", ["alpha"]),
    ("property=schemaRef.id==https://ns.example.org/schemas/loyalty", ["beta"]),
    ("property=tags.kind==b", ["beta"]),
    ("property=tags.kind", ["Gamma", "beta"]),
    ("tags=kind:a", ["beta"]),
    ("tags=kind:*", ["Gamma", "beta"]),
    ("tags=kind:c,kind:*", ["Gamma"]),
    ("enableErrorDiagnostics=true", ["Gamma"]),
    ("createdAfter=0", ["Gamma", "beta", "alpha"]),
    ("createdBefore=1", []),
    ("requestDataSource=true&property=&name=", ["Gamma", "beta", "alpha"]),
]


@pytest.mark.parametrize(("query", "expected"), FOUND)
def test_datasets_are_found(standing_three: Deployment, query: str, expected: list[str] | None) -> None:
    found = [document["name"] for document in get(standing_three, f"/dataSets?{query}").values()]
    assert found == expected if expected is not None else set(found) == {"alpha", "beta", "Gamma"}


def test_datasets_are_found_on_postgresql_too(
    postgres: str, tmp_path: Path, clock: FakeClock, engine: LocalEngine
) -> None:
    with deployment(tmp_path, clock, engine, database_url=migrated_database(postgres)) as deployed:
        with_three(deployed)
        for query, expected in FOUND:
            found = [document["name"] for document in get(deployed, f"/dataSets?{query}").values()]
            assert found == expected if expected is not None else len(found) == 3, query
        alpha = next(iter(get(deployed, "/dataSets?name=alpha")))
        deployed.flow(alpha)
        call(deployed, "DELETE", f"/dataSets/{alpha}", 409)
        call(deployed, "DELETE", f"/dataSets/{alpha}?force=true")
        assert get(deployed, "/lastBatches") == get(deployed, "/batches?status=success&tags=a:b") == {}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=0", "1452"),
        ("limit=101", "1452"),
        ("limit=x", "1452"),
        ("start=-1", "1452"),
        ("limit=21&properties=observableSchema", "1452"),
        ("orderBy=up:name", "1432"),
        ("orderBy=asc:nonsense", "1433"),
        ("property=nonsense==1", "1449"),
        ("property=name==", "1453"),
        ("property=name>1", "1448"),
        ("property=created==x", "1452"),
        ("nonsense=1", "1451"),
        ("tags=x", "1452"),
        ("created=x", "1452"),
        ("createdAfter=x", "1452"),
        ("name=" + "*a" * 20, "1452"),
    ],
)
def test_what_a_list_cannot_do_is_refused(standing: Deployment, query: str, expected: str) -> None:
    assert code(get(standing, f"/dataSets?{query}", 400)) == f"CATALOG-{expected}-400"


def test_only_the_properties_asked_for_are_shown(three: Deployment) -> None:
    found = get(three, "/dataSets?properties=name,created")
    assert {frozenset(document) for document in found.values()} == {frozenset({"name", "created"})}


def test_eligible_datasets_take_catalogs_parameters(three: Deployment) -> None:
    answer = three.get(f"{CONFIGS}&name=*a&limit=2&orderBy=asc:created&properties=created")
    assert [item["name"] for item in answer["items"]] == ["alpha", "beta"]
    assert answer["pageInfo"] == {"start": 0, "end": 1, "total": 3, "hasNext": True}
    assert {"id", "name", "state", "aspect", "created", "fileDescription"} == set(answer["items"][0])
    empty = three.get(f"{CONFIGS}&start=5")
    assert empty["pageInfo"] == {"start": 5, "end": 4, "total": 3, "hasNext": False}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", 3),
        ("dataSet={dataset}", 2),
        ("status=success", 3),
        ("status=failed", 0),
        ("recordCount=3", 2),
        ("property=recordCount>3", 1),
        ("createdAfter=0&createdBefore=9999999999999", 3),
        ("startAfter=0", 0),
        ("batch={batch}", 1),
        ("property=externalId", 0),
        ("limit=2", 2),
    ],
)
def test_batches_are_found(deployed: Deployment, query: str, expected: int) -> None:
    dataset = deployed.import_rows("one", rows(0, 3))
    deployed.import_rows("one", rows(3, 3))
    deployed.import_rows("two", rows(0, 4))
    batch = one(deployed, dataset)["lastBatchId"]
    assert len(get(deployed, f"/batches?{query.format(dataset=dataset, batch=batch)}")) == expected
    shown = get(deployed, f"/batches/{batch}")[batch]
    assert (shown["status"], shown["metrics"]["outputRecordCount"]) == ("success", 3)
    assert shown["relatedObjects"] == [{"type": "dataSet", "id": dataset}]
    last = get(deployed, "/lastBatches")
    assert last[dataset]["lastSuccessfulBatchId"] == batch
    assert len(last) == 2


def test_labelled_datasets_are_there_only_for_those_with_their_labels(deployed: Deployment) -> None:
    dataset = deployed.import_rows("secret", rows(0, 3))
    batch = one(deployed, dataset)["lastBatchId"]
    with deployed.backend.database.writing() as session:
        row = datasets.get(session, deployed.caller, dataset)
        datasets.set_labels(session, deployed.caller, row, ["core/C1"], deployed.clock.now_ms())
    with deployed.acting(deployed.new_client("*")):
        assert get(deployed, "/dataSets") == get(deployed, "/batches") == get(deployed, "/lastBatches") == {}
        get(deployed, f"/dataSets/{dataset}", 404)
        get(deployed, f"/batches/{batch}", 404)
        assert deployed.get(CONFIGS)["items"] == []
        deployed.post("/sourceConnections", source_body(dataset), 400)
        call(deployed, "DELETE", f"/dataSets/{dataset}?force=true", 404)
    with deployed.acting(deployed.new_client("*", labels=("core/C1",))):
        assert list(get(deployed, "/dataSets")) == [dataset]


@pytest.mark.parametrize(
    ("permission", "reads", "writes"),
    [
        (VIEW_DATASETS, 200, 403),
        (MANAGE_DATASETS, 200, 201),
        (VIEW_DESTINATIONS, 403, 403),
    ],
)
def test_permissions_are_needed(deployed: Deployment, permission: str, reads: int, writes: int) -> None:
    with deployed.acting(deployed.new_client(permission)):
        for path in ("/dataSets", "/batches", "/lastBatches"):
            get(deployed, path, reads)
        call(deployed, "POST", "/dataSets", writes, json={"name": "x"})
