"""A single-user server, and connections that lead to a metadata service by themselves or by a redirect.

0.0.0.0 stands for one: it is refused like them, and this machine answers there.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.server import FLOW_SERVICE, Server, serving
from tests.redirects import REDIRECTS, web_server

S3 = "4fce964d-3f37-408f-9778-e597338a21ee"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that carries a token of its own."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "OWN-SECRET")
    with serving(tmp_path, read_timeout_seconds=2) as opened:
        yield opened


def connection(server: Server, endpoint: str) -> Any:
    key = {"s3AccessKey": "k", "s3SecretKey": "s", "endpointUrl": endpoint, "addressingStyle": "PATH"}
    auth = {"specName": "Access Key", "params": key}
    body = {"name": "b", "connectionSpec": {"id": S3, "version": "1.0"}, "auth": auth}
    return server.call("POST", f"{FLOW_SERVICE}/connections", json=body)


def test_no_connection_of_a_single_user_server_reaches_a_metadata_service(server: Server) -> None:
    for host in ("169.254.169.254", "[fd00:ec2::254]", "0.0.0.0", "[::ffff:169.254.169.254]"):  # noqa: S104 - see the top
        assert connection(server, f"http://{host}").status_code == 400
    with web_server() as inside:
        for status in REDIRECTS:
            with web_server(status, f"http://0.0.0.0:{inside.port}/latest/meta-data/") as store:
                base = connection(server, f"http://127.0.0.1:{store.port}").json()["id"]
                place = {"bucketName": "bucket", "path": "out", "datasetFileType": "JSON", "compression": "GZIP"}
                spec = {"id": S3, "version": "1.0"}
                target = {"name": "t", "baseConnectionId": base, "connectionSpec": spec, "params": place}
                assert server.call("POST", f"{FLOW_SERVICE}/targetConnections", json=target).status_code == 201
                server.call("GET", f"{FLOW_SERVICE}/connections/{base}/test")
                assert store.asked != []
                assert "OWN-SECRET" not in str(store.asked)
        assert inside.asked == []
