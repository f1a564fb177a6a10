"""The landing zone through aepp (contract, section 21; row K31)."""

import time

import httpx2
import pytest

from tests.clients.aepp_client import Aepp, Served

KIND = {"dlz_type": "dlz_destination"}


def test_the_container_is_told(aepp: Aepp) -> None:
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
    told = {"containerName", "SASToken", "storageAccountName", "SASUri"}
    assert told <= set(aepp.flows.getLandingZoneCredential(**KIND))
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
