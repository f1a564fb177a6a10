"""Files of landing zones elsewhere go when their time is up, and with their sandbox; nothing that is written goes.

Stores say themselves when an object was written, so that it is the deployment's clock that moves.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import ContainerClient
from sqlalchemy import select

from offtake.access import access
from offtake.destinations.base import Sink
from offtake.destinations.landing_zone.azure import AzureZone
from offtake.destinations.landing_zone.s3 import S3Zone
from offtake.destinations.zones import ZoneType
from offtake.engines.local import LocalEngine
from offtake.sandboxes import sandboxes
from offtake.scheduling.housekeeping import run_maintenance
from offtake.store.tables import Sandbox
from tests.azure_servers import AzureServer, azurite
from tests.deployment import Deployment
from tests.landing_zones import ask, azure_zones, s3_zones
from tests.servers import Amazon, amazon

NEW = {"name": "dev", "title": "Development", "type": "development"}


@pytest.fixture(scope="module")
def azure() -> Iterator[AzureServer]:
    with azurite() as server:
        yield server


@pytest.fixture(scope="module")
def aws() -> Iterator[Amazon]:
    with amazon() as server:
        yield server


Open = Callable[..., Any]


@pytest.fixture(params=["Azure", "S3"])
def opened(
    request: pytest.FixtureRequest, tmp_path: Path, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> Open:
    """Opens a deployment over each kind of zone; settings may be given."""
    of = request.getfixturevalue
    if request.param == "Azure":
        return lambda **settings: azure_zones(of("azure"), tmp_path / "data", engine, **settings)
    return lambda **settings: s3_zones(of("aws"), tmp_path / "data", engine, monkeypatch, **settings)


@pytest.fixture
def deployed(opened: Open) -> Iterator[Deployment]:
    with opened() as found:
        yield found


@dataclass
class Zone:
    """A zone with the server's own hands in it."""

    sink: Sink

    def put(self, *keys: str) -> None:
        for key in keys:
            self.sink.put(key, [b"x"])

    def keys(self) -> list[str]:
        return sorted(one.key for one in self.sink.list(""))


def zone(deployed: Deployment, sandbox: str = "prod", kind: ZoneType = "dlz_destination") -> Zone:
    sandbox_location = deployed.backend.sandbox_location(access.operator_caller(deployed.backend.database, sandbox))
    found = sandbox_location.zone(kind)
    found.create()
    return Zone(found.open())


def sweep(deployed: Deployment) -> None:
    list(run_maintenance(deployed.backend, sweeps=True))


def test_files_go_after_seven_days(deployed: Deployment) -> None:
    out, drop = zone(deployed), zone(deployed, kind="user_drop_zone")
    out.put("out/a/part.json", "out/50%/b c.json")
    drop.put("given.csv")
    deployed.clock.advance(hours=7 * 24 - 1)
    sweep(deployed)
    assert (out.keys(), drop.keys()) == (["out/50%/b c.json", "out/a/part.json"], ["given.csv"])
    deployed.clock.advance(hours=2)
    sweep(deployed)
    assert (out.keys(), drop.keys()) == ([], [])


def test_with_no_limit_files_stay(opened: Open) -> None:
    with opened(landing_zone_retention_days=0) as deployed:
        kept = zone(deployed)
        kept.put("a")
        deployed.clock.advance(hours=24 * 1000)
        sweep(deployed)
        assert kept.keys() == ["a"]


def test_zones_that_nothing_was_written_to_are_swept_in_silence(
    deployed: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    sweep(deployed)
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING and one.name.startswith("offtake")]


def test_what_is_written_again_while_the_sweeper_looks_stays(deployed: Deployment) -> None:
    """The instant lies between two writes of the object; the sweeper found the first, and removes it too late."""
    found = zone(deployed)
    found.put("a")
    (first,) = found.sink.list("")
    before = first.modified_ms + 1000
    while next(iter(found.sink.list(""))).modified_ms < before:
        found.put("a")
    assert not remove(deployed, "a", before)
    assert found.keys() == ["a"]
    (second,) = found.sink.list("")
    assert remove(deployed, "a", second.modified_ms + 1000)
    assert found.keys() == []
    assert not remove(deployed, "a", second.modified_ms + 1000)


def remove(deployed: Deployment, key: str, before_ms: int) -> bool:
    found = deployed.backend.zones.zone(deployed.admin.org_id, "prod", "dlz_destination")
    assert isinstance(found, AzureZone | S3Zone)
    return found.remove_unchanged(key, before_ms)


def test_sweeping_during_a_delivery_takes_nothing_from_it(opened: Open) -> None:
    with opened() as deployed:
        found, stop, failed = zone(deployed), threading.Event(), []

        def sweeping() -> None:
            try:
                while not stop.is_set():
                    sweep(deployed)
            except BaseException as error:
                failed.append(error)
                raise

        thread = threading.Thread(target=sweeping)
        thread.start()
        try:
            found.put(*(f"a/b/{number}/part.json" for number in range(60)))
        finally:
            stop.set()
            thread.join()
        assert failed == []
        assert len(found.keys()) == 60


@pytest.mark.parametrize("deletes", [False, True])
def test_a_sandbox_takes_its_zone_with_it(deployed: Deployment, deletes: bool) -> None:
    assert deployed.http.post("/data/foundation/sandbox-management/sandboxes", json=NEW).status_code == 202
    mine, drop, others = zone(deployed, "dev"), zone(deployed, "dev", "user_drop_zone"), zone(deployed)
    mine.put("out/a.json", "b.json", *(f"out/{number}.json" for number in range(20)))
    drop.put("given.csv")
    others.put("kept.json")
    database, now = deployed.backend.database, deployed.clock.now_ms()
    with database.writing() as session:
        if deletes:
            sandboxes.remove(session, access.organisation_operator(database), "dev", now)
        else:
            sandboxes.reset(session, access.organisation_operator(database), "dev", {"action": "reset"}, now)
    list(run_maintenance(deployed.backend, sweeps=False))
    with database.reading() as session:
        assert session.scalars(select(Sandbox).filter_by(name="dev")).one().state == (
            "deleted" if deletes else "active"
        )
    assert (mine.keys(), drop.keys(), others.keys()) == ([], [], ["kept.json"])


def test_a_signature_ends_with_its_sandbox(azure: AzureServer, tmp_path: Path, engine: LocalEngine) -> None:
    with azure_zones(azure, tmp_path, engine) as deployed:
        given = ask(deployed, "GET", "/credentials?type=dlz_destination")
        with ContainerClient.from_container_url(given["SASUri"]) as client:
            assert list(client.list_blobs()) == []
            database = deployed.backend.database
            with database.writing() as session:
                now = deployed.clock.now_ms()
                sandboxes.reset(session, access.organisation_operator(database), "prod", {"action": "reset"}, now)
            list(run_maintenance(deployed.backend, sweeps=False))
            with pytest.raises(HttpResponseError) as caught:
                list(client.list_blobs())
            assert caught.value.status_code == 403


def test_a_store_that_is_away_delays_and_does_not_end_housekeeping(
    tmp_path: Path, engine: LocalEngine, caplog: pytest.LogCaptureFixture
) -> None:
    away = AzureServer("http://127.0.0.1:9/devstoreaccount1", 9)
    with azure_zones(away, tmp_path, engine, read_timeout_seconds=1) as deployed:
        database, now = deployed.backend.database, deployed.clock.now_ms()
        with database.writing() as session:
            sandboxes.reset(session, access.organisation_operator(database), "prod", {"action": "reset"}, now)
        sweep(deployed)
        assert "cannot be emptied yet" in caplog.text
        with database.reading() as session:
            assert session.scalars(select(Sandbox).filter_by(name="prod")).one().state == "resetting"
