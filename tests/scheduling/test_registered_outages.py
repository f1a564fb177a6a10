"""Flows of a registered table whose worker is killed, and whose catalog and store fail: every row arrives once.

The files are in S3, the catalog speaks REST and lends each table's credentials for less than five minutes: each part
asks for new ones.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from offtake.cli.main import main
from offtake.engines.local import LocalEngine
from tests import worker_processes
from tests.deployment import WITH_MANIFEST, deployment
from tests.fake_clock import FakeClock
from tests.matrix import examples
from tests.middlebox import Middlebox, middlebox
from tests.rest_catalog import CLIENT, RestCatalogServer, rest_catalog
from tests.scheduling.test_killed_anywhere import BATCHES, ROWS, RUN, SLOT_MS, World, check, kill
from tests.servers import Amazon, amazon
from tests.worker_processes import Site

BUCKET = "lakehouse"
SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string())])


@dataclass
class Lakehouse:
    """A table of another catalog, and the flow that delivers it."""

    world: World
    table: Table
    server: RestCatalogServer
    box: Middlebox
    store: Amazon
    lent: list[str]

    def append(self, count: int) -> None:
        source = self.world.source
        numbers = range(len(source), len(source) + count)
        self.table.append(pa.table({"id": numbers, "name": [f"name {one}" for one in numbers]}, schema=SCHEMA))
        source += numbers

    def lend(self) -> None:
        """New credentials for the next who asks; those lent before are withdrawn."""
        user = f"reader-{uuid4().hex}"
        iam = self.store.client("iam")
        if self.lent:
            (withdrawn,) = iam.list_access_keys(UserName=self.lent[-1])["AccessKeyMetadata"]
            iam.delete_access_key(UserName=self.lent[-1], AccessKeyId=withdrawn["AccessKeyId"])
        self.lent.append(user)
        key, secret = self.store.user(user, ["s3:GetObject"])
        expires = str(int(time.time() * 1000) + 60_000)
        config = {"s3.access-key-id": key, "s3.secret-access-key": secret, "s3.session-token-expires-at-ms": expires}
        self.server.lent = [{"prefix": f"s3://{BUCKET}/", "config": config}]


@pytest.fixture(scope="module")
def store() -> Iterator[Amazon]:
    with amazon() as found:
        found.client("s3").create_bucket(Bucket=BUCKET)
        yield found


@pytest.fixture
def lakehouse(store: Amazon, tmp_path: Path, engine: LocalEngine) -> Iterator[Lakehouse]:
    with ExitStack() as stack:
        keys = {"s3.access-key-id": store.access_key, "s3.secret-access-key": store.secret_key}
        url = f"sqlite:///{tmp_path / 'foreign.db'}"
        writer = SqlCatalog(
            "foreign", uri=url, warehouse=f"s3://{BUCKET}/{tmp_path.name}", **keys, **{"s3.endpoint": store.endpoint}
        )
        writer.create_namespace("sales")
        server = stack.enter_context(rest_catalog(writer))
        origin = urlsplit(store.endpoint)
        box = stack.enter_context(middlebox(str(origin.hostname), int(origin.port or 0)))
        table = writer.create_table(("sales", "orders"), SCHEMA)
        world = World(Site(tmp_path / "data", {"part_bytes": 1}), "", "", [])
        found = Lakehouse(world, table, server, box, store, [])
        for _ in range(BATCHES):
            found.append(ROWS)
        found.lend()
        register(found, engine)
        yield found


def register(lakehouse: Lakehouse, engine: LocalEngine) -> None:
    """Register the table, and make a flow that is due."""
    world = lakehouse.world
    with deployment(world.site.folder, FakeClock(time.time_ns() // 1_000_000), engine, **world.site.settings) as opened:
        properties = {"uri": lakehouse.server.origin, "credential": ":".join(CLIENT), "s3.region": "us-east-1"}
        properties["s3.endpoint"] = f"http://127.0.0.1:{lakehouse.box.port}"
        options = [word for name, value in properties.items() for word in ("--property", f"{name}={value}")]
        here = ["--data-dir", str(world.site.folder)]
        assert main(["catalog", "add", "lakehouse", "--type", "rest", *options, *here]) == 0
        table = ["--catalog", "lakehouse", "--table", "sales.orders"]
        assert main(["dataset", "register", "orders", *table, *here]) == 0
        (world.dataset,) = opened.http.get("/data/foundation/catalog/dataSets").json()
        world.flow = opened.flow(world.dataset, params=WITH_MANIFEST)


def everything_arrives(lakehouse: Lakehouse) -> None:
    """The first run, and one with what was added since."""
    check(lakehouse.world, slots=1)
    lakehouse.append(3)
    worker_processes.start(lakehouse.world.at(SLOT_MS), "next").done()
    check(lakehouse.world, slots=2)


@pytest.mark.matrix(one_in=6)
@pytest.mark.parametrize("point", [point for point in RUN if point != "tick"])
def test_a_worker_is_killed(lakehouse: Lakehouse, point: str) -> None:
    lakehouse.world.with_pools(point)
    kill(lakehouse.world.site, point, workers=1)
    everything_arrives(lakehouse)


@pytest.mark.search
def test_workers_are_killed_at_random(lakehouse: Lakehouse) -> None:
    # A run whose workers crash ten times before a file is finished fails: each run is killed five times.
    for slot in range(examples(4)):
        site = lakehouse.world.at(slot * SLOT_MS)
        for _ in range(5):
            worker = worker_processes.restart(site, "killed")
            worker.process.join(random.uniform(0.1, 1.2))
            worker.end()
            lakehouse.lend()
        worker_processes.restart(site, "killed").done()
        check(lakehouse.world, slots=slot + 1)
        lakehouse.append(3)


@contextmanager
def after(seconds: float, act: Callable[[], Any]) -> Iterator[None]:
    """Do that a moment later."""

    def wait() -> None:
        time.sleep(seconds)
        act()

    thread = Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_a_catalog_that_is_away_for_a_while_delays_the_run(lakehouse: Lakehouse) -> None:
    lakehouse.server.fails = 503
    with after(1, lambda: setattr(lakehouse.server, "fails", None)):
        worker_processes.start(lakehouse.world.site, "one").done()
    everything_arrives(lakehouse)


def test_a_catalog_that_answers_slowly_delays_the_run(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    true = lakehouse.server.document

    def slow(identifier: tuple[str, ...]) -> dict[str, Any]:
        time.sleep(0.3)
        return true(identifier)

    monkeypatch.setattr(lakehouse.server, "document", slow)
    worker_processes.start(lakehouse.world.site, "one").done()
    everything_arrives(lakehouse)


def test_credentials_that_are_withdrawn_after_each_part_are_replaced(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = lakehouse.server.document

    def other_ones(identifier: tuple[str, ...]) -> dict[str, Any]:
        lakehouse.lend()
        return true(identifier)

    monkeypatch.setattr(lakehouse.server, "document", other_ones)
    worker_processes.start(lakehouse.world.site, "one").done()
    everything_arrives(lakehouse)
    assert len(lakehouse.lent) > BATCHES


@pytest.mark.matrix(one_in=3)
@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_store_that_refuses_for_a_while_delays_the_run(lakehouse: Lakehouse, status: int) -> None:
    lakehouse.box.refuse(status, times=30)
    worker_processes.start(lakehouse.world.site, "one").done()
    everything_arrives(lakehouse)


@pytest.mark.matrix(one_in=3)
@pytest.mark.parametrize("after_bytes", [0, 3_000, 9_000])
def test_a_store_whose_connections_break_for_a_while_delays_the_run(lakehouse: Lakehouse, after_bytes: int) -> None:
    lakehouse.box.cut_after = lakehouse.box.passed + after_bytes
    with after(2, lambda: setattr(lakehouse.box, "cut_after", None)):
        worker_processes.start(lakehouse.world.site, "one").done()
    everything_arrives(lakehouse)
