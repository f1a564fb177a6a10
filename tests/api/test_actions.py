"""Deleting, enabling, disabling, testing, exploring, repeating (contract, sections 11, 17.4 and 19)."""

from typing import Any
from urllib.parse import quote

import pytest

from offtake.contract.caller import EXPORT_DATASETS, VIEW_DATASETS, VIEW_DESTINATIONS
from tests.deployment import FLOW_SERVICE, LAKE, ZONE, Deployment, etag_of, flow_body, rows, source_body, target_body

NOWHERE = "00000000-0000-0000-0000-000000000000"
ADHOC = "/data/core/activation/disflowprovider/adhocrun"
ZONE_SOURCE = "26f526f2-58f4-4712-961d-e41bf1ccc0e8"


@pytest.fixture
def flow(deployed: Deployment) -> str:
    return deployed.flow(deployed.import_rows("events", rows(0, 3)))


def one(deployed: Deployment, path: str) -> Any:
    return deployed.get(path)["items"][0]


def act(deployed: Deployment, path: str, status: int = 200, **headers: str) -> Any:
    """An action as clients send it: without a body, without a content type."""
    answer = deployed.http.post(FLOW_SERVICE + path, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


def once(start: int) -> dict[str, Any]:
    return {"exportMode": "DAILY_FULL_EXPORT", "timeUnit": "day", "interval": 0, "startTime": start}


def adhoc(deployed: Deployment, flow: str, status: int = 200, **more: Any) -> Any:
    return deployed.post(ADHOC, {"activationInfo": {"destinations": [{"flowId": flow, **more}]}}, status)


def test_things_are_deleted_in_the_order_of_their_dependence(deployed: Deployment, flow: str) -> None:
    shown = one(deployed, f"/flows/{flow}")
    source, target = shown["sourceConnectionIds"][0], shown["targetConnectionIds"][0]
    base = one(deployed, f"/targetConnections/{target}")["baseConnectionId"]
    refused = deployed.delete(f"/connections/{base}", 400)
    assert refused["type"].endswith("/FLOW-1418-400")
    assert flow in refused["errorMessage"]
    for path in (f"/sourceConnections/{source}", f"/targetConnections/{target}"):
        assert deployed.delete(path, 400)["type"].endswith("/FLOW-1447-400")
    deployed.delete(f"/flows/{flow}")
    assert deployed.get(f"/flows/{flow}", 404)["status"] == 404
    refused = deployed.delete(f"/connections/{base}", 400)
    assert refused["type"].endswith("/FLOW-1447-400")
    assert target in refused["errorMessage"]
    for path in (f"/targetConnections/{target}", f"/connections/{base}", f"/sourceConnections/{source}"):
        deployed.delete(path)
        deployed.get(path, 404)


def test_the_lakes_own_connection_is_deleted_only_when_unused(deployed: Deployment, flow: str) -> None:
    source = one(deployed, f"/flows/{flow}")["sourceConnectionIds"][0]
    lake = one(deployed, f"/sourceConnections/{source}")["baseConnectionId"]
    assert deployed.delete(f"/connections/{lake}", 400)["type"].endswith("/FLOW-1418-400")
    deployed.delete(f"/flows/{flow}")
    assert deployed.delete(f"/connections/{lake}", 400)["type"].endswith("/FLOW-1447-400")
    deployed.delete(f"/sourceConnections/{source}")
    deployed.delete(f"/connections/{lake}")


def test_runs_of_a_deleted_flow_stay_and_one_that_waits_is_cancelled(deployed: Deployment, flow: str) -> None:
    deployed.run_due()
    adhoc(deployed, flow)
    deployed.delete(f"/flows/{flow}")
    deployed.run_due()
    statuses = [run["metrics"]["statusSummary"] for run in deployed.runs(flow)]
    assert sorted(one["status"] for one in statuses) == ["failed", "success"]
    failed = next(one for one in statuses if one["status"] == "failed")
    assert failed["errors"][0]["code"] == "EXPORT-1499-400"


def test_a_disabled_flow_makes_no_runs_and_keeps_its_position(deployed: Deployment, flow: str) -> None:
    deployed.run_due()
    before = etag_of(deployed, f"/flows/{flow}")
    disabled = act(deployed, f"/flows/{flow}/action?op=disable")
    assert disabled["id"] == flow
    assert disabled["etag"] == etag_of(deployed, f"/flows/{flow}") != before
    assert one(deployed, f"/flows/{flow}")["state"] == "disabled"
    deployed.import_rows("events", rows(3, 2))
    deployed.clock.advance(hours=7)
    deployed.run_due()
    assert len(deployed.runs(flow)) == 1
    assert adhoc(deployed, flow, 400)["message"] == "The flow is disabled"
    act(deployed, f"/flows/{flow}/action?op=ENABLE")
    deployed.run_due()
    assert len(deployed.runs(flow)) == 1, "what was missed is not made up for at once"
    deployed.clock.advance(hours=2)
    deployed.run_due()
    latest = deployed.runs(flow)[0]
    assert latest["metrics"]["recordSummary"]["outputRecordCount"] == 2


def test_a_one_time_flow_that_was_disabled_before_its_start_runs_when_enabled(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 3))
    flow = deployed.flow(dataset, schedule=once(deployed.clock.now_seconds() + 3600))
    act(deployed, f"/flows/{flow}/action?op=disable")
    deployed.clock.advance(hours=2)
    deployed.sign_in()
    act(deployed, f"/flows/{flow}/action?op=enable")
    deployed.run_due()
    assert len(deployed.runs(flow)) == 1


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("op=enable", "1422"),
        ("op=pause", "1435"),
        ("op=disable&subOp=APPLY", "1436"),
        ("", "2119"),
        ("op=", "2119"),
    ],
)
def test_an_action_that_does_not_fit_is_refused(deployed: Deployment, flow: str, query: str, code: str) -> None:
    problem = act(deployed, f"/flows/{flow}/action?{query}", 400)
    assert problem["type"].endswith(f"/FLOW-{code}-400")


def test_an_action_may_name_the_version_it_means(deployed: Deployment, flow: str) -> None:
    path = f"/flows/{flow}/action?op=disable"
    assert act(deployed, path, 412, **{"if-match": '"old"'})["type"].endswith("/FLOW-1404-412")
    assert act(deployed, f"{path}&if-match=old", 412)["type"].endswith("/FLOW-1404-412")
    act(deployed, path, 200, **{"if-match": etag_of(deployed, f"/flows/{flow}")})
    query = f"op=enable&if-match={quote(etag_of(deployed, f'/flows/{flow}'))}"
    act(deployed, f"/flows/{flow}/action?{query}", 200)


def test_runs_do_not_change_the_version_of_their_flow(deployed: Deployment, flow: str) -> None:
    before = etag_of(deployed, f"/flows/{flow}")
    deployed.run_due()
    after = one(deployed, f"/flows/{flow}")
    assert (after["etag"], after["lastRunDetails"]["state"]) == (before, "success")


def test_editing_a_schedule_counts_the_next_slot_from_now(deployed: Deployment, flow: str) -> None:
    deployed.run_due()
    deployed.clock.advance(hours=1)
    deployed.patch(f"/flows/{flow}", [{"op": "replace", "path": "/scheduleParams/interval", "value": 6}])
    deployed.run_due()
    assert len(deployed.runs(flow)) == 1
    deployed.clock.advance(hours=4.9)
    deployed.run_due()
    assert len(deployed.runs(flow)) == 1
    deployed.clock.advance(hours=0.1)
    deployed.run_due()
    assert len(deployed.runs(flow)) == 2


def test_a_parked_flow_runs_when_its_start_is_set_to_now(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 3))
    later = deployed.clock.now_seconds() + 365 * 86_400
    flow = deployed.flow(dataset, schedule={"timeUnit": "day", "interval": 1, "startTime": later})
    deployed.run_due()
    assert deployed.runs(flow) == []
    adhoc(deployed, flow, datasets=[{"id": dataset}])
    deployed.run_due()
    assert deployed.runs(flow)[0]["metrics"]["recordSummary"]["outputRecordCount"] == 3
    now = {"startTime": deployed.clock.now_seconds()}
    deployed.patch(f"/flows/{flow}", [{"op": "Replace", "path": "/scheduleParams", "value": now}])
    deployed.clock.advance(seconds=60)
    deployed.run_due()
    assert len(deployed.runs(flow)) == 2


def test_leaving_increments_drops_the_position(deployed: Deployment, flow: str) -> None:
    deployed.run_due()
    path, now = f"/flows/{flow}", deployed.clock.now_seconds()
    mode = once(now + 3600)
    deployed.patch(path, [{"op": "replace", "path": "/scheduleParams", "value": mode}])
    deployed.clock.advance(hours=1)
    deployed.run_due()
    again = {"exportMode": "FIRST_FULL_THEN_INCREMENTAL", "timeUnit": "hour", "interval": 3}
    deployed.sign_in()
    deployed.patch(path, [{"op": "replace", "path": "/scheduleParams", "value": again}])
    deployed.clock.advance(hours=3)
    deployed.run_due()
    counts = [run["metrics"]["recordSummary"]["outputRecordCount"] for run in deployed.runs(flow)]
    assert counts == [3, 3, 3]


def test_a_run_is_made_of_a_flow_that_is_scheduled_once(deployed: Deployment, flow: str) -> None:
    problem = deployed.post("/runs", {"flowId": flow}, 400)
    assert problem["type"].endswith("/FLOW-1444-400")
    late = once(deployed.clock.now_seconds() + 86_400)
    single = deployed.flow(deployed.import_rows("once", rows(0, 4)), schedule=late)
    window = {"startTime": 1_670_455_537, "windowStartTime": 1_670_455_537_000}
    made = deployed.post("/runs", {"flowId": single, "status": "active", "params": window})
    shown = one(deployed, f"/runs/{made['id']}")
    assert shown["etag"] == made["etag"]
    assert shown["params"] == {"startTime": 1_670_455_537_000, "windowStartTime": 1_670_455_537_000}
    assert deployed.post("/runs", {"flowId": single}, 400)["type"].endswith("/FLOW-1422-400")
    deployed.run_due()
    assert one(deployed, f"/runs/{made['id']}")["metrics"]["recordSummary"]["outputRecordCount"] == 4
    deployed.clock.advance(days=2)
    deployed.run_due()
    assert len(deployed.runs(single)) == 2, "the slot of its own is not used up"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"flowId": NOWHERE}, "1430"),
        ({"flow": "x"}, "1455"),
        ({"flowId": 5}, "1452"),
        ({}, "1405"),
        ({"flowId": NOWHERE, "params": {"startTime": "soon"}}, "1452"),
    ],
)
def test_a_run_that_cannot_be_made_says_why(deployed: Deployment, body: Any, code: str) -> None:
    assert deployed.post("/runs", body, 400)["type"].endswith(f"/FLOW-{code}-400")


def break_zone(deployed: Deployment) -> None:
    """The zone's folder is taken by a file, so that nothing can be written."""
    deployed.zone.parent.mkdir(parents=True, exist_ok=True)
    deployed.zone.write_text("in the way")


def test_a_failed_run_is_repeated_over_the_same_snapshots(deployed: Deployment, flow: str) -> None:
    break_zone(deployed)
    deployed.run_due()
    failed = deployed.runs(flow)[0]
    assert failed["metrics"]["statusSummary"]["status"] == "failed"
    deployed.zone.unlink()
    deployed.import_rows("events", rows(3, 4))
    deployed.clock.advance(seconds=1)
    again = act(deployed, f"/runs/{failed['id']}/action?op=re_trigger")
    assert again["parentFlowRunId"] == failed["id"] != again["id"]
    deployed.run_due()
    repeated = one(deployed, f"/runs/{again['id']}")
    assert repeated["metrics"]["recordSummary"]["outputRecordCount"] == 3, "the rows of then, not those added since"
    deployed.clock.advance(hours=3)
    deployed.run_due()
    assert deployed.runs(flow)[0]["metrics"]["recordSummary"]["outputRecordCount"] == 4
    problem = act(deployed, f"/runs/{failed['id']}/action?op=RE_TRIGGER", 400)
    assert problem["type"].endswith("/FLOW-1422-400")
    assert "has delivered its rows" in problem["errorMessage"]


def test_only_failed_runs_of_living_flows_are_repeated(deployed: Deployment, flow: str) -> None:
    deployed.run_due()
    done = deployed.runs(flow)[0]["id"]
    assert act(deployed, f"/runs/{done}/action?op=RE_TRIGGER", 400)["type"].endswith("/FLOW-1422-400")
    assert act(deployed, f"/runs/{done}/action?op=PAUSE", 400)["type"].endswith("/FLOW-1435-400")
    assert act(deployed, f"/runs/{done}/action", 400)["type"].endswith("/FLOW-2119-400")
    assert act(deployed, f"/runs/{NOWHERE}/action?op=RE_TRIGGER", 404)["report"]["type"] == "runs"
    deployed.clock.advance(seconds=1)
    adhoc(deployed, flow)
    waiting = deployed.runs(flow)[0]["id"]
    deployed.delete(f"/flows/{flow}")
    problem = act(deployed, f"/runs/{waiting}/action?op=RE_TRIGGER", 400)
    assert "deleted" in problem["errorMessage"]


@pytest.mark.parametrize("kind", ["user", "service"])
def test_clients_cannot_change_runs_or_specs(deployed: Deployment, flow: str, kind: Any) -> None:
    deployed.run_due()
    run = deployed.runs(flow)[0]
    with deployed.acting(deployed.new_client("*", kind=kind)):
        headers = {"If-Match": run["etag"]}
        put = deployed.http.put(f"{FLOW_SERVICE}/runs/{run['id']}", json={"flowId": flow}, headers=headers).json()
        made = deployed.post("/connectionSpecs", {"name": "x"}, 400)
        changed = deployed.http.put(f"{FLOW_SERVICE}/connectionSpecs/{ZONE}", json={"name": "x"}).json()
    codes = [problem["type"].rpartition("/")[2] for problem in (put, made, changed)]
    expected = ["FLOW-1427-400", "FLOW-1426-400", "FLOW-1426-400"] if kind == "user" else ["FLOW-1420-400"] * 3
    assert codes == expected


@pytest.mark.parametrize(
    ("kind", "query", "code"),
    [
        ("user", "op=FINALIZE&subOp=APPLY", "1402"),
        ("service", "", "2119"),
        ("service", "op=NONSENSE", "1435"),
        ("service", "op=PUBLISH&subOp=APPLY", "1436"),
        ("service", "op=FINALIZE", "1406"),
        ("service", "op=FINALIZE_UPDATE&subOp=progress", "1422"),
        ("service", "op=publish", "1422"),
    ],
)
def test_actions_of_providers_are_refused_with_their_reason(
    deployed: Deployment, flow: str, kind: Any, query: str, code: str
) -> None:
    shown = one(deployed, f"/flows/{flow}")
    base = one(deployed, f"/targetConnections/{shown['targetConnectionIds'][0]}")["baseConnectionId"]
    paths = (
        f"/connections/{base}",
        f"/sourceConnections/{shown['sourceConnectionIds'][0]}",
        f"/targetConnections/{shown['targetConnectionIds'][0]}",
    )
    with deployed.acting(deployed.new_client(VIEW_DESTINATIONS, kind=kind)):
        for path in paths:
            assert act(deployed, f"{path}/action?{query}", 400)["type"].endswith(f"/FLOW-{code}-400")


def test_a_connection_is_tested_where_its_targets_deliver(deployed: Deployment) -> None:
    base = deployed.post("/connections", {"name": "zone"})["id"]
    assert deployed.get(f"/connections/{base}/test") == {"result": True}
    deployed.post("/targetConnections", target_body(base, path="somewhere"))
    assert deployed.get(f"/connections/{base}/test") == {"result": True}
    assert not list(deployed.zone.rglob("*.txt"))
    for path in deployed.zone.iterdir():
        path.rmdir()
    deployed.zone.rmdir()
    break_zone(deployed)
    answer = deployed.get(f"/connections/{base}/test")
    assert answer["result"] is False
    assert answer["errors"][0]["code"].startswith("EXPORT-")
    deployed.get(f"/connections/{NOWHERE}/test", 404)


def test_the_lakes_own_connection_has_nothing_to_test(deployed: Deployment, flow: str) -> None:
    source = one(deployed, f"/flows/{flow}")["sourceConnectionIds"][0]
    lake = one(deployed, f"/sourceConnections/{source}")["baseConnectionId"]
    assert deployed.get(f"/connections/{lake}/test", 400)["type"].endswith("/FLOW-1422-400")


def test_the_landing_zone_is_explored_folder_by_folder(deployed: Deployment, flow: str) -> None:
    deployed.run_due()
    target = one(deployed, f"/flows/{flow}")["targetConnectionIds"][0]
    base = one(deployed, f"/targetConnections/{target}")["baseConnectionId"]
    for place in (f"/connections/{base}", f"/connectionSpecs/{ZONE_SOURCE}", f"/connectionSpecs/{ZONE}"):
        root = deployed.get(f"{place}/explore?objectType=ROOT")
        expected = {"type": "folder", "name": "out", "path": "/out", "canPreview": False, "canFetchSchema": False}
        assert root == [expected]
        (dataset,) = deployed.get(f"{place}/explore?objectType=folder&object=/out")
        (export,) = deployed.get(f"{place}/explore?objectType=FOLDER&object={dataset['path']}")
        files = deployed.get(f"{place}/explore?objectType=FOLDER&object={export['path']}")
        assert {file["type"] for file in files} == {"file"}
        for query in ("objectType=TABLE", "objectType=FOLDER&object=../..", "objectType=FOLDER&object=nowhere"):
            assert "FLOW-1452" in deployed.get(f"{place}/explore?{query}", 400)["type"]
    deployed.get(f"/connectionSpecs/{LAKE}/explore", 404)


def test_configs_are_served_of_connections_too(deployed: Deployment) -> None:
    deployed.import_rows("events", rows(0, 1))
    base = deployed.post("/connections", {"name": "zone"})["id"]
    answer = deployed.get(f"/connections/{base}/configs?outputType=activationDatasets&outputField=datasets")
    assert [item["name"] for item in answer["items"]] == ["events"]


def test_a_labelled_flow_is_there_only_for_those_with_its_labels(deployed: Deployment, flow: str) -> None:
    deployed.run_due()
    run = deployed.runs(flow)[0]["id"]
    path = f"/flows/{flow}"
    deployed.patch(path, [{"op": "add", "path": "/labels", "value": ["core/C12", "core/C1"]}])
    rename = [{"op": "replace", "path": "/name", "value": "mine"}]
    without, halfway = deployed.new_client("*"), deployed.new_client("*", labels=("core/C1",))
    entitled = deployed.new_client("*", labels=("core/C1", "core/C12", "core/C3"))
    for client in (without, halfway):
        with deployed.acting(client):
            assert deployed.get(path, 404)["type"].endswith("/FLOW-1439-404")
            assert deployed.get("/flows")["items"] == deployed.get("/runs")["items"] == []
            deployed.get(f"/runs/{run}", 404)
            # The vendor's guide to labels: what is changed is refused as forbidden, what is read is not found.
            refused = [
                deployed.http.patch(FLOW_SERVICE + path, json=rename, headers={"If-Match": "*"}).json(),
                deployed.delete(path, 403),
                act(deployed, f"{path}/action?op=disable", 403),
            ]
            assert {one["type"].rpartition("/")[2] for one in refused} == {"FLOW-2120-403"}
            assert {one["report"]["id"] for one in refused} == {flow}
            assert "core/C1" not in str(refused)
            deployed.delete("/flows/unknown", 404)
            assert "is incorrect" in adhoc(deployed, flow, 400)["message"]
            assert deployed.post("/runs", {"flowId": flow}, 400)["type"].endswith("/FLOW-1430-400")
    with deployed.acting(entitled):
        shown = one(deployed, path)
        assert (shown["labels"], shown["name"], shown["state"]) == (["core/C1", "core/C12"], "flow", "enabled")
        assert len(deployed.get("/runs")["items"]) == 1


def test_a_flow_stops_exporting_what_its_last_editor_may_no_longer_read(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 3))
    author = deployed.new_client(VIEW_DESTINATIONS, VIEW_DATASETS, EXPORT_DATASETS)
    with deployed.acting(author):
        flow = deployed.flow(dataset)
    revoke(deployed, author.client_id)
    deployed.run_due()
    failed = deployed.runs(flow)[0]
    assert failed["metrics"]["statusSummary"]["errors"][0]["code"] == "EXPORT-1403-403"
    deployed.patch(f"/flows/{flow}", [{"op": "replace", "path": "/name", "value": "taken over"}])
    deployed.clock.advance(hours=3)
    deployed.run_due()
    assert deployed.runs(flow)[0]["metrics"]["recordSummary"]["outputRecordCount"] == 3


def revoke(deployed: Deployment, client_id: str) -> None:
    from offtake.store.tables import Client  # noqa: PLC0415 - until clients are revoked by a function of their own

    with deployed.backend.database.writing() as session:
        session.get_one(Client, client_id).revoked_at = deployed.clock.now_ms()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"activationInfo": {"tc": ["audience"]}}, "Audiences are not exported here"),
        ({"activationInfo": {"destinations": []}}, "/activationInfo/destinations"),
        ({"activationInfo": {"destinations": [{"datasets": []}]}}, "flowId"),
        ({"activationInfo": None}, "/activationInfo"),
        ({}, "must be a JSON object"),
        ([], "must be a JSON object"),
    ],
)
def test_a_malformed_adhoc_request_says_so_in_a_message(deployed: Deployment, body: Any, said: str) -> None:
    answer = deployed.post(ADHOC, body, 400)
    assert said in answer["message"]
    assert answer["report"]["detailed-message"] == answer["message"]


def test_flows_made_at_once_with_deleted_things_are_refused(deployed: Deployment, flow: str) -> None:
    source = deployed.post("/sourceConnections", source_body(deployed.import_rows("more", rows(0, 1))))["id"]
    target = one(deployed, f"/flows/{flow}")["targetConnectionIds"][0]
    deployed.delete(f"/sourceConnections/{source}")
    problem = deployed.post("/flows", flow_body(source, target, deployed.clock), 404)
    assert problem["report"]["type"] == "sourceConnections"
