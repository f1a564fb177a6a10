"""The main job with the store and the catalog in PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from offtake.cli.main import main
from offtake.engines.local import LocalEngine
from tests.deployment import FLOW_SERVICE, Deployment, deployment, rows, table_of
from tests.fake_clock import FakeClock
from tests.postgres import migrated_database


@pytest.fixture
def deployed(tmp_path: Path, clock: FakeClock, engine: LocalEngine, postgres: str) -> Iterator[Deployment]:
    with deployment(tmp_path / "data", clock, engine, database_url=migrated_database(postgres)) as opened:
        yield opened


def test_a_flow_delivers_in_full_and_then_what_was_added(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 40))
    flow = deployed.flow(dataset)
    deployed.run_due()
    deployed.import_rows("events", rows(40, 2))
    deployed.clock.advance(hours=3)
    deployed.run_due()
    assert [run["metrics"]["statusSummary"]["status"] for run in deployed.runs(flow)] == ["success", "success"]
    full, increment = deployed.manifests()
    assert table_of(deployed.delivered(full))["id"].to_pylist() == list(range(40))
    assert table_of(deployed.delivered(increment))["id"].to_pylist() == [40, 41]
    assert not list(deployed.backend.settings.data_dir.glob("*.db"))


def test_deliveries_are_proven_cancelled_repeated_and_delivered_again(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = deployed.backend.settings
    monkeypatch.setenv("OFFTAKE_DATABASE_URL", str(settings.database_url))
    monkeypatch.setattr("offtake.cli.local.Clock", lambda: deployed.clock)

    def offtake(*arguments: str) -> int:
        return main([*arguments, "--data-dir", str(settings.data_dir)])

    flow = deployed.flow(deployed.import_rows("events", rows(0, 40)))
    assert offtake("flow", "run", flow) == 0
    (waiting,) = deployed.runs(flow)
    assert deployed.http.post(f"{FLOW_SERVICE}/runs/{waiting['id']}/action?op=CANCEL").status_code == 200
    assert offtake("run", "cancel", waiting["id"]) == 1
    assert offtake("run", "retry", waiting["id"]) == 0
    deployed.run_due()
    deployed.clock.advance(seconds=1)
    assert offtake("flow", "backfill", flow, "--from", "start", "--to", "now") == 0
    deployed.run_due()
    found = deployed.runs(flow)
    (repeated,) = [run for run in found if run.get("parentFlowRunId") == waiting["id"]]
    (again,) = [run for run in found if run["id"] not in (waiting["id"], repeated["id"])]
    for run in (again, repeated):
        assert offtake("run", "verify", run["id"], "--download") == 0
    assert [table_of(deployed.delivered(one)).num_rows for one in deployed.manifests()] == [40, 40]
    assert offtake("flow", "verify", flow) == 0
    for file in deployed.delivered(deployed.manifests()[0]):
        file.unlink()
    assert [offtake("run", "verify", run["id"]) for run in (again, repeated)] == [0, 0]
    assert [offtake("run", "verify", run["id"], "--strict") for run in (again, repeated)] == [0, 1]
