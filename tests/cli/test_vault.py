"""`offtake vault rotate`, while a deployment works, and interrupted half-way."""

import base64
import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from offtake.cli.main import main
from offtake.deployment.backend import open_backend
from offtake.engines.local import LocalEngine
from offtake.failpoints import ENV
from offtake.settings import Settings
from offtake.store.reencryption import key_ids_in_use
from offtake.store.tables import Connection
from tests.commands import run
from tests.deployment import FLOW_SERVICE, Deployment, deployment, headers
from tests.fake_clock import FakeClock

AUTH = {"specName": "Access Key", "params": {"s3AccessKey": "A", "s3SecretKey": "marked"}}
SPEC = {"id": "4fce964d-3f37-408f-9778-e597338a21ee", "version": "1.0"}


def connect(deployed: Deployment, name: str) -> str:
    made = deployed.post("/connections", {"name": name, "connectionSpec": SPEC, "auth": AUTH})
    return str(made["id"])


def opens(deployed: Deployment, connection_id: str) -> bool:
    with deployed.backend.database.reading() as session:
        row = session.get_one(Connection, connection_id)
        assert row.auth_sealed is not None
        return deployed.backend.vault.decrypt(row.id, row.auth_sealed) == AUTH["params"]


def rotate(deployed: Deployment, *options: str) -> None:
    assert main(["vault", "rotate", *options, "--data-dir", str(deployed.backend.settings.data_dir)]) == 0


def keys(deployed: Deployment) -> list[str]:
    return (deployed.backend.settings.data_dir / "vault.key").read_text().split()


def test_everything_comes_under_a_new_key_and_the_server_goes_on(
    deployed: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    before, version = connect(deployed, "before"), deployed.get("/connections")["items"][0]["etag"]
    (first,) = keys(deployed)
    rotate(deployed)
    assert capsys.readouterr().out == "2 stored secrets are encrypted with the newest key now.\n"
    assert opens(deployed, before)
    assert deployed.get("/connections")["items"][0]["etag"] == version
    after = connect(deployed, "after")
    assert len(key_ids_in_use(deployed.backend.database)) == 1
    assert keys(deployed)[1:] == [first]
    assert headers(deployed.http, deployed.admin)
    rotate(deployed)
    assert first not in keys(deployed)
    assert opens(deployed, before)
    assert opens(deployed, after)


def test_tokens_end_with_their_signing_keys_if_that_is_wanted(deployed: Deployment) -> None:
    rotate(deployed)
    assert deployed.http.get(f"{FLOW_SERVICE}/flows").status_code == 200
    rotate(deployed, "--end-tokens")
    assert deployed.http.get(f"{FLOW_SERVICE}/flows").status_code == 401
    deployed.sign_in()
    assert deployed.http.get(f"{FLOW_SERVICE}/flows").status_code == 200


@pytest.mark.parametrize("point", ["vault_key_added", "vault_rewrapped"])
def test_a_rotation_that_is_cut_off_loses_nothing(deployed: Deployment, point: str) -> None:
    connection = connect(deployed, "one")
    data_dir: Path = deployed.backend.settings.data_dir
    killed = run(["vault", "rotate", "--data-dir", data_dir], {**os.environ, ENV: point})
    assert killed.returncode == -signal.SIGKILL
    assert opens(deployed, connection)
    another = connect(deployed, "two")
    rotate(deployed)
    rotate(deployed)
    assert len(keys(deployed)) == 2
    assert opens(deployed, connection)
    assert opens(deployed, another)


def test_a_key_of_the_settings_is_rotated_and_the_old_one_is_no_longer_needed(
    tmp_path: Path, clock: FakeClock, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (base64.b64encode(bytes([number] * 32)).decode() for number in (1, 2))
    folder = tmp_path / "data"
    with deployment(folder, clock, engine, vault_key=old) as deployed:
        connection = connect(deployed, "before")
    monkeypatch.setenv("OFFTAKE_VAULT_KEY", new)
    monkeypatch.setenv("OFFTAKE_VAULT_OLD_KEYS", old)
    assert main(["vault", "rotate", "--data-dir", str(folder)]) == 0
    monkeypatch.delenv("OFFTAKE_VAULT_OLD_KEYS")
    backend = open_backend(Settings(data_dir=folder), clock)
    with closing(backend), backend.database.reading() as session:
        row = session.get_one(Connection, connection)
        assert row.auth_sealed is not None
        assert backend.vault.decrypt(row.id, row.auth_sealed) == AUTH["params"]
