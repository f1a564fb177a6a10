"""A worker that was started before the tables were migrated by a later version, or moved to another database."""

import threading

import pytest
from sqlalchemy import text

from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.store.revisions import MOVED, StoreVersionError, known_revisions
from tests.deployment import Deployment, rows


def set_revision(deployed: Deployment, revision: str) -> None:
    with deployed.backend.database.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


@pytest.mark.parametrize(("revision", "reason"), [("9999", "a later version"), (MOVED, "were moved")])
def test_it_claims_no_run_and_loses_none(deployed: Deployment, revision: str, reason: str) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 1)))
    enqueue_due_runs(deployed.backend.database, deployed.clock)
    set_revision(deployed, revision)
    with pytest.raises(StoreVersionError, match=reason):
        deployed.worker.run_next(threading.Event())
    set_revision(deployed, known_revisions()[-1])
    deployed.run_due()
    assert [one["metrics"]["statusSummary"]["status"] for one in deployed.runs(flow)] == ["success"]
