"""The upkeep of own tables by a server: flows, runs and batches keep what they need."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from offtake.engines.local import LocalEngine
from offtake.failpoints import ENV
from offtake.flows import backfill
from offtake.flows.backfill import BackfillRefusedError
from offtake.lake import snapshot_history, table_description
from offtake.lake.catalog import Lake
from offtake.lake.table_names import TableName
from offtake.scheduling import table_upkeep
from offtake.scheduling.table_upkeep import Kept, TableUpkeep, maintain, own_datasets
from offtake.settings import Settings
from offtake.store import run_plans
from offtake.store.tables import Dataset, Flow
from tests.commands import Command, run
from tests.deployment import Deployment, deployment
from tests.fake_clock import FakeClock

DAY_MS = 86_400_000


@pytest.fixture
def upkept(tmp_path: Path, engine: LocalEngine) -> Iterator[Deployment]:
    """Snapshots have this machine's time, so the deployment begins now."""
    with deployment(
        tmp_path / "data", FakeClock(time.time_ns() // 1_000_000), engine, snapshot_count=10, snapshot_days=5
    ) as opened:
        yield opened


def table_of(deployed: Deployment, dataset_id: str) -> TableName:
    with deployed.backend.database.reading() as session:
        return TableName(session.get_one(Dataset, dataset_id).table_name)


def history(deployed: Deployment, dataset_id: str) -> list[int]:
    steps = snapshot_history.ancestry(deployed.backend.lake, table_of(deployed, dataset_id)) or []
    return [step.snapshot_id for step in steps]


def kept(deployed: Deployment) -> Kept:
    (one,) = own_datasets(deployed.backend)
    return maintain(deployed.backend, one, sweeps=True)


def import_each(deployed: Deployment, first: int, count: int) -> str:
    return [deployed.import_rows("events", [{"id": n}]) for n in range(first, first + count)][-1]


def delivered(deployed: Deployment) -> list[int]:
    return sorted(
        n
        for one in deployed.manifests()
        for file in deployed.delivered(one)
        for n in pq.read_table(file)["id"].to_pylist()
    )


def test_a_flow_loses_and_repeats_no_row_while_its_table_is_kept_up(upkept: Deployment) -> None:
    dataset = import_each(upkept, 0, 12)
    upkept.flow(dataset)
    upkept.run_due()
    position = history(upkept, dataset)[-1]
    import_each(upkept, 12, 13)
    # More than ten snapshots; the flow's position and all after it stay.
    assert kept(upkept) == Kept("events", expired=11)
    upkept.clock.advance(days=8)
    upkept.sign_in()
    done = kept(upkept)
    # The files before the flow's position, and those after it.
    assert (done.merged, done.into, done.expired) == (25, 2, 0)
    assert history(upkept, dataset)[0] == position
    assert done.removed >= 11
    upkept.run_out()
    assert delivered(upkept) == list(range(25))
    assert upkept.http.get(f"/data/foundation/export/datasets/{dataset}/preview").status_code == 200
    assert len(own_datasets(upkept.backend)) == 1


def test_a_plan_that_is_being_made_is_refused_before_files_are_removed(
    upkept: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = import_each(upkept, 0, 12)
    upkept.clock.advance(days=8)
    upkept.sign_in()
    database, seen = upkept.backend.database, list[dict[str, int]]()
    before = run_plans.count_rewrites(database, [dataset])
    monkeypatch.setattr(
        table_upkeep,
        "failpoint",
        lambda name: (
            seen.append(run_plans.count_rewrites(database, [dataset])) if name == "files_unreferenced" else None
        ),
    )
    assert kept(upkept).removed > 0
    assert [one[dataset] - before[dataset] for one in seen] == [1]


def test_a_server_keeps_a_table_up_once_a_day_and_after_changes(upkept: Deployment) -> None:
    import_each(upkept, 0, 1)
    upkeep = TableUpkeep(upkept.backend)
    assert len(list(upkeep.run())) == 1
    assert len(list(upkeep.run())) == 0
    import_each(upkept, 1, 1)
    assert len(list(upkeep.run())) == 1
    upkept.clock.advance(days=1)
    assert len(list(upkeep.run())) == 1


def test_a_backfill_by_dates_of_removed_history_is_refused(upkept: Deployment) -> None:
    dataset = import_each(upkept, 0, 12)
    flow = upkept.flow(dataset)
    upkept.run_due()
    upkept.clock.advance(days=8)
    upkept.sign_in()
    assert kept(upkept).expired > 0
    backend, soon = upkept.backend, upkept.clock.now_ms()
    with backend.database.reading() as session:
        row = session.get_one(Flow, flow)
    tables = backfill.Tables(backend.database, backend.lake, upkept.caller)
    with pytest.raises(BackfillRefusedError, match=r"has been removed \(OFFTAKE_SNAPSHOT_DAYS\)"):
        backfill.of_dates(tables, row, 1, soon)
    everything = backfill.of_dates(tables, row, None, soon)
    assert everything.pins[dataset]["full"]


@pytest.mark.parametrize("point", ["compaction_written", "compaction_committed", "snapshots_expired", "files_removed"])
@pytest.mark.matrix(one_in=2)
def test_upkeep_that_is_killed_is_done_again(tmp_path: Path, engine: LocalEngine, point: str) -> None:
    data = ["--data-dir", str(tmp_path / "data")]
    environment = {**os.environ, "OFFTAKE_COMPACTION_DAYS": "0", "OFFTAKE_SNAPSHOT_COUNT": "10"}
    with deployment(tmp_path / "data", FakeClock(time.time_ns() // 1_000_000), engine) as opened:
        import_each(opened, 0, 12)
    settings = Settings(data_dir=tmp_path / "data")
    warehouse = tmp_path / "data" / "lake" / "warehouse"
    old = time.time() - 3 * 86_400
    for path in [path for path in warehouse.rglob("*") if path.is_file()]:
        os.utime(path, (old, old))
    (next(warehouse.rglob("data")) / "left.parquet").write_bytes(b"left")
    os.utime(next(warehouse.rglob("left.parquet")), (old, old))
    killed = Command(["dataset", "maintain", *data], {**environment, ENV: point}).wait(60)
    assert killed == -signal.SIGKILL
    assert run(["dataset", "maintain", "events", *data], environment).returncode == 0
    lake = Lake(settings.lake_catalog_url, settings.lake_warehouse)
    (table,) = lake.tables_in(lake.warehouse.folders_in(lake.warehouse.location)[0])
    rows = table_description.preview(lake, table, 100).to_pylist()
    assert sorted(row["id"] for row in rows) == list(range(12))
    assert len(lake.load(table).metadata.snapshots) <= 10
    assert not list(warehouse.rglob("left.parquet"))
    lake.close()
