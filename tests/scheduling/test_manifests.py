"""Manifest files: only where they are asked for, and then of every run that is over and delivered.

What was delivered is kept and shown either way.
"""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.dataset as ds
import pytest
from sqlalchemy import select

from offtake.flows.run_manifests import read_manifest
from offtake.lake.table_names import TableName
from offtake.scheduling.background import worker_of
from offtake.scheduling.run_verification import delivery_of, verify_delivery
from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.store import run_states
from offtake.store import runs as store
from offtake.store.tables import Dataset, Run, TargetConnection
from tests.deployment import WITH_MANIFEST, Deployment, rows
from tests.scheduling import flaky_destination
from tests.scheduling.flaky_destination import Crash

ASKED = "/params/includeFileManifest"


def files(deployed: Deployment) -> set[Path]:
    return {path for path in deployed.zone.rglob("*") if path.is_file()}


def runs(deployed: Deployment) -> list[Run]:
    """All runs, in the order in which they were made."""
    with deployed.backend.database.reading() as session:
        return list(session.scalars(select(Run).order_by(Run.created_at, Run.scheduled_at)))


def kept(deployed: Deployment, run: Run) -> bytes:
    with deployed.backend.database.reading() as session:
        return read_manifest(session, deployed.caller, run.id)


def target_of(deployed: Deployment, flow: str) -> str:
    deployed.sign_in()
    (target,) = deployed.get(f"/flows/{flow}")["items"][0]["targetConnectionIds"]
    return str(target)


def ask(deployed: Deployment, flow: str, *operations: dict[str, Any]) -> None:
    deployed.patch(f"/targetConnections/{target_of(deployed, flow)}", list(operations))


def slot(deployed: Deployment) -> None:
    """The next slot comes, and its run is carried out."""
    deployed.clock.advance(hours=3)
    deployed.run_due()


def begin(deployed: Deployment, point: str) -> None:
    """A worker takes the run that is due and dies at the point; any other may have it at once."""
    enqueue_due_runs(deployed.backend.database, deployed.clock)
    with flaky_destination.at(point, flaky_destination.crash), pytest.raises(Crash):
        worker_of(deployed.backend, deployed.engine, "dead").run_next(threading.Event())
    store.release_all_of(deployed.backend.database, "dead")


def check_verified(deployed: Deployment, *counts: int) -> None:
    """Every run verifies; these are the numbers of their files, of runs of the same instant in any order."""
    found = [verify_delivery(delivery_of(deployed.backend, deployed.caller, run.id)) for run in runs(deployed)]
    assert [one.findings for one in found] == [()] * len(counts)
    assert sorted(one.files for one in found) == sorted(counts)


# Without


READERS: dict[str, dict[str, Callable[[str], int]]] = {
    "PARQUET": {
        "pyarrow": lambda folder: ds.dataset(folder, format="parquet").count_rows(),
        "duckdb": lambda folder: duckdb.read_parquet(f"{folder}/**/*").shape[0],
    },
    "JSON": {
        "duckdb": lambda folder: duckdb.read_json(f"{folder}/**/*").shape[0],
    },
}


@pytest.mark.parametrize(
    ("file_type", "reader"), [(kind, name) for kind, readers in READERS.items() for name in readers]
)
def test_readers_of_a_whole_folder_get_exactly_the_rows(deployed: Deployment, file_type: str, reader: str) -> None:
    params = {"datasetFileType": file_type, "compression": "GZIP"}
    deployed.flow(deployed.import_rows("events", rows(0, 1000)), params=params)
    deployed.run_due()
    deployed.import_rows("events", rows(1000, 30))
    for _ in range(2):
        slot(deployed)
    assert deployed.manifest_files() == []
    assert READERS[file_type][reader](str(deployed.zone / "out")) == 1030
    check_verified(deployed, 1, 1, 0)


def test_without_a_manifest_file_a_delivery_is_still_kept_and_verified(deployed: Deployment) -> None:
    deployed.flow(deployed.import_rows("events", rows(0, 5)))
    deployed.run_due()
    (run,) = runs(deployed)
    (file,) = files(deployed)
    (result,) = json.loads(kept(deployed, run))["exportResults"]
    assert (run.manifest, result["name"], result["recordCount"]) == (None, file.name, 5)
    file.write_bytes(bytes(file.stat().st_size))
    delivery = delivery_of(deployed.backend, deployed.caller, run.id)
    assert [one.what for one in verify_delivery(delivery, lambda _: None).findings] == ["altered"]


# With


def test_the_file_is_named_by_flow_and_run_and_is_what_is_kept(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 5)), params=WITH_MANIFEST)
    deployed.run_due()
    (run,) = runs(deployed)
    (file,) = deployed.manifest_files()
    assert file.name == f"manifest-{flow}-{run.id}.json"
    assert file.read_bytes() == kept(deployed, run)
    assert {path.parent for path in files(deployed)} == {file.parent}
    assert len(files(deployed)) == 2


def test_target_connections_of_earlier_versions_keep_the_name(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 5)), params=WITH_MANIFEST)
    target = target_of(deployed, flow)
    with deployed.backend.database.writing() as session:
        session.get_one(TargetConnection, target).manifest_by_target = True
    shown = deployed.get(f"/targetConnections/{target}")["items"][0]
    assert "manifest_by_target" not in str(shown)
    assert set(shown["params"]) == {"mode", "path", "compression", "datasetFileType", "includeFileManifest"}
    deployed.run_due()
    ask(deployed, flow, {"op": "remove", "path": ASKED})
    ask(deployed, flow, {"op": "add", "path": ASKED, "value": True})
    slot(deployed)
    names = {f"manifest-{target}-{run.id}.json" for run in runs(deployed)}
    assert {file.name for file in deployed.manifest_files()} == names
    check_verified(deployed, 1, 0)


def test_a_run_of_several_datasets_has_one_manifest_above_their_folders(deployed: Deployment) -> None:
    """Its datasets are in the flow's order, also when another worker writes it than the one that planned the run."""
    made = sorted((deployed.import_rows(f"events {number}", rows(0, 4)) for number in range(3)), reverse=True)
    deployed.flow(*made, params=WITH_MANIFEST)
    deployed.run_due()
    deployed.clock.advance(seconds=60)
    deployed.flow(*made, params={**WITH_MANIFEST, "path": "resumed"})
    begin(deployed, "plan_stored")
    deployed.run_due()
    assert [file.parent.name for file in deployed.manifest_files()] == ["out", "resumed"]
    for file, run in zip(deployed.manifest_files(), runs(deployed), strict=True):
        assert file.read_bytes() == kept(deployed, run)
        assert [one["dataSetId"] for one in json.loads(file.read_text())["datasets"]] == made
    check_verified(deployed, 3, 3)


# Runs without files


def test_a_run_that_finds_nothing_new_says_so(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 5)), params=WITH_MANIFEST)
    deployed.run_due()
    before = files(deployed)
    slot(deployed)
    _, nothing = runs(deployed)
    (file,) = files(deployed) - before
    assert file == deployed.zone / "out" / f"manifest-{flow}-{nothing.id}.json"
    assert file.read_bytes() == kept(deployed, nothing)
    document = json.loads(file.read_text())
    (one,) = document["datasets"]
    assert (document["flowRunId"], document["exportResults"]) == (nothing.id, [])
    assert (one["exportKind"], one["fromSnapshotId"]) == ("incremental", one["toSnapshotId"])
    metrics = deployed.runs(flow)[0]["metrics"]
    assert (metrics["fileSummary"]["outputFileCount"], metrics["fileSummary"]["manifest"]) == (0, {"fileInfo": []})
    check_verified(deployed, 1, 0)
    file.unlink()
    delivery = delivery_of(deployed.backend, deployed.caller, nothing.id)
    assert [(one.what, one.uri) for one in verify_delivery(delivery, strict=True).findings] == [("missing", str(file))]
    assert verify_delivery(delivery).collected == 1


def test_a_dataset_without_any_rows_yet_has_a_manifest_too(deployed: Deployment) -> None:
    body = {"name": "later", "extensions": {"offtake": {"columns": [{"name": "id", "type": "long"}]}}}
    answer = deployed.http.post("/data/foundation/catalog/dataSets", json=body)
    dataset = answer.json()[0].rpartition("/")[2]
    deployed.flow(dataset, params=WITH_MANIFEST)
    deployed.run_due()
    (file,) = files(deployed)
    document = json.loads(file.read_text())
    (one,) = document["datasets"]
    assert (document["exportResults"], one["fromSnapshotId"], one["toSnapshotId"]) == ([], None, None)
    check_verified(deployed, 0)


@pytest.mark.parametrize("point", ["plan_stored", "before_manifest", "after_manifest", "before_commit"])
def test_a_run_without_files_that_is_taken_over_writes_its_manifest_once(deployed: Deployment, point: str) -> None:
    deployed.flow(deployed.import_rows("events", rows(0, 5)), params=WITH_MANIFEST)
    deployed.run_due()
    deployed.clock.advance(hours=3)
    begin(deployed, point)
    deployed.run_due()
    assert [run.status for run in runs(deployed)] == [run_states.SUCCESS] * 2
    assert len(deployed.manifest_files()) == 2
    check_verified(deployed, 1, 0)


def test_of_a_run_without_files_that_is_cancelled_the_manifest_is_removed(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 5)), params=WITH_MANIFEST)
    deployed.run_due()
    before = files(deployed)
    deployed.clock.advance(hours=3)
    begin(deployed, "after_manifest")
    assert len(files(deployed) - before) == 1
    with deployed.backend.database.writing() as session:
        store.cancel(session, flow, deployed.clock.now_ms())
    deployed.run_due()
    assert [run.status for run in runs(deployed)] == [run_states.SUCCESS, run_states.FAILED]
    assert files(deployed) == before
    check_verified(deployed, 1, 0)


def test_a_run_of_which_every_dataset_fails_writes_none(deployed: Deployment) -> None:
    """One of which another dataset has nothing new writes one, of that dataset alone."""
    alive, gone = deployed.import_rows("alive", rows(0, 4)), deployed.import_rows("gone", rows(0, 4))
    deployed.flow(alive, gone, params=WITH_MANIFEST)
    deployed.flow(gone, params=WITH_MANIFEST)
    deployed.run_due()
    before = files(deployed)
    with deployed.backend.database.reading() as session:
        deployed.backend.lake.purge(TableName(session.get_one(Dataset, gone).table_name))
    slot(deployed)
    (file,) = files(deployed) - before
    document = json.loads(file.read_text())
    assert (document["exportResults"], [one["dataSetId"] for one in document["datasets"]]) == ([], [alive])
    check_verified(deployed, 2, 1, 0, 0)


# Changes while a run is going on


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("point", ["plan_stored", "before_commit"])
def test_a_change_counts_for_the_runs_that_are_planned_afterwards(
    deployed: Deployment, asked: bool, point: str
) -> None:
    """A run that is going on ends as it was planned: no file of it is left out, and none is left over."""
    dataset = deployed.import_rows("events", rows(0, 5))
    flow = deployed.flow(dataset, params={"includeFileManifest": asked})
    begin(deployed, point)
    ask(deployed, flow, {"op": "replace", "path": "/params", "value": {"includeFileManifest": not asked}})
    ask(deployed, flow, {"op": "replace", "path": "/params/path", "value": "moved"})
    deployed.run_due()
    assert len(deployed.manifest_files()) == asked
    assert not (deployed.zone / "moved").exists()
    check_verified(deployed, 1)
    slot(deployed)
    assert [run.manifest is not None for run in runs(deployed)] == [asked, not asked]
    assert len(deployed.manifest_files()) == 1
    check_verified(deployed, 1, 0)


@pytest.mark.parametrize(
    ("given", "operation", "shown"),
    [
        ({}, {"op": "add", "path": ASKED, "value": True}, True),
        ({}, {"op": "replace", "path": "/params", "value": {"includeFileManifest": True}}, True),
        (WITH_MANIFEST, {"op": "replace", "path": ASKED, "value": False}, False),
        (WITH_MANIFEST, {"op": "remove", "path": ASKED}, None),
        (WITH_MANIFEST, {"op": "replace", "path": "/params/compression", "value": "GZIP"}, True),
    ],
)
def test_the_param_is_added_replaced_and_removed(
    deployed: Deployment, given: dict[str, Any], operation: dict[str, Any], shown: bool | None
) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 5)), params=given)
    ask(deployed, flow, operation)
    params = deployed.get(f"/targetConnections/{target_of(deployed, flow)}")["items"][0]["params"]
    assert params.get("includeFileManifest") is shown
    deployed.run_due()
    assert len(deployed.manifest_files()) == bool(shown)
