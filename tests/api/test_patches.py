"""PATCH: the operations, the versions, and what each entity lets be changed (contract, sections 5.6 and 18)."""

import json
from typing import Any

import pytest
from sqlalchemy import select

from offtake.store.tables import AuditEvent, Connection
from tests.deployment import FLOW_SERVICE, LAKE, ZONE, Deployment, etag_of, rows, source_body, target_body

S3 = {"id": "4fce964d-3f37-408f-9778-e597338a21ee", "version": "1.0"}
KEYS = {"s3AccessKey": "AKIAIOSFODNN7EXAMPLE", "s3SecretKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
SOURCE = "/sourceConnectionIds"


def op(name: str, path: str, *value: Any) -> dict[str, Any]:
    return {"op": name, "path": path} | ({"value": value[0]} if value else {})


@pytest.fixture
def flow(deployed: Deployment) -> str:
    return f"/flows/{deployed.flow(deployed.import_rows('events', rows(0, 3)))}"


@pytest.fixture(scope="module")
def standing_flow(standing: Deployment) -> str:
    return f"/flows/{standing.flow(standing.import_rows('events', rows(0, 3)))}"


@pytest.fixture
def bucket(deployed: Deployment) -> str:
    auth = {"specName": "Access Key", "params": KEYS}
    made = deployed.post("/connections", {"name": "bucket", "connectionSpec": S3, "auth": auth})
    return f"/connections/{made['id']}"


def stored_secret(deployed: Deployment, path: str) -> Any:
    with deployed.backend.database.reading() as session:
        row = session.get_one(Connection, path.rpartition("/")[2])
        assert row.auth_sealed is not None
        return deployed.backend.vault.decrypt(row.id, row.auth_sealed)


def shown(deployed: Deployment, path: str) -> Any:
    return deployed.get(path)["items"][0]


def test_a_change_needs_the_version_that_was_read(deployed: Deployment, flow: str) -> None:
    body = [op("replace", "/name", "new")]
    missing = deployed.http.patch(FLOW_SERVICE + flow, json=body)
    assert (missing.status_code, missing.json()["type"].rpartition("/")[2]) == (400, "FLOW-1403-400")
    old = etag_of(deployed, flow)
    answer = deployed.http.patch(FLOW_SERVICE + flow, json=body, headers={"if-match": old})
    assert answer.json()["etag"] == answer.headers["etag"] == etag_of(deployed, flow) != old
    late = deployed.patch(flow, [op("replace", "/name", "later")], 412, etag=old)
    assert late["type"].endswith("/FLOW-1404-412")
    assert late["errorMessage"].startswith(f"Supplied version=[{old}] does not match the current version")
    assert shown(deployed, flow)["name"] == "new"


def connected(deployed: Deployment, flow: str) -> list[str]:
    """The paths of a flow and of everything it is made of."""
    inherited = shown(deployed, flow)["inheritedAttributes"]
    target = inherited["targetConnections"][0]["id"]
    source = inherited["sourceConnections"][0]["id"]
    base = shown(deployed, f"/targetConnections/{target}")["baseConnectionId"]
    return [flow, f"/sourceConnections/{source}", f"/targetConnections/{target}", f"/connections/{base}"]


def test_the_version_may_be_named_in_the_query_as_public_collections_do(deployed: Deployment, flow: str) -> None:
    for path in connected(deployed, flow):
        old = etag_of(deployed, path)
        for name in ("if-match", "If-Match"):
            etag = etag_of(deployed, path)
            answer = deployed.http.patch(
                FLOW_SERVICE + path, params={name: etag}, json=[op("replace", "/name", name + path)]
            )
            assert answer.status_code == 200, answer.text
            assert shown(deployed, path)["name"] == name + path
        late = deployed.http.patch(FLOW_SERVICE + path, params={"if-match": old}, json=[op("replace", "/name", "late")])
        assert (late.status_code, late.json()["type"].rpartition("/")[2]) == (412, "FLOW-1404-412")


def test_versions_that_differ_between_header_and_query_are_refused(deployed: Deployment, flow: str) -> None:
    etag, body = etag_of(deployed, flow), [op("replace", "/name", "new")]
    for header, query in ((etag, ["other"]), ("other", [etag]), (etag, ["*"]), ("", [etag, "other"])):
        answer = deployed.http.patch(
            FLOW_SERVICE + flow, params={"if-match": query}, json=body, headers={"If-Match": header} if header else {}
        )
        assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (400, "FLOW-1452-400")
        assert answer.json()["report"]["errors"][0]["path"] == "/if-match"
    acted = deployed.http.post(f"{FLOW_SERVICE}{flow}/action?op=disable&if-match=other", headers={"If-Match": etag})
    assert acted.status_code == 400
    assert shown(deployed, flow)["etag"] == etag
    same = deployed.http.patch(
        FLOW_SERVICE + flow, params={"if-match": etag.strip('"')}, json=body, headers={"If-Match": etag}
    )
    assert same.status_code == 200


def test_the_query_parameter_is_described_wherever_the_header_is(deployed: Deployment) -> None:
    paths = deployed.http.get("/openapi.json").json()["paths"]
    for path, operations in paths.items():
        if path.startswith("/dlz-"):
            continue  # the Blob service's interface has the header only
        for operation in operations.values():
            taken = {(one["name"], one["in"]) for one in operation.get("parameters", [])}
            assert (("If-Match", "header") in taken) == (("if-match", "query") in taken)


@pytest.mark.parametrize("form", ["{}", "*", " {} "])
def test_the_version_may_be_any_and_the_quotes_may_be_missing(deployed: Deployment, flow: str, form: str) -> None:
    bare = etag_of(deployed, flow).strip('"')
    deployed.patch(flow, [op("Replace", "/name", "new")], etag=form.format(bare))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ([], "1405"),
        ({}, "1405"),
        ("x", "1405"),
        (["x"], "1405"),
        ([{}], "1434"),
        ([op("move", "/name", "x")], "1434"),
        ([op("test", "/name", "x")], "1434"),
        ([{"op": 1, "path": "/name", "value": "x"}], "1434"),
        ([{"op": "replace", "value": "x"}], "1455"),
        ([op("replace", "name", "x")], "1455"),
        ([op("replace", "/name")], "1455"),
        ([op("replace", "/nothing", "x")], "1455"),
        ([op("replace", "/", "x")], "1455"),
        ([op("remove", "/name")], "1455"),
        ([op("replace", "/name/x", "x")], "1455"),
        ([op("remove", "/scheduleParams/foldernameTemplate")], "1455"),
        ([op("replace", "/scheduleParams/foldernameTemplate", "x")], "1455"),
        ([op("replace", "/transformations/0", "x")], "1455"),
        ([op("replace", "/state", "disabled")], "1456"),
        ([op("replace", "/name", "")], "1452"),
        ([op("replace", "/name", 5)], "1452"),
        ([op("replace", "/scheduleParams", "x")], "1452"),
        ([op("replace", "/scheduleParams/interval", 5)], "1452"),
        ([op("add", "/scheduleParams/nonsense", 5)], "1452"),
        ([op("remove", "/scheduleParams/interval")], "1455"),
        ([op("replace", "/scheduleParams/endTime", 5)], "1452"),
        ([op("replace", SOURCE, [])], "1452"),
        ([op("replace", SOURCE, ["a", "b"])], "1452"),
        ([op("replace", SOURCE, "a")], "1452"),
        ([op("add", SOURCE, ["a"])], "1455"),
        ([op("add", "/labels", ["*"])], "1452"),
        ([op("add", "/labels", "core/C12")], "1452"),
        ([op("add", "/policy", "x")], "1452"),
        ([op("replace", "/name", "x")] * 101, "1452"),
    ],
)
def test_a_patch_that_cannot_be_applied_changes_nothing(
    standing: Deployment, standing_flow: str, body: Any, code: str
) -> None:
    before = shown(standing, standing_flow)
    first = [op("replace", "/description", "changed")] if isinstance(body, list) and body else []
    problem = standing.patch(standing_flow, first + body if first else body, 400)
    assert problem["type"].endswith(f"/FLOW-{code}-400"), problem
    assert shown(standing, standing_flow) == before


def test_an_unknown_source_connection_is_not_found(deployed: Deployment, flow: str) -> None:
    problem = deployed.patch(flow, [op("replace", SOURCE, ["nope"])], 404)
    assert problem["report"]["type"] == "sourceConnections"


def test_schedule_params_are_laid_over_the_stored_ones(deployed: Deployment, flow: str) -> None:
    before = shown(deployed, flow)["scheduleParams"]
    changed = {"interval": "6", "folderNameTemplate": "%DATASET_ID%", "endTime": None}
    deployed.patch(flow, [op("Replace", "/scheduleParams", changed)])
    expected = before | {"interval": 6, "foldernameTemplate": "%DATASET_ID%"}
    assert shown(deployed, flow)["scheduleParams"] == expected
    deployed.patch(flow, [op("REMOVE", "/scheduleParams/foldernameTemplate", "ignored")])
    assert shown(deployed, flow)["scheduleParams"] == before | {"interval": 6}


def test_an_end_that_is_taken_away_stays_away(deployed: Deployment, flow: str) -> None:
    deployed.patch(flow, [op("remove", "/scheduleParams/endTime")])
    deployed.patch(flow, [op("replace", "/scheduleParams/interval", 12)])
    assert "endTime" not in shown(deployed, flow)["scheduleParams"]


def test_a_start_after_a_defaulted_end_parks_the_flow_and_a_given_end_refuses_it(
    deployed: Deployment, flow: str
) -> None:
    late = deployed.clock.now_seconds() + 365 * 86_400
    deployed.patch(flow, [op("replace", "/scheduleParams/startTime", late)])
    end = shown(deployed, flow)["scheduleParams"]["endTime"]
    assert end < late
    deployed.patch(flow, [op("replace", "/scheduleParams", {"startTime": 1000, "endTime": end + 1})])
    assert "FLOW-1452" in deployed.patch(flow, [op("replace", "/scheduleParams/startTime", late)], 400)["type"]


def test_a_flow_remembers_its_last_operation(deployed: Deployment, flow: str) -> None:
    assert shown(deployed, flow)["lastOperation"]["operation"] == "create"
    operations = [op("replace", "/name", "new"), op("add", "/labels", ["core/C12"])]
    deployed.patch(flow, operations)
    last = shown(deployed, flow)
    assert (last["lastOperation"]["operation"], last["lastOperation"]["ops"]) == ("update", operations)
    assert last["labels"] == ["core/C12"]


def test_labels_and_policy_are_set_replaced_and_removed(deployed: Deployment, flow: str) -> None:
    policy = {"enforcementRefs": ["/dulepolicy/marketingActions/abc"]}
    deployed.patch(flow, [op("add", "/labels", ["b", "a"]), op("add", "/policy", policy)])
    assert (shown(deployed, flow)["labels"], shown(deployed, flow)["policy"]) == (["a", "b"], policy)
    deployed.patch(flow, [op("replace", "/labels", ["c"])])
    assert shown(deployed, flow)["labels"] == ["c"]
    deployed.patch(flow, [op("remove", "/labels")])
    assert "labels" not in shown(deployed, flow)


def test_another_source_connection_keeps_what_stays_and_starts_what_comes_in_full(deployed: Deployment) -> None:
    stays, leaves = deployed.import_rows("stays", rows(0, 3)), deployed.import_rows("leaves", rows(0, 5))
    flow = deployed.flow(stays, leaves)
    deployed.run_due()
    comes = deployed.import_rows("comes", rows(0, 7))
    source = deployed.post("/sourceConnections", source_body(stays, comes))["id"]
    deployed.patch(f"/flows/{flow}", [op("replace", SOURCE, [source])])
    deployed.import_rows("stays", rows(3, 2))
    deployed.clock.advance(hours=3)
    deployed.run_due()
    delivered = deployed.runs(flow)[0]["metrics"]["recordSummary"]["targetSummaries"][0]["entitySummaries"]
    counts = {one["id"]: one["outputRecordCount"] for one in delivered}
    assert counts == {f"dataset:{stays}": 2, f"dataset:{comes}": 7}


def test_another_target_connection_is_delivered_to_from_then_on(deployed: Deployment, flow: str) -> None:
    base = deployed.get("/connections?property=name==zone")["items"][0]["id"]
    target = deployed.post("/targetConnections", target_body(base, path="elsewhere"))["id"]
    deployed.patch(flow, [op("replace", "/targetConnectionIds", [target])])
    deployed.run_due()
    assert list((deployed.zone / "elsewhere").rglob("*.parquet"))


def test_a_target_of_another_destination_is_refused(deployed: Deployment, flow: str, bucket: str) -> None:
    params = {"bucketName": "exports", "path": "x", "compression": "NONE", "datasetFileType": "PARQUET"}
    body = {"name": "t", "baseConnectionId": bucket.rpartition("/")[2], "connectionSpec": S3, "params": params}
    target = deployed.post("/targetConnections", body)["id"]
    assert "FLOW-1413" in deployed.patch(flow, [op("replace", "/targetConnectionIds", [target])], 400)["type"]


def test_credentials_are_replaced_as_a_whole(deployed: Deployment, bucket: str) -> None:
    new = {"s3AccessKey": "OTHER", "s3SecretKey": "marked-secret", "endpointUrl": "https://s3.example.org"}
    deployed.patch(bucket, [op("Replace", "/auth/params", new)])
    assert stored_secret(deployed, bucket) == new
    params = shown(deployed, bucket)["auth"]["params"]
    assert params == {**new, "s3SecretKey": "********", "authorizedDate": "2026-03-01"}
    deployed.patch(bucket, [op("replace", "/auth/params", KEYS)])
    assert stored_secret(deployed, bucket) == KEYS


def test_the_mask_that_reads_return_means_unchanged(deployed: Deployment, bucket: str) -> None:
    params = shown(deployed, bucket)["auth"]["params"]
    assert params["s3SecretKey"] == "********"
    deployed.patch(bucket, [op("replace", "/auth/params", {**params, "region": "eu-west-1"})])
    assert stored_secret(deployed, bucket) == KEYS | {"region": "eu-west-1"}


def test_the_mask_is_no_secret_to_begin_with(deployed: Deployment) -> None:
    auth = {"specName": "Access Key", "params": KEYS | {"s3SecretKey": "********"}}
    problem = deployed.post("/connections", {"name": "b", "connectionSpec": S3, "auth": auth}, 400)
    assert problem["report"]["errors"][0]["path"] == "/auth/params/s3SecretKey"


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        (op("replace", "/connectionSpec", {"id": ZONE, "version": "1.0"}), "1414"),
        (op("replace", "/connectionSpec/id", ZONE), "1414"),
        (op("replace", "/state", "disabled"), "1456"),
        (op("replace", "/auth/params", {"s3AccessKey": "A"}), "1455"),
        (op("replace", "/auth/params", {**KEYS, "unknown": "x"}), "1452"),
        (op("replace", "/auth/params", "x"), "1452"),
        (op("remove", "/auth/params"), "1455"),
        (op("replace", "/auth/specName", "Assumed Role"), "1455"),
        (op("replace", "/encryption", "x"), "1452"),
    ],
)
def test_a_base_connection_refuses_what_it_cannot_become(
    deployed: Deployment, bucket: str, operation: Any, code: str
) -> None:
    before = shown(deployed, bucket)
    problem = deployed.patch(bucket, [operation], 400)
    assert problem["type"].endswith(f"/FLOW-{code}-400")
    assert KEYS["s3SecretKey"] not in json.dumps(problem)
    assert shown(deployed, bucket) == before
    assert stored_secret(deployed, bucket) == KEYS


def test_the_landing_zone_has_no_credentials_to_change(deployed: Deployment) -> None:
    base = f"/connections/{deployed.post('/connections', {'name': 'zone'})['id']}"
    assert "FLOW-1455" in deployed.patch(base, [op("replace", "/auth/params", KEYS)], 400)["type"]
    deployed.patch(base, [op("replace", "/name", "other"), op("add", "/description", "d")])
    assert (shown(deployed, base)["name"], shown(deployed, base)["description"]) == ("other", "d")
    deployed.patch(base, [op("remove", "/description")])
    assert "description" not in shown(deployed, base)


def test_target_params_are_laid_over_the_stored_ones(deployed: Deployment) -> None:
    base = deployed.post("/connections", {"name": "zone"})["id"]
    target = f"/targetConnections/{deployed.post('/targetConnections', target_body(base))['id']}"
    before = shown(deployed, target)["params"]
    deployed.patch(target, [op("replace", "/params", {"path": "new"})])
    assert shown(deployed, target)["params"] == before | {"path": "new"}
    deployed.patch(target, [op("add", "/params/datasetFileType", "json"), op("replace", "/params/compression", "gzip")])
    expected = before | {"path": "new", "datasetFileType": "JSON", "compression": "GZIP"}
    assert shown(deployed, target)["params"] == expected
    for operation, code in (
        (op("add", "/params/bucketName", "x"), "1452"),
        (op("replace", "/params/path", "../x"), "1452"),
        (op("remove", "/params/path"), "1455"),
        (op("replace", "/baseConnectionId", base), "1420"),
        (op("replace", "/connectionSpec", {}), "1414"),
    ):
        assert f"FLOW-{code}" in deployed.patch(target, [operation], 400)["type"], operation
    assert shown(deployed, target)["params"] == expected


def test_a_source_connection_keeps_its_datasets(deployed: Deployment) -> None:
    made = deployed.post("/sourceConnections", source_body(deployed.import_rows("events", rows(0, 1))))["id"]
    source = f"/sourceConnections/{made}"
    for path in ("/params", "/params/datasets", "/params/datasets/0/name"):
        problem = deployed.patch(source, [op("replace", path, [])], 400)
        assert problem["type"].endswith("/FLOW-1420-400")
        assert "/sourceConnectionIds" in problem["errorMessage"]
    deployed.patch(source, [op("replace", "/name", "new")])
    assert shown(deployed, source)["name"] == "new"
    assert shown(deployed, source)["connectionSpec"]["id"] == LAKE


@pytest.mark.parametrize("resource", ["flows", "connections", "sourceConnections", "targetConnections"])
def test_what_is_not_there_cannot_be_changed_or_deleted(deployed: Deployment, resource: str) -> None:
    path = f"/{resource}/00000000-0000-0000-0000-000000000000"
    problem = deployed.patch(path, [op("replace", "/name", "x")], 404, etag="*")
    assert problem["report"]["type"] == resource
    assert deployed.delete(path, 404)["type"].endswith("/FLOW-1439-404")


def test_every_change_is_in_the_audit_log_without_its_secrets(deployed: Deployment, flow: str, bucket: str) -> None:
    deployed.patch(bucket, [op("replace", "/auth/params", KEYS | {"s3AccessKey": "OTHER"})])
    deployed.patch(flow, [op("replace", "/name", "new")])
    deployed.delete(flow)
    with deployed.backend.database.reading() as session:
        events = list(session.scalars(select(AuditEvent).order_by(AuditEvent.at, AuditEvent.id)))
    assert KEYS["s3SecretKey"] not in str([(one.before, one.after) for one in events])
    found = {(one.resource_type, one.action): one for one in events}
    kinds = ("connections", "sourceConnections", "targetConnections", "flows")
    assert {(kind, "create") for kind in kinds} < set(found)
    renamed = found["flows", "update"]
    assert renamed.before is not None
    assert renamed.after is not None
    assert (renamed.before["name"], renamed.after["name"]) == ("flow", "new")
    assert "scheduleParams" not in renamed.before
    deleted = found["flows", "delete"]
    assert (deleted.resource_id, deleted.client_id) == (flow.rpartition("/")[2], deployed.admin.client_id)
    assert (deleted.remote, deleted.sandbox_name) == ("testclient", "prod")
    assert deleted.request_id
