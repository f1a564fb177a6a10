"""Whether destinations answer: asked within seconds, and what it says of which."""

import socket
import time
from collections.abc import Iterator

import pytest

from offtake.destinations import schema, sftp
from offtake.destinations.base import SandboxLocation
from offtake.destinations.landing_zone.folder import FolderZones
from offtake.destinations.registry import DESTINATIONS
from offtake.errors import DeliveryError
from offtake.network.egress import Network
from offtake.network.http import is_answering
from tests.middlebox import Middlebox, middlebox
from tests.servers import free_port

HASTY = Network(read_timeout=0.3)


@pytest.fixture
def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def box() -> Iterator[Middlebox]:
    with middlebox("127.0.0.1", 1) as opened:
        yield opened


@pytest.mark.parametrize(("status", "known"), [(200, True), (403, True), (404, True), (429, False), (503, False)])
def test_any_answer_counts_but_one_that_puts_off(box: Middlebox, status: int, known: bool) -> None:
    box.refuse(status, times=1)
    assert is_answering(f"http://127.0.0.1:{box.port}", HASTY, guarded=True) is known


def test_a_server_that_hangs_up_may_still_serve_those_who_sign(box: Middlebox) -> None:
    assert is_answering(f"http://127.0.0.1:{box.port}", HASTY, guarded=True) is False


@pytest.mark.parametrize("guards", [False, True])
def test_servers_that_are_not_there_or_say_nothing_are_unreachable(silent: int, guards: bool) -> None:
    network = Network(multi_user=guards, allow=(), deny=(), read_timeout=0.3)
    for url in (f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{silent}", "http://nosuchhost.invalid"):
        begun = time.monotonic()
        with pytest.raises(DeliveryError) as caught:
            is_answering(url, network, guarded=True)
        assert time.monotonic() - begun < 5
        # An address that may not be reached is refused for good.
        refused = guards and "127.0.0.1" in url
        assert (caught.value.transient, caught.value.unreachable) == (not refused, not refused)


@pytest.mark.parametrize("kind", ["closed", "silent"])
def test_an_unreachable_sftp_server_is_reported_at_once(silent: int, kind: str, tmp_path: object) -> None:
    port = silent if kind == "silent" else free_port()
    params = {"domain": "127.0.0.1", "port": port, "username": "u", "password": "p"}
    credentials = schema.parse_credentials(sftp.DESTINATION, "SFTP with Password", params)
    sandbox_location = SandboxLocation("prod", FolderZones(root=tmp_path), network=HASTY)  # type: ignore[arg-type] # unused here
    begun = time.monotonic()
    with pytest.raises(DeliveryError) as caught:
        sftp.answers(credentials, sandbox_location)
    assert caught.value.unreachable
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("name", "method", "params", "address"),
    [
        (
            "SFTP",
            "SFTP with Password",
            {"domain": "SFTP.Example.org", "username": "u", "password": "p"},
            "sftp.example.org:22",
        ),
        ("Amazon S3", "Access Key", {"s3AccessKey": "a", "s3SecretKey": "b"}, None),
        (
            "Amazon S3",
            "Access Key",
            {"s3AccessKey": "a", "s3SecretKey": "b", "endpointUrl": "https://minio.example.org:9000"},
            "minio.example.org:9000",
        ),
        (
            "Azure Blob Storage",
            "ConnectionString",
            {"connectionString": "AccountName=partner;AccountKey=c2VjcmV0"},
            "partner.blob.core.windows.net:443",
        ),
        (
            "Google Cloud Storage",
            "Google Cloud Storage authentication credentials",
            {"accessKeyId": "a", "secretAccessKey": "b"},
            None,
        ),
    ],
)
def test_credentials_name_the_server_that_runs_have_in_common(
    name: str, method: str, params: dict[str, str], address: str | None
) -> None:
    destination = next(one for one in DESTINATIONS if one.name == name)
    assert schema.parse_credentials(destination, method, params).address == address
