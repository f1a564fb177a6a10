"""`/readyz` of real processes whose store, lake or clock fails, and of those that stop; `/healthz` stays what it is."""

import asyncio
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from sqlalchemy import make_url

from offtake.deployment import readiness
from offtake.deployment.readiness import Check
from tests.attacks.server import Server, serving
from tests.commands import Command
from tests.deployment import Deployment
from tests.middlebox import middlebox
from tests.postgres import migrated_database
from tests.servers import await_port, free_port, rclone_s3

LONGEST = readiness.SILENT_SECONDS + 1.5
"""How long a response may take on a loaded machine."""


def asked(origin: str) -> tuple[int, list[str]]:
    """The status and the reasons; the response comes in time, and has nothing else in it."""
    began = time.monotonic()
    answer = httpx2.get(f"{origin}/readyz", timeout=10)
    assert time.monotonic() - began < LONGEST
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers.get("retry-after") == ("1" if answer.status_code == 503 else None)
    assert answer.json().keys() == {"status", "reasons"}
    assert set(answer.json()["reasons"]) <= set(readiness.REASONS)
    assert answer.json()["status"] == ("ready" if answer.status_code == 200 else "not ready")
    return answer.status_code, answer.json()["reasons"]


def await_reasons(origin: str, *reasons: str, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while (found := asked(origin)) != (503 if reasons else 200, list(reasons)):
        assert time.monotonic() < until, found
        time.sleep(0.2)
    assert httpx2.get(f"{origin}/healthz").status_code == 200


@contextmanager
def moved(path: Path) -> Iterator[None]:
    """A folder or file that is not there until the block ends."""
    away = path.with_name(f"{path.name}.away")
    path.rename(away)
    try:
        yield
    finally:
        away.rename(path)


def test_the_store_or_the_lake_is_gone(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert asked(server.origin) == (200, [])
        with moved(server.data_dir / "lake"):
            await_reasons(server.origin, "lake_unavailable")
        await_reasons(server.origin)
        with moved(server.data_dir / "offtake.db"):
            await_reasons(server.origin, "store_unavailable")
            assert not (server.data_dir / "offtake.db").exists()
        await_reasons(server.origin)
        log = server.log.read_text()
    assert log.count("not ready (lake_unavailable): the check of the lake failed") == 1
    assert log.count("not ready (store_unavailable): the check of the store failed") == 1
    assert "/readyz" not in log
    assert "/healthz" not in log


def test_a_file_in_the_warehouse_place_is_no_lake(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        shutil.rmtree(server.data_dir / "lake" / "warehouse")
        (server.data_dir / "lake" / "warehouse").write_text("")
        await_reasons(server.origin, "lake_unavailable")


CLOCK = """CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
    $$ SELECT pg_catalog.clock_timestamp() + interval '{} seconds' $$"""


def test_the_clock_of_the_database_differs_and_the_database_goes(tmp_path: Path, postgres: str) -> None:
    url = migrated_database(postgres)
    name, plain = str(make_url(url).database), url.replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(CLOCK.format(0).encode())
        connection.execute(f"ALTER DATABASE {name} SET search_path = public, pg_catalog".encode())
    with serving(tmp_path, database_url=url) as server:
        assert asked(server.origin) == (200, [])
        for seconds, reasons in ((25, ()), (40, ("clock_differs",)), (-40, ("clock_differs",)), (0, ())):
            with psycopg.connect(plain, autocommit=True) as connection:
                connection.execute(CLOCK.format(seconds).encode())
            time.sleep(1.2)
            await_reasons(server.origin, *reasons)
        with psycopg.connect(plain.rpartition("/")[0] + "/postgres", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        await_reasons(server.origin, "store_unavailable")
        assert "the database's clock is +40 s from this machine's" in server.log.read_text()


def test_a_database_that_hangs_blocks_no_probe(tmp_path: Path, postgres: str) -> None:
    url = make_url(migrated_database(postgres))
    assert url.host is not None
    assert url.port is not None
    with (
        middlebox(url.host, url.port) as box,
        serving(tmp_path, database_url=url.set(port=box.port).render_as_string()) as server,
    ):
        assert asked(server.origin) == (200, [])
        box.stall_after = box.passed
        await_reasons(server.origin, "store_unavailable")
        with httpx2.Client(base_url=server.origin) as client:
            began = time.monotonic()
            assert {client.get("/readyz").status_code for _ in range(50)} == {503}
            assert time.monotonic() - began < LONGEST
        box.stall_after = None
        await_reasons(server.origin, seconds=60)


def test_the_object_store_of_the_lake_is_gone(tmp_path: Path) -> None:
    with ExitStack() as stack:
        with rclone_s3(tmp_path / "s3") as store:
            store.make_bucket("lake")
            keys = f"s3.access-key-id={store.access_key} s3.secret-access-key={store.secret_key} s3.region=us-east-1"
            storage = f"s3.endpoint={store.endpoint} {keys}"
            server = stack.enter_context(serving(tmp_path, warehouse="s3://lake/tables", storage=storage))
            assert asked(server.origin) == (200, [])
        await_reasons(server.origin, "lake_unavailable", seconds=40)
        assert store.secret_key not in server.log.read_text()


def test_a_server_that_stops_is_not_ready_and_still_serves(tmp_path: Path) -> None:
    with serving(tmp_path, drain_seconds=4) as server:
        assert asked(server.origin) == (200, [])
        server.process.send_signal(signal.SIGTERM)
        await_reasons(server.origin, "draining", seconds=2)
        assert server.call("GET", "/data/foundation/flowservice/flows").status_code == 200
        assert server.process.wait(20) == 0


def test_a_second_signal_ends_the_draining(tmp_path: Path) -> None:
    with serving(tmp_path, drain_seconds=120) as server:
        assert asked(server.origin) == (200, [])
        server.process.send_signal(signal.SIGTERM)
        await_reasons(server.origin, "draining", seconds=5)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Server]:
    """A worker that serves its health, without a server next to it."""
    port, data_dir = free_port(), tmp_path / "data"
    environment = {**os.environ, "OFFTAKE_MULTI_USER": "false", "OFFTAKE_WORKER_PORT": str(port)}
    with serving(tmp_path):
        pass
    process = Command(["worker", "--data-dir", data_dir], environment, tmp_path / "worker-log")
    try:
        await_port(port, process)
        yield Server(process, port, data_dir, tmp_path / "worker-log")
    finally:
        process.kill()
        process.wait(20)


def test_a_worker_serves_its_health_and_nothing_else(worker: Server) -> None:
    assert asked(worker.origin) == (200, [])
    for path in ("/openapi.json", "/data/foundation/flowservice/flows", "/ims/token/v3", "/ui"):
        assert httpx2.get(worker.origin + path).status_code == 404, path
    with moved(worker.data_dir / "lake" / "warehouse"):
        await_reasons(worker.origin, "lake_unavailable")
    await_reasons(worker.origin)
    worker.process.terminate()
    assert worker.process.wait(20) == 0


def test_a_port_of_a_worker_that_is_in_use_is_reported(worker: Server) -> None:
    environment = {**os.environ, "OFFTAKE_MULTI_USER": "false", "OFFTAKE_WORKER_PORT": str(worker.port)}
    second = Command(["worker", "--data-dir", worker.data_dir], environment, worker.log)
    assert second.wait(60) == 1
    assert f"Cannot listen on 127.0.0.1:{worker.port}" in worker.log.read_text()


def test_probes_need_no_token(deployed: Deployment) -> None:
    deployed.backend.readiness.start()
    deployed.http.headers.clear()
    answer: Any = deployed.http.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "reasons": []})


def test_a_result_is_kept_for_a_second() -> None:
    calls: list[float] = []
    check = Check("test", lambda: calls.append(0), "store_unavailable")
    for _ in range(100):
        settle(check)
        assert check.reason() is None
    assert len(calls) == 1


def test_a_check_that_hangs_is_abandoned_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(readiness, "_ABANDON_SECONDS", 0.1)
    hanging, renewed = threading.Event(), threading.Event()
    check = Check("test", lambda: renewed.is_set() or hanging.wait(20), "store_unavailable", renew=renewed.set)
    settle(check)
    assert check.reason() == "store_unavailable"
    assert not renewed.is_set()
    time.sleep(0.1)
    settle(check)
    settle(check)
    assert renewed.is_set()
    until = time.monotonic() + 10
    while check.reason() is not None:
        assert time.monotonic() < until
        time.sleep(0.01)
    hanging.set()


def settle(check: Check) -> None:
    async def settled() -> None:
        check.begin()
        while not check.is_settled():
            await asyncio.sleep(0.001)

    asyncio.run(settled())
