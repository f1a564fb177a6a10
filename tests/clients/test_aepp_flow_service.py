"""aepp reads, changes and deletes what it made, and understands what it is refused."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.clients.aepp_client import Aepp
from tests.deployment import ZONE, ZONE_FLOW

KEY = {"s3AccessKey": "AKIAIOSFODNN7EXAMPLE", "s3SecretKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
UNKNOWN = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class Made:
    """The ids of one of each."""

    base: str
    source: str
    target: str
    flow: str


@pytest.fixture
def made(aepp: Aepp, dataset: str) -> Made:
    flows = aepp.flows
    base = flows.createConnection(name="zone", connectionSpec={"id": ZONE, "version": "1.0"})["id"]
    source = flows.createSourceConnectionDataLake("source", dataset_ids=[dataset])["id"]
    target = flows.createTargetConnectionDatasetToDataLandingZone("target", base, path="out")["id"]
    params = {"schedule_start_time": 4_000_000_000, "schedule_timeUnit": "day", "schedule_interval": 1}
    flow = flows.createFlow(ZONE_FLOW, "flow", source, target, schedule_frequency="hour", **params)["id"]
    return Made(base, source, target, flow)


def test_each_entity_is_read_by_its_id(aepp: Aepp, dataset: str, made: Made) -> None:
    assert aepp.flows.getConnection(made.base)["connectionSpec"]["id"] == ZONE
    assert aepp.flows.getSourceConnection(made.source)["params"]["datasets"][0]["dataSetId"] == dataset
    assert aepp.flows.getTargetConnection(made.target)["baseConnectionId"] == made.base
    flow = aepp.flows.getFlow(made.flow)
    assert (flow["sourceConnectionIds"], flow["targetConnectionIds"]) == ([made.source], [made.target])
    schedule = flow["scheduleParams"]
    assert (schedule["timeUnit"], schedule["interval"]) == ("day", 1)  # "frequency": "hour" was sent as well
    assert schedule["foldernameTemplate"] == "%DESTINATION%_%DATASET_ID%_%DATETIME(YYYYMMdd_HHmmss)%"


def test_credentials_are_made_tested_and_replaced(aepp: Aepp) -> None:
    made = aepp.flows.createBaseConnectionS3Target("bucket", **KEY)["id"]
    operations = [{"op": "Replace", "path": "/auth/params", "value": KEY | {"s3AccessKey": "AKIAIOSFODNN7REPLACED"}}]
    changed = aepp.flows.patchConnection(made, operations)
    shown = aepp.flows.getConnection(made)
    assert (changed["id"], changed["etag"]) == (made, shown["etag"])
    assert shown["auth"]["params"]["s3AccessKey"] == "AKIAIOSFODNN7REPLACED"
    assert KEY["s3SecretKey"] not in str(shown)
    blob = aepp.flows.createBaseConnectionBlobTarget("blob", connectionString="AccountName=a;AccountKey=aw==")["id"]
    assert aepp.flows.getConnection(blob)["auth"]["specName"] == "ConnectionString"


def test_a_connection_is_tested(aepp: Aepp, made: Made) -> None:
    assert aepp.flows.connectionTest(made.base) == {"result": True}


def test_connections_are_updated(aepp: Aepp, made: Made) -> None:
    rename = [{"op": "Replace", "path": "/name", "value": "renamed"}]
    source = aepp.flows.getSourceConnection(made.source)
    aepp.flows.updateSourceConnection(made.source, source["etag"], rename)
    assert aepp.flows.getSourceConnection(made.source)["name"] == "renamed"
    target = aepp.flows.getTargetConnection(made.target)
    move = [{"op": "Replace", "path": "/params", "value": {"path": "moved"}}]
    aepp.flows.updateTargetConnection(made.target, target["etag"], rename + move)
    after = aepp.flows.getTargetConnection(made.target)
    assert (after["name"], after["params"]) == ("renamed", target["params"] | {"path": "moved"})


def test_a_flow_is_updated_and_its_etag_follows(aepp: Aepp, made: Made) -> None:
    etag = aepp.flows.getFlow(made.flow)["etag"]
    later = [{"op": "Add", "path": "/scheduleParams", "value": {"startTime": 4_000_000_777}}]
    changed = aepp.flows.updateFlow(made.flow, etag, later)
    flow = aepp.flows.getFlow(made.flow)
    assert changed == {"id": made.flow, "etag": flow["etag"]}
    assert (flow["scheduleParams"]["startTime"], flow["scheduleParams"]["interval"]) == (4_000_000_777, 1)
    refused = aepp.flows.updateFlow(made.flow, etag, later)
    assert (refused["status"], refused["type"].rpartition("/")[2]) == (412, "FLOW-1404-412")


def test_a_policy_is_set_by_a_patch(aepp: Aepp, made: Made) -> None:
    # The client's own `updatePolicy` leaves out the etag that its `updateFlow` asks for.
    value = {"enforcementRefs": ["/dulepolicy/marketingActions/06621fe3"]}
    etag = aepp.flows.getFlow(made.flow)["etag"]
    aepp.flows.updateFlow(made.flow, etag, [{"op": "Replace", "path": "/policy", "value": value}])
    assert aepp.flows.getFlow(made.flow)["policy"] == value


def test_a_flow_is_disabled_and_enabled(aepp: Aepp, made: Made) -> None:
    for action, state in (("disable", "disabled"), ("enable", "enabled")):
        done = aepp.flows.postFlowAction(made.flow, action)
        flow = aepp.flows.getFlow(made.flow)
        assert (flow["state"], done) == (state, {"id": made.flow, "etag": flow["etag"]})
    assert aepp.flows.postFlowAction(made.flow, "enable")["type"].endswith("FLOW-1422-400")


def test_what_nothing_uses_is_deleted_and_the_status_returned(aepp: Aepp, made: Made) -> None:
    assert aepp.flows.deleteConnection(made.base)["type"].endswith("FLOW-1418-400")
    assert aepp.flows.deleteTargetConnection(made.target)["type"].endswith("FLOW-1447-400")
    assert aepp.flows.deleteFlow(made.flow) == 202
    assert aepp.flows.deleteTargetConnection(made.target) == 202
    assert aepp.flows.deleteConnection(made.base) == 202
    assert aepp.flows.deleteSourceConnection(made.source) == 202
    assert aepp.flows.getFlow(made.flow) == {}


def refused(aepp: Aepp, call: str) -> Any:
    flows = aepp.flows
    calls = {
        "get": lambda: flows.connector.getData(f"{flows.endpoint}/flows/{UNKNOWN}"),
        "delete": lambda: flows.deleteFlow(UNKNOWN),
        "patch": lambda: flows.updateFlow(UNKNOWN, '"1"', [{"op": "Replace", "path": "/name", "value": "x"}]),
        "post": lambda: flows.postFlowAction(UNKNOWN, "enable"),
    }
    return calls[call]()


@pytest.mark.parametrize("call", ["get", "delete", "patch", "post"])
def test_a_refusal_has_the_keys_by_which_the_client_knows_it(aepp: Aepp, call: str) -> None:
    answer = refused(aepp, call)
    assert (answer["status"], answer["report"]["type"]) == (404, "flows")
    assert answer["errorMessage"] == answer["report"]["detailed-message"]
