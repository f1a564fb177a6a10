"""Quotas: new runs are held while one is reached, never fail because of it, and deliver everything afterwards."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, event, select

from offtake.scheduling.background import ProcessRoles, background_services, limits_of
from offtake.scheduling.expiry import Expiry
from offtake.scheduling.scheduler import enqueue_due_runs, repair_future_slots
from offtake.store import quotas, waits
from offtake.store.tables import EventRow, Quota, Run
from tests.deployment import FLOW_SERVICE, Deployment, rows, table_of
from tests.usage.asking import in_sandbox, quota, sign_in, usage

CODE = "EXPORT-1429-429"


def last(deployed: Deployment, flow: str) -> Run:
    with deployed.backend.database.reading() as session:
        found = session.scalar(select(Run).filter_by(flow_id=flow).order_by(Run.created_at.desc(), Run.id).limit(1))
    assert found is not None
    return found


def work(deployed: Deployment) -> None:
    """A round of everything that the server's threads do: schedule, apply quotas, end waits, correct the clock, run."""
    database, settings = deployed.backend.database, deployed.backend.settings
    repair_future_slots(database, deployed.clock)
    expiry = Expiry(database, deployed.clock, limits_of(settings), settings.retry_alert_seconds)
    expiry.correct()
    enqueue_due_runs(database, deployed.clock)
    quotas.settle_all(database, deployed.clock.now_ms())
    for _ in range(2):
        expiry.end_waits()
        expiry.alert()
        deployed.clock.elapsed += 11_000
    deployed.run_due()


def events(deployed: Deployment) -> list[tuple[str, Any]]:
    quota_events = EventRow.kind.startswith("quota.")
    with deployed.backend.database.reading() as session:
        found = session.scalars(select(EventRow).where(quota_events).order_by(EventRow.id)).all()
    return [(one.kind, one.fields["measure"]) for one in found]


def delivered(deployed: Deployment) -> list[int]:
    files = [path for one in deployed.manifests() for path in deployed.delivered(one) if path.exists()]
    return sorted(table_of(files)["id"].to_pylist())


def wait_of(deployed: Deployment, flow: str) -> Any:
    sign_in(deployed)
    (found, *_) = deployed.get(f"/runs?property=flowId=={flow}")["items"]
    return found["metrics"]["statusSummary"]["extensions"]["waiting"]


def test_new_runs_wait_for_days_and_deliver_everything_when_the_quota_is_raised(
    deployed: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = deployed.import_rows("events", rows(0, 20))
    flow = deployed.flow(dataset)
    other = deployed.flow(deployed.import_rows("others", rows(100, 5)))
    assert not quota(deployed, "rows", 22)["reached"]
    # Runs that have started end, also beyond the quota.
    work(deployed)
    assert usage(deployed)["total"]["recordCount"] == 25
    for day in range(5):
        deployed.import_rows("events", rows(20 + day, 1))
        deployed.clock.advance(days=1)
        with caplog.at_level("WARNING"):
            work(deployed)
    assert "has waited" not in caplog.text
    run = last(deployed, flow)
    assert (run.status, run.failure, run.started_at) == ("waiting", None, None)
    assert last(deployed, other).status == "waiting"
    wait = wait_of(deployed, flow)
    assert wait["reason"]["code"] == CODE
    assert "quota of 22 rows is reached: 25 are used" in wait["reason"]["message"]
    assert "2026-04-01 00:00 UTC" in wait["reason"]["message"]
    assert (wait["nextTryAtUTC"], wait["untilUTC"]) == (1_775_001_600_000, None)
    (trouble, *_) = deployed.get("/overview")["attention"]
    assert (trouble["kind"], trouble["reason"]["code"]) == ("late", CODE)
    listed = deployed.get("/quotas")
    assert listed["heldRunCount"] == 2
    assert [(one["measure"], one["used"], one["reached"]) for one in listed["items"]] == [("rows", 25, True)]
    refused = deployed.http.post(f"{FLOW_SERVICE}/runs/{run.id}/action?op=TRY_NOW")
    assert refused.status_code == 400
    # Another sandbox is not affected.
    with in_sandbox(deployed, "dev"):
        deployed.flow(deployed.import_rows("theirs", rows(0, 30)))
        work(deployed)
        assert usage(deployed)["total"]["recordCount"] == 30
    # A quota that is raised too little goes on holding them, with the new figures.
    assert quota(deployed, "rows", 25)["reached"]
    assert "quota of 25 rows" in wait_of(deployed, flow)["reason"]["message"]
    assert quota(deployed, "rows", 10**6)["heldRunCount"] == 0
    work(deployed)
    assert last(deployed, flow).status == last(deployed, other).status == "success"
    assert delivered(deployed) == [*range(25), *range(100, 105)]
    assert events(deployed) == [("quota.reached", "rows"), ("quota.free", "rows")]


def test_a_quota_renews_at_the_months_turn_whatever_the_clock_does(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 20)))
    deployed.clock.advance(days=30)
    work(deployed)
    below = quota(deployed, "files", 1)
    assert (below["reached"], below["used"]) == (True, 1)
    assert "quota of 1 files is reached: 1 are used" in below["message"]
    deployed.import_rows("events", rows(20, 3))
    deployed.clock.advance(hours=3)
    work(deployed)
    assert last(deployed, flow).quota_since is not None
    # Forward into April, but before anything runs, the clock is set back into March.
    deployed.clock.set_by(days=1)
    quotas.settle_all(deployed.backend.database, deployed.clock.now_ms())
    assert last(deployed, flow).quota_since is None
    deployed.clock.set_by(days=-1)
    work(deployed)
    held = last(deployed, flow)
    assert (held.status, held.not_before) == ("waiting", 1_775_001_600_000)
    # At the turn, a worker finds it without the scheduler.
    deployed.clock.advance(hours=9)
    deployed.run_due()
    assert (last(deployed, flow).status, delivered(deployed)) == ("success", list(range(23)))
    assert [one["recordCount"] for one in usage(deployed, "by=month")["items"]] == [3, 20]
    # What ends in April after that is held again; back in March, it is still held; in May, it is delivered.
    deployed.import_rows("events", rows(23, 3))
    deployed.clock.advance(hours=6)
    work(deployed)
    deployed.clock.set_by(days=-1)
    work(deployed)
    assert wait_of(deployed, flow)["nextTryAtUTC"] == 1_775_001_600_000
    deployed.clock.set_by(days=2)
    work(deployed)
    assert wait_of(deployed, flow)["nextTryAtUTC"] == 1_777_593_600_000
    deployed.clock.advance(days=31)
    work(deployed)
    assert (last(deployed, flow).status, delivered(deployed)) == ("success", list(range(26)))


def test_the_scheduler_applies_quotas_within_seconds(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 20)))
    enqueue_due_runs(deployed.backend.database, deployed.clock)
    with deployed.backend.database.writing() as session:
        # As another process sets it, which is killed before it has held the runs.
        made = {"updated_at": 0, "updated_by": "test"}
        session.add(Quota(sandbox_id=deployed.caller.sandbox_id, measure="rows", most=0, **made))
    with background_services(deployed.backend, "scheduler", ProcessRoles(works=False)):
        _until(lambda: last(deployed, flow).quota_since is not None)
        with deployed.backend.database.writing() as session:
            session.execute(delete(Quota))
        _until(lambda: last(deployed, flow).quota_since is None)
    work(deployed)
    assert last(deployed, flow).status == "success"


def _until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_every_kind_of_run_is_held_and_can_be_cancelled(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 20)), schedule={"interval": 24})
    work(deployed)
    quota(deployed, "computeSeconds", 0)
    deployed.clock.advance(seconds=1)
    adhoc = {"activationInfo": {"destinations": [{"flowId": flow, "datasets": []}]}}
    deployed.post("/data/core/activation/disflowprovider/adhocrun", adhoc, 200)
    work(deployed)
    run = last(deployed, flow)
    assert (run.trigger, run.status) == ("adhoc", "waiting")
    answer = deployed.http.post(f"{FLOW_SERVICE}/runs/{run.id}/action?op=CANCEL")
    assert answer.status_code == 200, answer.text
    assert (last(deployed, flow).status, last(deployed, flow).quota_since) == ("failed", None)
    deployed.clock.advance(seconds=1)
    deployed.post(f"/flows/{flow}/backfill", {"snapshots": {}})
    work(deployed)
    run = last(deployed, flow)
    assert (run.trigger, run.status) == ("backfill", "waiting")
    # Verification and reading are not limited.
    assert deployed.get(f"/flows/{flow}/verification")
    sign_in(deployed)
    assert deployed.http.delete(f"{FLOW_SERVICE}/quotas/computeSeconds").json() == {
        "measure": "computeSeconds",
        "heldRunCount": 0,
    }
    work(deployed)
    assert last(deployed, flow).status == "success"
    assert events(deployed) == [("quota.reached", "computeSeconds"), ("quota.free", "computeSeconds")]
    assert deployed.http.delete(f"{FLOW_SERVICE}/quotas/computeSeconds").status_code == 404
    audited = deployed.http.get("/data/foundation/audit/events?property=assetType==Quota").json()
    actions = [one["action"] for one in audited["_embedded"]["events"]]
    assert actions == ["Delete", "Create"]


def test_a_run_that_has_started_continues_and_one_that_waits_for_its_destination_is_held(deployed: Deployment) -> None:
    first, second = (deployed.flow(deployed.import_rows(name, rows(0, 20))) for name in ("one", "two"))
    # The first run starts and is released as when the server is stopped; the second one has not started.
    enqueue_due_runs(deployed.backend.database, deployed.clock)
    stop = threading.Event()
    stop.set()
    assert deployed.worker.run_next(stop)
    started, new = sorted((last(deployed, one) for one in (first, second)), key=lambda run: run.started_at is None)
    with deployed.backend.database.writing() as session:
        row = session.get_one(Run, new.id)
        row.address, row.held, row.not_before = "partner:22", True, deployed.clock.ms + 60_000
        row.waiting_since, row.wait_until = deployed.clock.ms, deployed.clock.ms + 3_600_000
    assert quota(deployed, "bytes", 0)["heldRunCount"] == 1
    deployed.clock.advance(hours=2)
    work(deployed)
    assert last(deployed, started.flow_id).status == "success"
    held = last(deployed, new.flow_id)
    assert (held.status, held.held, held.wait_until) == ("waiting", False, None)
    # Neither an answer of the destination nor new credentials release it.
    with deployed.backend.database.writing() as session:
        waits.wake_target(session, held.target_connection_id, deployed.clock.ms)
    work(deployed)
    assert last(deployed, new.flow_id).quota_since is not None
    quota(deployed, "bytes", 10**15)
    with deployed.backend.database.writing() as session:
        session.get_one(Run, new.id).address = None
    work(deployed)
    assert last(deployed, new.flow_id).status == "success"


def test_claims_and_changes_of_quotas_at_once(deployed: Deployment) -> None:
    """Workers claim while the quota is set and removed again and again: every run is delivered once, none fails."""
    dataset = deployed.import_rows("events", rows(0, 3))
    flows = [deployed.flow(dataset) for _ in range(6)]
    enqueue_due_runs(deployed.backend.database, deployed.clock)
    over, errors = threading.Event(), []

    def change() -> None:
        try:
            while not over.is_set():
                for limit in (0, 10**6):
                    quota(deployed, "rows", limit)
        except Exception as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            deployed.worker.run_next(threading.Event())
            if all(last(deployed, flow).status == "success" for flow in flows):
                break
    finally:
        over.set()
        thread.join()
    quota(deployed, "rows", 10**6)
    work(deployed)
    assert errors == []
    assert [last(deployed, flow).status for flow in flows] == ["success"] * 6
    assert usage(deployed)["total"]["recordCount"] == 18


def test_a_claim_asks_nothing_more_without_a_quota_and_once_with_one(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 3))
    asked: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "quotas" in statement and "runs" not in statement.partition("quotas")[0]:
            asked.append(statement)

    def claims() -> int:
        deployed.flow(dataset)
        enqueue_due_runs(deployed.backend.database, deployed.clock)
        asked.clear()
        assert deployed.worker.run_next(threading.Event())
        return len(asked)

    event.listen(deployed.backend.database.engine, "before_cursor_execute", note)
    assert claims() == 0
    with in_sandbox(deployed, "dev"):
        quota(deployed, "rows", 0)
    assert claims() == 0
    quota(deployed, "rows", 100)
    assert claims() == 1


def test_who_may_set_and_see_quotas(deployed: Deployment) -> None:
    deployed.flow(deployed.import_rows("events", rows(0, 3)))
    work(deployed)
    quota(deployed, "rows", 100)
    viewer, manager = deployed.new_client("view-destinations"), deployed.new_client("manage-sandboxes")
    with deployed.acting(viewer):
        (shown,) = deployed.get("/quotas")["items"]
        assert (shown["limit"], shown["used"]) == (100, None)
        assert deployed.http.put(f"{FLOW_SERVICE}/quotas/rows", json={"limit": 1}).status_code == 403
        assert deployed.http.delete(f"{FLOW_SERVICE}/quotas/rows").status_code == 403
    with deployed.acting(manager):
        assert deployed.get("/quotas")["items"][0]["used"] == 3
        assert deployed.http.get(f"{FLOW_SERVICE}/usage").status_code == 403
        for measure, body, field in (
            ("size", {"limit": 1}, "/measure"),
            ("rows", {"limit": -1}, "/limit"),
            ("rows", {"limit": 10**19}, "/limit"),
            ("rows", {"limit": "a"}, "/limit"),
            ("rows", {"limit": True}, "/limit"),
            ("rows", {"other": 1}, "/limit"),
        ):
            answer = deployed.http.put(f"{FLOW_SERVICE}/quotas/{measure}", json=body)
            assert (answer.status_code, field in answer.text) == (400, True), answer.text
