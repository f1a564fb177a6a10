"""Several new runs of one destination: claimed, loaded and planned together, each delivered once."""

import threading
from collections.abc import Sequence

import pytest
from sqlalchemy import event, select, update

from offtake.exporting import small_runs
from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.store import runs
from offtake.store.tables import Dataset, Run
from tests.deployment import Deployment, rows, table_of
from tests.scheduling.flaky_destination import Crash, at, crash


def due(deployed: Deployment, count: int) -> list[str]:
    """So many flows of one dataset whose runs wait; their ids."""
    dataset = deployed.import_rows("events", rows(0, 10))
    flows = [deployed.flow(dataset, params={"path": f"out-{number}"}) for number in range(count)]
    enqueue_due_runs(deployed.backend.database, deployed.clock)
    return flows


def states(deployed: Deployment) -> list[str]:
    with deployed.backend.database.reading() as session:
        return sorted(session.scalars(select(Run.status)))


def work(deployed: Deployment) -> bool:
    return deployed.worker.run_next(threading.Event())


def rewrite(deployed: Deployment) -> None:
    """What an import does that rewrites the dataset's files."""
    with deployed.backend.database.writing() as session:
        session.execute(update(Dataset).values(rewrites=Dataset.rewrites + 1))


def check_delivered_once(deployed: Deployment, flows: Sequence[str]) -> None:
    for number, flow in enumerate(flows):
        (file,) = (deployed.zone / f"out-{number}").rglob("*.parquet")
        assert table_of([file])["id"].to_pylist() == list(range(10))
        assert [run["metrics"]["statusSummary"]["status"] for run in deployed.runs(flow)] == ["success"]


def test_a_worker_takes_half_of_the_runs_that_wait_and_plans_them_in_one_transaction(deployed: Deployment) -> None:
    flows = due(deployed, 9)
    commits: list[object] = []
    event.listen(deployed.backend.database.engine, "commit", commits.append)
    assert work(deployed)
    # The first, and half of the other eight.
    assert states(deployed) == ["success"] * 5 + ["waiting"] * 4
    # Alone, each run would need five.
    assert len(commits) < 5 * 5
    deployed.run_due()
    check_delivered_once(deployed, flows)


def test_large_runs_return_to_the_queue_for_other_workers(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    flows = due(deployed, 5)
    monkeypatch.setattr(small_runs, "_MOST_BYTES", 1)
    assert work(deployed)
    assert states(deployed) == ["waiting"] * 5
    deployed.run_due()
    check_delivered_once(deployed, flows)
    with deployed.backend.database.reading() as session:
        # Nothing was written at the first claim, so nothing is looked for.
        assert [run.sweep_due for run in session.scalars(select(Run))] == [None] * 5


def test_a_group_that_is_killed_after_it_was_planned_is_delivered_once(deployed: Deployment) -> None:
    flows = due(deployed, 9)
    with at("plan_stored", crash), pytest.raises(Crash):
        work(deployed)
    runs.release_all_of(deployed.backend.database, "test")
    deployed.run_due()
    check_delivered_once(deployed, flows)


def test_a_run_of_a_group_that_another_worker_took_is_left_to_it(deployed: Deployment) -> None:
    flows = due(deployed, 9)

    def take_one() -> None:
        with deployed.backend.database.writing() as session:
            run = session.scalars(select(Run).where(Run.status == "processing").order_by(Run.id)).all()[0]
            run.fence += 1

    with at("planned", take_one):
        assert work(deployed)
    assert states(deployed) == ["processing"] + ["success"] * 4 + ["waiting"] * 4
    runs.release_all_of(deployed.backend.database, "test")
    deployed.run_due()
    check_delivered_once(deployed, flows)


def test_runs_whose_dataset_is_rewritten_meanwhile_are_planned_again(deployed: Deployment) -> None:
    flows = due(deployed, 5)
    with at("planned", lambda: rewrite(deployed)):
        deployed.run_due()
    check_delivered_once(deployed, flows)


def test_a_run_whose_flow_is_gone_does_not_stop_its_group(deployed: Deployment) -> None:
    flows = due(deployed, 7)
    with deployed.backend.database.writing() as session:
        first = session.scalars(select(Run).order_by(Run.created_at, Run.id)).all()[1]
        first.dataset_ids = ["0" * 24]
        broken = first.flow_id
    deployed.run_due()
    assert states(deployed) == ["failed"] + ["success"] * 6
    assert broken in flows
