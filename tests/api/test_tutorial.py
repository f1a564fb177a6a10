"""The vendor's tutorials, call by call, in the shapes in which they are published (contract, sections 2, 12 to 21)."""

import json
from pathlib import Path
from typing import Any

import pytest

from offtake.engines.local import LocalEngine
from offtake.settings import HOUR_INTERVALS
from tests.api.tutorial import (
    CONNECTIONS,
    LOCATIONS,
    NAMED,
    RSA_KEY,
    SCHEDULE,
    SECRET,
    Auth,
    connect,
    flow_body,
    source_of,
    zone_flow,
)
from tests.deployment import FLOW_SERVICE, LAKE, ZONE_FLOW, Deployment, deployment, rows, table_of
from tests.fake_clock import FakeClock

LANDING_ZONE = "/data/foundation/connectors/landingzone"
ADHOC = "/data/core/activation/disflowprovider/adhocrun"


@pytest.fixture
def dataset(deployed: Deployment) -> str:
    return deployed.import_rows("AAM Devices Data", rows(0, 3))


@pytest.mark.parametrize("in_query", [False, True])
def test_a_token_is_asked_for_as_the_guide_does(deployed: Deployment, in_query: bool) -> None:
    scope = "openid,AdobeID,read_organizations,additional_info.projectedProductContext,session"
    form = {"client_secret": deployed.admin.client_secret, "grant_type": "client_credentials", "scope": scope}
    client = {"client_id": deployed.admin.client_id}
    url = f"/ims/token/v3?client_id={deployed.admin.client_id}" if in_query else "/ims/token/v3"
    answer = deployed.http.post(url, data=form if in_query else form | client).json()
    assert (answer["token_type"], set(answer)) == ("bearer", {"access_token", "token_type", "expires_in"})


def test_eligible_datasets_are_asked_for(deployed: Deployment, dataset: str) -> None:
    query = "outputType=activationDatasets&outputField=datasets&start=0&limit=20&properties=name,state"
    answer = deployed.get(f"/connectionSpecs/{LAKE}/configs?{query}")
    file = {"persisted": True, "containerFormat": "parquet", "format": "parquet"}
    known = {"name": "AAM Devices Data", "fileDescription": file, "aspect": "production", "state": "DRAFT"}
    assert answer["items"] == [{"id": dataset} | known]
    assert answer["pageInfo"] == {"start": 0, "end": 0, "total": 1, "hasNext": False}


@pytest.mark.parametrize("name", NAMED)
def test_the_specs_of_a_destination_are_read(deployed: Deployment, name: str) -> None:
    (spec,) = deployed.get(f"/connectionSpecs/{NAMED[name].connection_spec_id}")["items"]
    assert spec["name"] == name
    (flow_spec,) = deployed.get(f"/flowSpecs/{NAMED[name].flow_spec_id}")["items"]
    assert flow_spec["targetConnectionSpecIds"] == [spec["id"]]


@pytest.mark.parametrize(("name", "auth"), CONNECTIONS)
@pytest.mark.parametrize(
    ("kind", "compression"), [("JSON", "NONE"), ("JSON", "GZIP"), ("PARQUET", "NONE"), ("PARQUET", "GZIP")]
)
def test_connections_are_made_by_the_tutorials_bodies(
    standing: Deployment, name: str, auth: Auth, kind: str, compression: str
) -> None:
    target = connect(standing, name, auth, datasetFileType=kind, compression=compression)
    (shown,) = standing.get(f"/targetConnections/{target}")["items"]
    stored = {"mode": "Server-to-server", **LOCATIONS[name], "datasetFileType": kind, "compression": compression}
    assert shown["params"] == stored
    (base,) = standing.get(f"/connections/{shown['baseConnectionId']}")["items"]
    assert base.get("auth", {}).get("specName") == (auth["specName"] if auth else None)
    assert not any(secret in json.dumps(base) for secret in (SECRET, RSA_KEY, "destinations-role-customer"))


def _way(name: str, auth: Auth) -> str:
    return f"{name} by {auth['specName'] if auth else 'no credentials'}"


@pytest.mark.parametrize(("name", "auth"), CONNECTIONS, ids=[_way(*one) for one in CONNECTIONS])
def test_a_flow_is_made_by_the_tutorials_body(deployed: Deployment, dataset: str, name: str, auth: Auth) -> None:
    source, target = source_of(deployed, dataset), connect(deployed, name, auth)
    flow = deployed.post("/flows", flow_body(name, source, target, SCHEDULE))["id"]
    (shown,) = deployed.get(f"/flows/{flow}")["items"]
    assert (shown["scheduleParams"], shown["state"]) == (SCHEDULE, "enabled")
    assert deployed.get(f"/runs?property=flowId=={flow}") == {"items": [], "_links": {}, "count": 0}


@pytest.mark.parametrize(
    ("schedule", "stored"),
    [
        ({"interval": 0, "timeUnit": "day", "exportMode": "DAILY_FULL_EXPORT"}, {"interval": 0, "timeUnit": "day"}),
        ({"interval": 1, "timeUnit": "day", "exportMode": "FIRST_FULL_THEN_INCREMENTAL"}, {"interval": 1}),
        ({"interval": 1, "timeUnit": "hour"}, {"interval": 1, "timeUnit": "hour"}),
        ({"interval": 8, "timeUnit": "hour"}, {"interval": 8, "timeUnit": "hour"}),
        ({"interval": 3, "timeUnit": "hour"}, {"exportMode": "FIRST_FULL_THEN_INCREMENTAL"}),
        ({"interval": 6, "timeUnit": "hour", "folderNameTemplate": "/"}, {"foldernameTemplate": "/"}),
        ({"interval": "9", "timeUnit": "hour", "frequency": "hour"}, {"interval": 9, "timeUnit": "hour"}),
        ({"interval": 12, "frequency": "hour"}, {"interval": 12, "timeUnit": "hour"}),
        ({"interval": 24, "timeUnit": "hour"}, {"interval": 24, "timeUnit": "hour"}),
    ],
)
def test_each_published_form_of_a_schedule_is_taken(
    deployed: Deployment, dataset: str, schedule: dict[str, Any], stored: dict[str, Any]
) -> None:
    flow = zone_flow(deployed, dataset, schedule | {"startTime": 1_772_344_800})
    (shown,) = deployed.get(f"/flows/{flow}")["items"]
    assert shown["scheduleParams"] | stored == shown["scheduleParams"]
    assert "folderNameTemplate" not in shown["scheduleParams"]


def test_the_flow_specs_list_the_intervals_that_a_flow_may_have(
    tmp_path: Path, clock: FakeClock, engine: LocalEngine
) -> None:
    for number, hours in enumerate((HOUR_INTERVALS, frozenset({2, 4}))):
        with deployment(tmp_path / str(number), clock, engine, hour_intervals=hours) as deployed:
            dataset = deployed.import_rows("events", rows(0, 1))
            listed = [*deployed.get("/flowSpecs")["items"], *deployed.get(f"/flowSpecs/{ZONE_FLOW}")["items"]]
            for spec in listed:
                enum = spec["scheduleSpec"]["spec"]["properties"]["interval"]["enum"]
                assert enum == sorted({0, 1, *hours})
            for interval in hours:
                deployed.flow(dataset, schedule={"interval": interval})


def test_an_hourly_flow_delivers_every_hour_what_came_in(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 3)), schedule={"interval": 1})
    deployed.run_due()
    for hour in range(1, 4):
        deployed.import_rows("events", rows(3 * hour, 3))
        deployed.clock.advance(seconds=59 * 60)
        deployed.run_due()
        assert len(deployed.runs(flow)) == hour
        deployed.clock.advance(seconds=60)
        deployed.run_due()
    assert len(deployed.runs(flow)) == 4
    files = [file for manifest in deployed.manifests() for file in deployed.delivered(manifest)]
    assert [one["id"] for one in table_of(files).to_pylist()] == list(range(12))


def test_a_flow_is_edited_by_the_published_patch(deployed: Deployment, dataset: str) -> None:
    flow = zone_flow(deployed, dataset, SCHEDULE)
    source = source_of(deployed, deployed.import_rows("more", rows(0, 1)))
    schedule = {"interval": 6, "timeUnit": "hour", "startTime": 1_772_344_800}
    operations = [
        {"op": "replace", "path": "/sourceConnectionIds", "value": [source]},
        {"op": "replace", "path": "/scheduleParams", "value": schedule},
    ]
    etag = deployed.patch(f"/flows/{flow}", operations)["etag"]
    (shown,) = deployed.get(f"/flows/{flow}")["items"]
    assert (shown["sourceConnectionIds"], shown["etag"]) == ([source], etag)
    assert shown["scheduleParams"] == SCHEDULE | schedule


def test_credentials_are_replaced_by_the_published_patch(deployed: Deployment) -> None:
    connect(deployed, *CONNECTIONS[0])
    (base,) = deployed.get("/connections")["items"]
    value = {"s3AccessKey": "AKIAIOSFODNN7SECONDKY", "s3SecretKey": SECRET}
    deployed.patch(f"/connections/{base['id']}", [{"op": "replace", "path": "/auth/params", "value": value}])
    (shown,) = deployed.get(f"/connections/{base['id']}")["items"]
    assert shown["auth"]["params"]["s3AccessKey"] == value["s3AccessKey"]


def test_a_targets_place_is_changed_by_the_published_patch(deployed: Deployment) -> None:
    target = connect(deployed, *CONNECTIONS[0])
    value = {"bucketName": "newBucketName".lower(), "path": "updatedPath"}
    deployed.patch(f"/targetConnections/{target}", [{"op": "replace", "path": "/params", "value": value}])
    (shown,) = deployed.get(f"/targetConnections/{target}")["items"]
    kept = {"mode": "Server-to-server", "compression": "NONE", "datasetFileType": "JSON"}
    assert shown["params"] == kept | value


def test_a_flow_is_disabled_and_enabled_without_a_body(deployed: Deployment, dataset: str) -> None:
    flow = zone_flow(deployed, dataset, SCHEDULE)
    for op in ("disable", "enable", "DISABLE"):
        answer = deployed.http.post(f"{FLOW_SERVICE}/flows/{flow}/action?op={op}")
        (shown,) = deployed.get(f"/flows/{flow}")["items"]
        assert (answer.status_code, answer.json()) == (200, {"id": flow, "etag": shown["etag"]})
        assert shown["state"] == f"{op.lower()}d"


def test_a_dataset_is_exported_at_once(deployed: Deployment, dataset: str) -> None:
    flow = zone_flow(deployed, dataset, {"interval": 1, "timeUnit": "day", "startTime": 1_803_880_800})
    body = {"activationInfo": {"destinations": [{"flowId": flow, "datasets": [{"id": dataset}]}]}}
    accept = {"Accept": "application/vnd.adobe.adhoc.dataset.activation+json; version=1"}
    answer = deployed.http.post(ADHOC, json=body, headers=accept)
    (started,) = answer.json()["destinations"][0]["datasets"]
    assert (answer.status_code, started["id"], started["flowId"]) == (200, dataset, flow)
    assert started["statusURL"].startswith(f"http://testserver{FLOW_SERVICE}/runs/")
    deployed.run_due()
    (run,) = deployed.http.get(started["statusURL"], headers=accept).json()["items"]
    assert run["metrics"]["statusSummary"]["status"] == "success"
    assert run["metrics"]["recordSummary"]["outputRecordCount"] == 3


@pytest.mark.parametrize("kind", ["dlz_destination", "user_drop_zone"])
def test_the_landing_zone_is_asked_for(deployed: Deployment, kind: str) -> None:
    container = deployed.http.get(f"{LANDING_ZONE}?type={kind}").json()
    before = deployed.http.get(f"{LANDING_ZONE}/credentials?type={kind}").json()
    after = deployed.http.post(f"{LANDING_ZONE}/credentials?type={kind}&action=refresh").json()
    assert container["containerTTL"] == "7"
    for one in (before, after):
        assert one["containerName"] == container["containerName"]
        assert one["SASUri"].endswith(f"/{one['containerName']}?{one['SASToken']}")
    assert before["SASToken"] != after["SASToken"]


def test_the_tutorial_needs_no_more_than_the_three_export_permissions(deployed: Deployment, dataset: str) -> None:
    three = deployed.new_client("view-destinations", "view-datasets", "manage-and-activate-dataset-destinations")
    with deployed.acting(three):
        flow = zone_flow(deployed, dataset, SCHEDULE)
        deployed.patch(f"/flows/{flow}", [{"op": "replace", "path": "/name", "value": "renamed"}])
        body = {"activationInfo": {"destinations": [{"flowId": flow, "datasets": [{"id": dataset}]}]}}
        deployed.post(ADHOC, body, 200)
        deployed.delete(f"/flows/{flow}")
