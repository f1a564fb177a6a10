"""Credentials of the landing zone, at a server in a process of its own, end with the client that has them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.servers import await_port, free_port

ZONE = "/data/foundation/connectors/landingzone/credentials?type=dlz_destination"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[httpx2.Client]:
    """Requests that are signed in, to a server in a process of its own."""
    port, data = free_port(), tmp_path / "data"
    command = [sys.executable, "-m", "offtake", "serve", "--data-dir", str(data), "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=dict(os.environ))
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


def test_credentials_end_at_once_when_another_process_gives_the_client_a_new_secret(
    server: httpx2.Client, tmp_path: Path
) -> None:
    (tmp_path / "data" / "landing-zone" / "prod").mkdir(parents=True, exist_ok=True)
    (tmp_path / "data" / "landing-zone" / "prod" / "a.txt").write_text("hello")
    address, _, token = server.get(ZONE).json()["SASUri"].partition("?")
    assert httpx2.get(f"{address}/a.txt?{token}").text == "hello"
    client = server.headers["x-api-key"]
    command = [sys.executable, "-m", "offtake", "client", "rotate", client, "--data-dir", str(tmp_path / "data")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert httpx2.get(f"{address}/a.txt?{token}").status_code == 403
    assert httpx2.delete(f"{address}/a.txt?{token}").status_code == 403
    address, _, token = server.get(ZONE).json()["SASUri"].partition("?")
    assert httpx2.delete(f"{address}/a.txt?{token}").status_code == 202
