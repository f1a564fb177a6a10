"""A machine that has run out of descriptors, threads or memory fails no run, and answers requests with a 503."""

import errno
import os
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from offtake.contract import listing
from offtake.engines import local
from offtake.errors import DeliveryError, exhaustion
from offtake.exporting.plan import make_plan
from offtake.lake import outages
from offtake.scheduling.job_loader import JobLoader
from offtake.store.tables import Run
from tests.deployment import FLOW_SERVICE, Deployment

OUT_OF: list[Exception] = [
    OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
    OSError(errno.ENFILE, os.strerror(errno.ENFILE)),
    BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)),
    RuntimeError("can't start new thread"),
    MemoryError(),
]
NAMES = ["EMFILE", "ENFILE", "EAGAIN", "threads", "memory"]


def failing_once(error: Exception, real: Callable[..., Any]) -> Callable[..., Any]:
    """A function that raises once, and then does what the real one does."""
    left = [error]

    def act(*given: Any, **named: Any) -> Any:
        if left:
            raise left.pop()
        return real(*given, **named)

    return act


@pytest.mark.parametrize("error", OUT_OF, ids=NAMES)
def test_a_run_that_meets_it_waits_and_then_delivers(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    flow = deployed.flow(deployed.import_rows("d", [{"id": n} for n in range(3)]))
    monkeypatch.setattr("offtake.exporting.run.make_plan", failing_once(error, make_plan))
    deployed.run_due()
    assert [one.status for one in runs_of(deployed, flow)] != ["failed"]
    deployed.run_out()
    assert [one.status for one in runs_of(deployed, flow)] == ["success"]


def test_a_run_that_cannot_be_looked_up_for_it_is_given_back(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = deployed.flow(deployed.import_rows("d", [{"id": 1}]))
    error = OSError(errno.EMFILE, "Too many open files")
    monkeypatch.setattr(JobLoader, "load", failing_once(error, JobLoader.load))
    with pytest.raises(OSError, match="Too many open files"):
        deployed.run_due()
    (run,) = runs_of(deployed, flow)
    assert run.status != "failed"
    assert (run.heartbeat_counter, run.claims) == (0, 0)
    deployed.run_out()
    assert [one.status for one in runs_of(deployed, flow)] == ["success"]


def runs_of(deployed: Deployment, flow: str) -> list[Run]:
    with deployed.backend.database.reading() as session:
        return list(session.query(Run).filter_by(flow_id=flow))


@pytest.mark.parametrize("error", OUT_OF, ids=NAMES)
def test_a_part_that_meets_it_is_tried_again(error: Exception) -> None:
    done: Future[Any] = Future()
    done.set_exception(error)
    failed = local._result(done, None)  # type: ignore[arg-type] # noqa: SLF001 - of the course nothing is asked
    assert isinstance(failed, DeliveryError)
    assert failed.transient


@pytest.mark.parametrize("error", OUT_OF, ids=NAMES)
def test_a_file_of_the_lake_that_cannot_be_read_for_it_is_no_damaged_file(error: Exception) -> None:
    assert outages.is_transient(error)


@pytest.mark.parametrize("error", OUT_OF, ids=NAMES)
def test_a_request_that_meets_it_is_a_503(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    # The vendor's description of the call lists no 503.
    deployed.http.event_hooks = {}
    monkeypatch.setattr(listing, "page", failing_once(error, listing.page))
    answer = deployed.http.get(f"{FLOW_SERVICE}/flows")
    assert answer.status_code == 503
    assert answer.json()["type"].endswith("FLOW-3508-503")
    assert answer.headers["retry-after"]
    assert deployed.http.get(f"{FLOW_SERVICE}/flows").status_code == 200


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "x"), RuntimeError("x"), ValueError("x"), KeyError()])
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert exhaustion(error) is None
