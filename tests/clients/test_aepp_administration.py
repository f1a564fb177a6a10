"""Sandboxes, access control and the landing zone through aepp (contract, sections 21, 26, 27; rows K4 and K31)."""

from uuid import uuid4

from tests.clients.aepp_client import Aepp, Served


def test_sandboxes_are_listed_made_and_deleted(aepp: Aepp) -> None:
    sandboxes = aepp.sandboxes()
    name = f"aepp-{uuid4().hex[:8]}"
    assert sandboxes.createSandbox(name, "By aepp")["name"] == name
    assert name in {one["name"] for one in sandboxes.getSandboxes()}
    assert sandboxes.getSandboxTypes() == ["production", "development"]
    assert sandboxes.getSandboxId("prod") == sandboxes.getSandbox("prod")["id"]
    sandboxes.deleteSandbox(name)
    assert name not in {one["name"] for one in sandboxes.getSandboxes() if one["state"] == "active"}


def test_permissions_are_told(aepp: Aepp) -> None:
    access = aepp.access_control()
    assert "permissions" in access.getPermissions()
    policies = access.getEffectivePolicies(["/permissions/view-destinations", "/permissions/none-such"])
    assert set(policies["policies"]) == {"/permissions/view-destinations"}
    (administrators,) = [role for role in access.getRoles() if role["name"] == "Administrators"]
    assert access.getRole(administrators["id"])["name"] == "Administrators"


def test_the_landing_zone_tells_its_container_and_credentials(aepp: Aepp, served: Served) -> None:
    flows = aepp.flows
    kind = {"dlz_type": "dlz_destination"}
    assert flows.getLandingZoneStorageName(**kind) == "dlz-destination"
    assert str(flows.getLandingZoneStorageTTL(**kind)) == "7"
    assert flows.getLandingZoneSASUri(**kind).startswith(served.origin)
    assert "sig=" in flows.getLandingZoneSASToken(**kind)
    assert flows.getLandingZoneNamespace(**kind)
    assert isinstance(flows.exploreLandingZone(), list)
