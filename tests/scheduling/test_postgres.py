"""The main job with the store and the catalog in PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from offtake.clock import MovedClock
from offtake.engines.local import LocalEngine
from tests.deployment import Deployment, deployment, rows, table_of
from tests.postgres import new_database


@pytest.fixture
def deployed(tmp_path: Path, clock: MovedClock, engine: LocalEngine, postgres: str) -> Iterator[Deployment]:
    with deployment(tmp_path / "data", clock, engine, database_url=new_database(postgres)) as opened:
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
