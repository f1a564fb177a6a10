"""Every destination that delivers, open and ready, against the real thing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from offtake.destinations import schema
from offtake.destinations.contract import Destination, Sink, Site
from offtake.destinations.parameters import Params
from offtake.destinations.registry import DESTINATIONS
from tests.servers import S3Server, rclone_s3
from tests.ssh_server import SshServer, sshd

BUCKET = "partner"


@dataclass(frozen=True)
class Case:
    """A destination with the params and credentials that reach it."""

    destination: Destination
    credentials: Params | None
    location: dict[str, str]
    site: Site
    files: Callable[[], list[Path]]
    """What lies at the destination, looked at from behind; multipart uploads that dangle included."""

    def open(self) -> Sink:
        params = schema.parse_target_params(
            self.destination, {"datasetFileType": "JSON", "compression": "GZIP", **self.location}
        )
        assert self.destination.open is not None
        return self.destination.open(self.credentials, params, self.site)


def by_name(name: str) -> Destination:
    return next(one for one in DESTINATIONS if one.name == name)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with rclone_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


def landing_zone(tmp_path: Path) -> Case:
    root = tmp_path / "zone"
    site = Site("prod", root)
    return Case(by_name("Data Landing Zone"), None, {"path": "out"}, site, lambda: _files(root))


def amazon_s3(s3: S3Server, tmp_path: Path) -> Case:
    bucket = f"b{abs(hash(tmp_path)):x}"[:40]
    s3.make_bucket(bucket)
    destination = by_name("Amazon S3")
    params = {"s3AccessKey": s3.access_key, "s3SecretKey": s3.secret_key, "endpointUrl": s3.endpoint}
    credentials = schema.parse_credentials(destination, "Access Key", params)
    site = Site("prod", tmp_path)
    return Case(destination, credentials, {"bucketName": bucket, "path": "out"}, site, lambda: _files(s3.root / bucket))


@pytest.fixture(scope="session")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with sshd(tmp_path_factory.mktemp("ssh")) as server:
        yield server


def sftp(ssh: SshServer, tmp_path: Path) -> Case:
    destination = by_name("SFTP")
    server = ssh.within(tmp_path.name)
    credentials = schema.parse_credentials(destination, "SFTP with SSH Key", server.params())
    site = Site("prod", tmp_path)
    return Case(destination, credentials, {"remotePath": "out"}, site, lambda: _files(server.root))


@pytest.fixture(params=["Data Landing Zone", "Amazon S3", "SFTP"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    """Each destination in turn, empty."""
    if request.param == "Amazon S3":
        return amazon_s3(request.getfixturevalue("s3"), tmp_path)
    if request.param == "SFTP":
        return sftp(request.getfixturevalue("ssh"), tmp_path)
    return landing_zone(tmp_path)


@pytest.fixture
def sink(case: Case) -> Iterator[Sink]:
    opened = case.open()
    yield opened
    opened.close()


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]
