"""Invalid settings of the landing zone are reported at start, in one line, with the variable's name."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from offtake.deployment.landing_zone_settings import zones_of
from offtake.destinations.landing_zone.azure import AzureZones
from offtake.destinations.landing_zone.folder import FolderZones
from offtake.destinations.landing_zone.s3 import S3Zones
from offtake.destinations.zones import TYPES
from offtake.errors import OfftakeError
from offtake.network.egress import Network
from offtake.settings import Settings
from tests.commands import run

ACCOUNT = "AccountName=account;AccountKey=c2VjcmV0"
ROLE = "arn:aws:iam::123456789012:role/readers"
AZURE = {"landing_zone": "azure://", "landing_zone_connection_string": ACCOUNT}
S3 = {"landing_zone": "s3://bucket/prefix", "landing_zone_role": ROLE}


def zones(**settings: Any) -> Any:
    return zones_of(Settings(data_dir=Path("data"), **settings), Network(certificates=b"pem", read_timeout=7))


def test_a_folder_is_the_default() -> None:
    assert zones() == FolderZones(Path("data/landing-zone"))
    assert zones(landing_zone="/srv/zone") == zones(landing_zone=Path("/srv/zone")) == FolderZones(Path("/srv/zone"))


def test_an_account_and_a_bucket_take_the_networks_authorities_and_not_its_rules() -> None:
    trusted = Network(certificates=b"pem", read_timeout=7).for_operator()
    rules = Network(multi_user=True, certificates=b"pem", read_timeout=7)
    settings = Settings(landing_zone="azure://lake", landing_zone_connection_string=SecretStr(ACCOUNT))
    assert zones_of(settings, rules) == AzureZones(SecretStr(ACCOUNT), "lake", trusted)
    assert zones(**S3) == S3Zones("bucket", "prefix", ROLE, "us-east-1", None, trusted)
    chosen = {"landing_zone_region": "eu-central-1", "landing_zone_endpoint": "https://minio.example.org:9000/"}
    assert zones(**(S3 | chosen)) == S3Zones(
        "bucket", "prefix", ROLE, "eu-central-1", "https://minio.example.org:9000", trusted
    )
    unprefixed = zones(**(S3 | {"landing_zone": "s3://bucket"}))
    assert unprefixed.zone("org", "prod", TYPES[0]).url == "s3://bucket/org/prod/dlz-destination"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"landing_zone": "gs://bucket"}, "OFFTAKE_LANDING_ZONE must be a folder"),
        ({"landing_zone": "azure://"}, "OFFTAKE_LANDING_ZONE_CONNECTION_STRING is not set"),
        (AZURE | {"landing_zone": "azure://UPPER"}, "OFFTAKE_LANDING_ZONE: the prefix after azure://"),
        (AZURE | {"landing_zone": "azure://a--b"}, "OFFTAKE_LANDING_ZONE: the prefix after azure://"),
        (AZURE | {"landing_zone": "azure://elevenchars"}, "OFFTAKE_LANDING_ZONE: the prefix after azure://"),
        (AZURE | {"landing_zone_connection_string": "nonsense"}, "OFFTAKE_LANDING_ZONE_CONNECTION_STRING must name"),
        (
            AZURE | {"landing_zone_connection_string": "AccountName=a;SharedAccessSignature=sig=x"},
            "OFFTAKE_LANDING_ZONE_CONNECTION_STRING must have an AccountKey",
        ),
        (AZURE | {"landing_zone_connection_string": "AccountName=a;AccountKey=%"}, "is not Base64"),
        ({"landing_zone_connection_string": ACCOUNT}, "OFFTAKE_LANDING_ZONE_CONNECTION_STRING is set, but"),
        (AZURE | {"landing_zone_role": ROLE}, "OFFTAKE_LANDING_ZONE_ROLE is set, but"),
        ({"landing_zone": "s3://bucket/prefix"}, "OFFTAKE_LANDING_ZONE_ROLE is not set"),
        (S3 | {"landing_zone_role": "readers"}, "OFFTAKE_LANDING_ZONE_ROLE must be the ARN"),
        (S3 | {"landing_zone": "s3://"}, "OFFTAKE_LANDING_ZONE must have the form s3://bucket/prefix"),
        (S3 | {"landing_zone": "s3://bucket/a//b"}, "OFFTAKE_LANDING_ZONE must have the form"),
        (S3 | {"landing_zone": "s3://bucket/a*"}, "OFFTAKE_LANDING_ZONE must have the form"),
        (S3 | {"landing_zone": "s3://bucket/" + "a" * 201}, "at most 200 characters"),
        (S3 | {"landing_zone_region": "Europe"}, "OFFTAKE_LANDING_ZONE_REGION"),
        (S3 | {"landing_zone_endpoint": "minio"}, "OFFTAKE_LANDING_ZONE_ENDPOINT"),
        (S3 | {"landing_zone_endpoint": "https://user:pass@minio"}, "OFFTAKE_LANDING_ZONE_ENDPOINT"),
        (S3 | {"landing_zone_endpoint": "http://169.254.169.254"}, "names a metadata or link-local address"),
        (
            AZURE | {"landing_zone_connection_string": f"{ACCOUNT};BlobEndpoint=http://[fd00:ec2::254]/a"},
            "names a metadata or link-local address",
        ),
    ],
)
def test_what_does_not_fit_is_named(settings: dict[str, str], said: str) -> None:
    with pytest.raises(OfftakeError) as caught:
        zones(**settings)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "module", "extra"),
    [
        (AZURE, "azure.storage.blob", "offtake[azure]"),
        (AZURE, "azure", "offtake[azure]"),
        (S3, "botocore", "offtake[aws]"),
    ],
)
def test_an_extra_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], module: str, extra: str
) -> None:
    for name in [one for one in sys.modules if one == module or one.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(OfftakeError, match=r"OFFTAKE_LANDING_ZONE needs the extra") as caught:
        zones(**settings)
    assert extra in str(caught.value)


def test_a_server_does_not_start_with_them(tmp_path: Path) -> None:
    environment = {**os.environ, "OFFTAKE_LANDING_ZONE": "s3://bucket/prefix", "COLUMNS": "300"}
    ended = run(["serve", "--data-dir", tmp_path / "data"], environment)
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines() == [
        "offtake: OFFTAKE_LANDING_ZONE_ROLE is not set: consumers get temporary sessions of that role."
    ]


@pytest.mark.parametrize("sandbox", ["prod", "a--b", "x" * 255, "x-" * 100 + "y", "9-"])
def test_containers_have_names_that_azure_takes(sandbox: str) -> None:
    found = AzureZones(SecretStr(""), "tencharsxx")
    names = [found.zone(org, sandbox, kind).container for org in ("one", "two") for kind in TYPES]
    assert len(set(names)) == 4
    for name in names:
        assert 3 <= len(name) <= 63
        assert "--" not in name
        assert name.replace("-", "").isalnum()
        assert name == name.lower().strip("-")
