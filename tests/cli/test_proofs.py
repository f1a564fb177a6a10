"""`offtake run verify`, `flow verify`, `flow backfill`, `run cancel` and `run retry`, through the real command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offtake.cli.main import main
from offtake.lake.catalog import TableName
from offtake.lake.lineage import lineage
from offtake.store.tables import Dataset, Run, RunDataset, Watermark
from tests.deployment import Deployment, rows, table_of

Offtake = Callable[..., tuple[int, str, str]]
Json = dict[str, Any]


@pytest.fixture
def offtake(deployed: Deployment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Offtake:
    """The command, on the deployment's data directory and by its clock: exit code, what it says and complains of."""
    monkeypatch.setattr("offtake.cli.options.Clock", lambda: deployed.clock)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*arguments, "--data-dir", str(deployed.backend.settings.data_dir)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def dataset(deployed: Deployment) -> str:
    return deployed.import_rows("events", rows(0, 20))


@pytest.fixture
def flow(deployed: Deployment, dataset: str) -> str:
    """A flow that has delivered everything, and two increments."""
    made = deployed.flow(dataset)
    deployed.run_due()
    for first in (20, 27):
        add(deployed, first, 7)
    return made


def add(deployed: Deployment, first: int, count: int, *, deliver: bool = True) -> None:
    deployed.import_rows("events", rows(first, count))
    if deliver:
        deployed.clock.advance(hours=3)
        deployed.run_due()


def snapshots(deployed: Deployment, dataset: str) -> list[int]:
    with deployed.backend.database.reading() as session:
        table = TableName(session.get_one(Dataset, dataset).table_name)
    steps = lineage(deployed.backend.lake, table)
    assert steps is not None
    return [step.snapshot_id for step in steps]


def run_ids(deployed: Deployment, flow: str) -> list[str]:
    """The flow's runs, oldest first."""
    with deployed.backend.database.reading() as session:
        found = session.query(Run).filter_by(flow_id=flow).order_by(Run.scheduled_at).all()
    return [run.id for run in found]


def ids(deployed: Deployment, manifest: Json) -> list[int]:
    found: list[int] = table_of(deployed.delivered(manifest))["id"].to_pylist()
    return found


def manifest_of(deployed: Deployment, run_id: str) -> tuple[Path, Json]:
    (path,) = deployed.zone.rglob(f"manifest-*-{run_id}.json")
    return path, json.loads(path.read_text())


# Verify a run


def test_a_run_is_verified_at_its_destination(deployed: Deployment, flow: str, offtake: Offtake) -> None:
    run = run_ids(deployed, flow)[0]
    assert offtake("run", "verify", run)[:2] == (0, f"1 files, 20 rows, {size(deployed, run)}: as delivered\n")
    assert offtake("run", "verify", run, "--download")[0] == 0
    (file,) = deployed.delivered(manifest_of(deployed, run)[1])
    content = file.read_bytes()
    file.write_bytes(bytes(len(content)))
    assert offtake("run", "verify", run)[0] == 0, "the size is the same, and nothing has been read"
    code, out, _ = offtake("run", "verify", run, "--download")
    assert code == 1
    assert f"altered {file}: SHA-256 " in out
    file.write_bytes(content + b"x")
    code, out, _ = offtake("run", "verify", run, "--json")
    found = json.loads(out)
    assert (code, found["files"], found["rows"], found["downloaded"]) == (1, 1, 20, False)
    assert found["findings"] == [
        {"what": "altered", "uri": str(file), "detail": f"size {len(content) + 1}, should be {len(content)}"}
    ]
    (file.parent / "else.txt").write_text("")
    file.unlink()
    code, out, _ = offtake("run", "verify", run)
    assert code == 1
    assert out.splitlines()[:2] == [f"missing {file}", f"extra {file.parent / 'else.txt'}"]
    assert "1 missing, 1 extra" in out
    assert "keeps files for 7 days" in out


def size(deployed: Deployment, run: str) -> str:
    (one,) = manifest_of(deployed, run)[1]["exportResults"]
    return f"{one['size'] / 1000:.1f} kB"


def test_runs_that_wrote_nothing_are_verified_too(deployed: Deployment, flow: str, offtake: Offtake) -> None:
    deployed.clock.advance(hours=3)
    deployed.run_due()
    nothing_new = run_ids(deployed, flow)[-1]
    assert offtake("run", "verify", nothing_new)[:2] == (0, "0 files, 0 rows, 0 B: as delivered\n")
    made = json.loads(offtake("flow", "run", flow, "--json")[1])["id"]
    code, out, err = offtake("run", "verify", made)
    assert (code, out) == (1, "")
    assert err == f"offtake: Run {made} is waiting; it can be verified once it is over.\n"
    assert offtake("run", "cancel", made)[0] == 0
    assert offtake("run", "verify", made)[:2] == (
        0,
        "0 files, 0 rows, 0 B: nothing was delivered, and nothing is left\n",
    )


def test_of_a_run_that_failed_for_one_dataset_the_others_are_verified(
    deployed: Deployment, dataset: str, offtake: Offtake
) -> None:
    gone = deployed.import_rows("gone", rows(0, 4))
    flow = deployed.flow(dataset, gone)
    with deployed.backend.database.reading() as session:
        deployed.backend.lake.purge(TableName(session.get_one(Dataset, gone).table_name))
    deployed.run_due()
    (run,) = run_ids(deployed, flow)
    assert deployed.runs(flow)[0]["metrics"]["statusSummary"]["status"] == "failed"
    assert ": as delivered" in offtake("run", "verify", run, "--download")[1]
    manifest_of(deployed, run)[0].unlink()
    assert offtake("run", "verify", run)[0] == 1
    proof = json.loads(offtake("flow", "verify", flow, "--json")[1])
    assert [(one["position"] is None, one["runs"]) for one in proof["datasets"]] == [(False, 1), (True, 0)]
    assert proof["proven"]


# Verify a flow


def test_the_runs_of_a_flow_tile_the_history(deployed: Deployment, flow: str, dataset: str, offtake: Offtake) -> None:
    add(deployed, 34, 5, deliver=False)
    code, out, _ = offtake("flow", "verify", flow)
    position = snapshots(deployed, dataset)[2]
    assert code == 0
    assert out == (
        f"events: 3 runs up to snapshot {position}, no gap, no overlap; 1 snapshots with 5 rows are not delivered yet\n"
    )
    found = json.loads(offtake("flow", "verify", "flow", "--json")[1])
    assert found["proven"]
    (one,) = found["datasets"]
    assert [(leg["full"], leg["from"], leg["to"]) for leg in one["ranges"]] == list(
        zip([True, False, False], [None, *snapshots(deployed, dataset)[:2]], snapshots(deployed, dataset), strict=False)
    )
    assert [leg["runId"] for leg in one["ranges"]] == run_ids(deployed, flow)
    assert (one["snapshotsChecked"], one["pendingSnapshots"], one["pendingRows"]) == (2, 1, 5)


def test_runs_beside_the_position_do_not_count(deployed: Deployment, flow: str, dataset: str, offtake: Offtake) -> None:
    deployed.clock.advance(hours=-50)  # what follows has happened before all the rest, by the clock
    assert offtake("flow", "run", flow, "--full")[0] == 0
    deployed.run_due()
    assert offtake("flow", "backfill", flow, "--run", run_ids(deployed, flow)[-1])[0] == 0
    deployed.run_due()
    add(deployed, 34, 5, deliver=False)
    assert offtake("flow", "run", flow)[0] == 0
    deployed.run_due()
    code, out, _ = offtake("flow", "verify", flow)
    assert (code, out) == (
        0,
        f"events: 4 runs up to snapshot {snapshots(deployed, dataset)[3]}, no gap, no overlap; nothing is waiting\n",
    )


def test_a_flow_that_begins_anew_delivers_everything_again_with_a_reason(
    deployed: Deployment, flow: str, offtake: Offtake
) -> None:
    (source,) = deployed.get(f"/flows/{flow}")["items"][0]["sourceConnectionIds"]
    other = deployed.import_rows("others", rows(0, 1))
    body = {
        "name": "others",
        "connectionSpec": {"id": "23598e46-f560-407b-88d5-ea6207e49db0", "version": "1.0"},
        "params": {"datasets": [{"dataSetId": other}]},
    }
    away = deployed.post("/sourceConnections", body)["id"]
    for id_ in (away, source):
        deployed.patch(f"/flows/{flow}", [{"op": "replace", "path": "/sourceConnectionIds", "value": [id_]}])
    code, out, _ = offtake("flow", "verify", flow)
    assert code == 0
    assert "to begin anew; 3 snapshots with 34 rows are not delivered yet" in out
    deployed.clock.advance(hours=3)
    deployed.run_due()
    code, out, _ = offtake("flow", "verify", flow)
    assert (code, "no gap, no overlap" in out) == (0, True)


def test_what_is_not_proven_is_named(deployed: Deployment, flow: str, dataset: str, offtake: Offtake) -> None:
    known = snapshots(deployed, dataset)
    _, second, third = run_ids(deployed, flow)

    def verified() -> tuple[int, list[str]]:
        code, out, _ = offtake("flow", "verify", flow)
        return code, out.splitlines()[:-1]

    with deployed.backend.database.writing() as session:
        session.get_one(RunDataset, (second, dataset)).error = {"code": "EXPORT-1500-500"}
    assert verified() == (
        1,
        [
            f"gap events: run {third} began at snapshot {known[1]}, and no run had delivered up to there",
            *(
                f"gap events: snapshot {one} with {count} rows is in no run"
                for one, count in zip(known[:2], (20, 7), strict=True)
            ),
        ],
    )
    with deployed.backend.database.writing() as session:
        session.get_one(RunDataset, (second, dataset)).error = None
        session.get_one(RunDataset, (third, dataset)).from_snapshot = known[0]
    code, lines = verified()
    assert code == 1
    assert lines[0].startswith(f"gap events: run {third} begins after snapshot {known[0]}, and run {second} had")
    assert lines[1].startswith("overlap events: delivered twice: ")
    assert all(one in lines[1] for one in (second, third))
    with deployed.backend.database.writing() as session:
        session.get_one(RunDataset, (third, dataset)).from_snapshot = known[1]
        session.get_one(Watermark, (flow, dataset)).snapshot_id = known[1]
    told = f"run {third} delivered up to snapshot {known[2]}, and the flow's position is {known[1]}"
    assert verified() == (1, [f"overlap events: {told}: its rows will be delivered again"])
    with deployed.backend.database.writing() as session:
        session.get_one(Watermark, (flow, dataset)).snapshot_id = known[2]
        whole = session.get_one(RunDataset, (third, dataset))
        whole.kind, whole.from_snapshot = "full", None
    code, (line,) = verified()
    assert (code, f"run {third} delivered all of snapshot {known[2]} again" in line) == (1, True)
    with deployed.backend.database.writing() as session:
        session.get_one(Run, third).warnings = [
            {"code": "EXPORT-1410-410", "message": "events: lost", "type": "Warning"}
        ]
    assert verified() == (0, [])


def test_a_flow_that_always_delivers_everything_is_said_to(
    deployed: Deployment, dataset: str, offtake: Offtake
) -> None:
    once = {"exportMode": "DAILY_FULL_EXPORT", "timeUnit": "day", "interval": 0}
    flow = deployed.flow(dataset, schedule=once)
    deployed.run_due()
    assert offtake("flow", "verify", flow)[:2] == (
        0,
        "events: 1 runs, each of everything; the flow makes no increments\n",
    )


# Backfill


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
    assert len(again) == 2
    assert all(deployed.zone / "out" / made["folder"] in path.parents for path in again)
    assert {path: path.read_bytes() for path in before} == before
    manifest = manifest_of(deployed, made["id"])[1]
    assert ids(deployed, manifest) == list(range(20, 27)) == ids(deployed, manifest_of(deployed, second)[1])
    assert manifest["datasets"] == manifest_of(deployed, second)[1]["datasets"]
    with deployed.backend.database.reading() as session:
        assert session.get_one(Watermark, (flow, dataset)).snapshot_id == snapshots(deployed, dataset)[2]
    assert offtake("run", "verify", made["id"], "--download")[0] == 0
    assert offtake("flow", "verify", flow)[0] == 0
    # A backfill can be repeated like any other run.
    assert offtake("flow", "backfill", flow, "--run", made["id"])[0] == 0
    deployed.run_due()
    assert ids(deployed, manifest_of(deployed, run_ids(deployed, flow)[-1])[1]) == list(range(20, 27))


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
    assert ids(deployed, manifest_of(deployed, run_ids(deployed, flow)[-1])[1]) == list(expected)
    deployed.clock.advance(hours=3)
    deployed.run_due()
    assert ids(deployed, manifest_of(deployed, run_ids(deployed, flow)[-1])[1]) == list(range(34, 40))
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
        (("--run", foreign), f"--run: run {foreign} is not one of flow flow"),
        (("--run", run_ids(deployed, flow)[-1]), "had nothing to deliver"),
        (("--run", run_ids(deployed, flow)[0], "--dataset", "others"), f"had nothing of dataset(s) {other} to deliver"),
        (("--from", "x", "--to", "now"), "--from: 'x' is no snapshot's id; give a number, or: start"),
        (("--from", "start", "--to", "start"), "--to: 'start' is no snapshot's id; give a number, or: now"),
        (
            ("--from", "start", "--to", "5"),
            f"--to: snapshot 5 is not, or no longer, in the history of dataset events ({dataset})",
        ),
        (("--from", "5", "--to", "now"), f"--from: snapshot 5 does not come before snapshot {known[-1]}"),
        (
            ("--from", known[2], "--to", known[1]),
            f"--from: snapshot {known[2]} does not come before snapshot {known[1]}",
        ),
        (("--from", known[2], "--to", "now"), f"--from: nothing comes after snapshot {known[2]}"),
        (("--from", "start", "--to", "now", "--dataset", "others"), f"does not export dataset(s) {other}"),
        (("--from", "start", "--to", "now", "--dataset", "nope"), "--dataset: there is no dataset nope"),
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
    assert (code, f"--run: snapshot {first} does not come before snapshot {second}" in err) == (1, True)
    assert offtake("flow", "verify", flow)[0] == 0, "what is still known of the history is tiled"
    table.refresh()
    table.maintenance.expire_snapshots().by_id(second).commit()
    assert offtake("flow", "verify", flow)[0] == 0
    assert offtake("flow", "backfill", flow, "--from", "start", "--to", str(third))[0] == 0


# Cancel and retry


def test_a_run_is_cancelled_once_and_repeated(deployed: Deployment, dataset: str, offtake: Offtake) -> None:
    flow = deployed.flow(dataset)
    made = json.loads(offtake("flow", "run", flow, "--json")[1])["id"]
    assert offtake("run", "cancel", made)[:2] == (0, f"Run {made} is cancelled; it had not begun.\n")
    code, _, err = offtake("run", "cancel", made)
    assert (code, err) == (1, f"offtake: Run {made} is over: it is failed.\n")
    again = json.loads(offtake("run", "retry", made, "--json")[1])
    assert again["parentRunId"] == made
    deployed.run_due()
    assert ids(deployed, manifest_of(deployed, again["id"])[1]) == list(range(20))
    code, _, err = offtake("run", "retry", again["id"])
    assert (code, "only failed runs are repeated" in err) == (1, True)
    listed = json.loads(offtake("audit", "list", "--json")[1])
    actions = [(one["action"], one["resourceName"], one["after"]) for one in listed if one["resourceId"] == flow]
    assert ("cancel", "flow", {"runId": made}) in actions
    assert ("run", "flow", {"runId": again["id"]}) in actions
