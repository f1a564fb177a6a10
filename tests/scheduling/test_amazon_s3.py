"""Runs to an S3 server: what arrives, and what happens when it cannot."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq
import pytest

from offtake.store.tables import Run
from tests.deployment import WITH_MANIFEST, Deployment, flow_body, rows, source_body
from tests.servers import S3Server, free_port, rclone_s3

SPEC = {"id": "4fce964d-3f37-408f-9778-e597338a21ee", "version": "1.0"}
FLOW_SPEC = {"id": "269ba276-16fc-47db-92b0-c1049a3c131f", "version": "1.0"}
BUCKET = "partner"
WRONG = "MARKEDwrongsecretMARKED"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    root = tmp_path_factory.mktemp("s3")
    with rclone_s3(root) as server:
        server.make_bucket(BUCKET)
        yield server


def flow_to(deployed: Deployment, dataset: str, s3: S3Server, **changes: str) -> str:
    params = {"s3AccessKey": s3.access_key, "s3SecretKey": s3.secret_key, "endpointUrl": s3.endpoint}
    location = {"bucketName": changes.pop("bucketName", BUCKET), "path": f"exports/{dataset}"}
    auth = {"specName": "Access Key", "params": params | changes}
    base = deployed.post("/connections", {"name": "s3", "connectionSpec": SPEC, "auth": auth})["id"]
    target = {
        "name": "target",
        "baseConnectionId": base,
        "connectionSpec": SPEC,
        "params": {"datasetFileType": "PARQUET", "compression": "GZIP", **location, **WITH_MANIFEST},
    }
    target_id = deployed.post("/targetConnections", target)["id"]
    source = deployed.post("/sourceConnections", source_body(dataset))["id"]
    body = flow_body(source, target_id, deployed.clock) | {"flowSpec": FLOW_SPEC}
    return str(deployed.post("/flows", body)["id"])


def status(deployed: Deployment, flow: str) -> dict[str, Any]:
    found: dict[str, Any] = deployed.runs(flow)[0]["metrics"]["statusSummary"]
    return found


def test_a_bucket_holds_what_the_manifest_names(deployed: Deployment, s3: S3Server) -> None:
    dataset = deployed.import_rows("events", rows(0, 30))
    flow = flow_to(deployed, dataset, s3)
    deployed.run_due()
    assert status(deployed, flow)["status"] == "success"
    client = s3.client()
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix=f"exports/{dataset}/")["Contents"]
    keys = [one["Key"] for one in listed]
    (manifest_key,) = [key for key in keys if "manifest-" in key]
    manifest = json.loads(client.get_object(Bucket=BUCKET, Key=manifest_key)["Body"].read())
    named = [f"{one['sinkPath'].lstrip('/')}/{one['name']}" for one in manifest["exportResults"]]
    assert sorted([*named, manifest_key]) == sorted(keys)
    file = s3.root / BUCKET / named[0]
    assert pq.read_table(file)["id"].to_pylist() == list(range(30))


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"bucketName": "not-there"}, "EXPORT-2002-404", "not-there"),
        ({"s3SecretKey": WRONG}, "EXPORT-2001-401", "credentials"),
        ({"s3AccessKey": "UNKNOWN"}, "EXPORT-2001-401", "credentials"),
    ],
)
def test_a_run_that_cannot_deliver_says_why_and_keeps_its_position(
    deployed: Deployment,
    s3: S3Server,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, str],
    code: str,
    said: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    dataset = deployed.import_rows("events", rows(0, 3))
    flow = flow_to(deployed, dataset, s3, **changes)
    deployed.run_due()
    failed = deployed.runs(flow)[0]
    (error,) = failed["metrics"]["statusSummary"]["errors"]
    assert error["code"] == code
    assert said in error["message"]
    assert failed["metrics"]["recordSummary"]["outputRecordCount"] == 0
    assert {"completedAtUTC", "startedAtUTC"} <= set(failed["metrics"]["durationSummary"])
    assert WRONG not in str(failed) + caplog.text + str(deployed.get(f"/flows/{flow}"))
    with deployed.backend.database.reading() as session:
        assert WRONG not in str(session.get_one(Run, failed["id"]).__dict__)
    assert list((s3.root / BUCKET).glob(f"exports/{dataset}/**/*")) == []


def test_what_a_failed_run_did_not_deliver_the_next_one_does(deployed: Deployment, s3: S3Server) -> None:
    bucket = f"late-{free_port()}"
    dataset = deployed.import_rows("events", rows(0, 3))
    flow = flow_to(deployed, dataset, s3, bucketName=bucket)
    deployed.run_due()
    assert status(deployed, flow)["status"] == "failed"
    deployed.import_rows("events", rows(3, 2))
    s3.make_bucket(bucket)
    deployed.clock.advance(hours=3)
    deployed.run_due()
    assert status(deployed, flow) == {"status": "success", "activityRefs": [deployed.runs(flow)[0]["id"]]}
    (file,) = (s3.root / bucket).rglob("*.parquet")
    assert pq.read_table(file)["id"].to_pylist() == [0, 1, 2, 3, 4]
