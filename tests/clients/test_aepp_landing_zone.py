"""The landing zone through aepp (contract, section 21; row K31)."""

import gzip
import time
from pathlib import Path

import boto3
import httpx2
import pytest
from azure.storage.blob import ContainerClient

from tests import azure_servers
from tests.azure_servers import azurite
from tests.clients.aepp_client import Aepp, Served
from tests.clients.conftest import offtake_serve
from tests.servers import amazon

KIND = {"dlz_type": "dlz_destination"}

ROWS = "".join(f'{{"id": {n}}}\n' for n in range(5))


def deliver(aepp: Aepp, served: Served, rows: Path) -> None:
    """A dataset of five rows, exported to the zone."""
    rows.write_text(ROWS)
    flow = aepp.flows.exportDatasetToDLZ(
        [served.import_rows("towns", rows)], path="out", scheduleStart=int(time.time())
    )
    aepp.only_run(flow["id"])


def test_a_zone_in_azure_is_shown_and_opened(tmp_path: Path) -> None:
    with azurite() as azure:
        where = {
            "OFFTAKE_LANDING_ZONE": "azure://",
            "OFFTAKE_LANDING_ZONE_CONNECTION_STRING": azure.connection_string,
        }
        with offtake_serve(tmp_path, **where) as served:
            aepp = Aepp(served)
            deliver(aepp, served, tmp_path / "rows.ndjson")
            assert aepp.flows.getLandingZoneNamespace(**KIND) == azure_servers.ACCOUNT
            assert aepp.flows.getLandingZoneStorageTTL(**KIND) == 7
            with ContainerClient.from_container_url(aepp.flows.getLandingZoneSASUri(**KIND)) as client:
                assert client.container_name == aepp.flows.getLandingZoneStorageName(**KIND)
                (name,) = [one.name for one in client.list_blobs() if one.name.endswith(".json.gz")]
                assert gzip.decompress(client.download_blob(name).readall()).count(b"\n") == 5
            assert [one["path"] for one in aepp.flows.exploreLandingZone()] == ["/out"]
    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert "Application startup complete" in log
    assert "azure.core" not in log
    assert azure_servers.KEY not in log


def test_a_zone_in_s3_is_shown_and_opened(tmp_path: Path) -> None:
    with amazon() as aws:
        aws.client("s3").create_bucket(Bucket="zones")
        where = {
            "OFFTAKE_LANDING_ZONE": "s3://zones/all",
            "OFFTAKE_LANDING_ZONE_ENDPOINT": aws.endpoint,
            "OFFTAKE_LANDING_ZONE_ROLE": aws.role("readers", ["s3:GetObject", "s3:ListBucket"]),
            "AWS_ACCESS_KEY_ID": aws.access_key,
            "AWS_SECRET_ACCESS_KEY": aws.secret_key,
        }
        with offtake_serve(tmp_path, **where) as served:
            aepp = Aepp(served)
            deliver(aepp, served, tmp_path / "rows.ndjson")
            assert aepp.flows.getLandingZoneNamespace(**KIND) == "zones"
            assert aepp.flows.getLandingZoneStorageTTL(**KIND) == 7
            given = aepp.flows.getLandingZoneCredential(**KIND)
            folder = aepp.flows.getLandingZoneStorageName(**KIND)
            client = boto3.client(
                "s3",
                endpoint_url=given["endpointUrl"],
                aws_access_key_id=given["credentials"]["awsAccessKeyId"],
                aws_secret_access_key=given["credentials"]["awsSecretAccessKey"],
                aws_session_token=given["credentials"]["awsSessionToken"],
                region_name="us-east-1",
            )
            listed = client.list_objects_v2(Bucket="zones", Prefix=f"{folder}/")["Contents"]
            (key,) = [one["Key"] for one in listed if one["Key"].endswith(".json.gz")]
            body = client.get_object(Bucket="zones", Key=key)["Body"].read()
            assert gzip.decompress(body).count(b"\n") == 5
            assert [one["path"] for one in aepp.flows.exploreLandingZone()] == ["/out"]


def test_the_container_is_shown(aepp: Aepp) -> None:
    flows = aepp.flows
    assert flows.getLandingZoneContainer(**KIND) == {"containerName": "dlz-destination", "containerTTL": "7"}
    assert flows.getLandingZoneStorageName(**KIND) == "dlz-destination"
    assert flows.getLandingZoneStorageTTL(**KIND) == 7
    assert flows.getLandingZoneContainer() == flows.getLandingZoneContainer(dlz_type="user_drop_zone")


# The client calls its own three methods out of date.
@pytest.mark.filterwarnings("ignore:getLandingZone:deprecation.DeprecatedWarning")
def test_the_clients_older_methods_are_answered_too(aepp: Aepp) -> None:
    flows = aepp.flows
    assert flows.getLandingZoneContainerName(**KIND) == "dlz-destination"
    assert flows.getLandingZoneContainerTTL(**KIND) == 7
    assert flows.getLandingZoneStorageAccountName(**KIND) == flows.getLandingZoneNamespace(**KIND)


def test_the_signature_opens_the_container(aepp: Aepp, served: Served) -> None:
    uri = aepp.flows.getLandingZoneSASUri(**KIND)
    assert uri.startswith(served.origin)
    fields = {"containerName", "SASToken", "storageAccountName", "SASUri"}
    assert fields <= set(aepp.flows.getLandingZoneCredential(**KIND))
    assert "sig=" in aepp.flows.getLandingZoneSASToken(**KIND)
    listed = httpx2.get(f"{uri}&restype=container&comp=list")
    assert (listed.status_code, "<EnumerationResults" in listed.text) == (200, True)
    unsigned = uri.partition("?")[0] + "?restype=container&comp=list"
    assert httpx2.get(unsigned).status_code == 401


def test_what_was_delivered_is_found_and_looked_into(aepp: Aepp, dataset: str, name: str) -> None:
    flow = aepp.flows.exportDatasetToDLZ([dataset], path=name, scheduleStart=int(time.time()))["id"]
    aepp.only_run(flow)
    assert name in {one["name"] for one in aepp.flows.exploreLandingZone()}
    (folder,) = aepp.flows.exploreLandingZone("folder", object=f"/{name}")
    files = aepp.flows.exploreLandingZone("folder", object=folder["path"])
    assert any(one["name"].endswith(".json.gz") for one in files)
