"""The audit log over HTTP: every change of access, sandboxes and credentials is in it."""

import base64
import csv
import io
import json
from typing import Any
from urllib.parse import urlencode

import jsonschema
import pytest

from offtake.access import audit_log
from offtake.contract.caller import PERMISSIONS, VIEW_AUDIT
from offtake.scheduling.housekeeping import run_maintenance
from offtake.store.tables import Client
from tests.deployment import Deployment
from tests.organisations import second_organisation

EVENTS = "/data/foundation/audit/events"
EXPORT = "/data/foundation/audit/export"
ROLES = "/data/foundation/access-control/administration/roles"
SANDBOXES = "/data/foundation/sandbox-management/sandboxes"
ZONE = "/data/foundation/connectors/landingzone"


def events(deployed: Deployment, query: str = "", status: int = 200) -> Any:
    answer = deployed.http.get(EVENTS + query)
    assert answer.status_code == status, answer.text
    return answer.json()["_embedded"]["events"] if status == 200 else answer.json()


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
    assert (made["action"], made["before"], made["after"]["permissionSets"]) == ("Create", None, [])
    assert changed == {
        "id": changed["id"],
        "timestamp": "2026-03-01T12:00:01.000+0000",
        "userEmail": made["after"]["createdBy"],
        "userIpAddresses": ["testclient"],
        "action": "Update",
        "assetType": "Role",
        "assetId": role,
        "assetName": "r",
        "status": "Success",
        "failureCode": "",
        "imsOrgId": deployed.admin.org_id,
        "requestId": "mine-7",
        "enhancedEvents": [],
        "clientId": deployed.admin.client_id,
        "before": {"permissionSets": [], "modifiedAt": made["after"]["modifiedAt"]},
        "after": {"permissionSets": ["view-datasets"], "modifiedAt": deployed.clock.now_ms()},
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
    list(run_maintenance(deployed.backend, sweeps=False))
    act(deployed, "DELETE", f"{SANDBOXES}/dev")
    act(deployed, "GET", f"{ZONE}/credentials")  # gives out what opens the zone
    secret = act(deployed, "POST", f"{ZONE}/credentials?action=refresh")["SASToken"]
    found = events(deployed)
    assert sorted((one["assetType"], one["action"]) for one in found) == sorted(
        [
            *(("Role", action) for action in ("Create", "Grant", "Revoke", "Update", "Delete", "Create", "Update")),
            *(("Sandbox", action) for action in ("Create", "Update", "Reset", "Delete")),
            ("Landing Zone Credentials", "Issue"),
            ("Landing Zone Credentials", "Refresh"),
        ]
    )
    assert secret.rpartition("sig=")[2] not in str(found)
    assert {one["sandboxName"] for one in found if one["assetType"] == "Sandbox"} == {"dev"}
    (reset,) = [one for one in found if one["action"] == "Reset"]
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
    return [one["assetName"] for one in found]


def filtered(busy: Deployment, *properties: str, **others: str) -> list[str]:
    return names(events(busy, "?" + urlencode([*(("property", one) for one in properties), *others.items()])))


def test_the_log_is_filtered_by_the_vendors_properties(busy: Deployment) -> None:
    roles = ["r5", "r4", "r3", "r2", "r1", "r0"]
    assert filtered(busy) == filtered(busy, "action==create") == filtered(busy, "type==core") == ["dev", *roles]
    assert filtered(busy, "assetType==Sandbox") == filtered(busy, "assetType==sandboxes") == ["dev"]
    assert filtered(busy, "assetType!=Sandbox") == filtered(busy, "assetType==Role, dataset") == roles
    newest = events(busy, "?property=assetType==Role&limit=1")[0]
    assert filtered(busy, f"assetId=={newest['assetId']}", "action==Create,Update") == ["r5"]
    assert filtered(busy, f"requestId=={newest['requestId']}") == ["r5"]
    assert filtered(busy, f"user=={newest['userEmail'].upper()}", "assetName==R1,r2") == ["r2", "r1"]
    assert filtered(busy, "status==success", "action!=delete", "assetName!=dev") == roles
    assert filtered(busy, "status==Failure") == filtered(busy, "status==deny") == filtered(busy, "type==enhanced") == []
    assert filtered(busy, f"clientId=={busy.admin.client_id}", limit="1", start="1") == ["r5"]
    assert filtered(busy, "sandboxName==dev") == ["dev"]
    assert filtered(busy, "sandboxName!=dev") == roles


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (("timestamp>2026-03-01T12:00:04.5Z", "timestamp<2026-03-01T12:00:06.000001Z"), ["r5", "r4"]),
        (("timestamp>2026-03-01T12:00:05Z", "timestamp<=2026-03-01T12:00:06Z"), ["r5"]),
        (("timestamp>=2026-03-01T12:00:05Z", "timestamp<2026-03-01T12:00:06Z"), ["r4"]),
        (("timestamp>=2026-03-01T12:00:05.000001Z", "timestamp<2026-03-01T12:00:06Z"), []),
        (("timestamp==2026-03-01T12:00:05.000+0000",), ["r4"]),
        (("timestamp==2026-03-01T13:00:05+01:00, 2026-03-01T12:00:06Z",), ["r5", "r4"]),
        (("timestamp<2026-03-01T12:00:03", "timestamp!=2026-03-01T12:00:01Z"), ["r1"]),
        (("timestamp<1772366402000",), ["r0"]),
        (("timestamp>2026-03-02",), []),
    ],
)
def test_the_log_is_filtered_by_time(busy: Deployment, bounds: tuple[str, ...], expected: list[str]) -> None:
    assert filtered(busy, *bounds) == expected


@pytest.mark.parametrize("name", ["Überblick", "ÆØÅ roles", "Straße"])
def test_an_event_is_found_by_the_name_that_it_shows(deployed: Deployment, name: str) -> None:
    act(deployed, "POST", ROLES, {"name": name})
    act(deployed, "POST", ROLES, {"name": "other"})
    assert filtered(deployed, f"assetName=={name}") == [name]
    assert filtered(deployed, f"assetName!={name}") == ["other"]


def test_the_time_of_an_event_finds_it_with_its_plus_sign_as_it_is(busy: Deployment) -> None:
    (event, *_) = events(busy, "?property=assetName==r3")
    assert names(events(busy, f"?property=timestamp=={event['timestamp']}")) == ["r3"]


def test_the_log_is_ordered_as_asked(busy: Deployment) -> None:
    assert filtered(busy, orderBy="+timestamp")[:2] == filtered(busy, orderBy="timestamp")[:2] == ["r0", "r1"]
    assert filtered(busy, orderBy="assetType,-assetName") == ["r5", "r4", "r3", "r2", "r1", "r0", "dev"]
    for one in ("action", "user", "assetId", "requestId"):
        assert len(filtered(busy, orderBy=f"-{one}")) == 7


def test_pages_neither_skip_nor_repeat_while_events_come(busy: Deployment) -> None:
    seen: list[str] = []
    url = f"{EVENTS}?limit=2&property=assetType==Role"
    pages = []
    while url:
        answer = busy.http.get(url).json()
        seen += names(answer["_embedded"]["events"])
        pages.append(answer["page"])
        busy.clock.advance(seconds=1)
        act(busy, "POST", ROLES, {"name": f"late {len(seen)}"})
        url = answer["_links"].get("next", {}).get("href", "")
    assert seen == ["r5", "r4", "r3", "r2", "r1", "r0"]
    assert pages == [{"size": 2, "totalElements": 6, "totalPages": 3, "number": one} for one in (1, 2, 3)]


def test_a_query_id_repeats_the_query(busy: Deployment) -> None:
    first = busy.http.get(f"{EVENTS}?property=assetType==Role&orderBy=timestamp&limit=2").json()
    query_id = first["queryId"]
    assert "=" not in query_id
    again = busy.http.get(f"{EVENTS}?queryId={query_id}").json()
    assert names(again["_embedded"]["events"]) == ["r0", "r1", "r2", "r3", "r4", "r5"]
    assert again["queryId"] == query_id
    page = again["_links"]["page"]
    assert page["templated"] is True
    assert page["href"].endswith(f"/data/foundation/audit/events?queryId={query_id}&limit=50{{&start}}")
    assert first["_links"]["self"]["href"].endswith("?property=assetType%3D%3DRole&orderBy=timestamp&limit=2")
    with busy.acting(second_organisation(busy)):
        assert events(busy, f"?queryId={query_id}") == []


def token(**fields: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()


@pytest.mark.parametrize(
    ("query", "code"),
    [
        *((f"?{one}", 1452) for one in ("limit=0", "limit=x", "start=-1", "start=x")),
        *((f"?property=timestamp>{one}", 1452) for one in ("yesterday", "32:00")),
        *((f"?queryId={one}", 1452) for one in ("xx", "e30", token(p=[], o="", n="", t=-1))),
        (f"?queryId={token(p=['type==core'] * 51, o='timestamp', n='', t=1)}", 1452),
        (f"?queryId={token(p=[], o=chr(0), n='', t=1)}", 1452),
        (f"?queryId={token(p=['colour==red'], o='timestamp', n='', t=1)}", 1449),
        ("?" + "property=type==core&" * 51, 1452),
        ("?property=action~create", 1440),
        ("?property=action>create", 1448),
        ("?property=assetName!=a,b", 1443),
        ("?property=colour==red", 1449),
        ("?property=action=x", 1450),
        ("?property=action==", 1453),
        ("?orderBy=colour", 1433),
        ("?orderBy=a b", 1432),
        ("?colour=red", 1451),
        ("?resourceType=roles", 1451),
        ("?property=assetId==a%00b", 1452),
    ],
)  # fmt: skip
def test_a_query_that_cannot_be_answered_is_refused(standing: Deployment, query: str, code: int) -> None:
    assert f"AUDIT-{code}-400" in events(standing, query, 400)["type"]
    answer = standing.http.get(EXPORT + query, follow_redirects=False)
    assert answer.status_code == 400


def test_the_sample_of_the_contract_is_answered_in_the_vendors_shape(busy: Deployment) -> None:
    answer = busy.http.get(f"{EVENTS}?property=action==create&limit=50").json()
    assert set(answer) == {"_embedded", "_links", "page", "queryId"}
    assert {one["action"] for one in answer["_embedded"]["events"]} == {"Create"}


def test_events_of_every_kind_are_as_the_document_says(busy: Deployment) -> None:
    act(busy, "PATCH", f"{SANDBOXES}/dev", {"title": "T"})
    act(busy, "DELETE", f"{SANDBOXES}/dev")
    answer = busy.http.get(EVENTS).json()
    kinds = {(one["before"] is None, one["after"] is None) for one in answer["_embedded"]["events"]}
    assert kinds >= {(True, False), (False, False)}
    described = busy.http.get("/openapi.json").json()["paths"][EVENTS]["get"]["responses"]["200"]
    jsonschema.validate(answer, described["content"]["application/json"]["schema"])


def export(deployed: Deployment, query: str = "", status: int = 307) -> str:
    answer = deployed.http.get(EXPORT + query, follow_redirects=False)
    assert (answer.status_code, answer.content) == (status, b"")
    return answer.headers.get("location", "")


def test_an_export_leads_to_a_csv_file_that_needs_no_token(busy: Deployment) -> None:
    busy.clock.advance(seconds=1)
    act(busy, "POST", ROLES, {"name": 'a "b", ü'})
    expected = events(busy)
    location = export(busy, "?property=action==create")
    busy.clock.advance(seconds=14 * 60)
    act(busy, "POST", ROLES, {"name": "later"})
    busy.http.headers.clear()
    answer = busy.http.get(location)
    assert answer.headers["content-type"].startswith("text/csv")
    assert (answer.headers["cache-control"], ".csv" in answer.headers["content-disposition"]) == ("no-store", True)
    found = list(csv.DictReader(io.StringIO(answer.text)))
    for line, event in zip(found, expected, strict=True):
        assert json.loads(line["after"]) == event["after"]
        assert json.loads(line["userIpAddresses"]) == event["userIpAddresses"]
        same = ("id", "timestamp", "userEmail", "action", "assetType", "assetId", "assetName", "status", "clientId")
        assert {name: line[name] for name in same} == {name: event[name] for name in same}
        assert (line["before"], line["sandboxName"]) == ("", event.get("sandboxName", ""))


def test_an_export_of_nothing_has_no_file(busy: Deployment) -> None:
    assert not export(busy, "?property=action==delete", 204)


def test_an_export_holds_its_filter_and_no_more_than_ten_thousand(
    busy: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "MOST_EXPORTED", 3)
    answer = busy.http.get(export(busy, "?property=assetType==Role"))
    assert [one["assetName"] for one in csv.DictReader(io.StringIO(answer.text))] == ["r5", "r4", "r3"]


def test_the_link_of_an_export_ends_with_its_time_its_client_and_its_permission(busy: Deployment) -> None:
    reader = busy.new_client(VIEW_AUDIT, sandboxes=("dev",))
    with busy.acting(reader, "dev"):
        location = export(busy)
        assert busy.http.get(location).text.count("Sandbox") == 1
    altered = location[:-6] + ("A" if location[-6] != "A" else "B") + location[-5:]
    for one in (
        altered,
        location.partition("?")[0],
        location + "é",
        EXPORT.replace("export", "files/export.csv?sig=xx"),
    ):
        assert busy.http.get(one).status_code == 404
    roles = busy.http.get(f"{ROLES}?limit=100").json()["items"]
    (role,) = [one["id"] for one in roles if one["permissionSets"] == [VIEW_AUDIT]]
    change = {"op": "remove", "path": "/permissionSets", "value": VIEW_AUDIT}
    act(busy, "PATCH", f"{ROLES}/{role}", change)
    assert busy.http.get(location).status_code == 403
    act(busy, "PATCH", f"{ROLES}/{role}", change | {"op": "add"})
    assert busy.http.get(location).status_code == 200
    busy.clock.advance(seconds=15 * 60)
    assert busy.http.get(location).status_code == 404


def test_the_link_of_an_export_ends_with_its_client(busy: Deployment) -> None:
    reader = busy.new_client(VIEW_AUDIT)
    with busy.acting(reader):
        location = export(busy)
    with busy.backend.database.writing() as session:
        session.get_one(Client, reader.client_id).revoked_at = busy.clock.now_ms()
    assert busy.http.get(location).status_code == 404


def test_without_the_permission_nothing_is_shown(busy: Deployment) -> None:
    everything_else = [one for one in PERMISSIONS if one != VIEW_AUDIT]
    with busy.acting(busy.new_client(*everything_else)):
        assert events(busy, "", 403)["type"].endswith("AUDIT-2120-403")
        assert busy.http.get(EXPORT, follow_redirects=False).status_code == 403


def test_who_may_read_one_sandboxs_log_sees_that_alone(busy: Deployment) -> None:
    busy.clock.advance(seconds=1)
    act(busy, "POST", f"{ZONE}/credentials?action=refresh")
    with busy.acting(busy.new_client(VIEW_AUDIT, sandboxes=("prod", "dev")), "dev"):
        assert names(events(busy)) == ["dev"]
        assert filtered(busy, "sandboxName==dev") == ["dev"]
        assert filtered(busy, "sandboxName==prod") == []
        busy.http.headers["x-sandbox-name"] = "prod"
        assert names(events(busy)) == ["user_drop_zone"]


def test_the_log_of_an_earlier_sandbox_of_the_name_is_not_shown(busy: Deployment) -> None:
    act(busy, "DELETE", f"{SANDBOXES}/dev")
    list(run_maintenance(busy.backend, sweeps=False))
    busy.clock.advance(seconds=1)
    act(busy, "POST", SANDBOXES, sandbox("dev"))
    with busy.acting(busy.new_client(VIEW_AUDIT, sandboxes=("dev",)), "dev"):
        (made,) = events(busy)
        assert (made["action"], made["timestamp"]) == ("Create", "2026-03-01T12:00:08.000+0000")


def test_the_log_is_an_organisations_own(busy: Deployment) -> None:
    with busy.acting(second_organisation(busy)):
        assert events(busy) == []
