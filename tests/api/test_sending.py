"""Uploads over a real connection: slow, interrupted, restarted meanwhile."""

import http.client
import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from tests.api.test_ingestion import BYTES, CATALOG, IMPORT, act, batch_of, call, held, ndjson, uploads
from tests.deployment import Deployment, rows
from tests.servers import free_port


@pytest.fixture
def port(deployed: Deployment) -> Iterator[int]:
    """The deployment's API on a port of this machine."""
    config = uvicorn.Config(deployed.http.app, port=free_port(), log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield config.port
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def dataset(deployed: Deployment) -> str:
    (path,) = call(deployed, "POST", f"{CATALOG}/dataSets", 201, json={"name": "events"})
    return str(path.rpartition("/")[2])


class Sending:
    """A request whose body goes out piece by piece."""

    def __init__(self, deployed: Deployment, port: int, method: str, path: str, size: int, **more: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.connection.putrequest(method, IMPORT + path)
        skipped = ("host", "content-length", "accept-encoding")
        ours = {name: value for name, value in deployed.http.headers.items() if name.lower() not in skipped}
        for name, value in (ours | BYTES | more | {"content-length": str(size)}).items():
            self.connection.putheader(name, value)
        self.connection.endheaders()

    def piece(self, content: bytes) -> None:
        self.connection.send(content)
        time.sleep(0.2)

    def answer(self) -> tuple[int, Any]:
        answer = self.connection.getresponse()
        found = answer.status, json.loads(answer.read())
        self.connection.close()
        return found


def test_a_part_of_an_upload_that_was_restarted_does_not_count(deployed: Deployment, dataset: str, port: int) -> None:
    batch = batch_of(deployed, dataset)
    path = f"/batches/{batch}/datasets/{dataset}/files/a.json"
    call(deployed, "POST", f"{path}?action=INITIALIZE", 201)
    content = ndjson(*rows(0, 3))
    headers = {"content-range": f"bytes 0-{len(content) - 1}/{len(content)}"}
    part = Sending(deployed, port, "PATCH", path, len(content), **headers)
    part.piece(content[:10])
    call(deployed, "POST", f"{path}?action=INITIALIZE", 201)
    part.piece(content[10:])
    status, problem = part.answer()
    assert (status, "Send the part again" in problem["detail"]) == (400, True)
    assert "range" not in deployed.http.head(IMPORT + path).headers
    call(deployed, "PATCH", path, content=content, headers=BYTES | headers)
    call(deployed, "POST", f"{path}?action=COMPLETE")
    act(deployed, batch, "COMPLETE")
    deployed.ingest_due()
    assert held(deployed, dataset) == rows(0, 3)


@pytest.mark.parametrize("action", ["ABORT", "COMPLETE"])
def test_a_file_that_came_too_late_is_refused_and_leaves_nothing(
    deployed: Deployment, dataset: str, port: int, action: str
) -> None:
    batch = batch_of(deployed, dataset)
    content = ndjson(*rows(0, 3))
    late = Sending(deployed, port, "PUT", f"/batches/{batch}/datasets/{dataset}/files/a.json", len(content))
    late.piece(content[:10])
    act(deployed, batch, action)
    late.piece(content[10:])
    status, problem = late.answer()
    assert (status, problem["type"].rpartition("/")[2]) == (400, "INGEST-1422-400")
    assert uploads(deployed) == []
    deployed.ingest_due()
    assert held(deployed, dataset) == []


def test_a_client_that_goes_away_leaves_nothing_and_is_no_error(
    deployed: Deployment, dataset: str, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    batch = batch_of(deployed, dataset)
    path = f"/batches/{batch}/datasets/{dataset}/files/a.json"
    with caplog.at_level(logging.WARNING):
        gone = Sending(deployed, port, "PUT", path, 1000)
        gone.piece(b'{"id": 1}\n')
        assert len(uploads(deployed)) == 1
        gone.connection.close()
        for _ in range(200):
            if not uploads(deployed):
                break
            time.sleep(0.02)
        time.sleep(0.1)
    assert uploads(deployed) == []
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []
    assert deployed.http.head(IMPORT + path).status_code == 404


def test_a_body_that_is_longer_than_it_may_be_is_cut_off_early(deployed: Deployment, dataset: str, port: int) -> None:
    batch = batch_of(deployed, dataset)
    path = f"/batches/{batch}/datasets/{dataset}/files/a.json"
    status, problem = Sending(deployed, port, "PUT", path, 256 * 2**20 + 1).answer()
    assert (status, problem["type"].rpartition("/")[2]) == (413, "INGEST-3413-413")
    assert uploads(deployed) == []
