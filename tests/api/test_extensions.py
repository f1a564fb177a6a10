"""Operations that the contract does not have: status, progress, files, backfills, verification, clients, tables."""

import json
from typing import Any

import pytest

from tests.cli.deliveries import add, ids, manifest_of, run_ids, snapshots
from tests.deployment import FLOW_SERVICE, Deployment, flow_body, rows, source_body, target_body

EXPORT = "manage-and-activate-dataset-destinations"
CLIENTS = "/data/foundation/access-control/administration/clients"
CATALOG = "/data/foundation/catalog"


@pytest.fixture
def dataset(deployed: Deployment) -> str:
    return deployed.import_rows("events", rows(0, 20))


@pytest.fixture
def flow(deployed: Deployment, dataset: str) -> str:
    """A flow that has delivered everything, and an increment."""
    made = deployed.flow(dataset)
    deployed.run_due()
    add(deployed, 20, 7)
    return made


def refused(deployed: Deployment, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """The status of an error in the contract's form, and its text."""
    answer = deployed.http.request(method, path, **({} if body is None else {"json": body}))
    problem = answer.json()
    assert problem["status"] == answer.status_code >= 400
    assert problem["report"]["detailed-message"] == problem["detail"]
    return answer.status_code, problem["detail"]


def test_a_flow_says_what_runs_and_what_is_owed(deployed: Deployment, flow: str) -> None:
    found = deployed.get(f"/flows/{flow}/status")
    assert (found["owed"], found["held"], found["toBeRemoved"]) == ([], [], [])
    assert found["lastRunId"] == run_ids(deployed, flow)[-1]
    assert "liveRun" not in found
    made = deployed.post(f"/flows/{flow}/run", {"fullExport": True})
    assert deployed.get(f"/flows/{flow}/status")["liveRun"]["id"] == made["id"]
    assert refused(deployed, "GET", f"{FLOW_SERVICE}/flows/unknown/status")[0] == 404
    with deployed.acting(deployed.new_client("view-datasets")):
        assert refused(deployed, "GET", f"{FLOW_SERVICE}/flows/{flow}/status")[0] == 403


def test_a_flow_says_what_it_would_deliver(deployed: Deployment, flow: str, dataset: str) -> None:
    found = deployed.get(f"/flows/{flow}/preview?rows=2")
    (one,) = found["datasets"]
    assert (found["id"], one["dataSetId"], one["name"]) == (flow, dataset, "events")
    assert one["rows"] == rows(0, 2)
    delivered = [path.relative_to(deployed.zone) for path in deployed.zone.rglob("part-*")]
    (folder, _, name) = one["path"].partition("exportTime=")
    assert all(str(path).startswith(folder) and path.name.endswith(".parquet") for path in delivered)
    assert name.endswith("/part-00000-….parquet")
    assert found["runs"] == [found["runs"][0] + 3 * 3_600_000 * number for number in range(5)]
    assert found["runs"][0] == deployed.get(f"/flows/{flow}")["items"][0]["extensions"]["nextRunAt"]
    deployed.post(f"/flows/{flow}/action?op=disable", None, 200)
    paused = deployed.get(f"/flows/{flow}/preview?rows=0")
    assert (paused["state"], len(paused["runs"]), paused["datasets"][0]["rows"]) == ("disabled", 5, [])
    assert refused(deployed, "GET", f"{FLOW_SERVICE}/flows/unknown/preview")[0] == 404
    assert refused(deployed, "GET", f"{FLOW_SERVICE}/flows/{flow}/preview?rows=101")[0] == 400
    for permission in ("view-datasets", "view-destinations"):
        with deployed.acting(deployed.new_client(permission)):
            assert refused(deployed, "GET", f"{FLOW_SERVICE}/flows/{flow}/preview")[0] == 403


def test_a_preview_shows_no_rows_that_its_caller_may_not_see(deployed: Deployment, flow: str, dataset: str) -> None:
    path, labelled = f"/data/foundation/dataset/datasets/{dataset}/labels", {"labels": ["secret"], "optionalLabels": []}
    assert deployed.http.put(path, json=labelled, headers={"If-Match": "*"}).status_code == 200
    with deployed.acting(deployed.new_client("view-datasets", "view-destinations")):
        (one,) = deployed.get(f"/flows/{flow}/preview")["datasets"]
    assert (one["name"], one["rows"]) == (None, [])


def draft(deployed: Deployment, dataset: str, **schedule: Any) -> Any:
    base = deployed.post("/connections", {"name": "zone of drafts"})["id"]
    source, target = source_body(dataset), target_body(base)
    flow = flow_body("", "", deployed.clock, **schedule)
    ids = ("sourceConnectionIds", "targetConnectionIds")
    return {
        "sourceConnection": source,
        "targetConnection": target,
        "flow": {key: value for key, value in flow.items() if key not in ids},
    }


def test_a_flow_is_previewed_before_it_is_made(deployed: Deployment, dataset: str) -> None:
    body = draft(deployed, dataset, foldernameTemplate="%DATASET_NAME%/%DESTINATION_INSTANCE_ID%")
    found = deployed.post("/flows/preview?rows=1", body, 200)
    assert (found["id"], len(found["runs"]), found["datasets"][0]["rows"]) == (None, 5, rows(0, 1))
    assert "/events/FLOW_ID/part-" in found["datasets"][0]["path"]
    assert [deployed.get(f"/{kind}")["items"] for kind in ("flows", "sourceConnections", "targetConnections")] == [
        []
    ] * 3
    for wrong, why in (
        (draft(deployed, dataset, interval=5), "/scheduleParams/interval"),
        (draft(deployed, "unknown"), "/params/datasets/0/dataSetId"),
        (body | {"targetConnection": body["targetConnection"] | {"params": {}}}, "/params/"),
        ({"flow": {}}, "/sourceConnection"),
    ):
        status, text = refused(deployed, "POST", f"{FLOW_SERVICE}/flows/preview", wrong)
        assert (status, why in text) == (400, True), text
    with deployed.acting(deployed.new_client("view-destinations", "view-datasets")):
        assert refused(deployed, "POST", f"{FLOW_SERVICE}/flows/preview", body)[0] == 403


def test_a_connection_is_tested_before_it_is_made(deployed: Deployment) -> None:
    sftp = {"id": "36965a81-b1c6-401b-99f8-22508f1e6a26", "version": "1.0"}
    login = {"domain": "127.0.0.1", "port": 9, "username": "u", "password": "secret"}
    body = {"name": "partner", "connectionSpec": sftp, "auth": {"specName": "SFTP with Password", "params": login}}
    tested = deployed.post("/connections/test", {"connection": body}, 200)
    assert (tested["result"], tested["errors"][0]["code"]) == (False, "EXPORT-2003-504")
    zone = {"connection": {"name": "zone"}, "params": {"path": "somewhere"}}
    assert deployed.post("/connections/test", zone, 200) == {"result": True}
    status, text = refused(deployed, "POST", f"{FLOW_SERVICE}/connections/test", zone | {"params": {"path": "../x"}})
    assert (status, "/params/path" in text) == (400, True)
    body["auth"] = {"specName": "SFTP with Password", "params": login | {"port": "many"}}
    status, text = refused(deployed, "POST", f"{FLOW_SERVICE}/connections/test", {"connection": body})
    assert (status, "/auth/params/port" in text) == (400, True)
    assert deployed.get("/connections")["items"] == []
    with deployed.acting(deployed.new_client("view-destinations")):
        assert refused(deployed, "POST", f"{FLOW_SERVICE}/connections/test", zone)[0] == 403


def test_a_flow_runs_once_at_a_time(deployed: Deployment, flow: str) -> None:
    made = deployed.post(f"/flows/{flow}/run", {"fullExport": True})
    assert (made["flowId"], made["status"]) == (flow, "waiting")
    again = {"fullExport": False}
    status, text = refused(deployed, "POST", f"{FLOW_SERVICE}/flows/{flow}/run", again)
    assert (status, made["id"] in text) == (400, True)
    assert refused(deployed, "POST", f"{FLOW_SERVICE}/flows/{flow}/run", {"fullExport": "perhaps"})[0] == 400
    assert refused(deployed, "POST", f"{FLOW_SERVICE}/flows/unknown/run", again)[0] == 404
    deployed.run_due()
    assert ids(deployed, manifest_of(deployed, made["id"])) == list(range(27))
    with deployed.acting(deployed.new_client("view-destinations", "view-datasets")):
        assert refused(deployed, "POST", f"{FLOW_SERVICE}/flows/{flow}/run", again)[0] == 403


def test_a_run_says_how_far_it_is_and_which_files_it_wrote(deployed: Deployment, flow: str) -> None:
    run = run_ids(deployed, flow)[0]
    progress = deployed.get(f"/runs/{run}/progress")
    assert (progress["status"], progress["partCount"], progress["finishedPartCount"]) == ("success", 1, 1)
    assert (progress["recordCount"], progress["plannedRecordCount"], progress["errors"]) == (20, 20, [])
    (result,) = manifest_of(deployed, run)["exportResults"]
    found = deployed.get(f"/runs/{run}/files")
    (file,) = found["files"]
    assert (file["sha256"], file["bytes"], file["recordCount"]) == (result["sha256"], result["size"], 20)
    assert f"/{file['path']}" == f"{result['sinkPath']}/{result['name']}"
    assert found["run"]["extensions"]["trigger"] == "schedule"
    assert (found["owed"], found["warnings"]) == ([], [])
    for path in ("progress", "files", "verification"):
        assert refused(deployed, "GET", f"{FLOW_SERVICE}/runs/unknown/{path}")[0] == 404
        with deployed.acting(deployed.new_client("view-datasets")):
            assert refused(deployed, "GET", f"{FLOW_SERVICE}/runs/{run}/{path}")[0] == 403


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"snapshots": {"fromSnapshotId": 0, "toSnapshotId": 1}}, range(20, 27)),
        ({"snapshots": {}}, range(27)),
        ({"runId": 1}, range(20, 27)),
        ({"period": {"until": 2**47}}, range(27)),
    ],
)
def test_snapshots_are_delivered_again(
    deployed: Deployment, flow: str, dataset: str, body: Any, expected: range
) -> None:
    known = snapshots(deployed, dataset)
    if "snapshots" in body:
        body = {"snapshots": {name: known[number] for name, number in body["snapshots"].items()}}
    if "runId" in body:
        body = {"runId": run_ids(deployed, flow)[body["runId"]]}
    made = deployed.post(f"/flows/{flow}/backfill", body)
    assert made["folder"].startswith("backfill-")
    assert [one["dataSetId"] for one in made["datasets"]] == [dataset]
    deployed.run_due()
    assert ids(deployed, manifest_of(deployed, made["id"])) == list(expected)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"datasets": []}, "one of runId, snapshots and period"),
        ({"runId": "x", "snapshots": {}}, "one of runId, snapshots and period"),
        ({"snapshots": {"fromSnapshotId": 5}}, "Snapshot 5"),
        ({"snapshots": {"fromSnapshotId": "a"}}, "/snapshots/fromSnapshotId"),
        ({"snapshots": {"fromSnapshotId": 2**70}}, "/snapshots/fromSnapshotId"),
        ({"snapshots": {}, "datasets": ["unknown"]}, "unknown"),
        ({"period": {"until": 0}}, "No dataset of the flow has a snapshot"),
    ],
)
def test_a_backfill_that_cannot_be_made_is_refused(deployed: Deployment, flow: str, body: Any, why: str) -> None:
    count = len(run_ids(deployed, flow))
    status, text = refused(deployed, "POST", f"{FLOW_SERVICE}/flows/{flow}/backfill", body)
    assert (status, why in text) == (400, True), text
    assert len(run_ids(deployed, flow)) == count


def test_a_flow_is_verified(deployed: Deployment, flow: str, dataset: str) -> None:
    found = deployed.get(f"/flows/{flow}/verification")
    assert found["proven"] is True
    (one,) = found["datasets"]
    assert (one["dataSetId"], len(one["ranges"]), one["pendingRows"], one["flaws"]) == (dataset, 2, 0, [])
    with deployed.acting(deployed.new_client("view-destinations")):
        assert refused(deployed, "GET", f"{FLOW_SERVICE}/flows/{flow}/verification")[0] == 403


def test_a_run_is_verified_with_progress_or_without(deployed: Deployment, flow: str) -> None:
    run = run_ids(deployed, flow)[0]
    path = f"{FLOW_SERVICE}/runs/{run}/verification"
    found = deployed.get(f"/runs/{run}/verification?download=true")
    assert (found["files"], found["equal"], found["findings"], found["downloaded"]) == (1, 1, [], True)
    lines = deployed.http.get(path, params={"download": "true"}, headers={"accept": "application/x-ndjson"})
    *progress, last = [json.loads(line) for line in lines.text.splitlines()]
    assert last == {"result": found}
    assert progress[-1] == {"bytesRead": found["bytes"], "bytes": found["bytes"]}
    (file,) = deployed.delivered(manifest_of(deployed, run))
    file.unlink()
    assert deployed.get(f"/runs/{run}/verification")["collected"] == 1
    strict = deployed.get(f"/runs/{run}/verification?strict=true")
    assert [one["what"] for one in strict["findings"]] == ["missing"]
    assert "consumer" in strict["hint"]
    made = deployed.post(f"/flows/{flow}/run", {"fullExport": True})["id"]
    assert refused(deployed, "GET", f"{FLOW_SERVICE}/runs/{made}/verification")[0] == 400


def test_clients_are_managed(deployed: Deployment) -> None:
    made = deployed.post(CLIENTS, {"name": "partner", "kind": "service", "roles": ["Administrators"]})
    assert (made["roles"], made["kind"], made["clientSecret"][:4]) == (["Administrators"], "service", "p8e-")
    page = deployed.http.get(CLIENTS, params={"limit": "1", "property": "name==partner"}).json()
    (listed,) = page["items"]
    assert listed == {name: value for name, value in made.items() if name not in ("clientSecret", "imsOrgID")}
    rotated = deployed.post(f"{CLIENTS}/{made['id']}/action?op=rotate", {}, 200)
    assert rotated["clientSecret"] != made["clientSecret"]
    assert deployed.http.delete(f"{CLIENTS}/{made['id']}").status_code == 204
    assert refused(deployed, "DELETE", f"{CLIENTS}/{made['id']}")[0] == 404
    assert refused(deployed, "POST", f"{CLIENTS}/{made['id']}/action?op=rotate")[0] == 404
    assert refused(deployed, "POST", f"{CLIENTS}/{made['id']}/action?op=burn")[0] == 400
    assert "clientSecret" not in json.dumps(deployed.http.get(CLIENTS).json())


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ({"kind": "user"}, 400, "/name"),
        ({"name": ""}, 400, "/name"),
        ({"name": "x", "kind": "robot"}, 400, "/kind"),
        ({"name": "x", "roles": ["nope"]}, 404, "nope"),
        ({"name": "x", "external": True}, 400, "/id"),
        ({"name": "x", "id": "a b"}, 400, "/id"),
        ({"name": "x", "id": "ADMIN"}, 409, "already exists"),
    ],
)
def test_a_client_that_cannot_be_made_is_refused(deployed: Deployment, body: Any, status: int, why: str) -> None:
    given = body | ({"id": deployed.admin.client_id} if body.get("id") == "ADMIN" else {})
    found = refused(deployed, "POST", CLIENTS, given)
    assert (found[0], why in found[1]) == (status, True), found


def test_only_who_manages_access_manages_clients(deployed: Deployment) -> None:
    with deployed.acting(deployed.new_client("manage-access", sandboxes=("prod",))):
        for method, path in (("GET", CLIENTS), ("POST", f"{CLIENTS}/x/action?op=rotate"), ("DELETE", f"{CLIENTS}/x")):
            assert refused(deployed, method, path)[0] == 403
        assert refused(deployed, "POST", CLIENTS, {"name": "x"})[0] == 403


def test_a_table_is_described(deployed: Deployment, dataset: str) -> None:
    found = deployed.http.get(f"{CATALOG}/dataSets/{dataset}/table").json()
    assert (found["name"], found["rows"], found["files"], len(found["snapshots"])) == ("events", 20, 1, 1)
    assert {one["name"] for one in found["fields"]} == set(rows(0, 1)[0])
    assert refused(deployed, "GET", f"{CATALOG}/dataSets/unknown/table")[0] == 404
    with deployed.acting(deployed.new_client("view-destinations")):
        assert refused(deployed, "GET", f"{CATALOG}/dataSets/{dataset}/table")[0] == 403


def test_rows_in_lines_have_all_their_digits(deployed: Deployment) -> None:
    body = {"name": "prices", "extensions": {"offtake": {"columns": ["price:decimal(38,10)"]}}}
    (path,) = deployed.http.post(f"{CATALOG}/dataSets", json=body).json()
    deployed.import_rows("prices", [{"price": "1234567890123456789.0123456789"}])
    dataset = path.rpartition("/")[2]
    lines = f"/data/foundation/export/datasets/{dataset}/rows"
    assert deployed.http.get(lines).text == '{"price":1234567890123456789.0123456789}\n'
    assert deployed.http.get(f"{lines}?limit=1").headers["content-type"].startswith("application/x-ndjson")
    assert refused(deployed, "GET", f"{lines}?limit=1001")[0] == 400
    assert refused(deployed, "GET", "/data/foundation/export/datasets/unknown/rows")[0] == 404
    with deployed.acting(deployed.new_client("view-destinations")):
        assert refused(deployed, "GET", lines)[0] == 403


@pytest.mark.parametrize(
    "columns",
    [
        ["id:long:required", "home:struct<zip: string>"],
        [{"name": "id", "type": "long", "required": True}, "home:struct<zip: string>"],
        {"columns": [{"name": "id", "type": "long", "required": True}, {"name": "home", "type": "struct<zip:string>"}]},
    ],
)
def test_columns_are_declared_as_texts_documents_or_a_schema(deployed: Deployment, columns: Any) -> None:
    body = {"name": "towns", "extensions": {"offtake": {"columns": columns}}}
    (path,) = deployed.http.post(f"{CATALOG}/dataSets", json=body).json()
    found = deployed.http.get(f"{CATALOG}/dataSets/{path.rpartition('/')[2]}/table").json()["fields"]
    assert [(one["name"], one["required"]) for one in found] == [("id", True), ("home", False)]


def test_files_that_were_imported_before_are_refused_when_a_batch_asks_for_it(deployed: Deployment) -> None:
    (path,) = deployed.http.post(f"{CATALOG}/dataSets", json={"name": "towns"}).json()
    dataset, found = path.rpartition("/")[2], []
    for refuse in (True, True, False):
        body = {"datasetId": dataset, "inputFormat": {"format": "json", "refuseDuplicates": refuse}}
        batch = deployed.http.post("/data/foundation/import/batches", json=body).json()["id"]
        file = f"/data/foundation/import/batches/{batch}/datasets/{dataset}/files/a.json"
        headers = {"content-type": "application/octet-stream"}
        assert deployed.http.put(file, content=b'{"id":1}\n', headers=headers).status_code == 201
        deployed.http.post(f"/data/foundation/import/batches/{batch}?action=COMPLETE")
        deployed.ingest_due()
        found.append(deployed.http.get(f"{CATALOG}/batches/{batch}").json()[batch])
    assert [one["status"] for one in found] == ["success", "failed", "success"]
    assert "were imported" in found[1]["errors"][0]["description"] or "same" in found[1]["errors"][0]["description"]


def test_an_overview_has_what_the_home_page_shows(deployed: Deployment, flow: str) -> None:
    found = deployed.get("/overview")
    assert found["untilUTC"] - found["sinceUTC"] == 86_400_000
    expected = {"deliveredRunCount": 2, "emptyRunCount": 0, "failedRunCount": 0, "recordCount": 27}
    assert expected.items() <= found["ended"].items()
    assert (found["live"]["runs"], found["attention"], found["endingCount"]) == ([], [], 0)
    assert [one["flowId"] for one in found["coming"]] == [flow]
    made = deployed.post(f"/flows/{flow}/run", {"fullExport": True})["id"]
    (live,) = deployed.get("/overview?limit=1")["live"]["runs"]
    assert (live["id"], live["flowName"], live["state"]) == (made, "flow", "queued")
    assert deployed.get(f"/overview?since={found['untilUTC'] + 1}")["ended"]["deliveredRunCount"] == 0
    for query in ("since=x", "since=-1", "since=99999999999999999999", "limit=0", "limit=101", "limit=²"):
        assert refused(deployed, "GET", f"{FLOW_SERVICE}/overview?{query}")[0] == 400
    with deployed.acting(deployed.new_client("view-datasets")):
        assert refused(deployed, "GET", f"{FLOW_SERVICE}/overview")[0] == 403
