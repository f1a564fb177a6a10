"""Marked secrets are planted everywhere; none is found again anywhere but where it was sent."""

import base64
import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from offtake.logs import add_request_id
from tests.api.tutorial import RSA_KEY
from tests.deployment import FLOW_SERVICE, WITH_MANIFEST, Deployment, flow_body, rows, source_body

MARK = "xMARKEDx"
S3 = {"id": "4fce964d-3f37-408f-9778-e597338a21ee", "version": "1.0"}
S3_FLOW = "269ba276-16fc-47db-92b0-c1049a3c131f"
ACCOUNTS: dict[str, tuple[str, str, dict[str, str]]] = {
    "s3": (S3["id"], "Access Key", {"s3AccessKey": "A", "s3SecretKey": f"{MARK}/s3+"}),
    "role": (S3["id"], "Assumed Role", {"s3Role": f"arn:aws:iam::123456789012:role/{MARK}"}),
    "blob": (
        "6d6b59bf-fb58-4107-9064-4d246c0e5bb2",
        "ConnectionString",
        {"connectionString": f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={MARK}"},
    ),
    "adls": (
        "be2c3209-53bc-47e7-ab25-145db8b873e1",
        "Azure Service Principal Auth",
        {
            "url": "abfss://exports@a.dfs.core.windows.net",
            "servicePrincipalId": "i",
            "servicePrincipalKey": f"{MARK}~adls",
            "tenant": "t",
        },
    ),
    "gcs": (
        "c5d93acb-ea8b-4b14-8f53-02138444ae99",
        "Google Cloud Storage authentication credentials",
        {"accessKeyId": "GOOG", "secretAccessKey": f"{MARK}/gcs"},
    ),
    "sftp": (
        "36965a81-b1c6-401b-99f8-22508f1e6a26",
        "SFTP with Password",
        {"domain": "sftp.example.org", "username": "drop", "password": f"{MARK} sftp"},
    ),
    "key": (
        "36965a81-b1c6-401b-99f8-22508f1e6a26",
        "SFTP with SSH Key",
        {"domain": "s", "username": "u", "sshKey": RSA_KEY, "passphrase": f"{MARK} phrase"},
    ),
}
SECRET_FIELDS = (
    "s3SecretKey",
    "s3Role",
    "connectionString",
    "servicePrincipalKey",
    "secretAccessKey",
    "password",
    "sshKey",
    "passphrase",
)
PLANTED = [value for _, _, params in ACCOUNTS.values() for key, value in params.items() if key in SECRET_FIELDS]


def forms(secret: str) -> list[bytes]:
    """The secret as it might be written somewhere: plainly, in JSON, in an address, in Base64."""
    plain = secret.encode()
    return [plain, json.dumps(secret)[1:-1].encode(), quote(secret, safe="").encode(), base64.b64encode(plain)]


class Witness(logging.Handler):
    """Keeps every line that anything logs, with its traceback."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(request_id)s %(name)s %(message)s"))
        self.addFilter(add_request_id)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def witness() -> Iterator[Witness]:
    found, root = Witness(), logging.getLogger()
    level = root.level
    root.addHandler(found)
    root.setLevel(logging.DEBUG)
    yield found
    root.setLevel(level)
    root.removeHandler(found)


def test_no_secret_is_in_any_answer_log_file_or_manifest(deployed: Deployment, witness: Witness) -> None:
    answers: list[bytes] = []
    deployed.http.event_hooks["response"].append(
        lambda answer: answers.append(answer.read() + repr(answer.headers).encode())
    )
    plant(deployed)
    secrets = [*PLANTED, deployed.admin.client_secret]
    found = [*answers, *(line.encode() for line in witness.lines)]
    found += [file.read_bytes() for file in deployed.backend.settings.data_dir.rglob("*") if file.is_file()]
    assert len(answers) > 40
    assert any(b'"exportResults"' in one for one in found)
    for secret in secrets:
        for form in forms(secret):
            assert not [one for one in found if form in one], f"{form!r} is to be seen"
    master = (deployed.backend.settings.data_dir / "vault.key").read_text().strip().encode()
    assert not [one for one in (*answers, *found[: len(answers) + len(witness.lines)]) if master in one]


def plant(deployed: Deployment) -> None:
    """Every way a secret can come in, rightly and wrongly, and everything that then works with it."""
    deployed.flow(deployed.import_rows("zone", rows(0, 3)), params=WITH_MANIFEST)
    for name, (spec, method, params) in ACCOUNTS.items():
        auth = {"specName": method, "params": params}
        body: dict[str, Any] = {"name": name, "connectionSpec": {"id": spec, "version": "1.0"}, "auth": auth}
        path = f"/connections/{deployed.post('/connections', body)['id']}"
        deployed.get(path)
        deployed.get(f"{path}/test")
        deployed.patch(path, [{"op": "replace", "path": "/auth/params", "value": params}])
        for wrong in ({**params, "unknown": params}, [params], {"nested": {"deep": params}}, json.dumps(params)):
            deployed.patch(path, [{"op": "replace", "path": "/auth/params", "value": wrong}], 400)
            deployed.post("/connections", {**body, "auth": {"specName": method, "params": wrong}}, 400)
        deployed.post("/connections", {**body, "auth": {"specName": "none such", "params": params}}, 400)
        deployed.post("/connections", {**body, "connectionSpec": params}, 400)
        deployed.post("/connections/search", {"queryString": "name!=x"}, 200)
    unreachable(deployed)
    deployed.get("/connections")
    form = {"grant_type": "client_credentials", "client_id": "x", "client_secret": f"{MARK}/s3+"}
    deployed.http.post("/ims/token/v3", data=form)
    deployed.http.post(f"/ims/token/v2?client_id=x&client_secret={quote(MARK + '/s3+')}&grant_type=client_credentials")
    deployed.http.post(f"/ims/token/v3?client_id=x&client_secret={quote(MARK + '/s3+')}", data={"grant_type": "x"})
    deployed.http.post(f"{FLOW_SERVICE}/flows", content=json.dumps(PLANTED).encode() + b"}")


def unreachable(deployed: Deployment) -> None:
    """A run to a bucket whose server is not there: it fails, and says where and why."""
    params = {"s3AccessKey": "A", "s3SecretKey": f"{MARK}/s3+", "endpointUrl": "http://127.0.0.1:9"}
    auth = {"specName": "Access Key", "params": params}
    base = deployed.post("/connections", {"name": "away", "connectionSpec": S3, "auth": auth})["id"]
    place = {"bucketName": "exports", "path": "x", "compression": "NONE", "datasetFileType": "PARQUET"}
    body = {"name": "t", "baseConnectionId": base, "connectionSpec": S3, "params": place}
    target = deployed.post("/targetConnections", body)["id"]
    source = deployed.post("/sourceConnections", source_body(deployed.import_rows("s3", rows(0, 3))))["id"]
    flow = flow_body(source, target, deployed.clock) | {"flowSpec": {"id": S3_FLOW, "version": "1.0"}}
    deployed.post("/flows", flow)
    assert deployed.get(f"/connections/{base}/test")["result"] is False
    deployed.run_out()
    deployed.sign_in()
    statuses = [run["metrics"]["statusSummary"] for run in deployed.get("/runs")["items"]]
    assert sorted(one["status"] for one in statuses) == ["failed", "success"]


def test_every_line_of_a_request_carries_its_id(deployed: Deployment, witness: Witness) -> None:
    deployed.http.get(f"{FLOW_SERVICE}/flows/x%0Ay%F0%9F%98%80", headers={"x-request-id": "mine-7"})
    lines = [line for line in witness.lines if "offtake.requests" in line]
    assert len(lines) == 1
    assert lines[0].startswith("mine-7 offtake.requests GET")
    assert "404" in lines[0]
    assert "\n" not in lines[0]
    witness.lines.clear()
    deployed.http.post("/ims/token/v3?client_secret=marked", data={})
    ours = [line for line in witness.lines if " offtake." in line]
    assert len(ours) == 1
    assert "marked" not in ours[0]
