"""Sandboxes over HTTP (contract, section 26)."""

import json
from typing import Any

import pytest

from offtake.contract.caller import (
    EXPORT_DATASETS,
    MANAGE_SANDBOXES,
    RESET_SANDBOXES,
    VIEW_DATASETS,
    VIEW_DESTINATIONS,
    VIEW_SANDBOXES,
)
from offtake.scheduling.housekeeping import run_maintenance
from tests.deployment import FLOW_SERVICE, Deployment

SERVICE = "/data/foundation/sandbox-management"
NEW: Any = {"name": "dev", "title": "Development", "type": "development"}


def call(deployed: Deployment, method: str, path: str, status: int, body: Any = None) -> Any:
    sent: Any = {} if body is None else {"content": json.dumps(body), "headers": {"content-type": "application/json"}}
    answer = deployed.http.request(method, SERVICE + path, **sent)
    assert answer.status_code == status, answer.text
    return answer.json()


def names(answer: Any) -> list[str]:
    return [one["name"] for one in answer["sandboxes"]]


def keep(deployed: Deployment) -> None:
    list(run_maintenance(deployed.backend, sweeps=False))


def test_a_sandbox_is_shown_as_the_contract_says(deployed: Deployment) -> None:
    (prod,) = call(deployed, "GET", "/sandboxes", 200)["sandboxes"]
    assert prod == {
        "id": deployed.caller.sandbox_id,
        "name": "prod",
        "title": "Production",
        "state": "active",
        "type": "production",
        "region": "local",
        "isDefault": True,
        "eTag": 1,
        "etag": 1,
        "createdDate": "2026-03-01 12:00:00",
        "lastModifiedDate": "2026-03-01 12:00:00",
        "createdBy": "system@AdobeID",
        "modifiedBy": "system@AdobeID",
    }
    assert call(deployed, "GET", "/sandboxes/prod", 200) == prod
    usable = call(deployed, "GET", "/", 200)
    assert usable["sandboxes"] == [prod]
    assert usable["_page"] == {"limit": 200, "count": 1}
    assert usable["_links"]["page"]["templated"] is True
    assert call(deployed, "GET", "/sandboxTypes", 200) == {"sandboxTypes": ["production", "development"]}


def test_a_sandbox_is_made_used_renamed_and_deleted(deployed: Deployment) -> None:
    made = call(deployed, "POST", "/sandboxes", 202, NEW)
    assert (made["state"], made["isDefault"], made["eTag"]) == ("active", False, 1)
    deployed.http.headers["x-sandbox-name"] = "dev"
    assert deployed.get("/flows")["items"] == []
    deployed.clock.advance(seconds=60)
    renamed = call(deployed, "PATCH", "/sandboxes/dev", 200, {"title": "Tests"})
    assert (renamed["title"], renamed["etag"], renamed["lastModifiedDate"]) == ("Tests", 2, "2026-03-01 12:01:00")
    assert call(deployed, "DELETE", "/sandboxes/dev", 202)["state"] == "deleting"
    refused = deployed.get("/flows", 404)
    assert refused["type"].endswith("FLOW-2100-404")
    assert "deleting" in refused["report"]["detailed-message"]
    keep(deployed)
    assert call(deployed, "GET", "/sandboxes/dev", 200)["state"] == "deleted"
    assert names(call(deployed, "GET", "/sandboxes", 200)) == ["prod"]
    again = call(deployed, "POST", "/sandboxes", 202, NEW)
    assert again["id"] != made["id"]
    assert deployed.get("/flows")["items"] == []


def test_a_sandbox_is_reset(deployed: Deployment) -> None:
    assert call(deployed, "PUT", "/sandboxes/prod", 202, {"action": "Reset"})["state"] == "resetting"
    assert "resetting" in deployed.get("/flows", 404)["errorMessage"]
    assert names(call(deployed, "GET", "/", 200)) == []
    assert names(call(deployed, "GET", "/sandboxes", 200)) == ["prod"]
    keep(deployed)
    assert call(deployed, "GET", "/sandboxes/prod", 200)["state"] == "active"
    assert deployed.get("/flows")["items"] == []


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_dry_run_tells_and_begins_nothing(deployed: Deployment, method: str) -> None:
    call(deployed, "POST", "/sandboxes", 202, NEW)
    deployed.http.headers["x-sandbox-name"] = "dev"
    body = {"action": "reset"} if method == "PUT" else None
    checked = call(deployed, method, "/sandboxes/dev?validationOnly=true&ignoreWarnings=true", 202, body)
    assert (checked["state"], checked["warnings"]) == ("active", [])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/sandboxes", NEW | {"name": "prod"}, 409, "SMS-3409-409"),
        *(
            ("POST", "/sandboxes", NEW | {"name": name}, 400, "SMS-1452-400")
            for name in ("", "-a", "Dev", "a b", "a.b", "a/b", "..", "é", "a\n", "a" * 256, None, 1)
        ),
        ("POST", "/sandboxes", NEW | {"title": ""}, 400, "SMS-1452-400"),
        ("POST", "/sandboxes", NEW | {"title": "a\x00b"}, 400, "SMS-1452-400"),
        ("POST", "/sandboxes", NEW | {"title": "\ud800"}, 400, "SMS-1452-400"),
        ("POST", "/sandboxes", NEW | {"type": "staging"}, 400, "SMS-1452-400"),
        ("POST", "/sandboxes", {"name": "dev"}, 400, "SMS-1455-400"),
        ("GET", "/sandboxes/nope", None, 404, "SMS-2100-404"),
        ("GET", "/sandboxes/a%00b", None, 400, "SMS-1452-400"),
        ("PATCH", "/sandboxes/nope", {"title": "x"}, 404, "SMS-2100-404"),
        ("PATCH", "/sandboxes/prod", {"name": "other"}, 400, "SMS-1452-400"),
        ("PATCH", "/sandboxes/prod", {}, 400, "SMS-1405-400"),
        ("PATCH", "/sandboxes/prod", ["x"], 400, "SMS-1405-400"),
        ("PUT", "/sandboxes/prod", {"action": "burn"}, 400, "SMS-1435-400"),
        ("PUT", "/sandboxes/prod?validationOnly=maybe", {"action": "reset"}, 400, "SMS-1452-400"),
        ("PUT", "/sandboxes/nope", {"action": "reset"}, 404, "SMS-2100-404"),
        ("DELETE", "/sandboxes/prod", None, 400, "SMS-1420-400"),
        ("DELETE", "/sandboxes/nope", None, 404, "SMS-2100-404"),
        ("GET", "/sandboxes?limit=0", None, 400, "SMS-1452-400"),
        ("GET", "/sandboxes?offset=x", None, 400, "SMS-1452-400"),
        ("GET", "/sandboxes?orderBy=shape", None, 400, "SMS-1433-400"),
        ("GET", "/sandboxes?property=shape==round", None, 400, "SMS-1449-400"),
    ],
)
def test_mistakes_are_named_and_change_nothing(
    standing: Deployment, method: str, path: str, body: Any, status: int, code: str
) -> None:
    before = call(standing, "GET", "/sandboxes", 200)
    assert call(standing, method, path, status, body)["type"].endswith(code)
    assert call(standing, "GET", "/sandboxes", 200) == before


def test_what_is_being_emptied_cannot_be_changed(deployed: Deployment) -> None:
    call(deployed, "POST", "/sandboxes", 202, NEW)
    call(deployed, "PUT", "/sandboxes/dev", 202, {"action": "reset"})
    for method, body in (("PUT", {"action": "reset"}), ("PATCH", {"title": "x"}), ("DELETE", None)):
        assert call(deployed, method, "/sandboxes/dev", 400, body)["type"].endswith("SMS-1422-400")
    assert call(deployed, "POST", "/sandboxes", 409, NEW)["type"].endswith("SMS-3409-409")


def test_lists_are_cut_filtered_and_ordered(deployed: Deployment) -> None:
    for number, kind in enumerate(("development", "production", "development")):
        deployed.clock.advance(seconds=1)
        call(deployed, "POST", "/sandboxes", 202, {"name": f"s{number}", "title": f"T{9 - number}", "type": kind})
    assert names(call(deployed, "GET", "/sandboxes", 200)) == ["prod", "s0", "s1", "s2"]
    assert names(call(deployed, "GET", "/sandboxes?property=type==development", 200)) == ["s0", "s2"]
    assert names(call(deployed, "GET", "/sandboxes?property=name==s1,prod&property=isDefault==true", 200)) == ["prod"]
    assert names(call(deployed, "GET", "/sandboxes?orderBy=-name&property=", 200)) == ["s2", "s1", "s0", "prod"]
    assert names(call(deployed, "GET", "/sandboxes?orderBy=asc:title", 200)) == ["prod", "s2", "s1", "s0"]
    assert names(call(deployed, "GET", "/sandboxes?orderBy=desc:type,title", 200)) == ["s1", "prod", "s0", "s2"]
    first = call(deployed, "GET", "/sandboxes?limit=3&orderBy=-name", 200)
    assert (names(first), first["_page"]) == (["s2", "s1", "s0"], {"limit": 3, "count": 3})
    rest = deployed.http.get(first["_links"]["next"]["href"]).json()
    assert (names(rest), "next" in rest["_links"]) == (["prod"], False)
    assert names(call(deployed, "GET", "/sandboxes?offset=9", 200)) == []


def test_calls_about_sandboxes_need_no_sandbox(deployed: Deployment) -> None:
    del deployed.http.headers["x-sandbox-name"]
    for name in ("", "nope", "*"):
        headers = {"x-sandbox-name": name} if name else {}
        assert deployed.http.get(f"{SERVICE}/sandboxes", headers=headers).status_code == 200
        assert deployed.http.get(f"{SERVICE}/sandboxes/prod", headers=headers).status_code == 200


def test_a_client_sees_the_sandboxes_that_its_roles_hold_in(deployed: Deployment) -> None:
    for name in ("dev", "test"):
        call(deployed, "POST", "/sandboxes", 202, NEW | {"name": name})
    with deployed.acting(deployed.new_client(VIEW_DATASETS, sandboxes=("dev",)), "dev"):
        assert names(call(deployed, "GET", "/sandboxes", 200)) == ["dev"]
        assert names(call(deployed, "GET", "/", 200)) == ["dev"]
        hidden, unknown = (call(deployed, "GET", f"/sandboxes/{name}", 404) for name in ("prod", "nope"))
        assert hidden["detail"].replace("prod", "nope") == unknown["detail"]
        for method, body in (("PATCH", {"title": "x"}), ("PUT", {"action": "reset"}), ("DELETE", None)):
            assert call(deployed, method, "/sandboxes/test", 404, body)["type"].endswith("2100-404")
            assert call(deployed, method, "/sandboxes/dev", 403, body)["type"].endswith("2120-403")


@pytest.mark.parametrize(
    ("permission", "sandboxes", "allowed"),
    [
        (MANAGE_SANDBOXES, ("*",), {"POST", "PATCH", "DELETE"}),
        (MANAGE_SANDBOXES, ("prod", "dev"), {"PATCH"}),
        (RESET_SANDBOXES, ("*",), {"PUT"}),
        (RESET_SANDBOXES, ("prod", "dev"), {"PUT"}),
        (VIEW_SANDBOXES, ("*",), set()),
    ],
)
def test_each_change_needs_its_permission(
    deployed: Deployment, permission: str, sandboxes: tuple[str, ...], allowed: set[str]
) -> None:
    call(deployed, "POST", "/sandboxes", 202, NEW)
    calls = {
        "POST": ("/sandboxes", NEW | {"name": "more"}, 202),
        "PATCH": ("/sandboxes/dev", {"title": "x"}, 200),
        "PUT": ("/sandboxes/dev", {"action": "reset"}, 202),
        "DELETE": ("/sandboxes/dev", None, 202),
    }
    with deployed.acting(deployed.new_client(permission, sandboxes=sandboxes)):
        for method, (path, body, status) in calls.items():
            call(deployed, method, path, status if method in allowed else 403, body)


def test_a_service_with_only_the_export_permissions_finds_its_sandboxs_id(deployed: Deployment) -> None:
    granted = (VIEW_DESTINATIONS, VIEW_DATASETS, EXPORT_DATASETS)
    with deployed.acting(deployed.new_client(*granted, sandboxes=("prod",), kind="service")):
        found = call(deployed, "GET", "/sandboxes/prod", 200)["id"]
        headers = {"x-sandbox-id": found}
        assert deployed.http.get(f"{FLOW_SERVICE}/flows", headers=headers).status_code == 200


def test_roles_forget_a_deleted_sandbox(deployed: Deployment) -> None:
    call(deployed, "POST", "/sandboxes", 202, NEW)
    client = deployed.new_client(VIEW_DESTINATIONS, sandboxes=("dev",))
    with deployed.acting(client, "dev"):
        assert deployed.get("/flows")["items"] == []
    call(deployed, "DELETE", "/sandboxes/dev", 202)
    keep(deployed)
    call(deployed, "POST", "/sandboxes", 202, NEW)
    with deployed.acting(client, "dev"):
        deployed.get("/flows", 404)
