"""Hosts that users give: what may not be reached is refused when it is given, named by its field."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from offtake.engines.local import LocalEngine
from tests.deployment import Deployment, deployment
from tests.fake_clock import FakeClock

KEY = "c2VjcmV0IG9mIGFuIGFjY291bnQ="
S3 = "4fce964d-3f37-408f-9778-e597338a21ee"
BLOB = "6d6b59bf-fb58-4107-9064-4d246c0e5bb2"
LAKE = "be2c3209-53bc-47e7-ab25-145db8b873e1"
GOOGLE = "c5d93acb-ea8b-4b14-8f53-02138444ae99"
SFTP = "36965a81-b1c6-401b-99f8-22508f1e6a26"


def accounts(host: str) -> list[tuple[str, str, str, dict[str, Any]]]:
    """The spec, the way to authenticate, the field that names the host, and the params, of every destination."""
    bracketed = f"[{host}]" if ":" in host else host
    principal = {"servicePrincipalId": "i", "servicePrincipalKey": "k", "tenant": "t"}
    google = "Google Cloud Storage authentication credentials"
    string = f"AccountName=a;AccountKey={KEY};BlobEndpoint=https://{bracketed}/a"
    url = f"https://{bracketed}/account/container"
    authority = {"url": "abfss://exports@a.dfs.core.windows.net", "authorityUrl": f"https://{bracketed}"}
    return [
        (
            S3,
            "Access Key",
            "endpointUrl",
            {"s3AccessKey": "k", "s3SecretKey": "s", "endpointUrl": f"http://{bracketed}"},
        ),
        (BLOB, "ConnectionString", "connectionString", {"connectionString": string}),
        (LAKE, "Azure Service Principal Auth", "url", {"url": url, **principal}),
        (LAKE, "Azure Service Principal Auth", "authorityUrl", {**authority, **principal}),
        (
            GOOGLE,
            google,
            "endpointUrl",
            {"accessKeyId": "k", "secretAccessKey": "s", "endpointUrl": f"https://{bracketed}"},
        ),
        (SFTP, "SFTP with Password", "domain", {"domain": host, "username": "u", "password": "p"}),
    ]


def body(spec: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
    auth = {"specName": method, "params": params}
    return {"name": "account", "connectionSpec": {"id": spec, "version": "1.0"}, "auth": auth}


@pytest.fixture
def shared(tmp_path: Path, clock: FakeClock, engine: LocalEngine) -> Iterator[Deployment]:
    with deployment(
        tmp_path / "data", clock, engine, multi_user=True, egress_allow="10.2.0.0/16", egress_deny="10.2.9.0/24"
    ) as opened:
        yield opened


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.1.1", "169.254.169.254", "10.2.9.1", "::1", "::ffff:10.1.1.1"])
def test_addresses_that_may_not_be_reached_are_refused_when_they_are_given(shared: Deployment, host: str) -> None:
    for spec, method, field, params in accounts(host):
        answer = shared.post("/connections", body(spec, method, params), 400)
        assert answer["type"].endswith("/FLOW-1452-400")
        assert f"/auth/params/{field}" in answer["detail"]
        assert KEY not in str(answer)
    assert shared.get("/connections")["items"] == []


def test_what_the_operator_allows_is_taken(shared: Deployment) -> None:
    for spec, method, _, params in accounts("10.2.1.1"):
        shared.post("/connections", body(spec, method, params))


def test_metadata_addresses_are_refused_in_every_deployment(deployed: Deployment) -> None:
    for spec, method, field, params in accounts("169.254.169.254"):
        answer = deployed.post("/connections", body(spec, method, params), 400)
        assert f"/auth/params/{field}" in answer["detail"]
    for spec, method, _, params in accounts("127.0.0.1"):
        deployed.post("/connections", body(spec, method, params))


def test_a_patch_is_judged_like_a_new_connection(shared: Deployment) -> None:
    spec, method, field, params = accounts("10.2.1.1")[0]
    base = shared.post("/connections", body(spec, method, params))["id"]
    worse = accounts("10.1.1.1")[0][3]
    operations = [{"op": "replace", "path": "/auth/params", "value": worse}]
    assert f"/auth/params/{field}" in shared.patch(f"/connections/{base}", operations, 400)["detail"]


def test_a_name_is_judged_when_it_is_tested(shared: Deployment) -> None:
    spec, method, _, params = accounts("localhost")[0]
    base = shared.post("/connections", body(spec, method, params))["id"]
    place = {"bucketName": "bucket", "path": "out", "datasetFileType": "JSON", "compression": "GZIP"}
    target = {"name": "t", "baseConnectionId": base, "connectionSpec": {"id": spec, "version": "1.0"}, "params": place}
    shared.post("/targetConnections", target)
    (error,) = shared.get(f"/connections/{base}/test")["errors"]
    assert error["code"] == "EXPORT-2001-403"
    assert "OFFTAKE_EGRESS_ALLOW" in error["message"]
