"""Tags of resources that are declared in files, and the comparison of their secrets."""

import secrets
from typing import Any

import pytest

from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DESTINATIONS
from offtake.declarations.secrets import digest
from tests.deployment import FLOW_SERVICE, Deployment

PATH = f"{FLOW_SERVICE}/managedResources"
S3 = "4fce964d-3f37-408f-9778-e597338a21ee"


def connection(deployed: Deployment) -> str:
    return str(deployed.post("/connections", {"name": "zone"})["id"])


def put(deployed: Deployment, set_name: str, resources: list[Any], status: int = 200) -> Any:
    answer = deployed.http.put(f"{PATH}/{set_name}", json={"resources": resources})
    assert answer.status_code == status, answer.text
    return answer.json()


def tags(deployed: Deployment, query: str = "") -> list[tuple[str, str]]:
    items = deployed.http.get(f"{PATH}{query}").json()["items"]
    return [(one["id"], one["set"]) for one in items]


def test_a_resource_is_in_one_set(deployed: Deployment) -> None:
    one, other = connection(deployed), connection(deployed)
    resources = [{"kind": "connection", "id": one}, {"kind": "connection", "id": other}]
    assert put(deployed, "a", resources) == {"set": "a", "changed": 2}
    assert put(deployed, "a", resources) == {"set": "a", "changed": 0}
    assert put(deployed, "b", resources[:1]) == {"set": "b", "changed": 1}
    assert sorted(tags(deployed)) == sorted([(one, "b"), (other, "a")])
    assert tags(deployed, "?set=a") == [(other, "a")]
    assert len(tags(deployed, "?limit=1")) == 1
    assert "start=1" in deployed.http.get(f"{PATH}?limit=1").json()["_links"]["next"]["href"]
    released = deployed.http.post(f"{PATH}/a/release", json={"resources": resources}).json()
    assert released == {"set": "a", "changed": 1}
    assert tags(deployed) == [(one, "b")]
    deployed.delete(f"/connections/{one}")
    assert tags(deployed) == []
    events = deployed.http.get("/data/foundation/audit/events?property=assetType==Managed Set").json()
    assert len(events["_embedded"]["events"]) == 3


def test_tags_do_not_cross_sandboxes(deployed: Deployment) -> None:
    one = connection(deployed)
    put(deployed, "a", [{"kind": "connection", "id": one}])
    new = {"name": "dev", "title": "Development", "type": "development"}
    deployed.post("/data/foundation/sandbox-management/sandboxes", new, 202)
    with deployed.acting(deployed.admin, "dev"):
        assert tags(deployed) == []
        put(deployed, "a", [{"kind": "connection", "id": one}], 404)
    assert tags(deployed) == [(one, "a")]


@pytest.mark.parametrize(
    ("set_name", "resource", "status"),
    [
        ("a b", {"kind": "connection", "id": "x"}, 400),
        ("x" * 101, {"kind": "connection", "id": "x"}, 400),
        ("a", {"kind": "thing", "id": "x"}, 400),
        ("a", {"kind": "flow", "id": "x"}, 404),
        ("a", {"kind": "role", "id": "x"}, 404),
    ],
)
def test_what_cannot_be_tagged(standing: Deployment, set_name: str, resource: Any, status: int) -> None:
    put(standing, set_name, [resource], status)


def test_only_what_a_caller_may_change_can_be_tagged(deployed: Deployment) -> None:
    one = connection(deployed)
    with deployed.acting(deployed.new_client(VIEW_DESTINATIONS)):
        put(deployed, "a", [{"kind": "connection", "id": one}], 403)
        body = {"key": "0" * 64, "resources": [{"kind": "connection", "id": one, "secrets": {}}]}
        assert deployed.http.post(f"{PATH}/secrets", json=body).status_code == 403
    with deployed.acting(deployed.new_client(VIEW_DESTINATIONS, MANAGE_DESTINATIONS)):
        put(deployed, "a", [{"kind": "connection", "id": one}])
        put(deployed, "a", [{"kind": "role", "id": one}], 403)
        channel = {"name": "m", "kind": "email", "settings": {"to": ["a@example.org"]}}
        made = deployed.post("/alertChannels", channel)["id"]
        put(deployed, "a", [{"kind": "alert-channel", "id": made}])
    with deployed.acting(deployed.new_client(EXPORT_DATASETS)):
        assert deployed.http.get(PATH).status_code == 403


def test_secrets_are_compared_by_keyed_hashes(deployed: Deployment) -> None:
    params = {"s3AccessKey": "AKIA", "s3SecretKey": "a-secret"}
    body = {
        "name": "store",
        "connectionSpec": {"id": S3, "version": "1.0"},
        "auth": {"specName": "Access Key", "params": params},
    }
    one = str(deployed.post("/connections", body)["id"])
    key = secrets.token_bytes(32)

    def changed(value: str, name: str = "s3SecretKey", resource_id: str = one) -> Any:
        hashes = {name: digest(key, "connection", resource_id, "s3SecretKey", value)}
        sent = {"key": key.hex(), "resources": [{"kind": "connection", "id": one, "secrets": hashes}]}
        answer = deployed.http.post(f"{PATH}/secrets", json=sent)
        assert answer.status_code == 200, answer.text
        return answer.json()["resources"][0]["changed"]

    assert changed("a-secret") == []
    assert changed("another") == ["s3SecretKey"]
    assert changed("a-secret", name="other") == ["other"]
    assert changed("a-secret", resource_id="another") == ["s3SecretKey"]
    short = {"key": "00", "resources": []}
    assert deployed.http.post(f"{PATH}/secrets", json=short).status_code == 400
