"""A single-user server, and connections that lead to a metadata service by themselves or by a redirect.

0.0.0.0 stands for one: it is refused like them, and this machine answers there.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.redirects import REDIRECTS, web_server
from tests.servers import await_port, free_port

S3 = "4fce964d-3f37-408f-9778-e597338a21ee"
FLOW_SERVICE = "/data/foundation/flowservice"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[httpx2.Client]:
    """Requests that are signed in, to a server in a process of its own, which carries a token of its own."""
    port, data = free_port(), tmp_path / "data"
    command = [sys.executable, "-m", "offtake", "serve", "--data-dir", str(data), "--port", str(port)]
    environment = {**os.environ, "OFFTAKE_PATIENCE_SECONDS": "2", "AWS_SESSION_TOKEN": "OWN-SECRET"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        await_port(port, process)
        admin = json.loads((data / "admin.json").read_text())
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            form = {"grant_type": "client_credentials", "client_id": admin["client_id"]}
            token = client.post("/ims/token/v3", data={**form, "client_secret": admin["client_secret"]}).json()
            client.headers["Authorization"] = f"Bearer {token['access_token']}"
            client.headers.update({"x-api-key": admin["client_id"], "x-gw-ims-org-id": admin["org_id"]})
            client.headers["x-sandbox-name"] = "prod"
            yield client
    finally:
        process.kill()
        process.wait(20)


def connection(server: httpx2.Client, endpoint: str) -> Any:
    key = {"s3AccessKey": "k", "s3SecretKey": "s", "endpointUrl": endpoint, "addressingStyle": "PATH"}
    auth = {"specName": "Access Key", "params": key}
    body = {"name": "b", "connectionSpec": {"id": S3, "version": "1.0"}, "auth": auth}
    return server.post(f"{FLOW_SERVICE}/connections", json=body)


def test_no_connection_of_a_single_user_server_reaches_a_metadata_service(server: httpx2.Client) -> None:
    for host in ("169.254.169.254", "[fd00:ec2::254]", "0.0.0.0", "[::ffff:169.254.169.254]"):  # noqa: S104 - see the top
        assert connection(server, f"http://{host}").status_code == 400
    with web_server() as inside:
        for status in REDIRECTS:
            with web_server(status, f"http://0.0.0.0:{inside.port}/latest/meta-data/") as store:
                base = connection(server, f"http://127.0.0.1:{store.port}").json()["id"]
                place = {"bucketName": "bucket", "path": "out", "datasetFileType": "JSON", "compression": "GZIP"}
                spec = {"id": S3, "version": "1.0"}
                target = {"name": "t", "baseConnectionId": base, "connectionSpec": spec, "params": place}
                assert server.post(f"{FLOW_SERVICE}/targetConnections", json=target).status_code == 201
                server.get(f"{FLOW_SERVICE}/connections/{base}/test")
                assert store.asked != []
                assert "OWN-SECRET" not in str(store.asked)
        assert inside.asked == []
