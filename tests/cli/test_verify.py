"""`offtake run verify` and `flow verify`, through the real command."""

import json

import pytest

from offtake.lake.table_names import TableName
from offtake.store.tables import Dataset, Run, RunDataset, Watermark
from tests.api.test_encryption import flow_through, make, said
from tests.cli.deliveries import Offtake, add, manifest_of, run_ids, snapshots
from tests.deployment import WITH_MANIFEST, Deployment, rows
from tests.info_items import failure
from tests.keyring import Keyring
from tests.scheduling import flaky_destination

# Verify a run


def test_a_run_is_verified_at_its_destination(deployed: Deployment, flow: str, offtake: Offtake) -> None:
    run = run_ids(deployed, flow)[0]
    assert offtake("run", "verify", run)[:2] == (0, f"1 file, 20 rows, {size(deployed, run)}: as delivered\n")
    assert offtake("run", "verify", run, "--download")[0] == 0
    (file,) = deployed.delivered(manifest_of(deployed, run))
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
    code, out, _ = offtake("run", "verify", run, "--strict")
    assert code == 1
    assert out.splitlines()[:2] == [f"missing {file}", f"extra {file.parent / 'else.txt'}"]
    assert "1 missing, 1 extra, 1 collected" in out
    (file.parent / "else.txt").unlink()
    code, out, _ = offtake("run", "verify", run)
    assert (code, out.endswith(": as delivered, 1 collected\n")) == (0, True)
    found = json.loads(offtake("run", "verify", run, "--json")[1])
    assert (found["collected"], found["expired"], found["findings"]) == (1, 0, [])
    deployed.clock.advance(days=8)
    code, out, _ = offtake("run", "verify", run, "--strict")
    assert (code, out.endswith(": as delivered, 1 expired\n")) == (0, True)


def size(deployed: Deployment, run: str) -> str:
    (one,) = manifest_of(deployed, run)["exportResults"]
    return f"{one['size'] / 1000:.1f} kB"


def test_runs_that_wrote_nothing_are_verified_too(deployed: Deployment, flow: str, offtake: Offtake) -> None:
    deployed.clock.advance(hours=3)
    deployed.run_due()
    nothing_new = run_ids(deployed, flow)[-1]
    assert offtake("run", "verify", nothing_new)[:2] == (0, "0 files, 0 rows, 0 B: as delivered\n")
    made = json.loads(offtake("flow", "run", flow, "--json")[1])["id"]
    code, out, err = offtake("run", "verify", made)
    assert (code, out) == (1, "")
    assert err == f"offtake: Run {made} is waiting; it can be verified when it has ended.\n"
    assert offtake("run", "cancel", made)[0] == 0
    assert offtake("run", "verify", made)[:2] == (
        0,
        "0 files, 0 rows, 0 B: nothing was delivered, and no file is left\n",
    )


def test_of_a_run_that_failed_for_one_dataset_the_others_are_verified(
    deployed: Deployment, dataset: str, offtake: Offtake
) -> None:
    gone = deployed.import_rows("gone", rows(0, 4))
    flow = deployed.flow(dataset, gone, params=WITH_MANIFEST)
    with deployed.backend.database.reading() as session:
        deployed.backend.lake.purge(TableName(session.get_one(Dataset, gone).table_name))
    deployed.run_due()
    (run,) = run_ids(deployed, flow)
    assert deployed.runs(flow)[0]["metrics"]["statusSummary"]["status"] == "failed"
    assert ": as delivered" in offtake("run", "verify", run, "--download")[1]
    (file,) = deployed.manifest_files()
    file.unlink()
    assert offtake("run", "verify", run)[0] == 0
    assert offtake("run", "verify", run, "--strict")[0] == 1
    proof = json.loads(offtake("flow", "verify", flow, "--json")[1])
    assert [(one["position"] is None, one["runs"]) for one in proof["datasets"]] == [(False, 1), (True, 0)]
    assert proof["proven"]


def test_a_long_download_tells_how_far_it_has_come(
    deployed: Deployment, flow: str, offtake: Offtake, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_ids(deployed, flow)[0]
    assert offtake("run", "verify", run, "--download")[2] == "", "it was no long one"
    monkeypatch.setattr("offtake.cli.verify._PROGRESS_SECONDS", 0)
    _, out, err = offtake("run", "verify", run, "--download")
    assert out.endswith(": as delivered\n")
    whole = size(deployed, run)
    assert err == f"{whole} of {whole} read\n"
    assert offtake("run", "verify", run, "--download", "--json")[2] == ""


def test_encrypted_files_are_verified_as_they_were_delivered(
    deployed: Deployment, dataset: str, keys: Keyring, offtake: Offtake
) -> None:
    flow = flow_through(deployed, make(deployed, encryption=said(keys.key("rsa")))["id"], dataset)
    deployed.run_due()
    (run,) = run_ids(deployed, flow)
    (file,) = deployed.delivered(manifest_of(deployed, run))
    assert file.name.endswith(".gpg")
    assert offtake("run", "verify", run, "--download")[0] == 0
    file.write_bytes(keys.decrypt(file.read_bytes()))
    assert f"altered {file}: size" in offtake("run", "verify", run)[1]


# Verify a flow


def test_the_runs_of_a_flow_tile_the_history(deployed: Deployment, flow: str, dataset: str, offtake: Offtake) -> None:
    add(deployed, 34, 5, deliver=False)
    code, out, _ = offtake("flow", "verify", flow)
    position = snapshots(deployed, dataset)[2]
    assert code == 0
    assert out == (
        f"events: 3 runs up to snapshot {position}, no gap, no overlap; not delivered yet: 1 snapshot with 5 rows\n"
    )
    found = json.loads(offtake("flow", "verify", "flow", "--json")[1])
    assert found["proven"]
    (one,) = found["datasets"]
    assert [(run["full"], run["from"], run["to"]) for run in one["ranges"]] == list(
        zip([True, False, False], [None, *snapshots(deployed, dataset)[:2]], snapshots(deployed, dataset), strict=False)
    )
    assert [run["runId"] for run in one["ranges"]] == run_ids(deployed, flow)
    assert (one["snapshotsChecked"], one["pendingSnapshots"], one["pendingRows"]) == (2, 1, 5)


def test_runs_that_do_not_move_the_position_do_not_count(
    deployed: Deployment, flow: str, dataset: str, offtake: Offtake
) -> None:
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
        f"events: 4 runs up to snapshot {snapshots(deployed, dataset)[3]}, no gap, no overlap; nothing is pending\n",
    )


def test_a_flow_that_starts_over_delivers_everything_again_with_a_reason(
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
    assert "the next run is a full export; not delivered yet: 3 snapshots with 34 rows" in out
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
        session.get_one(RunDataset, (second, dataset)).error = failure("EXPORT-1500-500")
    assert verified() == (
        1,
        [
            f"gap events: run {third} started at snapshot {known[1]}, but no run had delivered up to it",
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
    assert lines[0].startswith(f"gap events: run {third} starts after snapshot {known[0]}, but run {second} had")
    assert lines[1].startswith("overlap events: delivered twice: ")
    assert all(one in lines[1] for one in (second, third))
    with deployed.backend.database.writing() as session:
        session.get_one(RunDataset, (third, dataset)).from_snapshot = known[1]
        session.get_one(Watermark, (flow, dataset)).snapshot_id = known[1]
    reason = f"run {third} delivered up to snapshot {known[2]}, but the flow's position is {known[1]}"
    assert verified() == (1, [f"overlap events: {reason}: its rows will be delivered again"])
    with deployed.backend.database.writing() as session:
        session.get_one(Watermark, (flow, dataset)).snapshot_id = known[2]
        whole = session.get_one(RunDataset, (third, dataset))
        whole.kind, whole.from_snapshot = "full", None
    code, (line,) = verified()
    assert (code, f"run {third} delivered snapshot {known[2]} in full again" in line) == (1, True)
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
        "events: 1 full export and no others; the flow has no incremental exports\n",
    )


def test_files_that_stay_delivered_are_named(deployed: Deployment, flow: str, offtake: Offtake) -> None:
    deployed.import_rows("events", rows(20, 3))
    deployed.clock.advance(hours=3)
    zone = deployed.zone

    def collected_and_refused() -> None:
        for path in zone.rglob("part-*"):
            path.unlink()
        raise flaky_destination.refused()

    with flaky_destination.at("before_commit", collected_and_refused):
        deployed.run_due()
    failed = run_ids(deployed, flow)[-1]
    shown = offtake("flow", "show", flow)[1]
    assert f"run {failed}: 1 file(s) with 3 rows stay delivered: {zone}" in shown
    assert "The flow's next run delivers the rest." in shown
    assert "stay delivered" in offtake("run", "show", failed)[1]
    (held,) = json.loads(offtake("flow", "show", flow, "--json")[1])["held"]
    assert (held["runId"], len(held["files"])) == (failed, 1)
    assert ": as delivered, 1 collected" in offtake("run", "verify", failed)[1]
    deployed.clock.advance(hours=3)
    deployed.run_due()
    assert "stay delivered" not in offtake("flow", "show", flow)[1]
    assert offtake("flow", "verify", flow)[0] == 0


def test_the_answer_to_cancel_names_what_is_complete(deployed: Deployment, flow: str, offtake: Offtake) -> None:
    deployed.import_rows("events", rows(20, 3))
    deployed.clock.advance(hours=3)
    with pytest.raises(flaky_destination.Crash), flaky_destination.at("before_commit", flaky_destination.crash):
        deployed.run_due()
    run = run_ids(deployed, flow)[-1]
    out = offtake("run", "cancel", run)[1]
    assert "Unless they can still be removed, 1 file(s) with 3 rows stay delivered" in out
    assert "The flow's next run delivers the rest." in out
