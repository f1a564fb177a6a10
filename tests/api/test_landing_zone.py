"""The landing zone's container and credentials (contract, section 21)."""

from typing import Any

import pytest
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from offtake.access import access, clients
from offtake.access.clients import NewClient
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DATASETS, VIEW_DESTINATIONS, Caller
from offtake.engines.local import LocalEngine
from offtake.store.tables import Client, Role, RoleSubject
from tests.deployment import Deployment, deployment
from tests.fake_clock import FakeClock

ZONE = "/data/foundation/connectors/landingzone"
CONTAINERS = {"dlz_destination": "dlz-destination", "user_drop_zone": "dlz-user-container"}


def ask(deployed: Deployment, method: str, path: str, status: int = 200) -> Any:
    answer = deployed.http.request(method, ZONE + path)
    assert answer.status_code == status, answer.text
    return answer.json()


def fetch(deployed: Deployment, credentials: Any, name: str = "a.txt") -> int:
    """The status of fetching a file with the credentials alone."""
    path = f"/{credentials['storageAccountName']}/{credentials['containerName']}/{name}"
    headers = dict(deployed.http.headers)
    deployed.http.headers.clear()
    answer = deployed.http.get(f"{path}?{credentials['SASToken']}")
    deployed.http.headers.update(headers)
    return answer.status_code


def put(deployed: Deployment, name: str = "a.txt", text: str = "hello") -> None:
    path = deployed.zone / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(("query", "kind"), [("?type=dlz_destination", "dlz_destination"), ("", "user_drop_zone")])
def test_a_container_says_how_long_it_keeps_files(deployed: Deployment, query: str, kind: str) -> None:
    assert ask(deployed, "GET", query) == {"containerName": CONTAINERS[kind], "containerTTL": "7"}
    assert ask(deployed, "GET", f"/credentials{query}")["containerName"] == CONTAINERS[kind]


def test_the_days_are_a_setting(tmp_path: Any, clock: FakeClock, engine: LocalEngine) -> None:
    with deployment(tmp_path, clock, engine, landing_zone_retention_days=0) as deployed:
        assert ask(deployed, "GET", "?type=DLZ_DESTINATION")["containerTTL"] == "0"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "?type=other", "ZONE-1452-400"),
        ("GET", "/credentials?type=other", "ZONE-1452-400"),
        ("POST", "/credentials?type=dlz_destination", "ZONE-2119-400"),
        ("POST", "/credentials?type=dlz_destination&action=burn", "ZONE-1435-400"),
        ("POST", "/credentials?type=other&action=refresh", "ZONE-1452-400"),
    ],
)
def test_invalid_requests_are_refused_with_a_code(deployed: Deployment, method: str, path: str, code: str) -> None:
    assert ask(deployed, method, path, 400)["type"].endswith(code)


def test_credentials_stay_the_same_until_they_are_refreshed(deployed: Deployment) -> None:
    put(deployed)
    first = ask(deployed, "GET", "/credentials?type=dlz_destination")
    assert ask(deployed, "GET", "/credentials?type=dlz_destination") == first
    assert fetch(deployed, first) == 200
    second = ask(deployed, "POST", "/credentials?type=dlz_destination&action=refresh")
    assert set(second) == set(first)
    assert fetch(deployed, first) == 403
    assert fetch(deployed, second) == 200
    assert ask(deployed, "GET", "/credentials?type=dlz_destination") == second


VIEWS = (VIEW_DESTINATIONS, VIEW_DATASETS)
OUT = "?type=dlz_destination"


def credentials_of(deployed: Deployment, client: NewClient, method: str = "GET", more: str = "") -> Any:
    with deployed.acting(client):
        return ask(deployed, method, f"/credentials{OUT}{more}")


def test_each_client_has_credentials_of_its_own_and_ends_only_these(deployed: Deployment) -> None:
    put(deployed)
    one, other = (deployed.new_client(*VIEWS, EXPORT_DATASETS) for _ in range(2))
    first, kept = credentials_of(deployed, one), credentials_of(deployed, other)
    assert first["SASToken"] != kept["SASToken"]
    second = credentials_of(deployed, one, "POST", "&action=refresh")
    assert [fetch(deployed, given) for given in (first, second, kept)] == [403, 200, 200]


def test_a_manager_ends_the_credentials_of_all_clients(deployed: Deployment) -> None:
    put(deployed)
    manager, other = deployed.new_client(*VIEWS, MANAGE_DESTINATIONS), deployed.new_client(*VIEWS)
    elsewhere = deployed.new_client(*VIEWS)
    with deployed.acting(elsewhere):
        drop_zone = ask(deployed, "GET", "/credentials")
    given = credentials_of(deployed, other)
    mine = credentials_of(deployed, manager, "POST", "&action=refresh")
    assert (fetch(deployed, given), fetch(deployed, mine)) == (403, 200)
    assert fetch(deployed, drop_zone) == 404  # of the other type: it opens, and holds no file
    assert fetch(deployed, credentials_of(deployed, other)) == 200


def end_client(session: Session, caller: Caller, client: Client, now_ms: int) -> None:
    clients.revoke(session, caller, client.id, now_ms)


def rotate_secret(session: Session, caller: Caller, client: Client, now_ms: int) -> None:
    clients.rotate(session, caller, client.id, now_ms)


def take_role_away(session: Session, _caller: Caller, client: Client, _now_ms: int) -> None:
    session.execute(delete(RoleSubject).where(RoleSubject.client_id == client.id))


def take_permission_away(session: Session, _caller: Caller, client: Client, _now_ms: int) -> None:
    (role,) = session.scalars(select(Role).join(RoleSubject).where(RoleSubject.client_id == client.id))
    role.permissions = [VIEW_DESTINATIONS]


def take_sandbox_away(session: Session, _caller: Caller, client: Client, _now_ms: int) -> None:
    (role,) = session.scalars(select(Role).join(RoleSubject).where(RoleSubject.client_id == client.id))
    role.sandboxes = ["dev"]


@pytest.mark.parametrize(
    "end",
    [end_client, rotate_secret, take_role_away, take_permission_away, take_sandbox_away],
    ids=lambda one: one.__name__,
)
def test_credentials_end_at_once_with_the_client_its_secret_or_its_role(deployed: Deployment, end: Any) -> None:
    put(deployed)
    client, bystander = deployed.new_client(*VIEWS), deployed.new_client(*VIEWS)
    given, kept = credentials_of(deployed, client), credentials_of(deployed, bystander)
    assert fetch(deployed, given) == 200
    with deployed.backend.database.writing() as session:
        row = session.get_one(Client, client.client_id)
        end(session, access.organisation_operator(deployed.backend.database), row, deployed.clock.now_ms())
    assert (fetch(deployed, given), fetch(deployed, kept)) == (403, 200)


def test_a_client_whose_secret_was_rotated_gets_credentials_that_work(deployed: Deployment) -> None:
    put(deployed)
    client = deployed.new_client(*VIEWS)
    first = credentials_of(deployed, client)
    with deployed.acting(client):  # its token lives on
        with deployed.backend.database.writing() as session:
            caller = access.organisation_operator(deployed.backend.database)
            clients.rotate(session, caller, client.client_id, deployed.clock.now_ms())
        second = ask(deployed, "GET", f"/credentials{OUT}")
    assert (fetch(deployed, first), fetch(deployed, second)) == (403, 200)


def test_the_right_to_delete_ends_with_the_permission(deployed: Deployment) -> None:
    put(deployed)
    client = deployed.new_client(*VIEWS, EXPORT_DATASETS)
    given = credentials_of(deployed, client)
    assert "sp=rdl&" in given["SASToken"]
    with deployed.backend.database.writing() as session:
        (role,) = session.scalars(select(Role).join(RoleSubject).where(RoleSubject.client_id == client.client_id))
        role.permissions = list(VIEWS)
    path = f"/{given['storageAccountName']}/{given['containerName']}/a.txt?{given['SASToken']}"
    assert deployed.http.delete(path).status_code == 403
    assert fetch(deployed, given) == 200
    assert "sp=rl&" in credentials_of(deployed, client)["SASToken"]


def test_giving_credentials_out_is_in_the_audit_log(deployed: Deployment) -> None:
    client = deployed.new_client(*VIEWS, EXPORT_DATASETS)
    given = credentials_of(deployed, client)
    credentials_of(deployed, client, "POST", "&action=refresh")
    log = deployed.http.get("/data/foundation/audit/events").json()["_embedded"]["events"]
    found = [one for one in log if one["assetType"] == "Landing Zone Credentials"]
    assert [(one["action"], one["clientId"], one["assetName"]) for one in found] == [
        ("Refresh", client.client_id, "dlz_destination"),
        ("Issue", client.client_id, "dlz_destination"),
    ]
    assert found[1]["after"] == {"type": "dlz_destination", "expiresAt": given["expiryTime"] * 1000, "deletes": True}
    assert given["SASToken"].rpartition("sig=")[2] not in str(log)


def test_refreshing_one_type_leaves_the_other(deployed: Deployment) -> None:
    put(deployed)
    kept = ask(deployed, "GET", "/credentials?type=dlz_destination")
    ask(deployed, "POST", "/credentials?action=refresh")
    assert fetch(deployed, kept) == 200


def test_credentials_end_when_they_say(tmp_path: Any, clock: FakeClock, engine: LocalEngine) -> None:
    with deployment(tmp_path / "data", clock, engine, landing_zone_credential_seconds=3600) as deployed:
        put(deployed)
        first = ask(deployed, "GET", "/credentials?type=dlz_destination")
        assert first["expiryTime"] == clock.now_seconds() + 3600
        clock.advance(seconds=1801)
        second = ask(deployed, "GET", "/credentials?type=dlz_destination")
        assert second["expiryTime"] == clock.now_seconds() + 3600
        assert (fetch(deployed, first), fetch(deployed, second)) == (200, 200)
        clock.advance(seconds=1799)
        assert (fetch(deployed, first), fetch(deployed, second)) == (403, 200)


@pytest.mark.parametrize(
    ("granted", "statuses"),
    [
        ((VIEW_DESTINATIONS,), (200, 403, 403)),
        ((VIEW_DESTINATIONS, VIEW_DATASETS), (200, 200, 403)),
        ((VIEW_DESTINATIONS, EXPORT_DATASETS), (200, 403, 403)),
        ((VIEW_DESTINATIONS, VIEW_DATASETS, EXPORT_DATASETS), (200, 200, 200)),
        ((EXPORT_DATASETS,), (403, 403, 403)),
        ((VIEW_DATASETS, MANAGE_DESTINATIONS), (403, 403, 403)),
        ((VIEW_DESTINATIONS, VIEW_DATASETS, MANAGE_DESTINATIONS), (200, 200, 200)),
    ],
)
def test_credentials_need_two_permissions_and_refreshing_them_a_third(
    deployed: Deployment, granted: tuple[str, ...], statuses: tuple[int, ...]
) -> None:
    calls = (("GET", ""), ("GET", "/credentials"), ("POST", "/credentials?action=refresh"))
    with deployed.acting(deployed.new_client(*granted)):
        for (method, path), status in zip(calls, statuses, strict=True):
            ask(deployed, method, path, status)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("203.0.113.7:8080", "http://203.0.113.7:8080/{account}/dlz-destination"),
        ("[2001:db8::1]:8080", "http://[2001:db8::1]:8080/{account}/dlz-destination"),
        ("offtake.example", "http://offtake.example/dlz-destination"),
        ("localhost:8080", "http://localhost:8080/dlz-destination"),
    ],
)
def test_the_address_is_on_the_callers_own_origin(deployed: Deployment, host: str, address: str) -> None:
    answer = deployed.http.get(f"{ZONE}/credentials?type=dlz_destination", headers={"host": host}).json()
    wanted = address.format(account=answer["storageAccountName"])
    assert answer["SASUri"] == f"{wanted}?{answer['SASToken']}"


def test_keys_are_not_in_the_database_as_they_are(deployed: Deployment) -> None:
    given = ask(deployed, "GET", "/credentials")
    signature = given["SASToken"].rpartition("sig=")[2]
    stored = b"".join(path.read_bytes() for path in deployed.backend.settings.data_dir.glob("offtake.db*"))
    assert len(signature) > 40
    assert signature.encode() not in stored
