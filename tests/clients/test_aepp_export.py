"""aepp exports datasets: by its one call, by its helper class, and step by step."""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.clients.aepp_client import Aepp, Served
from tests.deployment import ZONE, ZONE_FLOW


def rows_of(served: Served, folder: str) -> list[dict[str, Any]]:
    """The rows delivered to a folder of the landing zone as JSON, by id."""
    files = (served.zone / folder).rglob("*.json.gz")
    rows = [json.loads(line) for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]
    return sorted(rows, key=lambda row: int(row["id"]))


def test_a_dataset_is_exported_to_the_landing_zone_by_one_call(
    served: Served, aepp: Aepp, dataset: str, name: str
) -> None:
    flow = aepp.flows.exportDatasetToDLZ([dataset], path=f"/{name}", scheduleStart=int(time.time()))
    run = aepp.only_run(flow["id"])
    assert run["metrics"]["statusSummary"]["status"] == "success"
    assert run["metrics"]["recordSummary"]["outputRecordCount"] == 5
    assert [row["city"] for row in rows_of(served, name)] == [f"town {n}" for n in range(5)]
    assert aepp.flows.getRuns(prop=[f"flowId=={flow['id']}", "metrics.statusSummary.status==success"]) == [run]
    assert aepp.flows.getRuns(prop=[f"flowId=={flow['id']}", "metrics.statusSummary.status==failed"]) == []
    assert aepp.flows.getFlow(flow["id"])["lastRunDetails"]["id"] == run["id"]


def test_a_one_time_export_needs_a_start(served: Served, aepp: Aepp, dataset: str, name: str) -> None:
    base = aepp.flows.createBaseConnectionDLZTarget("zone")["id"]
    source = aepp.flows.createSourceConnectionDataLake("source", dataset_ids=[dataset])["id"]
    target = aepp.flows.createTargetConnectionDatasetToDataLandingZone("target", base, path=name)["id"]

    def create(start: int | None) -> Any:
        return aepp.flows.createFlow(ZONE_FLOW, "once", source, target, start, schedule_frequency="once")

    refused = create(None)
    assert (refused["status"], refused["report"]["errors"][0]["path"]) == (400, "/scheduleParams/startTime")
    flow = create(int(time.time()))["id"]
    assert aepp.only_run(flow)["metrics"]["recordSummary"]["outputRecordCount"] == 5
    assert len(rows_of(served, name)) == 5
    again = aepp.flows.createRun(flow)["id"]
    assert aepp.finished(again)["metrics"]["recordSummary"]["outputRecordCount"] == 5
    assert len(rows_of(served, name)) == 10


def helper_config(tmp_path: Path) -> str:
    """The file in which the helper keeps the id of its flow."""
    path = tmp_path / "aepp.ini"
    path.write_text("[Platform]\ndataflow_id =\n")
    return str(path)


def test_the_helper_schedules_an_export_and_finds_it_again(
    served: Served, aepp: Aepp, dataset: str, name: str, tmp_path: Path
) -> None:
    config = helper_config(tmp_path)

    def export() -> str:
        wanted = (dataset, "gzip", "json", name, True, config, "helper")
        return str(aepp.export_helper().createDataFlowRunIfNotExists(*wanted))

    flow = export()
    assert aepp.only_run(flow)["metrics"]["statusSummary"]["status"] == "success"
    assert len(rows_of(served, name)) == 5
    params = aepp.flows.getTargetConnection(aepp.flows.getFlow(flow)["targetConnectionIds"][0])["params"]
    assert (params["compression"], params["datasetFileType"]) == ("GZIP", "JSON")
    aepp.flows.postFlowAction(flow, "disable")
    assert export() == flow
    assert aepp.flows.getFlow(flow)["state"] == "enabled"


def test_the_helpers_parked_flow_is_run_now_moved_and_disabled(
    served: Served, aepp: Aepp, dataset: str, name: str, tmp_path: Path
) -> None:
    helper = aepp.export_helper()
    flow = helper.createDataFlow(dataset, "none", "parquet", name, False, helper_config(tmp_path), "parked")
    schedule = aepp.flows.getFlow(flow)["scheduleParams"]
    assert schedule["startTime"] > schedule["endTime"]  # starts in a year, ends in six months: never by itself
    answer = helper.retryOnNotReadyException(flow, dataset, wait_time=1)
    status_url = answer["destinations"][0]["datasets"][0]["statusURL"]
    assert status_url.startswith(served.origin)
    # What follows is the rest of the helper's `createFlowRun`, which itself never gets past its call of `getRun`.
    run = aepp.finished(status_url.rsplit("/", 1)[-1])
    assert run["metrics"]["recordSummary"]["outputRecordCount"] == 5
    assert list((served.zone / name).rglob("*.parquet"))
    later = int(time.time()) + 31_536_000
    operation = {"op": "Replace", "path": "/scheduleParams", "value": {"startTime": later}}
    aepp.flows.updateFlow(flow, aepp.flows.getFlow(flow)["etag"], [operation])
    aepp.flows.postFlowAction(flow, "disable")
    after = aepp.flows.getFlow(flow)
    assert (after["state"], after["scheduleParams"]) == ("disabled", schedule | {"startTime": later})


def test_lower_case_and_unnamed_parameters_are_understood(aepp: Aepp, dataset: str) -> None:
    base = aepp.export_helper().createBaseConnection("zone")  # sends "auth": null
    spec = {"id": ZONE, "version": "1.0"}
    params = {"mode": "Server-to-server", "compression": "none", "datasetFileType": "parquet", "path": "x"}
    body = {"name": "target", "baseConnectionId": base, "params": params, "connectionSpec": spec}
    target = aepp.flows.createTargetConnection(data=body)["id"]
    shown = aepp.flows.getTargetConnection(target)["params"]
    assert shown == params | {"compression": "NONE", "datasetFileType": "PARQUET"}
    source = aepp.flows.createSourceConnectionDataLake("source", format="json", dataset_ids=[dataset])["id"]
    assert aepp.flows.getSourceConnection(source)["params"]["datasets"][0]["name"]


def test_a_flows_runs_come_page_by_page(aepp: Aepp, dataset: str, name: str) -> None:
    flow = aepp.flows.exportDatasetToDLZ([dataset], path=name, scheduleStart=int(time.time()))["id"]
    made = [aepp.only_run(flow)["id"]]
    helper = aepp.export_helper()
    for _ in range(2):
        answer = helper.dis_conn.createAdHocDatasetExport({flow: [dataset]})
        made.append(answer["destinations"][0]["datasets"][0]["statusURL"].rsplit("/", 1)[-1])
        aepp.finished(made[-1])
    found = aepp.flows.getRuns(limit=1, prop=f"flowId=={flow}")
    assert sorted(run["id"] for run in found) == sorted(made)


def test_the_clients_analyser_of_flows_understands_ours(aepp: Aepp, dataset: str, name: str) -> None:
    flow = aepp.flows.exportDatasetToDLZ([dataset], path=name, scheduleStart=int(time.time()))["id"]
    run = aepp.only_run(flow)
    manager = aepp.flow_manager(flow)
    assert (manager.flowType, manager.frequency, manager.state, manager.sandbox) == (
        "destination",
        "batch",
        "enabled",
        "prod",
    )
    assert manager.flowSpec["name"] == "DatasetsToDataLandingZone"
    assert manager.lastRunStartedUTC == run["metrics"]["durationSummary"]["startedAtUTC"]
    assert manager.getSourceConnection()["params"]["datasets"][0]["dataSetId"] == dataset
    assert manager.getRuns() == [run]
    assert manager.updateFlow([{"op": "Replace", "path": "/name", "value": "renamed"}])["etag"] == manager.etag


@pytest.mark.parametrize("wanted", ["nothing-of-the-kind", ""])
def test_a_dataset_that_cannot_be_exported_is_reported(aepp: Aepp, wanted: str) -> None:
    answer = aepp.flows.createSourceConnectionDataLake("source", dataset_ids=[wanted])
    assert (answer["status"], answer["report"]["errors"][0]["path"]) == (400, "/params/datasets/0/dataSetId")
