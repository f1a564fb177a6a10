"""Commands show the columns that a flow delivers, in the same process and over the network."""

import json

from tests.cli import test_both_ways
from tests.cli.test_both_ways import Way, json_of, says
from tests.deployment import ZONE, Deployment, flow_body, source_body, target_body

way = test_both_ways.way
"""The fixture."""
ROWS = [{"id": 1, "address": {"city": "Bern", "street": "Weg"}}]


def test_flows_runs_and_verifications_show_the_chosen_columns(way: Way, deployed: Deployment) -> None:
    dataset = deployed.import_rows("people", ROWS)
    body = source_body(dataset)
    body["params"]["columns"] = {dataset: ["address.city", "id"]}
    source = deployed.post("/sourceConnections", body)["id"]
    base = deployed.post("/connections", {"name": "zone", "connectionSpec": {"id": ZONE, "version": "1.0"}})["id"]
    target = deployed.post("/targetConnections", target_body(base))["id"]
    flow = deployed.post("/flows", flow_body(source, target, deployed.clock))["id"]
    line = "delivers of people only: address.city, id\n"
    assert line in says(way, "flow", "show", flow)
    deployed.run_due()
    run = deployed.runs(flow)[0]["id"]
    assert f"delivers of dataset:{dataset} only: address.city, id\n" in says(way, "run", "show", run)
    assert line in says(way, "flow", "verify", flow)
    (verified,) = json_of(way, "flow", "verify", flow)["datasets"]
    assert verified["columns"] == ["address.city", "id"]
    assert says(way, "run", "verify", run, "--download").endswith(": as delivered\n")
    manifest = json.loads(says(way, "run", "manifest", run))
    assert manifest["datasets"][0]["columns"] == ["address.city", "id"]


def test_flows_without_chosen_columns_are_shown_as_before(way: Way, deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("people", ROWS))
    deployed.run_due()
    assert "delivers of" not in says(way, "flow", "show", flow)
    assert "delivers of" not in says(way, "run", "show", deployed.runs(flow)[0]["id"])
    assert "columns" not in json_of(way, "flow", "verify", flow)["datasets"][0]
