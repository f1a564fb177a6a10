"""The audit log over HTTP: every change of access, sandboxes and credentials is in it."""

from typing import Any

import pytest

from offtake.flows import access
from offtake.scheduling.housekeeping import keep_house
from tests.deployment import Deployment
from tests.organisations import second_organisation

EVENTS = "/data/foundation/audit/events"
ROLES = "/data/foundation/access-control/administration/roles"
SANDBOXES = "/data/foundation/sandbox-management/sandboxes"
ZONE = "/data/foundation/connectors/landingzone"


def events(deployed: Deployment, query: str = "", status: int = 200) -> Any:
    answer = deployed.http.get(EVENTS + query)
    assert answer.status_code == status, answer.text
    return answer.json()["items"] if status == 200 else answer.json()


def act(deployed: Deployment, method: str, path: str, body: Any = None) -> Any:
    answer = deployed.http.request(method, path, json=body) if body else deployed.http.request(method, path)
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


def sandbox(name: str) -> dict[str, str]:
    return {"name": name, "title": name, "type": "development"}


def test_an_event_tells_who_did_what_when_from_where(deployed: Deployment) -> None:
    deployed.http.headers["x-request-id"] = "mine-7"
    role = act(deployed, "POST", ROLES, {"name": "r"})["id"]
    deployed.clock.advance(seconds=1)
    act(deployed, "PATCH", f"{ROLES}/{role}", {"op": "add", "path": "/permissionSets", "value": "view-datasets"})
    changed, made = events(deployed)
    assert (made["action"], made["before"], made["after"]["permissionSets"]) == ("create", None, [])
    assert changed == {
        "id": changed["id"],
        "at": deployed.clock.now_ms(),
        "action": "update",
        "resourceType": "roles",
        "resourceId": role,
        "resourceName": "r",
        "imsOrgId": deployed.admin.org_id,
        "sandboxName": None,
        "accountId": made["after"]["createdBy"],
        "clientId": deployed.admin.client_id,
        "remote": "testclient",
        "requestId": "mine-7",
        "before": {"permissionSets": [], "modifiedAt": made["at"]},
        "after": {"permissionSets": ["view-datasets"], "modifiedAt": changed["at"]},
    }


def test_every_change_is_in_the_log(deployed: Deployment) -> None:
    role = act(deployed, "POST", ROLES, {"name": "r"})["id"]
    subject = {"op": "add", "path": "/user", "value": deployed.admin.client_id}
    act(deployed, "PATCH", f"{ROLES}/{role}/subjects", subject)
    act(deployed, "PATCH", f"{ROLES}/{role}/subjects", subject)  # changes nothing
    act(deployed, "PATCH", f"{ROLES}/{role}/subjects", subject | {"op": "remove"})
    act(deployed, "PUT", f"{ROLES}/{role}", {"name": "s", "description": "", "roleType": "user-defined"})
    act(deployed, "DELETE", f"{ROLES}/{role}")
    act(deployed, "POST", SANDBOXES, sandbox("dev"))
    act(deployed, "POST", ROLES, {"name": "in dev", "sandboxes": ["dev"]})
    act(deployed, "PATCH", f"{SANDBOXES}/dev", {"title": "T"})
    act(deployed, "PUT", f"{SANDBOXES}/dev", {"action": "reset"})
    list(keep_house(deployed.backend, sweeps=False))
    act(deployed, "DELETE", f"{SANDBOXES}/dev")
    act(deployed, "GET", f"{ZONE}/credentials")  # is no change
    secret = act(deployed, "POST", f"{ZONE}/credentials?action=refresh")["SASToken"]
    found = events(deployed)
    assert sorted((one["resourceType"], one["action"]) for one in found) == sorted(
        [
            *(("roles", action) for action in ("create", "grant", "revoke", "update", "delete", "create", "update")),
            *(("sandboxes", action) for action in ("create", "update", "reset", "delete")),
            ("landingZoneCredentials", "refresh"),
        ]
    )
    assert secret.rpartition("sig=")[2] not in str(found)
    assert {one["sandboxName"] for one in found if one["resourceType"] == "sandboxes"} == {"dev"}
    (reset,) = [one for one in found if one["action"] == "reset"]
    assert (reset["before"]["state"], reset["after"]["state"]) == ("active", "resetting")


def test_refused_changes_are_not_in_the_log(deployed: Deployment) -> None:
    assert deployed.http.post(ROLES, json={"name": "r", "permissionSets": ["burn"]}).status_code == 400
    assert deployed.http.delete(f"{SANDBOXES}/prod").status_code == 400
    assert events(deployed) == []


@pytest.fixture
def busy(deployed: Deployment) -> Deployment:
    """Six roles, made a second apart; a sandbox, made last."""
    for number in range(6):
        deployed.clock.advance(seconds=1)
        act(deployed, "POST", ROLES, {"name": f"r{number}"})
    deployed.clock.advance(seconds=1)
    act(deployed, "POST", SANDBOXES, sandbox("dev"))
    return deployed


def names(found: Any) -> list[str]:
    return [one["resourceName"] for one in found]


def test_the_log_is_filtered(busy: Deployment) -> None:
    start = busy.clock.now_ms() - 7000
    assert names(events(busy)) == ["dev", "r5", "r4", "r3", "r2", "r1", "r0"]
    assert names(events(busy, "?resourceType=sandboxes")) == ["dev"]
    one = events(busy, "?resourceType=roles")[0]["resourceId"]
    assert names(events(busy, f"?resourceId={one}&action=create")) == ["r5"]
    assert names(events(busy, "?action=delete")) == []
    assert names(events(busy, f"?clientId={busy.admin.client_id}&limit=1&sandbox=")) == ["dev"]
    assert names(events(busy, "?clientId=nobody")) == []
    assert names(events(busy, "?sandbox=dev")) == ["dev"]
    assert names(events(busy, f"?since={start + 5000}&until={start + 7000}")) == ["r5", "r4"]
    assert names(events(busy, "?until=2026-03-01T12:00:02Z")) == ["r0"]
    assert names(events(busy, "?since=2026-03-02")) == []
    assert len(events(busy, "?since=2026-03-01")) == 7


def test_pages_neither_skip_nor_repeat_while_events_come(busy: Deployment) -> None:
    seen: list[str] = []
    query = "?limit=2&resourceType=roles"
    while query:
        answer = busy.http.get(EVENTS + query).json()
        seen += names(answer["items"])
        act(busy, "POST", ROLES, {"name": f"late {len(seen)}"})
        href = answer["_links"].get("next", {}).get("href", "")
        assert href.count("=") <= 1
        query = href.removeprefix("/events")
    assert seen == ["r5", "r4", "r3", "r2", "r1", "r0"]


@pytest.mark.parametrize(
    "query",
    ["?limit=0", "?limit=x", "?since=yesterday", "?until=32:00", "?continuationToken=xx", "?continuationToken=e30",
     "?continuationToken=eyJsaW1pdCI6OTk5OTk5OX0", "?colour=red", "?resourceId=a%00b", "?sandbox=%00",
     "?continuationToken=eyJsaW1pdCI6IDEsICJhY3Rpb24iOiAiXHUwMDAwIn0"],
)  # fmt: skip
def test_what_cannot_be_asked_is_told(deployed: Deployment, query: str) -> None:
    assert "AUDIT-14" in events(deployed, query, 400)["type"]


def test_without_the_permission_nothing_is_shown(busy: Deployment) -> None:
    everything_else = [one for one in access.PERMISSIONS if one != access.VIEW_AUDIT]
    with busy.acting(busy.new_client(*everything_else)):
        assert events(busy, "", 403)["type"].endswith("AUDIT-2120-403")


def test_who_may_read_one_sandboxs_log_sees_that_alone(busy: Deployment) -> None:
    busy.clock.advance(seconds=1)
    act(busy, "POST", f"{ZONE}/credentials?action=refresh")
    with busy.acting(busy.new_client(access.VIEW_AUDIT, sandboxes=("prod", "dev")), "dev"):
        assert names(events(busy)) == ["dev"]
        assert names(events(busy, "?sandbox=dev")) == ["dev"]
        assert events(busy, "?sandbox=prod", 403)["type"].endswith("AUDIT-2120-403")
        busy.http.headers["x-sandbox-name"] = "prod"
        assert names(events(busy)) == ["user_drop_zone"]


def test_the_log_of_an_earlier_sandbox_of_the_name_is_not_shown(busy: Deployment) -> None:
    act(busy, "DELETE", f"{SANDBOXES}/dev")
    list(keep_house(busy.backend, sweeps=False))
    busy.clock.advance(seconds=1)
    act(busy, "POST", SANDBOXES, sandbox("dev"))
    with busy.acting(busy.new_client(access.VIEW_AUDIT, sandboxes=("dev",)), "dev"):
        (made,) = events(busy)
        assert (made["action"], made["at"]) == ("create", busy.clock.now_ms())


def test_the_log_is_an_organisations_own(busy: Deployment) -> None:
    with busy.acting(second_organisation(busy)):
        assert events(busy) == []
