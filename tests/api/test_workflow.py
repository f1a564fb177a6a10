"""The tutorial's calls, and what is refused on the way."""

import importlib.util
from typing import Any

import pytest

from offtake.destinations.registry import DESTINATIONS
from tests.deployment import FLOW_SERVICE, LAKE, ZONE, ZONE_FLOW, Deployment, flow_body, rows, source_body, target_body

S3 = "4fce964d-3f37-408f-9778-e597338a21ee"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
AUTHS: dict[str, tuple[str, dict[str, str]] | None] = {
    "Amazon S3": ("Access Key", {"s3AccessKey": "AKIAIOSFODNN7EXAMPLE", "s3SecretKey": SECRET}),
    "Azure Blob Storage": ("ConnectionString", {"connectionString": f"AccountName=a;AccountKey={SECRET}"}),
    "Azure Data Lake Gen2": (
        "Azure Service Principal Auth",
        {
            "url": "abfss://exports@a.dfs.core.windows.net",
            "servicePrincipalId": "i",
            "servicePrincipalKey": SECRET,
            "tenant": "t",
        },
    ),
    "Data Landing Zone": None,
    "Google Cloud Storage": (
        "Google Cloud Storage authentication credentials",
        {"accessKeyId": "GOOG1EXAMPLE", "secretAccessKey": SECRET},
    ),
    "SFTP": ("SFTP with Password", {"domain": "sftp.example.org", "username": "drop", "password": SECRET}),
}
LOCATIONS = {
    "Amazon S3": {"bucketName": "your-bucket-name", "path": "folder/subfolder"},
    "Azure Blob Storage": {"container": "your-container", "path": "folder/subfolder"},
    "Azure Data Lake Gen2": {"path": "folder/subfolder"},
    "Data Landing Zone": {"path": "folder/subfolder"},
    "Google Cloud Storage": {"bucketName": "your-bucket-name", "path": "folder/subfolder"},
    "SFTP": {"remotePath": "folder/subfolder"},
}


def connect(deployed: Deployment, name: str) -> tuple[str, str]:
    """A base and a target connection to the destination of that name, as the tutorial makes them."""
    destination = next(one for one in DESTINATIONS if one.name == name)
    spec = {"id": destination.connection_spec_id, "version": "1.0"}
    auth = AUTHS[name]
    body: dict[str, Any] = {"name": "base", "connectionSpec": spec}
    if auth is not None:
        body["auth"] = {"specName": auth[0], "params": auth[1]}
    base = deployed.post("/connections", body)["id"]
    params = {"mode": "Server-to-server", "compression": "GZIP", "datasetFileType": "JSON", **LOCATIONS[name]}
    target = {"name": "target", "baseConnectionId": base, "connectionSpec": spec, "params": params}
    return base, deployed.post("/targetConnections", target)["id"]


@pytest.mark.parametrize("name", AUTHS)
def test_the_tutorials_connections_can_be_made_for_every_destination(deployed: Deployment, name: str) -> None:
    base, target = connect(deployed, name)
    shown = deployed.get(f"/connections/{base}")["items"][0]
    assert SECRET not in str(shown)
    assert shown["state"] == "enabled"
    inherited = deployed.get(f"/targetConnections/{target}")["items"][0]["inheritedAttributes"]["baseConnection"]
    assert inherited["id"] == base


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("name", AUTHS)
def test_a_flow_is_refused_where_its_driver_is_not_installed(
    deployed: Deployment, name: str, installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = next(one for one in DESTINATIONS if one.name == name)

    if not installed:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    source = deployed.post("/sourceConnections", source_body(deployed.import_rows("events", rows(0, 1))))["id"]
    body = flow_body(source, connect(deployed, name)[1], deployed.clock)
    body["flowSpec"]["id"] = destination.flow_spec_id
    refused = destination.driver is not None and not installed
    answer = deployed.post("/flows", body, 400 if refused else 201)
    if refused and destination.driver is not None:
        assert f"offtake[{destination.driver.extra}]" in answer["errorMessage"]


def test_a_stored_secret_is_nowhere_in_the_data_directory(deployed: Deployment) -> None:
    for name in AUTHS:
        connect(deployed, name)
    for path in deployed.backend.settings.data_dir.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()


def test_every_spec_is_listed_and_can_be_read(deployed: Deployment) -> None:
    for resource, count in (("connectionSpecs", len(DESTINATIONS) + 1), ("flowSpecs", len(DESTINATIONS))):
        listed = deployed.get(f"/{resource}")
        assert len(listed["items"]) == listed["count"] == count
        assert listed["_links"] == {}
        for spec in listed["items"]:
            assert deployed.get(f"/{resource}/{spec['id']}")["items"] == [spec]
            assert deployed.get(f"/{resource}?property=name=={spec['name']}")["items"] == [spec]
    assert deployed.get(f"/connectionSpecs/{LAKE}")["items"][0]["name"] == "activation-datalake"


def test_eligible_datasets_come_in_pages(deployed: Deployment) -> None:
    made = [deployed.import_rows(f"events {number}", rows(0, 1)) for number in range(3)]
    path = f"/connectionSpecs/{LAKE}/configs?outputType=activationDatasets&outputField=datasets"
    first = deployed.get(f"{path}&limit=2")
    second = deployed.get(f"{path}&limit=2&start=2")
    assert first["pageInfo"] == {"start": 0, "end": 1, "total": 3, "hasNext": True}
    assert second["pageInfo"] == {"start": 2, "end": 2, "total": 3, "hasNext": False}
    assert {one["id"] for one in first["items"] + second["items"]} == set(made)
    compact = deployed.get(f"{path}&properties=name,state")["items"][0]
    assert {"id", "name", "state", "aspect", "fileDescription"} == set(compact)
    assert deployed.get(f"/connectionSpecs/{ZONE}/configs?outputType=activationDatasets&outputField=datasets")["items"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "2119"),
        ("outputType=activationDatasets", "2119"),
        ("outputType=x&outputField=datasets", "1452"),
        ("outputType=activationDatasets&outputField=datasets&limit=0", "1452"),
        ("outputType=activationDatasets&outputField=datasets&limit=101", "1452"),
        ("outputType=activationDatasets&outputField=datasets&start=-1", "1452"),
    ],
)
def test_eligible_datasets_need_their_parameters(deployed: Deployment, query: str, code: str) -> None:
    assert f"FLOW-{code}-400" in deployed.get(f"/connectionSpecs/{LAKE}/configs?{query}", 400)["type"]


def test_a_flow_is_shown_as_the_contract_has_it(deployed: Deployment) -> None:
    flow_id = deployed.flow(deployed.import_rows("events", rows(0, 1)))
    flow = deployed.get(f"/flows/{flow_id}")["items"][0]
    assert flow["state"] == "enabled"
    assert flow["version"] == flow["etag"] == f'"{flow["etag"][1:-1]}"'
    assert flow["runs"] == f"/runs?property=flowId=={flow_id}"
    assert flow["transformations"] == []
    assert flow["inheritedAttributes"]["properties"] == {"isDestinationFlow": True}
    assert flow["inheritedAttributes"]["targetConnections"][0]["data"] == {"outputType": "DATASET_EXPORT"}
    assert flow["scheduleParams"]["endTime"] == 1_788_264_000  # six months after noon of 2026-03-01
    assert "lastRunDetails" not in flow
    deployed.run_due()
    after = deployed.get(f"/flows/{flow_id}")["items"][0]
    assert after["lastRunDetails"]["state"] == "success"
    assert after["version"] == flow["version"]


def test_a_landing_zone_connection_needs_nothing_but_a_name(deployed: Deployment) -> None:
    for body in ({"name": "zone"}, {"name": "zone", "auth": None, "connectionSpec": {"id": ZONE, "version": "1.0"}}):
        made = deployed.post("/connections", body)["id"]
        assert deployed.get(f"/connections/{made}")["items"][0]["connectionSpec"]["id"] == ZONE


def wrong(code: str, status: int, **changes: Any) -> Any:
    return pytest.param(code, status, changes, id=f"{code}-{'-'.join(changes)}")


@pytest.mark.parametrize(
    ("code", "status", "changes"),
    [
        wrong("1413", 400, connectionSpec={"id": "3567r537-2a7b-4583-ac39-ed38d4b848e8", "version": "1.0"}),
        wrong("1455", 422, connectionSpec={"id": S3}),
        wrong("1415", 400, auth={"specName": "Basic Authentication", "params": {}}),
        wrong("1455", 400, auth={"specName": "Access Key", "params": {"s3AccessKey": "A"}}),
        wrong(
            "1452", 400, auth={"specName": "Access Key", "params": {"s3AccessKey": "A", "s3SecretKey": SECRET, "x": 1}}
        ),
        wrong("1455", 400, auth=None),
        wrong("1455", 400, name=None),
        wrong("1455", 400, encryption={"specName": "File Encryption", "params": {}}),
    ],
)
def test_a_base_connection_that_cannot_be_made_says_why(
    deployed: Deployment, code: str, status: int, changes: dict[str, Any]
) -> None:
    auth = AUTHS["Amazon S3"]
    assert auth is not None
    body = {
        "name": "base",
        "connectionSpec": {"id": S3, "version": "1.0"},
        "auth": {"specName": auth[0], "params": auth[1]},
    } | changes
    body = {key: value for key, value in body.items() if key != "name" or value is not None}
    answer = deployed.post("/connections", body, status)
    assert answer["type"].endswith(f"FLOW-{code}-{status}")
    assert SECRET not in str(answer)
    assert deployed.get("/connections")["items"] == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("compression", "ZIP", "NONE"),
        ("datasetFileType", "CSV", "PARQUET"),
        ("datasetFileType", None, "required"),
        ("path", "a/../b", ".."),
        ("path", "a\\b", "backslash"),
        ("path", None, "required"),
        ("folderTemplate", "x", "unknown"),
        ("includeFileManifest", "maybe", "true or false"),
        ("uuidAsText", "perhaps", "true or false"),
        ("parquetEncoding", "DELTA", "'DEFAULT' or 'PLAIN'"),
        ("invalidText", "IGNORE", "'FAIL' or 'REPLACE'"),
    ],
)
def test_target_params_that_cannot_be_used_are_named(standing: Deployment, path: str, value: Any, said: str) -> None:
    base = standing.post("/connections", {"name": "zone"})["id"]
    body = target_body(base)
    body["params"] = {key: one for key, one in (body["params"] | {path: value}).items() if one is not None}
    answer = standing.post("/targetConnections", body, 400)
    (error,) = answer["report"]["errors"]
    assert error["path"] == f"/params/{path}"
    assert said in error["message"]


def test_a_target_connection_needs_its_base_connection(deployed: Deployment) -> None:
    answer = deployed.post("/targetConnections", target_body("00000000-0000-0000-0000-000000000000"), 404)
    assert answer["report"]["type"] == "connections"
    base = connect(deployed, "SFTP")[0]
    assert "FLOW-1414" in deployed.post("/targetConnections", target_body(base), 400)["type"]


def test_unknown_datasets_are_all_named(deployed: Deployment) -> None:
    known = deployed.import_rows("events", rows(0, 1))
    answer = deployed.post("/sourceConnections", source_body("nope", known, "nor this", known), 400)
    paths = [error["path"] for error in answer["report"]["errors"]]
    assert paths == [f"/params/datasets/{index}/dataSetId" for index in (0, 2, 3)]
    assert deployed.get("/sourceConnections")["items"] == []


@pytest.mark.parametrize(
    ("changes", "code", "status"),
    [
        ({"state": "enabled"}, "1410", 400),
        ({"flowSpec": {"id": "1a0514a6-33d4-4c7f-aff8-594799c47549", "version": "1.0"}}, "1413", 400),
        ({"flowSpec": {"id": "269ba276-16fc-47db-92b0-c1049a3c131f", "version": "1.0"}}, "1413", 400),
        ({"transformations": [{"name": "x"}]}, "1452", 400),
        ({"sourceConnectionIds": []}, "1452", 400),
        ({"sourceConnectionIds": ["00000000-0000-0000-0000-000000000000"]}, "1439", 404),
        ({"targetConnectionIds": ["00000000-0000-0000-0000-000000000000"]}, "1439", 404),
        ({"scheduleParams": {"interval": 5, "timeUnit": "hour", "startTime": 1}}, "1452", 400),
        ({"scheduleParams": {"interval": 3, "timeUnit": "hour"}}, "1455", 400),
        ({"scheduleParams": {"interval": 3, "timeUnit": "hour", "startTime": 1_772_344_800_000}}, "1452", 400),
        ({"name": ""}, "1452", 400),
    ],
)
def test_a_flow_that_cannot_be_made_says_why(
    deployed: Deployment, changes: dict[str, Any], code: str, status: int
) -> None:
    source = deployed.post("/sourceConnections", source_body(deployed.import_rows("events", rows(0, 1))))["id"]
    target = deployed.post("/targetConnections", target_body(deployed.post("/connections", {"name": "z"})["id"]))["id"]
    body = flow_body(source, target, deployed.clock) | changes
    assert body["flowSpec"]["id"] == ZONE_FLOW or "flowSpec" in changes
    assert deployed.post("/flows", body, status)["type"].endswith(f"FLOW-{code}-{status}")
    assert deployed.get("/flows")["items"] == []


@pytest.mark.parametrize("resource", ["flows", "runs", "connections", "sourceConnections", "targetConnections"])
def test_an_unknown_id_is_not_found(deployed: Deployment, resource: str) -> None:
    answer = deployed.get(f"/{resource}/00000000-0000-0000-0000-000000000000", 404)
    assert answer["type"].endswith("FLOW-1439-404")
    assert answer["report"]["type"] == resource
    assert answer["errorMessage"] == answer["report"]["detailed-message"]


def test_lists_come_in_pages_that_neither_skip_nor_repeat(deployed: Deployment) -> None:
    made = []
    for number in range(7):
        deployed.clock.advance(seconds=number % 2)
        made.append(deployed.post("/connections", {"name": f"zone {number}"})["id"])
    seen: list[str] = []
    path = "/connections?limit=3"
    while True:
        page = deployed.get(path)
        seen += [one["id"] for one in page["items"]]
        if "next" not in page["_links"]:
            break
        href = page["_links"]["next"]["href"]
        assert href.count("=") == 1
        deployed.clock.advance(seconds=1)
        deployed.post("/connections", {"name": "newcomer"})
        path = f"/connections?limit=3&continuationToken={href.split('=')[1]}"
    assert sorted(seen) == sorted(made)
    assert len(seen) == 7


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "1452"),
        ("limit=abc", "1452"),
        ("property=nonsense==1", "1449"),
        ("property=name~x", "1440"),
        ("property=name==", "1453"),
        ("continuationToken=xyz", "1452"),
    ],
)
def test_list_parameters_that_cannot_be_used_are_refused(deployed: Deployment, query: str, code: str) -> None:
    assert f"FLOW-{code}-400" in deployed.get(f"/connections?{query}", 400)["type"]


def test_an_adhoc_request_that_cannot_be_met_says_so_in_the_words_clients_match(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 1))
    flow = deployed.flow(dataset)
    path = "/data/core/activation/disflowprovider/adhocrun"

    def ask(flow_id: str, *ids: str) -> str:
        asked = {"flowId": flow_id, "datasets": [{"id": one} for one in ids]}
        answer = deployed.post(path, {"activationInfo": {"destinations": [asked]}}, 400)
        assert answer["report"]["detailed-message"] == answer["message"]
        return str(answer["message"])

    assert ask("nope", dataset).startswith("Invalid parameter: Flow for id nope is incorrect. Error is [Adhoc run can")
    assert "5ef3e3259ad2a1191ab7dd7d" in ask(flow, "5ef3e3259ad2a1191ab7dd7d")
    assert deployed.post(path, {"activationInfo": {}}, 400)["report"]["errors"]
    assert deployed.runs(flow) == []


def test_paths_that_are_not_served_answer_json(deployed: Deployment) -> None:
    assert deployed.http.get("/data/foundation/nothing").json()["status"] == 404
    assert deployed.http.put(f"{FLOW_SERVICE}/flows").json()["status"] == 405
