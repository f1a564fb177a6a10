"""Every destination, open and ready, against the real thing."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import trustme

from offtake.destinations.base import Sink
from tests.azure_servers import AzureServer, azurite, azurite_with_sign_in
from tests.destinations import cases
from tests.destinations.cases import NOT_STAGED, Case
from tests.servers import Amazon, S3Server, amazon, rclone_s3
from tests.ssh_server import SshServer, sshd

# Servers


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with rclone_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_with_tls(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[S3Server]:
    with rclone_s3(tmp_path_factory.mktemp("s3"), authority) as server:
        yield server


@pytest.fixture(scope="session")
def aws() -> Iterator[Amazon]:
    with amazon() as server:
        yield server


@pytest.fixture(scope="session")
def azure() -> Iterator[AzureServer]:
    with azurite() as server:
        yield server


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def azure_with_sign_in(authority: trustme.CA) -> Iterator[AzureServer]:
    with azurite_with_sign_in(authority) as server:
        yield server


@pytest.fixture(scope="session")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with sshd(tmp_path_factory.mktemp("ssh")) as server:
        yield server


CASES: Final = (
    "Data Landing Zone",
    "Data Landing Zone in Azure",
    "Data Landing Zone in S3",
    "Amazon S3",
    "Amazon S3 by role",
    "Google Cloud Storage",
    "Azure Blob Storage",
    "Azure Blob Storage by signature",
    "Azure Blob Storage by Entra ID",
    "Azure Data Lake Gen2",
    "SFTP",
    "SFTP without rename",
)


@pytest.fixture
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    """The destination that the test's parameter names, empty."""
    of: Callable[[str], Any] = request.getfixturevalue
    made: Mapping[str, Callable[[], Case]] = {
        "Data Landing Zone": lambda: cases.landing_zone(tmp_path),
        "Data Landing Zone in Azure": lambda: cases.landing_zone_in_azure(of("azure"), tmp_path),
        "Data Landing Zone in S3": lambda: cases.landing_zone_in_s3(of("aws"), tmp_path, of("monkeypatch")),
        "Amazon S3": lambda: cases.amazon_s3(of("s3"), tmp_path),
        "Amazon S3 by role": lambda: cases.amazon_s3_by_role(of("aws"), tmp_path, of("monkeypatch")),
        "Google Cloud Storage": lambda: cases.google_cloud_storage(of("s3_with_tls"), of("authority"), tmp_path),
        "Azure Blob Storage": lambda: cases.azure_blob(of("azure"), tmp_path),
        "Azure Blob Storage by signature": lambda: cases.azure_blob_by_signature(of("azure"), tmp_path),
        "Azure Blob Storage by Entra ID": lambda: cases.azure_blob_by_principal(
            of("azure_with_sign_in"), of("authority"), tmp_path
        ),
        "Azure Data Lake Gen2": lambda: cases.azure_data_lake(of("azure_with_sign_in"), of("authority"), tmp_path),
        "SFTP": lambda: cases.sftp(of("ssh"), tmp_path),
        "SFTP without rename": lambda: cases.sftp(
            of("ssh"), tmp_path, "-P rename,posix-rename", temporaryName="NONE", exclusiveCreate=True, readBack=True
        ),
    }
    found = made[request.param]()
    yield found
    for sink in found.opened:
        sink.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test of a `case` runs for each that it can be staged for; the mark `needs` says what it takes."""
    if "case" not in metafunc.fixturenames:
        return
    needs = [mark.args[0] for mark in metafunc.definition.iter_markers("needs")]
    out = {name for need in needs for name in NOT_STAGED[need]}
    metafunc.parametrize("case", [name for name in CASES if name not in out], indirect=True)


@pytest.fixture
def sink(case: Case) -> Sink:
    return case.open()
