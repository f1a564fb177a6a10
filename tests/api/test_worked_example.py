"""The contract's worked example (section 32), step by step as written."""

import gzip
import json
from typing import Any

import pytest

from tests.api.tutorial import NAMED, RSA_KEY, Auth, connect, flow_body, source_of
from tests.deployment import FLOW_SERVICE, ZONE, Deployment
from tests.fake_clock import FakeClock

IMPORT = "/data/foundation/import"
CATALOG = "/data/foundation/catalog"
TEN_TO_SIX = 1_772_344_200_000  # 2026-03-01T05:50:00Z


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(TEN_TO_SIX)


def uploaded(deployed: Deployment) -> str:
    """Step 2 of the worked example: a dataset of two rows; its id."""
    http = deployed.http
    schema = {
        "id": "https://ns.example.org/schemas/loyalty",
        "contentType": "application/vnd.adobe.xed+json;version=1",
    }
    file = {"persisted": True, "containerFormat": "parquet", "format": "parquet"}
    body = {"name": "Loyalty members", "schemaRef": schema, "fileDescription": file}
    answer = http.post(f"{CATALOG}/dataSets", json=body)
    assert answer.status_code == 201
    (path,) = answer.json()
    dataset = str(path.removeprefix("@/dataSets/"))
    made = http.post(f"{IMPORT}/batches", json={"datasetId": dataset, "inputFormat": {"format": "json"}})
    assert (made.status_code, made.json()["status"]) == (201, "loading")
    batch = made.json()["id"]
    sent = http.put(
        f"{IMPORT}/batches/{batch}/datasets/{dataset}/files/a.json",
        content=b'{"id":1,"city":"Bern"}\n{"id":2,"city":"Graz"}\n',
        headers={"Content-Type": "application/octet-stream"},
    )
    assert sent.status_code in (200, 201)
    assert http.post(f"{IMPORT}/batches/{batch}?action=COMPLETE").status_code == 200
    deployed.ingest_due()
    assert http.get(f"{CATALOG}/batches/{batch}").json()[batch]["status"] == "success"
    return dataset


PARTNER = {"domain": "sftp.partner.example", "username": "drop", "sshKey": RSA_KEY}


@pytest.mark.parametrize(
    ("name", "auth", "location"),
    [
        pytest.param(
            "SFTP",
            {"specName": "SFTP with SSH Key", "params": PARTNER},
            {"remotePath": "incoming/loyalty"},
            id="as it is written",
        ),
        pytest.param("Data Landing Zone", None, {"path": "incoming/loyalty"}, id="to the landing zone"),
    ],
)
def test_the_worked_example_works_as_written(
    deployed: Deployment, name: str, auth: Auth, location: dict[str, str]
) -> None:
    dataset = uploaded(deployed)
    source = source_of(deployed, dataset)
    target = connect(deployed, name, auth, **location, compression="GZIP")
    base = deployed.get(f"/targetConnections/{target}")["items"][0]["baseConnectionId"]
    schedule = {
        "exportMode": "FIRST_FULL_THEN_INCREMENTAL",
        "timeUnit": "hour",
        "interval": 6,
        "startTime": 1_772_344_800,
    }
    flow = deployed.post("/flows", flow_body(name, source, target, schedule))["id"]
    (shown,) = deployed.get(f"/flows/{flow}")["items"]
    assert shown["scheduleParams"] == schedule | {"endTime": 1_788_241_800}

    if NAMED[name].connection_spec_id == ZONE:  # there is no server at the partner's address
        deployed.clock.advance(seconds=660)
        deployed.run_due()
        (run,) = deployed.runs(flow)
        counts = run["metrics"]["recordSummary"]
        assert (counts["inputRecordCount"], counts["outputRecordCount"]) == (2, 2)
        assert run["metrics"]["fileSummary"]["outputFileCount"] == 1
        (file,) = (deployed.zone / "incoming/loyalty" / dataset / "exportTime=202603010600").glob(
            "part-00000-*.json.gz"
        )
        lines = gzip.decompress(file.read_bytes()).splitlines()
        assert [json.loads(line) for line in lines] == [{"id": 1, "city": "Bern"}, {"id": 2, "city": "Graz"}]

    template = "%SANDBOX_NAME%/%DATASET_ID%/%EXPORT_TIME%"
    value = {"interval": 12, "foldernameTemplate": template}
    deployed.patch(f"/flows/{flow}", [{"op": "replace", "path": "/scheduleParams", "value": value}])
    assert deployed.http.post(f"{FLOW_SERVICE}/flows/{flow}/action?op=disable").status_code == 200
    refused_once(deployed, flow, base, flow_body(name, source, target, schedule | {"interval": 5}))
    for resource, one in (("flows", flow), ("targetConnections", target), ("connections", base)):
        deployed.delete(f"/{resource}/{one}")
    deployed.delete(f"/sourceConnections/{source}")


def refused_once(deployed: Deployment, flow: str, base: str, wrong_flow: dict[str, Any]) -> None:
    """Step 10 of the worked example: the errors worth seeing once."""
    rename = [{"op": "replace", "path": "/name", "value": "x"}]
    without = deployed.http.patch(f"{FLOW_SERVICE}/flows/{flow}", json=rename).json()
    old = deployed.patch(f"/flows/{flow}", rename, 412, etag='"0000d781-0000-0200-0000-63e29f420000"')
    wrong = deployed.post("/flows", wrong_flow, 400)
    used = deployed.http.delete(f"{FLOW_SERVICE}/connections/{base}").json()
    gone = deployed.get("/flows/00000000-0000-0000-0000-000000000000", 404)
    both = deployed.get("/flows?limit=10&count=true", 400)
    codes = [one["type"].rpartition("/")[2] for one in (without, old, wrong, used, gone, both)]
    assert codes == [
        f"FLOW-{code}" for code in ("1403-400", "1404-412", "1452-400", "1418-400", "1439-404", "1401-400")
    ]
    assert wrong["report"]["errors"][0]["path"] == "/scheduleParams/interval"
