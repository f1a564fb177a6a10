"""A server as users start it, in a process of its own, and the requests that the attacks make of it."""

import json
import os
import resource
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import httpx2

from tests.commands import Command
from tests.servers import await_port, free_port

FLOW_SERVICE = "/data/foundation/flowservice"
CATALOG = "/data/foundation/catalog"
IMPORT = "/data/foundation/import"
LAKE = "23598e46-f560-407b-88d5-ea6207e49db0"
ZONE = "10440537-2a7b-4583-ac39-ed38d4b848e8"
ZONE_FLOW = "cd2fc47e-e838-4f38-a581-8fff2f99b63a"


@dataclass
class Server:
    """A server that runs, and its first client."""

    process: Command
    port: int
    data_dir: Path
    log: Path

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def admin(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.data_dir / "admin.json").read_text())
        return found

    @cached_property
    def headers(self) -> dict[str, str]:
        """Of a request that is signed in."""
        token = self.sign_in(self.admin["client_secret"]).json()["access_token"]
        names = {"x-api-key": self.admin["client_id"], "x-gw-ims-org-id": self.admin["org_id"]}
        return {"Authorization": f"Bearer {token}", "x-sandbox-name": "prod", **names}

    def sign_in(self, secret: str, client_id: str | None = None, headers: Mapping[str, str] | None = None) -> Any:
        form = {"grant_type": "client_credentials", "client_id": client_id or self.admin["client_id"]}
        url = f"{self.origin}/ims/token/v3"
        return httpx2.post(url, data={**form, "client_secret": secret}, headers=headers, timeout=60)

    def call(self, method: str, path: str, timeout: float = 60, **options: Any) -> Any:
        headers = {**self.headers, **options.pop("headers", {})}
        return httpx2.request(method, self.origin + path, headers=headers, timeout=timeout, **options)

    def connect(self, sent: bytes = b"") -> socket.socket:
        """A connection that has sent so much."""
        opened = socket.create_connection(("127.0.0.1", self.port), 10)
        opened.sendall(sent)
        return opened

    def head(self, method: str, path: str, *lines: str) -> bytes:
        """The head of a request that is signed in."""
        named = [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *named, *lines, "", ""]).encode()

    def descriptors(self) -> int:
        """How many file descriptors the process has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))  # noqa: PTH208 - names are counted


@contextmanager
def serving(
    folder: Path, *options: str, descriptors: int | None = None, port: int | None = None, **settings: object
) -> Iterator[Server]:
    """A server with these options that may open so many file descriptors; settings by their names in lower case.

    `port`: of a server that was stopped; its data directory is used again.
    """
    port, log, data_dir = port or free_port(), folder / "log", folder / "data"
    environment = {**os.environ, **{f"OFFTAKE_{name.upper()}": str(value) for name, value in settings.items()}}
    prepare = descriptors and partial(resource.setrlimit, resource.RLIMIT_NOFILE, (descriptors, descriptors))
    process = Command(
        ["serve", "--data-dir", data_dir, "--port", str(port), *options], environment, log, prepare or None
    )
    try:
        await_port(port, process)
        yield Server(process, port, data_dir, log)
    finally:
        process.kill()
        process.wait(20)


def make_flow(server: Server, rows: bytes, start: int, **params: object) -> str:
    """A flow of a new dataset with these rows to the landing zone; its id."""
    spec = {"id": ZONE, "version": "1.0"}
    made = server.call("POST", f"{CATALOG}/dataSets", json={"name": "d"}).json()
    dataset = made[0].split("/")[-1]
    body = {"datasetId": dataset, "inputFormat": {"format": "json"}}
    batch = server.call("POST", f"{IMPORT}/batches", json=body).json()["id"]
    path = f"{IMPORT}/batches/{batch}"
    kind = {"Content-Type": "application/octet-stream"}
    server.call("PUT", f"{path}/datasets/{dataset}/files/a", content=rows, headers=kind).raise_for_status()
    server.call("POST", f"{path}?action=COMPLETE").raise_for_status()
    source = {"name": "s", "connectionSpec": {"id": LAKE, "version": "1.0"}}
    source_id = _made(server, "sourceConnections", {**source, "params": {"datasets": [{"dataSetId": dataset}]}})
    base_id = _made(server, "connections", {"name": "b", "connectionSpec": spec})
    given = {"path": "exports", "datasetFileType": "JSON", "compression": "GZIP", **params}
    target = {"name": "t", "baseConnectionId": base_id, "connectionSpec": spec, "params": given}
    flow = {
        "name": "f",
        "flowSpec": {"id": ZONE_FLOW, "version": "1.0"},
        "sourceConnectionIds": [source_id],
        "targetConnectionIds": [_made(server, "targetConnections", target)],
        "transformations": [],
        "scheduleParams": {
            "exportMode": "FIRST_FULL_THEN_INCREMENTAL",
            "timeUnit": "hour",
            "interval": 3,
            "startTime": start,
        },
    }
    return _made(server, "flows", flow)


def _made(server: Server, kind: str, body: object) -> str:
    answer = server.call("POST", f"{FLOW_SERVICE}/{kind}", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])
