"""`offtake flow backfill`, `run cancel` and `run retry`, through the real command."""

import json
from typing import Any

import pytest

from offtake.lake.table_names import TableName
from offtake.store.tables import Dataset, Watermark
from tests.cli.deliveries import Offtake, add, ids, manifest_of, run_ids, snapshots
from tests.deployment import Deployment, rows


def test_a_run_is_delivered_again_into_a_folder_of_its_own(
    deployed: Deployment, flow: str, dataset: str, offtake: Offtake
) -> None:
    second = run_ids(deployed, flow)[1]
    before = {path: path.read_bytes() for path in deployed.zone.rglob("*") if path.is_file()}
    deployed.http.post(f"/data/foundation/flowservice/flows/{flow}/action?op=disable")
    made = json.loads(offtake("flow", "backfill", flow, "--run", second, "--json")[1])
    assert made["folder"] == f"backfill-20260301T180000Z-{made['id'][:8]}"
    code, _, err = offtake("flow", "backfill", flow, "--run", second)
    assert (code, f"Run {made['id']} of the flow is waiting" in err) == (1, True)
    deployed.run_due()
    again = {path for path in deployed.zone.rglob("*") if path.is_file()} - set(before)
    assert len(again) == 1
    assert all(deployed.zone / "out" / made["folder"] in path.parents for path in again)
    assert {path: path.read_bytes() for path in before} == before
    manifest = manifest_of(deployed, made["id"])
    assert ids(deployed, manifest) == list(range(20, 27)) == ids(deployed, manifest_of(deployed, second))
    assert manifest["datasets"] == manifest_of(deployed, second)["datasets"]
    with deployed.backend.database.reading() as session:
        assert session.get_one(Watermark, (flow, dataset)).snapshot_id == snapshots(deployed, dataset)[2]
    assert offtake("run", "verify", made["id"], "--download")[0] == 0
    assert offtake("flow", "verify", flow)[0] == 0
    # A backfill can be repeated like any other run.
    assert offtake("flow", "backfill", flow, "--run", made["id"])[0] == 0
    deployed.run_due()
    assert ids(deployed, manifest_of(deployed, run_ids(deployed, flow)[-1])) == list(range(20, 27))


@pytest.mark.parametrize(
    ("since", "to", "expected"),
    [("start", 0, range(20)), ("start", "now", range(39)), (0, 1, range(20, 27)), (1, "now", range(27, 39))],
)
def test_a_range_of_snapshots_is_delivered_again(
    deployed: Deployment, flow: str, dataset: str, offtake: Offtake, since: Any, to: Any, expected: range
) -> None:
    add(deployed, 34, 5, deliver=False)
    known = snapshots(deployed, dataset)
    ends = [str(known[one]) if isinstance(one, int) else one for one in (since, to)]
    code, out, _ = offtake("flow", "backfill", flow, "--from", ends[0], "--to", ends[1], "--dataset", "events")
    assert code == 0
    assert "delivers into the target's folder backfill-" in out
    add(deployed, 39, 1, deliver=False)  # comes too late
    deployed.run_due()
    assert ids(deployed, manifest_of(deployed, run_ids(deployed, flow)[-1])) == list(expected)
    deployed.clock.advance(hours=3)
    deployed.run_due()
    assert ids(deployed, manifest_of(deployed, run_ids(deployed, flow)[-1])) == list(range(34, 40))
    assert offtake("flow", "verify", flow)[0] == 0


def test_a_backfill_that_cannot_be_made_names_the_option_and_writes_nothing(
    deployed: Deployment, flow: str, dataset: str, offtake: Offtake
) -> None:
    other = deployed.import_rows("others", rows(0, 1))
    elsewhere = deployed.flow(other)
    deployed.run_due()
    deployed.clock.advance(hours=3)
    deployed.run_due()
    known = [str(one) for one in snapshots(deployed, dataset)]
    foreign = run_ids(deployed, elsewhere)[0]
    count = len(run_ids(deployed, flow))
    for arguments, said in (
        ((), "Give either --run RUN, or --from"),
        (("--run", foreign, "--to", "now"), "Give either --run RUN, or --from"),
        (("--from", "start"), "A range needs both"),
        (("--run", "nope"), "nope is not found"),
        (("--run", foreign), f"Run {foreign} belongs to flow "),
        (("--run", run_ids(deployed, flow)[-1]), "had no rows to deliver"),
        (("--run", run_ids(deployed, flow)[0], "--dataset", "others"), f"had no rows of dataset(s) {other} to deliver"),
        (("--from", "x", "--to", "now"), "--from: 'x' is not a snapshot id; give a number, or: start"),
        (("--from", "start", "--to", "start"), "--to: 'start' is not a snapshot id; give a number, or: now"),
        (
            ("--from", "start", "--to", "5"),
            f"Snapshot 5 is not (or no longer) in the history of dataset events ({dataset})",
        ),
        (("--from", "5", "--to", "now"), f"Snapshot 5 is not, or no longer, before snapshot {known[-1]}"),
        (
            ("--from", known[2], "--to", known[1]),
            f"Snapshot {known[2]} is not, or no longer, before snapshot {known[1]}",
        ),
        (("--from", known[2], "--to", "now"), f"There is no snapshot of dataset events ({dataset}) after {known[2]}"),
        (("--from", "start", "--to", "now", "--dataset", "others"), f"does not export dataset(s) {other}"),
        (("--from", "start", "--to", "now", "--dataset", "nope"), "No dataset has the id or the name nope"),
    ):
        code, out, err = offtake("flow", "backfill", elsewhere if not arguments else flow, *arguments)
        assert (code, out) == (1, ""), arguments
        assert said in err, arguments
        assert err.count("\n") == 1
    assert len(run_ids(deployed, flow)) == count


def test_a_run_whose_snapshots_have_expired_is_not_delivered_as_something_else(
    deployed: Deployment, flow: str, dataset: str, offtake: Offtake
) -> None:
    with deployed.backend.database.reading() as session:
        table = deployed.backend.lake.load(TableName(session.get_one(Dataset, dataset).table_name))
    first, second, third = snapshots(deployed, dataset)
    table.maintenance.expire_snapshots().by_id(first).commit()
    code, _, err = offtake("flow", "backfill", flow, "--run", run_ids(deployed, flow)[1])
    assert (code, f"Snapshot {first} is not, or no longer, before snapshot {second}" in err) == (1, True)
    assert offtake("flow", "verify", flow)[0] == 0, "what is still known of the history is tiled"
    table.refresh()
    table.maintenance.expire_snapshots().by_id(second).commit()
    assert offtake("flow", "verify", flow)[0] == 0
    assert offtake("flow", "backfill", flow, "--from", "start", "--to", str(third))[0] == 0


# Cancel and retry


def test_a_run_is_cancelled_once_and_repeated(deployed: Deployment, dataset: str, offtake: Offtake) -> None:
    flow = deployed.flow(dataset)
    made = json.loads(offtake("flow", "run", flow, "--json")[1])["id"]
    assert offtake("run", "cancel", made)[:2] == (0, f"Run {made} is cancelled; it had not written any file.\n")
    code, _, err = offtake("run", "cancel", made)
    assert (code, err) == (1, f"offtake: Run {made} has already ended: it is failed.\n")
    again = json.loads(offtake("run", "retry", made, "--json")[1])
    assert again["parentRunId"] == made
    deployed.run_due()
    assert ids(deployed, manifest_of(deployed, again["id"])) == list(range(20))
    code, _, err = offtake("run", "retry", again["id"])
    assert (code, "only failed runs can be repeated" in err) == (1, True)
    listed = json.loads(offtake("audit", "list", "--json")[1])
    actions = [(one["action"], one["assetName"], one["after"]) for one in listed if one["assetId"] == flow]
    assert ("Cancel", "flow", {"runId": made}) in actions
    assert ("Run", "flow", {"runId": again["id"], "repeatedRunId": made}) in actions


def test_a_retry_can_be_awaited(deployed: Deployment, dataset: str, offtake: Offtake) -> None:
    flow = deployed.flow(dataset)
    made = json.loads(offtake("flow", "run", flow, "--json")[1])["id"]
    offtake("run", "cancel", made)
    code, out, _ = offtake("run", "retry", made, "--wait")
    assert (code, f"is queued as a retry of {made}\n" in out) == (0, True)
    assert "20/20 rows" in out
    assert ids(deployed, manifest_of(deployed, run_ids(deployed, flow)[-1])) == list(range(20))
