"""The same commands in the same process and over the network: what they do, and what they print."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from offtake.cli.main import main
from offtake.deployment.backend import open_backend
from tests.cli.ways import isolate, listening, sign_in
from tests.deployment import WITH_MANIFEST, Deployment, rows
from tests.local_parsers import LocalParsers

Way = Callable[..., tuple[int, str, str]]


@pytest.fixture(params=["in the same process", "over the network"])
def way(
    request: pytest.FixtureRequest,
    deployed: Deployment,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Way]:
    isolate(monkeypatch, tmp_path)
    monkeypatch.setattr("offtake.cli.local.Clock", lambda: deployed.clock)
    monkeypatch.setattr("offtake.cli.local.open_backend", partial(open_backend, parsers_of=LocalParsers.of))
    monkeypatch.setattr("offtake.cli.ingesting._POLL_SECONDS", 0.05)

    def run(option: tuple[str, str], *arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*arguments, *option])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    if request.param == "in the same process":
        yield partial(run, ("--data-dir", str(deployed.backend.settings.data_dir)))
        return
    with listening(deployed.http.app) as url:
        sign_in(deployed, url, monkeypatch)
        yield partial(run, ("--server", url))


def json_of(way: Way, *arguments: str) -> Any:
    code, out, err = way(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def says(way: Way, *arguments: str) -> str:
    code, out, err = way(*arguments)
    assert code == 0, err
    return out


def refused(way: Way, *arguments: str) -> str:
    code, out, err = way(*arguments)
    assert (code, out) == (1, ""), out
    assert err.startswith("offtake: ")
    assert err.count("\n") == 1
    return err


@pytest.fixture
def ingesting(deployed: Deployment) -> Iterator[None]:
    """A server's ingestor, which a command over the network waits for."""
    stop = threading.Event()
    thread = threading.Thread(target=deployed.ingestor.work, args=(stop, 0.05))
    thread.start()
    yield
    stop.set()
    deployed.backend.database.wakeup.notify()
    thread.join()


@pytest.mark.usefixtures("ingesting")
def test_datasets(way: Way, tmp_path: Path) -> None:
    file = tmp_path / "towns.csv"
    file.write_text("id,city\n1,Bern\n2,Graz\n")
    assert re.fullmatch(
        r"2 rows into new dataset towns \([0-9a-f]{24}\) as batch [0-9A-Z]{26}\n",
        says(way, "dataset", "import", "towns", str(file)),
    )
    assert "Allow it again" in refused(way, "dataset", "import", "towns", str(file))
    planned = json_of(way, "dataset", "import", "towns", str(file), "--dry-run", "--again")
    assert (planned["rows"], planned["columnsAdded"]) == (2, [])
    again = json_of(way, "dataset", "import", "towns", str(file), "--again")
    assert (again["created"], again["batch"]["rows"]) == (False, 2)
    (listed,) = json_of(way, "dataset", "list")
    assert listed["name"] == "towns"
    assert says(way, "dataset", "list").splitlines()[1].split("\t")[:2] == [listed["id"], "towns"]
    for name in ("towns", listed["id"], listed["id"][:6]):
        assert json_of(way, "dataset", "show", name)["rows"] == 4
    assert says(way, "dataset", "preview", "towns", "--rows", "1") == '{"id":1,"city":"Bern"}\n'
    assert json_of(way, "dataset", "update", "towns", "--evolve")["evolves"] is True
    assert json_of(way, "dataset", "label", "towns", "b", "a")["labels"] == ["a", "b"]
    batches = json_of(way, "batch", "list", "towns")
    succeeded = [one for one in batches if one["status"] == "success"]
    assert json.loads(says(way, "batch", "show", succeeded[0]["id"])) == succeeded[0]
    assert "2 rows of batch" in says(way, "batch", "revert", succeeded[0]["id"])
    assert "already reverted" in says(way, "batch", "revert", succeeded[0]["id"])
    assert json_of(way, "dataset", "show", "towns")["rows"] == 2
    assert "is created" in says(way, "dataset", "create", "empty", "--column", "id:long:required")
    assert "exists already" in refused(way, "dataset", "create", "empty")
    assert "No dataset has the id or the name emty. Did you mean empty?" in refused(way, "dataset", "show", "emty")
    assert "is deleted" in says(way, "dataset", "delete", "empty")
    file.write_text("id,city\nx,y,z\n")
    refused(way, "dataset", "import", "other", str(file))
    assert "/nowhere.csv is not a file" in refused(way, "dataset", "import", "other", "/nowhere.csv")
    assert [one["name"] for one in json_of(way, "dataset", "list")] == ["towns"]


def test_flows_and_runs(way: Way, deployed: Deployment) -> None:
    far = deployed.clock.now_seconds() + 86_400
    dataset = deployed.import_rows("events", rows(0, 5))
    flow = deployed.flow(dataset, params=WITH_MANIFEST, schedule={"startTime": far})
    assert [one["id"] for one in json_of(way, "flow", "list")] == [flow]
    made = json_of(way, "flow", "run", flow[:8])
    assert (made["flowId"], made["status"]) == (flow, "waiting")
    assert made["id"] in refused(way, "flow", "run", "flow")
    assert f"run {made['id']} is waiting" in says(way, "flow", "show", "flow")
    deployed.run_due()
    assert "5/5 rows" in says(way, "run", "watch", made["id"])
    assert json_of(way, "run", "watch", made["id"][:8])["status"] == "success"
    (listed,) = json_of(way, "run", "list", "--flow", "flow")
    assert listed["id"] == made["id"]
    listed_run = says(way, "run", "list").splitlines()[1].split("\t")
    assert (listed_run[:3], listed_run[6]) == ([made["id"], "flow", "adhoc"], "5")
    assert f"\nflow flow ({flow}), adhoc of 20" in says(way, "run", "show", made["id"])
    assert "\nmanifest: " in says(way, "run", "show", made["id"])
    assert json.loads(says(way, "run", "manifest", made["id"]))["flowRunId"] == made["id"]
    assert says(way, "run", "verify", made["id"], "--download").endswith(": as delivered\n")
    assert json_of(way, "run", "verify", made["id"])["findings"] == []
    assert "no gap, no overlap" in says(way, "flow", "verify", "flow")
    again = json_of(way, "flow", "backfill", "flow", "--from", "start", "--to", "now", "--dataset", "events")
    assert again["pins"][dataset]["full"] is True
    assert "it had not written any file" in says(way, "run", "cancel", again["id"])
    assert code_of(way, "run", "watch", again["id"]) == 1
    retried = json_of(way, "run", "retry", again["id"])
    assert retried["parentRunId"] == again["id"]
    assert "No flow has the id or the name nope" in refused(way, "flow", "show", "nope")
    assert "The run nope is not found" in refused(way, "run", "show", "nope")


def code_of(way: Way, *arguments: str) -> int:
    return way(*arguments)[0]


def test_connections(way: Way, deployed: Deployment) -> None:
    base = deployed.post("/connections", {"name": "the zone"})["id"]
    assert says(way, "connection", "list").splitlines()[1].split("\t")[:3] == [base, "the zone", "Data Landing Zone"]
    assert says(way, "connection", "test", "the zone") == "Success: Offtake can deliver to Data Landing Zone.\n"
    deployed.post("/connections", {"name": "the zone"})
    assert "the zone is ambiguous: it can be the connections" in refused(way, "connection", "test", "the zone")
    assert json_of(way, "connection", "test", base) == {"result": True}


def test_clients_roles_sandboxes_and_the_audit_log(way: Way) -> None:
    made = json_of(way, "role", "create", "lookers", "--permission", "view-destinations")
    partner = json_of(way, "client", "create", "partner", "--role", "lookers")
    assert set(partner) == {"org_id", "client_id", "client_secret"}
    (subject,) = json_of(way, "role", "show", "lookers")["subjects"]
    assert subject["clientId"] == partner["client_id"]
    assert json_of(way, "client", "rotate", "partner")["client_secret"] != partner["client_secret"]
    assert "has role Administrators" in says(way, "role", "grant", "Administrators", "partner")
    assert "no longer has role" in says(way, "role", "revoke", "Administrators", partner["client_id"][:10])
    changed = json_of(way, "role", "update", made["id"], "--add", "view-datasets", "--remove", "view-destinations")
    assert changed["permissionSets"] == ["view-datasets"]
    assert json_of(way, "client", "revoke", "partner")["revoked"] is True
    assert "No client has the id or the name partner" in refused(way, "client", "rotate", "partner")
    assert json_of(way, "role", "delete", "lookers") == {"role": "lookers", "deleted": True}
    assert json_of(way, "sandbox", "create", "dev")["state"] == "active"
    assert [one["name"] for one in json_of(way, "sandbox", "list")] == ["prod", "dev"]
    assert json_of(way, "dataset", "list", "--sandbox", "dev") == []
    assert "nope" in refused(way, "dataset", "list", "--sandbox", "nope")
    assert "sandbox dev" in says(way, "sandbox", "reset", "dev", "--yes")
    found = json_of(way, "audit", "list", "--resource", partner["client_id"])
    assert [one["action"] for one in found] == ["Revoke", "Rotate", "Create"]
    assert json_of(way, "audit", "list", "--since", "2999-01-01") == []
    assert len(says(way, "audit", "list", "--limit", "2").splitlines()) == 3
