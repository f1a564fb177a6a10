"""Sandboxes and access control through aepp (contract, sections 26 and 27)."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.clients.aepp_client import Aepp, Served


@pytest.fixture
def sandbox(aepp: Aepp) -> Iterator[str]:
    """A sandbox of its own, active."""
    name = f"aepp-{uuid4().hex[:8]}"
    made = aepp.sandboxes().createSandbox(name, "By aepp")
    assert (made["name"], made["title"], made["type"]) == (name, "By aepp", "development")
    active(aepp, name)
    yield name
    aepp.sandboxes().deleteSandbox(name)


def active(aepp: Aepp, name: str) -> Any:
    """The sandbox, once it is active."""
    for _ in range(300):
        found = aepp.sandboxes().getSandbox(name)
        if found["state"] == "active":
            return found
        time.sleep(0.1)
    raise AssertionError(f"the sandbox is {found['state']}")


def test_sandboxes_are_listed_and_read(aepp: Aepp, sandbox: str) -> None:
    sandboxes = aepp.sandboxes()
    assert {"prod", sandbox} <= {one["name"] for one in sandboxes.getSandboxes()}
    assert sandboxes.getSandboxTypes() == ["production", "development"]
    assert sandboxes.getSandboxId("prod") == sandboxes.getSandbox("prod")["id"]
    assert sandboxes.getSandbox("prod")["isDefault"] is True


def test_a_sandbox_is_renamed_reset_and_deleted(aepp: Aepp, sandbox: str) -> None:
    sandboxes = aepp.sandboxes()
    sandboxes.updateSandbox(sandbox, {"title": "Renamed"})
    assert sandboxes.getSandbox(sandbox)["title"] == "Renamed"
    assert sandboxes.createSandbox(sandbox, "Once more")["status"] == 409
    assert "error" not in sandboxes.resetSandbox(sandbox)
    active(aepp, sandbox)
    assert sandboxes.deleteSandbox(sandbox) == 202
    assert sandbox not in {one["name"] for one in sandboxes.getSandboxes() if one["state"] == "active"}
    assert sandboxes.deleteSandbox("prod")["status"] == 400


def test_what_is_in_one_sandbox_is_in_no_other(aepp: Aepp, sandbox: str) -> None:
    made = aepp.flows.createBaseConnectionDLZTarget("in prod")["id"]
    aepp.flows.connector.updateSandbox(sandbox)
    assert aepp.flows.getConnections(property="name==in prod") == []
    assert aepp.flows.getConnection(made) == {}
    aepp.flows.connector.updateSandbox("prod")
    assert aepp.flows.getConnection(made)["sandboxName"] == "prod"


def test_permissions_are_listed(aepp: Aepp) -> None:
    access = aepp.access_control()
    assert "view-destinations" in access.getPermissions()["permissions"]
    asked = ["/permissions/view-destinations", "/resource-types/datasets", "/permissions/none-such"]
    policies = access.getEffectivePolicies(asked)["policies"]
    assert set(policies) == set(asked[:2])
    assert access.getPolicies() == []
    (product,) = access.getProducts()
    assert access.getPermissionCategories(product["id"])


def test_roles_are_read_changed_and_given(aepp: Aepp, served: Served) -> None:
    access = aepp.access_control()
    role = served.offtake("role", "create", f"aepp {uuid4()}", "--permission", "view-destinations")["id"]
    assert role in {one["id"] for one in access.getRoles()}
    access.patchRole(role, {"operations": [{"op": "replace", "path": "/description", "value": "by aepp"}]})
    shown = access.getRole(role)
    assert shown["description"] == "by aepp"
    access.putRole(role, {"name": shown["name"], "description": "once more", "roleType": "user-defined"})
    assert access.getRole(role)["description"] == "once more"
    access.patchSubjects(role, served.client_id, "add")
    assert served.client_id in str(access.getSubjects(role))
    assert access.deleteRole(role) == 204
    assert access.getRole(role)["status"] == 404
