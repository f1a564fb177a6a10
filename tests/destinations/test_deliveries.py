"""Whole runs to every destination, driven through the API: they behave the same, whatever the destination."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offtake.destinations.landing_zone.folder import FolderZones
from offtake.engines.local import LocalEngine
from tests.deployment import FLOW_SERVICE, WITH_MANIFEST, Deployment, deployment, flow_body, rows, source_body
from tests.destinations.cases import Case
from tests.destinations.test_failures import secrets_of
from tests.fake_clock import FakeClock

Json = dict[str, Any]

pytestmark = [pytest.mark.needs("another organisation"), pytest.mark.matrix(one_in=2)]


@pytest.fixture
def delivering(case: Case, tmp_path: Path, clock: FakeClock) -> Iterator[Deployment]:
    """A deployment that can reach the case, with a worker that sees this test's environment."""
    assert isinstance(case.sandbox_location.zones, FolderZones)
    settings: Json = {"landing_zone": case.sandbox_location.zones.root}
    if case.sandbox_location.network.certificates is not None:
        settings["ca_file"] = tmp_path / "ca.pem"
        settings["ca_file"].write_bytes(case.sandbox_location.network.certificates)
    engine = LocalEngine(processes=1)
    try:
        with deployment(tmp_path / "data", clock, engine, **settings) as opened:
            yield opened
    finally:
        engine.close()


def account_body(case: Case, **changes: Any) -> Json:
    auth = {"auth": {"specName": case.method, "params": case.auth | changes}} if case.method else {}
    return {"name": "account", "connectionSpec": spec(case), **auth}


def spec(case: Case) -> Json:
    return {"id": case.destination.connection_spec_id, "version": "1.0"}


def target_body(case: Case, base: str, file_type: str = "PARQUET") -> Json:
    params = {**case.location, "datasetFileType": file_type, "compression": "GZIP", **WITH_MANIFEST}
    return {"name": "target", "baseConnectionId": base, "connectionSpec": spec(case), "params": params}


def flow_to(deployed: Deployment, case: Case, base: str, dataset: str) -> str:
    target = deployed.post("/targetConnections", target_body(case, base))["id"]
    source = deployed.post("/sourceConnections", source_body(dataset))["id"]
    flow_spec = {"id": case.destination.flow_spec_id, "version": "1.0"}
    body = flow_body(source, target, deployed.clock) | {"flowSpec": flow_spec}
    return str(deployed.post("/flows", body)["id"])


def delivered(case: Case, manifest: Json) -> pa.Table:
    """The rows of the files that a manifest names, read back through the destination."""
    with_parquet = []
    sink = case.open()
    for one in manifest["exportResults"]:
        data = b"".join(sink.read(f"{one['sinkPath'].lstrip('/')}/{one['name']}"))
        assert len(data) == one["size"]
        with_parquet.append(pq.read_table(pa.BufferReader(data)))
    sink.close()
    return pa.concat_tables(with_parquet).sort_by("id")


def manifests(case: Case) -> list[Json]:
    sink = case.open()
    found = [json.loads(b"".join(sink.read(name))) for name in sorted(case.names()) if "/manifest-" in name]
    sink.close()
    return sorted(found, key=lambda one: str(one["scheduledTime"]))


def test_everything_first_then_what_was_added(delivering: Deployment, case: Case) -> None:
    dataset = delivering.import_rows("events", rows(0, 30))
    base = delivering.post("/connections", account_body(case))["id"]
    flow = flow_to(delivering, case, base, dataset)
    delivering.run_due()
    delivering.import_rows("events", rows(30, 5))
    delivering.clock.advance(hours=3)
    delivering.run_due()
    statuses = [run["metrics"]["statusSummary"] for run in delivering.runs(flow)]
    assert [one["status"] for one in statuses] == ["success", "success"], statuses
    first, second = manifests(case)
    assert delivered(case, first)["id"].to_pylist() == list(range(30))
    assert delivered(case, second)["id"].to_pylist() == list(range(30, 35))
    named = {
        f"{one['sinkPath'].lstrip('/')}/{one['name']}" for each in (first, second) for one in each["exportResults"]
    }
    assert named == {name for name in case.names() if "/manifest-" not in name}
    used = delivering.get("/usage?by=destination")["total"]
    sizes = [one["size"] for each in (first, second) for one in each["exportResults"]]
    assert (used["recordCount"], used["bytes"], used["fileCount"]) == (35, sum(sizes), len(sizes))
    tested = delivering.get(f"/connections/{base}/test")
    assert (tested["result"], bool(tested.get("limits"))) == (True, case.loses_promises)


@pytest.mark.needs("wrong credentials")
def test_credentials_that_are_refused_end_a_run_and_keep_its_position(
    delivering: Deployment, case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    dataset = delivering.import_rows("events", rows(0, 3))
    wrong = case.having(auth=case.wrong[0])
    base = delivering.post("/connections", account_body(wrong))["id"]
    flow = flow_to(delivering, wrong, base, dataset)
    delivering.run_due()
    failed = delivering.runs(flow)[0]
    (error,) = failed["metrics"]["statusSummary"]["errors"]
    assert error["code"] == "EXPORT-2001-401"
    tested = delivering.get(f"/connections/{base}/test")
    assert (tested["result"], tested["errors"][0]["code"]) == (False, "EXPORT-2001-401")
    for secret in secrets_of(wrong):
        assert secret not in f"{failed}{tested}{caplog.text}"
    assert case.names() == []
    operation = [{"op": "replace", "path": "/auth/params", "value": case.auth}]
    delivering.patch(f"/connections/{base}", operation)
    delivering.clock.advance(hours=3)
    delivering.run_due()
    assert delivering.runs(flow)[0]["metrics"]["statusSummary"]["status"] == "success"
    assert delivered(case, manifests(case)[0])["id"].to_pylist() == [0, 1, 2]


@pytest.mark.needs("missing root")
def test_a_place_that_is_missing_ends_a_run_and_names_it(delivering: Deployment, case: Case) -> None:
    dataset = delivering.import_rows("events", rows(0, 3))
    missing = case.having(**case.missing)
    base = delivering.post("/connections", account_body(missing))["id"]
    flow = flow_to(delivering, missing, base, dataset)
    delivering.run_due()
    (error,) = delivering.runs(flow)[0]["metrics"]["statusSummary"]["errors"]
    assert error["code"] == "EXPORT-2002-404"
    assert "not-there" in error["message"]


@pytest.mark.needs("wrong credentials")
def test_connections_are_tried_when_they_are_made_where_the_operator_wants_it(
    delivering: Deployment, case: Case
) -> None:
    settings = delivering.backend.settings
    object.__setattr__(delivering.backend, "settings", settings.model_copy(update={"check_connections": True}))
    base = delivering.post("/connections", account_body(case))["id"]
    delivering.post("/targetConnections", target_body(case, base))
    wrong = case.having(auth=case.wrong[0])
    known = delivering.get("/connections")
    answer = delivering.http.post(f"{FLOW_SERVICE}/connections", json=account_body(wrong))
    if answer.status_code == 201:  # the account does not say where; the target connection does
        target = target_body(wrong, answer.json()["id"])
        answer = delivering.http.post(f"{FLOW_SERVICE}/targetConnections", json=target)
        assert len(delivering.get("/targetConnections")["items"]) == 1
    else:
        assert delivering.get("/connections") == known
    assert answer.status_code == 400
    assert "failed the connection test" in answer.json()["detail"]
    assert answer.json()["type"].endswith("/FLOW-1452-400")
    for secret in secrets_of(wrong):
        assert secret not in answer.text
    assert case.names() == []
