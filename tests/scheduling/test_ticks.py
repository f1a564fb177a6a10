"""Many flows, many schedulers: one run a flow and slot, and nobody is kept from theirs."""

import logging
import threading

import pytest

from offtake.scheduling import ticks
from offtake.scheduling.service import working
from offtake.store.tables import Flow
from tests.deployment import Deployment, etag_of
from tests.scheduling.exported import Exported, make


@pytest.fixture
def exported(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> Exported:
    """A flow of every three hours that begins now, with small parts; nothing has run yet."""
    return make(deployed, monkeypatch)


# One flow that cannot be ticked


def test_a_flow_that_cannot_be_read_keeps_no_other_from_its_run(
    exported: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    deployed = exported.deployed
    broken = deployed.flow(exported.dataset)
    with deployed.backend.database.writing() as session:
        flow = session.get_one(Flow, broken)
        flow.schedule = {"from": "another version"}
        flow.next_run_s = exported.start - 1
    with caplog.at_level(logging.ERROR):
        exported.serve()
    assert exported.slots() == [0]
    assert {record.name for record in caplog.records} == {ticks.__name__}
    assert all(broken in record.getMessage() for record in caplog.records)


def test_the_scheduler_of_a_server_ticks_beside_a_flow_that_cannot_be_read(exported: Exported) -> None:
    deployed = exported.deployed
    with deployed.backend.database.writing() as session:
        session.get_one(Flow, deployed.flow(exported.dataset)).schedule = {"from": "another version"}
    deployed.clock.set_by(hours=4)
    with working(deployed.backend, "server"):
        pause = threading.Event()
        assert any(exported.slots() == [3] or pause.wait(0.05) for _ in range(200))


def test_etags_outlive_ticks_and_corrections(exported: Exported) -> None:
    """Bookkeeping does not change a flow's version (contract, section 5.6)."""
    before = etag_of(exported.deployed, f"/flows/{exported.flow}")
    exported.serve()
    exported.set_clock(days=365)
    exported.set_clock(days=-365)
    exported.deployed.sign_in()
    assert etag_of(exported.deployed, f"/flows/{exported.flow}") == before
