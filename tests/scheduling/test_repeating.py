"""Failed runs triggered again, and runs that are cancelled, over HTTP."""

from typing import Any

import pytest
from sqlalchemy import select, text

from offtake.errors import SNAPSHOT_EXPIRED
from offtake.flows import flow_verification
from offtake.lake.table_names import TableName
from offtake.store.tables import Dataset, Flow, Run
from tests.deployment import FLOW_SERVICE, Deployment, rows, table_of


@pytest.fixture
def flow(deployed: Deployment) -> str:
    return deployed.flow(deployed.import_rows("events", rows(0, 3)))


def act(deployed: Deployment, run: str, op: str, status: int = 200) -> Any:
    deployed.sign_in()
    answer = deployed.http.post(f"{FLOW_SERVICE}/runs/{run}/action?op={op}")
    assert answer.status_code == status, answer.text
    return answer.json()


def delivered(deployed: Deployment) -> list[list[int]]:
    """The numbers of the rows of each delivery, oldest first."""
    return [table_of(deployed.delivered(one))["id"].to_pylist() for one in deployed.manifests()]


def fail_next(deployed: Deployment, flow: str) -> str:
    """Have the flow's next run fail in the middle: its plan is made, and a file is in the way. The run's id."""
    aside = deployed.zone.with_name("aside")
    if deployed.zone.exists():
        deployed.zone.rename(aside)
    deployed.zone.parent.mkdir(parents=True, exist_ok=True)
    deployed.zone.write_text("in the way")
    deployed.run_due()
    deployed.zone.unlink()
    if aside.exists():
        aside.rename(deployed.zone)
    failed = deployed.runs(flow)[0]
    assert failed["metrics"]["statusSummary"]["status"] == "failed"
    return str(failed["id"])


def refused(deployed: Deployment, run: str) -> str:
    problem = act(deployed, run, "RE_TRIGGER", 400)
    assert problem["type"].endswith("/FLOW-1422-400")
    return str(problem["errorMessage"])


def test_what_comes_in_after_a_failure_goes_out_with_the_next_run_and_not_the_repetition(
    deployed: Deployment, flow: str
) -> None:
    deployed.run_due()
    deployed.import_rows("events", rows(3, 2))
    deployed.clock.advance(hours=3)
    failed = fail_next(deployed, flow)
    deployed.import_rows("events", rows(5, 4))
    deployed.clock.advance(hours=-30)
    again = act(deployed, failed, "RE_TRIGGER")
    assert again["parentFlowRunId"] == failed
    deployed.run_due()
    assert delivered(deployed)[1:] == [[3, 4]]
    deployed.clock.advance(hours=33)
    deployed.run_due()
    assert delivered(deployed)[2:] == [[5, 6, 7, 8]]


def test_what_is_delivered_all_again_says_why_when_it_is_repeated(deployed: Deployment, flow: str) -> None:
    deployed.run_due()
    with deployed.backend.database.reading() as session:
        (dataset,) = session.scalars(select(Dataset))
        table = TableName(dataset.table_name)
    deployed.backend.lake.catalog.drop_table(table)
    deployed.import_rows("events", rows(3, 2))
    deployed.clock.advance(hours=3)
    failed = fail_next(deployed, flow)
    act(deployed, failed, "RE_TRIGGER")
    act(deployed, fail_next(deployed, flow), "RE_TRIGGER")
    deployed.run_due()
    assert delivered(deployed)[1:] == [[3, 4]]
    with deployed.backend.database.reading() as session:
        warnings = [run.warnings for run in session.scalars(select(Run).order_by(text("rowid")))]
        row = session.get_one(Flow, flow)
    backend = deployed.backend
    (proof,) = flow_verification.verify_flow(backend.database, backend.lake, deployed.caller, row)
    assert warnings[0] == []
    assert [one["code"] for one in warnings[1]] == [SNAPSHOT_EXPIRED.code]
    assert warnings[1:] == [warnings[1]] * 3
    assert proof.continuity is not None
    assert proof.continuity.faults == []


@pytest.mark.parametrize("hours", [3, -30], ids=["the clock goes on", "the clock is set back"])
def test_rows_that_a_later_run_has_delivered_are_not_repeated(deployed: Deployment, flow: str, hours: int) -> None:
    deployed.run_due()
    deployed.import_rows("events", rows(3, 2))
    deployed.clock.advance(hours=3)
    failed = fail_next(deployed, flow)
    deployed.clock.advance(hours=hours)
    later = adhoc(deployed, flow)
    deployed.run_due()
    assert delivered(deployed)[1:] == [[3, 4]]
    assert f"run {later} has delivered its rows" in refused(deployed, failed)


def test_a_repetition_that_never_began_is_measured_by_what_it_repeats(deployed: Deployment, flow: str) -> None:
    deployed.run_due()
    deployed.import_rows("events", rows(3, 2))
    deployed.clock.advance(hours=3)
    again = act(deployed, fail_next(deployed, flow), "RE_TRIGGER")["id"]
    act(deployed, again, "CANCEL")
    deployed.clock.advance(hours=3)
    deployed.run_due()
    assert delivered(deployed)[1:] == [[3, 4]]
    assert "has delivered its rows" in refused(deployed, again)


def test_an_increment_is_not_repeated_where_the_flow_starts_over(deployed: Deployment, flow: str) -> None:
    deployed.run_due()
    deployed.import_rows("events", rows(3, 2))
    deployed.clock.advance(hours=3)
    failed = fail_next(deployed, flow)
    other = deployed.import_rows("others", rows(0, 1))
    (source,) = deployed.get(f"/flows/{flow}")["items"][0]["sourceConnectionIds"]
    body = deployed.get(f"/sourceConnections/{source}")["items"][0]
    kept = {key: body[key] for key in ("name", "connectionSpec")}
    away = deployed.post("/sourceConnections", kept | {"params": {"datasets": [{"dataSetId": other}]}})["id"]
    for one in (away, source):
        deployed.patch(f"/flows/{flow}", [{"op": "replace", "path": "/sourceConnectionIds", "value": [one]}])
    assert "was reset" in refused(deployed, failed)
    deployed.clock.advance(hours=3)
    deployed.run_due()
    assert delivered(deployed)[1:] == [[0, 1, 2, 3, 4]]


def test_a_run_is_cancelled_over_http(deployed: Deployment, flow: str) -> None:
    waiting = adhoc(deployed, flow)
    cancelled = act(deployed, waiting, "cancel")
    status = cancelled["metrics"]["statusSummary"]
    assert (cancelled["id"], status["status"], status["errors"][0]["code"]) == (waiting, "failed", "EXPORT-1499-400")
    assert act(deployed, waiting, "CANCEL", 400)["type"].endswith("/FLOW-1422-400")
    again = act(deployed, waiting, "RE_TRIGGER")["id"]
    with deployed.backend.database.writing() as session:
        session.get_one(Run, again).status = "processing"
    for _ in range(2):
        answer = act(deployed, again, "CANCEL")
        assert answer["metrics"]["statusSummary"]["status"] == "processing"
    with deployed.backend.database.writing() as session:
        row = session.get_one(Run, again)
        assert row.cancel_requested
        row.status = "waiting"
    reader = deployed.new_client("view-destinations")
    with deployed.acting(reader):
        answer = deployed.http.post(f"{FLOW_SERVICE}/runs/{again}/action?op=CANCEL")
        assert answer.status_code == 403
    events = deployed.http.get("/data/foundation/audit/events?limit=50").text
    assert events.count('"action":"Cancel"') == 2, "one for each run, however often it was asked for"


def adhoc(deployed: Deployment, flow: str) -> str:
    """An ad-hoc run of the flow; its id."""
    deployed.sign_in()
    path = "/data/core/activation/disflowprovider/adhocrun"
    answer = deployed.post(path, {"activationInfo": {"destinations": [{"flowId": flow}]}}, 200)
    return str(answer["destinations"][0]["datasets"][0]["statusURL"].rpartition("/")[2])
