"""A landing zone in an Azure account: its shape, and a signature that the vendor's own client collects with."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pyarrow.parquet as pq
import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import AccessPolicy, ContainerClient, ContainerSasPermissions

from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DATASETS, VIEW_DESTINATIONS
from offtake.engines.local import LocalEngine
from offtake.landing_zone import keys
from offtake.scheduling.housekeeping import run_maintenance
from tests.azure_servers import ACCOUNT, KEY, AzureServer, azurite
from tests.deployment import WITH_MANIFEST, ZONE, Deployment, rows
from tests.landing_zones import ask, azure_zones
from tests.servers import free_port

OUT = "?type=dlz_destination"


@pytest.fixture(scope="module")
def azure() -> Iterator[AzureServer]:
    with azurite() as server:
        yield server


@pytest.fixture
def deployed(azure: AzureServer, tmp_path: Path, engine: LocalEngine) -> Iterator[Deployment]:
    with azure_zones(azure, tmp_path / "data", engine) as opened:
        yield opened


def collecting(given: Any) -> ContainerClient:
    """The vendor's client with nothing but the address that was given out."""
    return ContainerClient.from_container_url(given["SASUri"])


def fetch(given: Any, name: str = "a.txt") -> bytes:
    with collecting(given) as client:
        return client.download_blob(name).readall()


def refused(given: Any) -> bool:
    try:
        fetch(given)
    except HttpResponseError as error:
        return error.status_code == 403
    return False


def put(azure: AzureServer, given: Any, name: str = "a.txt", content: bytes = b"hello") -> None:
    with azure.client() as client:
        client.get_container_client(given["containerName"]).upload_blob(name, content, overwrite=True)


@pytest.mark.parametrize(("query", "name"), [(OUT, "dlz-destination"), ("", "dlz-user-container")])
def test_the_container_is_the_real_one(deployed: Deployment, azure: AzureServer, query: str, name: str) -> None:
    shown = ask(deployed, "GET", query)
    assert shown["containerTTL"] == "7"
    assert set(shown) == {"containerName", "containerTTL"}
    given = ask(deployed, "GET", f"/credentials{query}")
    assert given["containerName"] == shown["containerName"]
    assert f"-{name}-prod-" in shown["containerName"]
    assert set(given) == {"containerName", "SASToken", "storageAccountName", "SASUri", "expiryTime"}
    assert given["SASUri"] == f"{azure.endpoint}/{given['containerName']}?{given['SASToken']}"
    assert given["storageAccountName"] == ACCOUNT
    assert given["expiryTime"] == deployed.clock.now_seconds() + 3600
    assert KEY not in json.dumps(given)


def test_a_signature_reads_lists_and_deletes_and_nothing_else(deployed: Deployment, azure: AzureServer) -> None:
    given = ask(deployed, "GET", f"/credentials{OUT}")
    put(azure, given)
    assert fetch(given) == b"hello"
    with collecting(given) as client:
        assert [blob.name for blob in client.list_blobs()] == ["a.txt"]
        for act in (
            lambda: client.upload_blob("b.txt", b"x"),
            client.delete_container,
            client.get_container_access_policy,
        ):
            with pytest.raises(HttpResponseError) as caught:
                act()
            assert caught.value.status_code == 403
        assert azure.names(given["containerName"]) == ["a.txt"]
        client.delete_blob("a.txt")
    assert azure.names(given["containerName"]) == []


def policies(azure: AzureServer, container: str) -> dict[str, Any]:
    with azure.client() as client:
        found = client.get_container_client(container).get_container_access_policy()["signed_identifiers"]
        return {one.id: one.access_policy for one in found}


def test_a_signature_deletes_only_for_clients_that_may_manage_or_export(
    deployed: Deployment, azure: AzureServer
) -> None:
    views = (VIEW_DESTINATIONS, VIEW_DATASETS)
    for more in ((), (EXPORT_DATASETS,), (MANAGE_DESTINATIONS,)):
        with deployed.acting(deployed.new_client(*views, *more)):
            given = ask(deployed, "GET", f"/credentials{OUT}")
        put(azure, given)
        with collecting(given) as client:
            assert [blob.name for blob in client.list_blobs()] == ["a.txt"]
            if more:
                client.delete_blob("a.txt")
            else:
                with pytest.raises(HttpResponseError) as caught:
                    client.delete_blob("a.txt")
                assert caught.value.status_code == 403


def test_all_clients_share_two_policies_and_each_signature_ends_within_an_hour(
    deployed: Deployment, azure: AzureServer
) -> None:
    """Azurite ignores a signature's own expiry when it has a policy; Azure checks both."""
    views = (VIEW_DESTINATIONS, VIEW_DATASETS)
    tokens = []
    for more in ((), (), (EXPORT_DATASETS,), (MANAGE_DESTINATIONS,)):
        with deployed.acting(deployed.new_client(*views, *more)):
            given = ask(deployed, "GET", f"/credentials{OUT}")
        tokens.append({name: value[0] for name, value in parse_qs(given["SASToken"]).items()})
        ends = datetime.fromisoformat(tokens[-1]["se"]).timestamp()
        assert ends == given["expiryTime"] == deployed.clock.now_seconds() + 3600
        assert "sp" not in tokens[-1]  # in the policy: Azure refuses what says it twice
    found = policies(azure, given["containerName"])
    assert set(found) == {token["si"] for token in tokens}
    assert sorted(policy.permission for policy in found.values()) == ["rdl", "rl"]
    assert {policy.expiry for policy in found.values()} == {None}


def test_policies_of_earlier_versions_are_removed_without_being_asked_for(
    deployed: Deployment, azure: AzureServer
) -> None:
    given = ask(deployed, "GET", f"/credentials{OUT}")
    put(azure, given)
    with azure.client() as client:
        earlier = AccessPolicy(permission=ContainerSasPermissions(read=True), expiry=datetime(2099, 1, 1, tzinfo=UTC))
        client.get_container_client(given["containerName"]).set_container_access_policy({"dlz-earlier": earlier})
        for _ in run_maintenance(deployed.backend, sweeps=True):
            pass
    assert fetch(given) == b"hello"
    assert "dlz-earlier" not in policies(azure, given["containerName"])


def test_refreshing_ends_what_was_given_before_and_leaves_the_other_type(
    deployed: Deployment, azure: AzureServer
) -> None:
    other = ask(deployed, "GET", "/credentials")
    put(azure, other)
    first = ask(deployed, "GET", f"/credentials{OUT}")
    assert ask(deployed, "GET", f"/credentials{OUT}") == first
    put(azure, first)
    second = ask(deployed, "POST", f"/credentials{OUT}&action=refresh")
    assert refused(first)
    assert fetch(second) == fetch(other) == b"hello"
    assert ask(deployed, "GET", f"/credentials{OUT}") == second


def test_a_refresh_ends_everybodys_signatures_when_a_manager_asks_for_it(
    deployed: Deployment, azure: AzureServer
) -> None:
    views = (VIEW_DESTINATIONS, VIEW_DATASETS)
    collector, exporter = deployed.new_client(*views), deployed.new_client(*views, EXPORT_DATASETS)
    with deployed.acting(collector):
        given = ask(deployed, "GET", f"/credentials{OUT}")
    put(azure, given)
    with deployed.acting(exporter):
        ask(deployed, "POST", f"/credentials{OUT}&action=refresh")
    assert fetch(given) == b"hello"
    ask(deployed, "POST", f"/credentials{OUT}&action=refresh")
    assert refused(given)
    assert len(policies(azure, given["containerName"])) == 1


def test_policies_of_the_operators_own_are_kept(deployed: Deployment, azure: AzureServer) -> None:
    given = ask(deployed, "GET", f"/credentials{OUT}")
    with azure.client() as client:
        container = client.get_container_client(given["containerName"])
        there = {one.id: one.access_policy for one in container.get_container_access_policy()["signed_identifiers"]}
        mine = AccessPolicy(permission=ContainerSasPermissions(read=True))
        container.set_container_access_policy(there | {"mine": mine})
        ask(deployed, "POST", f"/credentials{OUT}&action=refresh")
        left = [one.id for one in container.get_container_access_policy()["signed_identifiers"]]
    assert len(left) == 2
    assert "mine" in left


def test_policies_of_others_leave_room_or_the_call_says_so(
    azure: AzureServer, tmp_path: Path, engine: LocalEngine
) -> None:
    with (
        azure_zones(azure, tmp_path, engine, landing_zone_credential_seconds=3600) as deployed,
        azure.client() as client,
    ):
        given = ask(deployed, "GET", f"/credentials{OUT}")
        put(azure, given)
        container = client.get_container_client(given["containerName"])
        theirs = {f"theirs-{n}": AccessPolicy(permission=ContainerSasPermissions(read=True)) for n in range(5)}
        container.set_container_access_policy(dict(list(theirs.items())[:4]))
        assert refused(given)
        assert fetch(ask(deployed, "GET", f"/credentials{OUT}")) == b"hello"
        container.set_container_access_policy(theirs)
        assert "5 access policies" in ask(deployed, "GET", f"/credentials{OUT}", 502)["detail"]


def test_of_concurrent_refreshes_the_last_signature_works(deployed: Deployment, azure: AzureServer) -> None:
    put(azure, ask(deployed, "GET", f"/credentials{OUT}"))
    given: list[Any] = []

    def refresh() -> None:
        given.append(ask(deployed, "POST", f"/credentials{OUT}&action=refresh"))

    threads = [threading.Thread(target=refresh) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    last = ask(deployed, "GET", f"/credentials{OUT}")
    assert fetch(last) == b"hello"
    assert [refused(one) for one in given].count(False) == [one == last for one in given].count(True) == 1


def test_a_refresh_that_was_cut_off_before_azure_heard_of_it_is_made_good(
    deployed: Deployment, azure: AzureServer
) -> None:
    first = ask(deployed, "GET", f"/credentials{OUT}")
    put(azure, first)
    backend, now = deployed.backend, deployed.clock.now_ms()
    with backend.database.writing() as session:
        keys.renewed_policy_key(session, deployed.caller, backend.vault, "dlz_destination", now)
    assert fetch(first) == b"hello"
    second = ask(deployed, "GET", f"/credentials{OUT}")
    assert (refused(first), fetch(second)) == (True, b"hello")


def test_a_removed_container_is_created_again(deployed: Deployment, azure: AzureServer) -> None:
    given = ask(deployed, "GET", f"/credentials{OUT}")
    with azure.client() as client:
        client.delete_container(given["containerName"])
    again = ask(deployed, "GET", f"/credentials{OUT}")
    put(azure, again)
    assert fetch(given) == fetch(again) == b"hello"


@pytest.mark.parametrize(
    ("granted", "statuses"),
    [
        ((VIEW_DESTINATIONS,), (200, 403, 403)),
        ((VIEW_DESTINATIONS, VIEW_DATASETS), (200, 200, 403)),
        ((VIEW_DESTINATIONS, EXPORT_DATASETS), (200, 403, 403)),
        ((VIEW_DESTINATIONS, VIEW_DATASETS, EXPORT_DATASETS), (200, 200, 200)),
        ((EXPORT_DATASETS,), (403, 403, 403)),
        ((VIEW_DATASETS, MANAGE_DESTINATIONS), (403, 403, 403)),
    ],
)
def test_credentials_need_two_permissions_and_refreshing_them_a_third(
    deployed: Deployment, granted: tuple[str, ...], statuses: tuple[int, ...]
) -> None:
    calls = (("GET", ""), ("GET", "/credentials"), ("POST", "/credentials?action=refresh"))
    with deployed.acting(deployed.new_client(*granted)):
        for (method, path), status in zip(calls, statuses, strict=True):
            ask(deployed, method, path, status)


def test_refreshing_is_in_the_audit_log(deployed: Deployment) -> None:
    ask(deployed, "POST", f"/credentials{OUT}&action=refresh")
    events = deployed.http.get("/data/foundation/audit/events").json()
    assert "Landing Zone Credentials" in json.dumps(events)
    assert KEY not in json.dumps(events)


def test_an_unreachable_account_is_reported(tmp_path: Path, engine: LocalEngine) -> None:
    port = free_port()
    away = AzureServer(f"http://127.0.0.1:{port}/{ACCOUNT}", port)
    with azure_zones(away, tmp_path, engine, read_timeout_seconds=1) as deployed:
        refusal = ask(deployed, "GET", "/credentials", 502)
        assert refusal["type"].endswith("ZONE-3502-502")
        assert str(port) in refusal["detail"]
        assert KEY not in json.dumps(refusal)


def test_an_export_arrives_and_is_collected(deployed: Deployment, azure: AzureServer) -> None:
    dataset = deployed.import_rows("events", rows(0, 30))
    flow = deployed.flow(dataset, params=WITH_MANIFEST)
    deployed.run_due()
    assert deployed.runs(flow)[0]["metrics"]["statusSummary"]["status"] == "success"
    given = ask(deployed, "GET", f"/credentials{OUT}")
    names = azure.names(given["containerName"])
    (manifest_name,) = [name for name in names if "manifest-" in name]
    manifest = json.loads(fetch(given, manifest_name))
    named = [f"{one['sinkPath'].lstrip('/')}/{one['name']}" for one in manifest["exportResults"]]
    assert sorted([*named, manifest_name]) == sorted(names)
    file = deployed.backend.settings.data_dir / "fetched.parquet"
    file.write_bytes(fetch(given, named[0]))
    assert pq.read_table(file)["id"].to_pylist() == list(range(30))
    assert not deployed.backend.settings.data_dir.joinpath("landing-zone").exists()


def test_a_base_connection_is_tested_where_the_zone_is(deployed: Deployment, azure: AzureServer) -> None:
    base = deployed.post("/connections", {"name": "zone"})["id"]
    assert deployed.get(f"/connections/{base}/test") == {"result": True}
    assert azure.names(ask(deployed, "GET", OUT)["containerName"]) == []


def test_the_zone_is_explored_folder_by_folder(deployed: Deployment, azure: AzureServer) -> None:
    explore = f"/connectionSpecs/{ZONE}/explore"
    assert deployed.get(f"{explore}?objectType=ROOT") == []
    given = ask(deployed, "GET", f"/credentials{OUT}")
    for name in ("b/c/d.json", "b/e.json", "a.json"):
        put(azure, given, name)
    assert [(one["type"], one["path"]) for one in deployed.get(f"{explore}?objectType=ROOT")] == [
        ("folder", "/b"),
        ("file", "/a.json"),
    ]
    inside = deployed.get(f"{explore}?objectType=FOLDER&object=/b")
    assert [(one["type"], one["name"], one["path"]) for one in inside] == [
        ("folder", "c", "/b/c"),
        ("file", "e.json", "/b/e.json"),
    ]
    assert "FLOW-1452" in deployed.get(f"{explore}?objectType=FOLDER&object=nowhere", 400)["type"]


def test_two_sandboxes_do_not_share_a_container(deployed: Deployment, azure: AzureServer) -> None:
    body = {"name": "dev--" + "x" * 200, "title": "Development", "type": "development"}
    assert deployed.http.post("/data/foundation/sandbox-management/sandboxes", json=body).status_code == 202
    names = set()
    for sandbox in ("prod", body["name"]):
        deployed.http.headers["x-sandbox-name"] = sandbox
        for kind in ("dlz_destination", "user_drop_zone"):
            given = ask(deployed, "GET", f"/credentials?type={kind}")
            put(azure, given, content=given["containerName"].encode())
            assert fetch(given) == given["containerName"].encode()
            names.add(given["containerName"])
    assert len(names) == 4


def test_the_servers_own_blob_service_has_no_such_container(deployed: Deployment) -> None:
    given = ask(deployed, "GET", f"/credentials{OUT}")
    answer = deployed.http.get(f"/dlz-destination?restype=container&comp=list&{given['SASToken']}")
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (404, "ContainerNotFound")


def test_the_key_is_in_no_log_and_no_row(
    deployed: Deployment, caplog: pytest.LogCaptureFixture, azure: AzureServer
) -> None:
    caplog.set_level("DEBUG")
    given = ask(deployed, "POST", f"/credentials{OUT}&action=refresh")
    stored = b"".join(path.read_bytes() for path in deployed.backend.settings.data_dir.glob("offtake.db*"))
    assert KEY.encode() not in stored
    assert given["SASToken"].rpartition("sig=")[2].encode() not in stored
    assert KEY not in caplog.text
    assert KEY not in repr(deployed.backend)
    assert azure.connection_string not in repr(deployed.backend)


def test_a_signature_of_a_deleted_blob_finds_nothing(deployed: Deployment) -> None:
    given = ask(deployed, "GET", f"/credentials{OUT}")
    with pytest.raises(ResourceNotFoundError):
        fetch(given, "nothing.txt")
