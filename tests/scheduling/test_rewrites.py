"""A table's data files are rewritten only while nothing of it was delivered or is planned, and plans know of it."""

import threading
from pathlib import Path

import pytest

from offtake.catalog import batches, datasets, rewrites
from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.store import batches as store
from offtake.store import run_plans
from offtake.store.batches import BatchLease, CommittedRows
from offtake.store.database import Database
from offtake.store.run_plans import PlanOutdatedError
from offtake.store.tables import Dataset
from tests.deployment import Deployment, rows, table_of


@pytest.fixture
def dataset(deployed: Deployment) -> str:
    return deployed.import_rows("events", rows(0, 5))


def held(deployed: Deployment, dataset: str) -> BatchLease:
    """A batch that is being brought in."""
    with deployed.backend.database.writing() as session:
        batch = batches.new(dataset, deployed.caller, deployed.clock.now_ms())
        session.add(batch)
        return store.claim_batch(session, batch, "test", deployed.clock.now_ms(), 600_000)


def may_rewrite(database: Database, dataset: str) -> bool:
    with database.reading() as session:
        return datasets.may_rewrite(session, dataset)


def counted(database: Database, dataset: str) -> int:
    with database.reading() as session:
        return session.get_one(Dataset, dataset).rewrites


def test_nothing_is_rewritten_that_was_delivered(deployed: Deployment, dataset: str) -> None:
    database = deployed.backend.database
    assert may_rewrite(database, dataset)
    flow = deployed.flow(dataset)
    assert may_rewrite(database, dataset)
    deployed.run_due()
    assert deployed.runs(flow)[0]["metrics"]["statusSummary"]["status"] == "success"
    assert not may_rewrite(database, dataset)
    lease = held(deployed, dataset)
    assert not rewrites.begin(database, lease)
    assert counted(database, dataset) == 0


def test_a_failed_run_keeps_its_snapshots_for_its_retry(deployed: Deployment, dataset: str) -> None:
    deployed.zone.parent.mkdir(parents=True, exist_ok=True)
    deployed.zone.write_text("in the way")
    deployed.flow(dataset)
    deployed.run_due()
    deployed.zone.unlink()
    assert not may_rewrite(deployed.backend.database, dataset)


def test_a_plan_that_is_stored_first_keeps_the_files_as_they_are(
    deployed: Deployment, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = deployed.backend.database
    lease = held(deployed, dataset)
    answers: list[bool] = []
    save = run_plans.save_plan

    def save_and_rewrite(*arguments: object) -> None:
        save(*arguments)  # type: ignore[arg-type] # whatever it takes
        answers.append(rewrites.begin(database, lease))

    monkeypatch.setattr("offtake.store.run_plans.save_plan", save_and_rewrite)
    flow = deployed.flow(dataset)
    deployed.run_due()
    assert answers == [False]
    assert deployed.runs(flow)[0]["metrics"]["statusSummary"]["status"] == "success"


def test_a_plan_begun_before_a_rewrite_is_made_again_after_it(
    deployed: Deployment, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch begins to rewrite after the plan was begun, and ends only after it could have been stored."""
    database = deployed.backend.database
    monkeypatch.setattr("offtake.exporting.run._REWRITE_SECONDS", 0.01)
    lease = held(deployed, dataset)
    refused: list[str] = []
    save = run_plans.save_plan

    def save_meanwhile(*arguments: object) -> None:
        if not refused:
            assert rewrites.begin(database, lease)
        elif len(refused) == 2:
            deployed.import_rows("events", rows(5, 3))
            store.complete(database, lease, CommittedRows(1, 0, 0, 0, 0), deployed.clock.now_ms())
        try:
            save(*arguments)  # type: ignore[arg-type] # whatever it takes
        except PlanOutdatedError as error:
            refused.append(str(error))
            raise

    monkeypatch.setattr("offtake.store.run_plans.save_plan", save_meanwhile)
    flow = deployed.flow(dataset)
    deployed.run_due()
    assert len(refused) == 3
    assert counted(database, dataset) == 2
    assert deployed.runs(flow)[0]["metrics"]["statusSummary"]["status"] == "success"
    (manifest,) = deployed.manifests()
    delivered: list[Path] = deployed.delivered(manifest)
    assert table_of(delivered)["id"].to_pylist() == list(range(8))


def test_a_batch_that_fails_keeps_no_plan_waiting(deployed: Deployment, dataset: str) -> None:
    database = deployed.backend.database
    lease = held(deployed, dataset)
    assert rewrites.begin(database, lease)
    store.fail(database, lease, [], deployed.clock.now_ms())
    deployed.flow(dataset)
    deployed.run_due()
    assert len(deployed.manifests()) == 1


def test_a_plan_that_waits_is_given_back_when_the_server_stops(deployed: Deployment, dataset: str) -> None:
    database = deployed.backend.database
    assert rewrites.begin(database, held(deployed, dataset))
    deployed.flow(dataset)
    stop = threading.Event()
    timer = threading.Timer(1.0, stop.set)
    timer.start()
    try:
        enqueue_due_runs(database, deployed.clock)
        assert deployed.worker.run_next(stop)
    finally:
        timer.cancel()
    assert deployed.manifests() == []
