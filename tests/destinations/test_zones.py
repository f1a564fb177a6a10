"""What remote landing zones need in addition to a sink: private authorities, and a refreshed identity."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
import trustme
from azure.storage.blob import ContainerClient
from pydantic import SecretStr

from offtake.destinations.base import LandingZones, Sink
from offtake.destinations.landing_zone.azure import AzureZones
from offtake.destinations.landing_zone.s3 import S3Zone, S3Zones
from offtake.errors import DeliveryError
from offtake.network.egress import Network
from tests.azure_servers import AzureServer
from tests.middlebox import middlebox
from tests.servers import Amazon

KIND: Final = "dlz_destination"


def open_to_write(zones: LandingZones) -> Sink:
    zone = zones.zone("an-organisation", "prod", KIND)
    zone.create()
    return zone.open()


def refused(act: Callable[[], Any]) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        act()
    return caught.value


def test_an_account_certified_by_an_authority_of_ones_own(azure_with_sign_in: AzureServer) -> None:
    server = azure_with_sign_in
    assert server.endpoint.startswith("https:")

    def zones(network: Network) -> AzureZones:
        return AzureZones(SecretStr(server.connection_string), f"z{uuid4().hex[:9]}", network)

    trusting = zones(Network(certificates=server.certificates))
    zone = trusting.zone("an-organisation", "prod", KIND)
    sink = open_to_write(trusting)
    sink.put("a/b.json", [b"hello"])
    end = 4_000_000_000_000
    zone.set_policies(lambda: {"dlz-1": False})
    query = zone.sign("dlz-1", end)
    assert "spr=https" in query
    address = f"{server.endpoint}/{zone.container}?{query}"
    with ContainerClient.from_container_url(address, connection_verify=server.ca_file) as client:
        assert client.download_blob("a/b.json").readall() == b"hello"
    assert zone.remove_unchanged("a/b.json", end)
    error = refused(lambda: open_to_write(zones(Network(read_timeout=2))))
    assert (error.code, error.transient) == ("EXPORT-2003-504", True)


def test_a_store_certified_by_an_authority_of_ones_own(
    aws: Amazon, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", aws.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", aws.secret_key)
    bucket, role = f"b{uuid4().hex}", aws.role(f"r{uuid4().hex}", ["s3:*"])
    aws.client("s3").create_bucket(Bucket=bucket)
    port = int(aws.endpoint.rpartition(":")[2])
    with middlebox("127.0.0.1", port, authority, plain_behind=True) as box:

        def zones(network: Network) -> S3Zones:
            return S3Zones(bucket, "", role, endpoint=f"https://localhost:{box.port}", network=network)

        trusting, doubting = zones(Network(certificates=authority.cert_pem.bytes())), zones(Network(read_timeout=2))
        zone = trusting.zone("an-organisation", "prod", KIND)
        sink = open_to_write(trusting)
        sink.put("a.json", [b"hello"])
        assert zone.new_session("a-consumer", 900).token
        assert zone.remove_unchanged("a.json", 4_000_000_000_000)
        assert list(sink.list("")) == []
        error = refused(lambda: doubting.zone("an-organisation", "prod", KIND).new_session("a-consumer", 900))
        assert (error.code, error.transient) == ("EXPORT-2003-504", True)


def test_an_identity_that_was_not_there_is_looked_for_again(
    aws: Amazon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment stays the same; what it names appears."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    bucket = f"b{uuid4().hex}"
    aws.client("s3").create_bucket(Bucket=bucket)
    zones = S3Zones(bucket, "", "arn:aws:iam::123456789012:role/readers", endpoint=aws.endpoint)
    zone = zones.zone("an-organisation", "prod", KIND)
    for act in (
        lambda: open_to_write(zones),
        lambda: zone.remove_unchanged("a.json", 0),
    ):
        error = refused(act)
        assert (error.code, error.transient) == ("EXPORT-2001-401", False)
        assert "AWS_ACCESS_KEY_ID" in error.remedy
    file.write_text(f"[default]\naws_access_key_id={aws.access_key}\naws_secret_access_key={aws.secret_key}\n")
    assert open_to_write(zones).put("a.json", [b"x"]) == 1
    assert not zone.remove_unchanged("not-there.json", 0)


def test_stores_that_ask_for_a_pause_get_it(
    aws: Amazon, azure: AzureServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", aws.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", aws.secret_key)
    with middlebox("127.0.0.1", int(aws.endpoint.rpartition(":")[2])) as box:
        in_s3 = S3Zones("bucket", "", "arn:aws:iam::123456789012:role/r", endpoint=f"http://127.0.0.1:{box.port}")
        box.refuse(503, times=10, headers="Retry-After: 77\r\n")
        error = refused(lambda: in_s3.zone("org", "prod", KIND).new_session("a-consumer", 900))
        assert (error.code, error.transient, error.retry_after) == ("EXPORT-2003-504", True, 77)
    with middlebox("127.0.0.1", azure.port) as box:
        there = azure.connection_string.replace(f":{azure.port}/", f":{box.port}/")
        in_azure = AzureZones(SecretStr(there), f"z{uuid4().hex[:9]}")
        box.refuse(503, times=20, headers="Retry-After: 77\r\n")
        error = refused(lambda: open_to_write(in_azure))
        assert (error.code, error.transient, error.retry_after) == ("EXPORT-2003-504", True, 77)
    assert aws.secret_key not in caplog.text


def test_a_session_names_the_partition_of_its_role() -> None:
    zones = S3Zones("bucket", "prefix", "arn:aws-cn:iam::123456789012:role/readers", region="cn-north-1")
    statements = S3Zone(zones, "prefix/folder").session_policy(deletes=False)["Statement"]
    assert [one["Resource"] for one in statements] == [
        "arn:aws-cn:s3:::bucket/prefix/folder/*",
        "arn:aws-cn:s3:::bucket",
    ]
    assert zones.endpoint_url == "https://s3.cn-north-1.amazonaws.com.cn"
    compatible = S3Zones("bucket", "prefix", "arn:minio:iam:::role/readers")
    policy = S3Zone(compatible, "prefix/folder").session_policy(deletes=False)
    assert policy["Statement"][1]["Resource"] == "arn:aws:s3:::bucket"
