"""Deployments whose landing zones are an Azure account's containers, or an S3 bucket's prefixes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from offtake.engines.local import LocalEngine
from tests.azure_servers import AzureServer
from tests.deployment import Deployment, deployment
from tests.fake_clock import FakeClock
from tests.servers import Amazon

PATH = "/data/foundation/connectors/landingzone"


@contextmanager
def azure_zones(server: AzureServer, folder: Path, engine: LocalEngine, **settings: Any) -> Iterator[Deployment]:
    """Over the account, by a clock that shows the true time until it is moved: the account's own cannot be."""
    clock = FakeClock(time.time_ns() // 1_000_000)
    where = {"landing_zone": f"azure://z{uuid4().hex[:9]}", "landing_zone_connection_string": server.connection_string}
    with deployment(folder, clock, engine, **where, **settings) as deployed:
        yield deployed


@contextmanager
def s3_zones(
    server: Amazon, folder: Path, engine: LocalEngine, environment: pytest.MonkeyPatch, **settings: Any
) -> Iterator[Deployment]:
    """Over a new bucket, likewise; the server is the administrator there. The role may do everything in S3."""
    clock = FakeClock(time.time_ns() // 1_000_000)
    environment.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    environment.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
    bucket = f"b{uuid4().hex}"
    server.client("s3").create_bucket(Bucket=bucket)
    where = {
        "landing_zone": f"s3://{bucket}/zones",
        "landing_zone_endpoint": server.endpoint,
        "landing_zone_role": server.role(f"r{uuid4().hex}", ["s3:*"]),
    }
    with deployment(folder, clock, engine, **(where | settings)) as deployed:
        yield deployed


def ask(deployed: Deployment, method: str, path: str, status: int = 200) -> Any:
    """What the landing zone's API answers."""
    answer = deployed.http.request(method, PATH + path)
    assert answer.status_code == status, answer.text
    return answer.json()
