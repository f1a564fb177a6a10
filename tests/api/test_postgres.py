"""Administration with the store in PostgreSQL, which is stricter than SQLite about locks, types and texts."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from offtake.access import clients, people
from offtake.access.people import Identity
from offtake.engines.local import LocalEngine
from offtake.scheduling.housekeeping import run_maintenance
from tests.deployment import Deployment, deployment, rows
from tests.fake_clock import FakeClock
from tests.postgres import new_database

SANDBOXES = "/data/foundation/sandbox-management/sandboxes"
ROLES = "/data/foundation/access-control/administration/roles"
CREDENTIALS = "/data/foundation/connectors/landingzone/credentials?action=refresh"
EVENTS = "/data/foundation/audit/events"


@pytest.fixture
def deployed(tmp_path: Path, clock: FakeClock, engine: LocalEngine, postgres: str) -> Iterator[Deployment]:
    with deployment(tmp_path / "data", clock, engine, database_url=new_database(postgres)) as opened:
        yield opened


def call(deployed: Deployment, method: str, path: str, status: int, body: Any = None) -> Any:
    answer = deployed.http.request(method, path, json=body) if body else deployed.http.request(method, path)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def test_sandboxes_roles_credentials_and_the_log(deployed: Deployment) -> None:
    new = {"name": "dev", "title": "D", "type": "development"}
    call(deployed, "POST", SANDBOXES, 202, new)
    call(deployed, "POST", SANDBOXES, 409, new)
    role = call(deployed, "POST", ROLES, 200, {"name": "r", "sandboxes": ["dev"]})["id"]
    call(deployed, "POST", ROLES, 409, {"name": "r"})
    put = {"name": "Administrators", "description": "", "roleType": "user-defined"}
    call(deployed, "PUT", f"{ROLES}/{role}", 409, put)
    (first,) = call(deployed, "GET", f"{ROLES}?property=name==Administrators", 200)["items"]
    call(deployed, "DELETE", f"{ROLES}/{first['id']}", 400)
    call(deployed, "POST", CREDENTIALS, 200)
    deployed.flow(deployed.import_rows("events", rows(0, 5)))
    deployed.run_due()
    call(deployed, "PUT", f"{SANDBOXES}/prod", 202, {"action": "reset"})
    call(deployed, "DELETE", f"{SANDBOXES}/dev", 202)
    list(run_maintenance(deployed.backend, sweeps=True))
    assert deployed.get("/flows")["items"] == []
    assert [one["name"] for one in call(deployed, "GET", SANDBOXES, 200)["sandboxes"]] == ["prod"]
    call(deployed, "POST", SANDBOXES, 202, new)
    call(deployed, "DELETE", f"{ROLES}/{role}", 204)
    found = call(deployed, "GET", f"{EVENTS}?limit=1000&property=timestamp>2026-03-01", 200)
    mine = [
        one["action"]
        for one in found["_embedded"]["events"]
        if one["assetType"] in ("Sandbox", "Role", "Landing Zone Credentials")
    ]
    assert sorted(mine) == ["Create", "Create", "Create", "Delete", "Delete", "Refresh", "Reset", "Update"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{SANDBOXES}/a%00b", 400),
        (f"{ROLES}/a%00b", 400),
        (f"{EVENTS}?property=assetId==a%00b", 400),
        ("/dlz-destination/x?sig=a&si=a%00b", 403),
        ("/dlz-destination/a%00b?sig=a", 403),
    ],
)
def test_texts_that_the_database_cannot_hold_are_no_failures(deployed: Deployment, path: str, status: int) -> None:
    assert deployed.http.get(path).status_code == status


def test_a_client_id_that_the_database_cannot_hold_is_an_unknown_one(deployed: Deployment) -> None:
    form = {"grant_type": "client_credentials", "client_id": "a\x00b", "client_secret": "x"}
    assert deployed.http.post("/ims/token/v3", data=form).json()["error"] == "invalid_client"


def test_concurrent_first_sign_ins_of_a_person_create_one_client(deployed: Deployment) -> None:
    identity = Identity("https://issuer.example", "a|\N{GRINNING FACE}", "Zoë", frozenset((clients.ADMINISTRATORS,)))

    def sign_in(_: int) -> str:
        with deployed.backend.database.writing() as session:
            return people.sign_in(session, identity, 1, remote="", request_id="").id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(sign_in, range(8)))) == 1


def test_tags_of_declared_resources(deployed: Deployment) -> None:
    managed = "/data/foundation/flowservice/managedResources"
    base = deployed.post("/connections", {"name": "zone"})["id"]
    role = call(deployed, "POST", ROLES, 200, {"name": "r"})["id"]
    resources = {"resources": [{"kind": "connection", "id": base}, {"kind": "role", "id": role}]}
    assert call(deployed, "PUT", f"{managed}/a", 200, resources)["changed"] == 2
    assert call(deployed, "PUT", f"{managed}/b", 200, {"resources": resources["resources"][:1]})["changed"] == 1
    found = {(one["kind"], one["set"]) for one in call(deployed, "GET", managed, 200)["items"]}
    assert found == {("connection", "b"), ("role", "a")}
    call(deployed, "PUT", f"{SANDBOXES}/prod", 202, {"action": "reset"})
    list(run_maintenance(deployed.backend, sweeps=True))
    assert [one["kind"] for one in call(deployed, "GET", managed, 200)["items"]] == ["role"]
    assert call(deployed, "POST", f"{managed}/a/release", 200, resources)["changed"] == 1
