"""Ingestors share their work, give it back, give up in the end, and leave nothing behind."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from offtake.catalog import batches, file_import
from offtake.catalog.file_import import ImportRequest
from offtake.lake import ingest
from offtake.lake.catalog import Lake
from offtake.lake.ingest import Attempt
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import input_file
from offtake.lake.table_names import TableName
from offtake.scheduling.background import ingestor_of
from offtake.scheduling.housekeeping import run_maintenance
from offtake.store import batches as store
from offtake.store.leases import LeaseMonitor
from offtake.store.tables import Batch, Dataset
from tests.deployment import Deployment, rows

IMPORT = "/data/foundation/import"
CATALOG = "/data/foundation/catalog"
BYTES = {"content-type": "application/octet-stream"}
DAY = 86_400


@pytest.fixture
def dataset(deployed: Deployment) -> str:
    (path,) = deployed.post(f"{CATALOG}/dataSets", {"name": "events"})
    return str(path.rpartition("/")[2])


def sent(deployed: Deployment, dataset: str, first: int, *, complete: bool = True) -> str:
    """A batch of three rows; its id."""
    body = {"datasetId": dataset, "inputFormat": {"format": "json"}}
    batch = str(deployed.post(f"{IMPORT}/batches", body)["id"])
    text = "".join(json.dumps(row) + "\n" for row in rows(first, 3)).encode()
    path = f"{IMPORT}/batches/{batch}/datasets/{dataset}/files/a.json"
    assert deployed.http.put(path, content=text, headers=BYTES).status_code == 201
    if complete:
        assert deployed.http.post(f"{IMPORT}/batches/{batch}?action=COMPLETE").status_code == 200
    return batch


def state(deployed: Deployment, batch: str) -> Any:
    return deployed.http.get(f"{CATALOG}/batches/{batch}").json()[batch]


def ids(deployed: Deployment, dataset: str) -> list[int]:
    found = deployed.http.get(f"/data/foundation/export/datasets/{dataset}/preview").json()["data"]
    return sorted(row["id"] for row in found)


def uploads(deployed: Deployment) -> list[Path]:
    root = deployed.backend.settings.uploads_root
    return list(root.iterdir()) if root.is_dir() else []


def sweep(deployed: Deployment) -> None:
    for _ in run_maintenance(deployed.backend, sweeps=True):
        pass


def snapshots(deployed: Deployment, dataset: str) -> int:
    with deployed.backend.database.reading() as session:
        table = TableName(session.get_one(Dataset, dataset).table_name)
    return len(deployed.backend.lake.load(table).metadata.snapshots)


class Once(threading.Event):
    """A stop event that is never set, but calls `work` when it is checked for the first time."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self._work: Callable[[], object] | None = work

    def is_set(self) -> bool:
        work, self._work = self._work, None
        if work is not None:
            work()
        return False


def test_ingestors_at_the_same_time_bring_each_batch_in_once(deployed: Deployment, dataset: str) -> None:
    every = [sent(deployed, dataset, 3 * n) for n in range(8)]
    stop = threading.Event()
    threads = [
        threading.Thread(target=ingestor_of(deployed.backend, f"i{n}").work, args=(stop, 0.01)) for n in range(3)
    ]
    for thread in threads:
        thread.start()
    try:
        for _ in range(600):
            if all(state(deployed, batch)["status"] == "success" for batch in every):
                break
            stop.wait(0.05)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert ids(deployed, dataset) == list(range(24))
    assert snapshots(deployed, dataset) == 8
    assert uploads(deployed) == []


def test_a_batch_loads_its_table_once(deployed: Deployment, dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent(deployed, dataset, 0)
    deployed.ingest_due()
    loads = []
    load = Lake.load

    def counted(lake: Lake, table: TableName) -> Any:
        loads.append(table)
        return load(lake, table)

    monkeypatch.setattr(Lake, "load", counted)
    second = sent(deployed, dataset, 3)
    deployed.ingest_due()
    assert len(loads) == 1
    assert state(deployed, second)["status"] == "success"
    assert ids(deployed, dataset) == [*range(6)]


def test_a_batch_is_given_back_when_the_server_stops(deployed: Deployment, dataset: str) -> None:
    batch = sent(deployed, dataset, 0)
    stop = threading.Event()
    stop.set()
    assert ingestor_of(deployed.backend, "one").ingest_next(stop)
    assert state(deployed, batch)["status"] == "processing"
    assert ids(deployed, dataset) == []
    assert ingestor_of(deployed.backend, "two").ingest_next(threading.Event())
    assert (state(deployed, batch)["status"], ids(deployed, dataset)) == ("success", [0, 1, 2])


def test_a_batch_whose_holder_falls_silent_is_taken_up_and_the_late_one_changes_nothing(
    deployed: Deployment, dataset: str
) -> None:
    batch = sent(deployed, dataset, 0)
    overtaken: list[str] = []

    def overtake() -> None:
        deployed.ingest_due()
        deployed.clock.advance(seconds=31)
        deployed.ingest_due()
        overtaken.append(state(deployed, batch)["status"])

    ingestor_of(deployed.backend, "slow").ingest_next(Once(overtake))
    assert overtaken == ["success"]
    assert (state(deployed, batch)["status"], ids(deployed, dataset)) == ("success", [0, 1, 2])
    assert snapshots(deployed, dataset) == 1
    assert len(list(deployed.backend.settings.data_dir.rglob("warehouse/**/*.parquet"))) == 1


@pytest.mark.parametrize("before", [0, 1])
def test_a_dataset_that_is_deleted_while_a_batch_comes_in_stays_gone(
    deployed: Deployment, dataset: str, before: int
) -> None:
    for n in range(before):
        sent(deployed, dataset, 3 * n)
        deployed.ingest_due()
    sent(deployed, dataset, 9)
    gone = Once(lambda: deployed.http.delete(f"{CATALOG}/dataSets/{dataset}"))
    ingestor_of(deployed.backend, "one").ingest_next(gone)
    assert uploads(deployed) == []
    assert not list(deployed.backend.settings.data_dir.rglob("warehouse/*/*"))
    with deployed.backend.database.reading() as session:
        assert session.get(Dataset, dataset) is None
    sandbox = deployed.caller.sandbox_id.replace("-", "")
    assert deployed.backend.lake.tables_in(f"sandbox_{sandbox}") == []


def test_an_unexpected_error_is_retried_and_fails_the_batch_in_the_end(deployed: Deployment, dataset: str) -> None:
    batch = sent(deployed, dataset, 0)
    sandbox = next(iter(deployed.backend.settings.data_dir.glob("lake")))
    blocked = sandbox / "warehouse"
    blocked.write_text("in the way")
    for _ in range(20):
        deployed.ingest_due()
        if state(deployed, batch)["status"] != "processing":
            break
        deployed.clock.advance(seconds=11)
    failed = state(deployed, batch)
    assert failed["status"] == "failed"
    assert "log has the details" in failed["errors"][0]["description"]
    assert str(blocked) not in json.dumps(failed)
    blocked.unlink()
    again = sent(deployed, dataset, 0)
    deployed.ingest_due()
    assert state(deployed, again)["status"] == "success"


def test_what_is_in_the_way_for_a_moment_only_delays(deployed: Deployment, dataset: str) -> None:
    batch = sent(deployed, dataset, 0)
    blocked = deployed.backend.settings.data_dir / "lake" / "warehouse"
    blocked.write_text("in the way")
    deployed.ingest_due()
    blocked.unlink()
    deployed.ingest_due()
    assert state(deployed, batch)["status"] == "processing"
    deployed.clock.advance(seconds=11)
    deployed.ingest_due()
    assert (state(deployed, batch)["status"], ids(deployed, dataset)) == ("success", [0, 1, 2])


def test_a_batch_that_ended_its_readers_time_and_again_is_not_read_again(deployed: Deployment, dataset: str) -> None:
    batch = sent(deployed, dataset, 0)
    watch = LeaseMonitor(deployed.clock.elapsed_ms, 1000)
    for _ in range(10):
        assert store.claim_next(deployed.backend.database, "dead", watch, deployed.clock.now_ms(), 1000)
        store.release_all_of(deployed.backend.database, "dead")
    deployed.ingest_due()
    failed = state(deployed, batch)
    assert (failed["status"], failed["errors"][0]["code"]) == ("failed", "INGEST-1452-400")
    assert uploads(deployed) == []


def test_a_file_that_is_gone_from_the_disk_fails_its_batch(deployed: Deployment, dataset: str) -> None:
    batch = sent(deployed, dataset, 0)
    deployed.backend.uploads.remove(batch)
    deployed.ingest_due()
    failed = state(deployed, batch)
    assert failed["status"] == "failed"
    assert "a.json cannot be read" in failed["errors"][0]["description"]
    assert str(deployed.backend.settings.uploads_root) not in json.dumps(failed)


def test_an_import_that_was_cut_off_ends_as_it_turned_out(deployed: Deployment, dataset: str) -> None:
    """The command line died: once before its rows were in, once after."""
    backend = deployed.backend
    ended = {}
    for landed in (False, True):
        with backend.database.writing() as session:
            row = batches.new(dataset, deployed.caller, deployed.clock.now_ms())
            session.add(row)
            store.claim_batch(session, row, "import", deployed.clock.now_ms(), 1000)
            table = TableName(session.get_one(Dataset, dataset).table_name)
        if landed:
            file = backend.settings.data_dir / "rows.json"
            file.write_text('{"id": 7}\n')
            ingest.ingest(backend.lake, table, [input_file(file)], Attempt(row.id))
        deployed.ingest_due()
        deployed.clock.advance(seconds=31)
        deployed.ingest_due()
        ended[landed] = state(deployed, row.id)["status"]
    assert ended == {False: "failed", True: "success"}
    assert ids(deployed, dataset) == [7]


def test_an_import_that_is_refused_leaves_no_new_dataset_and_a_failed_batch_in_an_old_one(
    deployed: Deployment, dataset: str, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"id": ')
    backend = deployed.backend
    for name in ("new", "events"):
        with pytest.raises(ImportRefusedError):
            file_import.import_files(
                backend.database,
                backend.lake,
                backend.parsers,
                deployed.caller,
                deployed.clock,
                ImportRequest(name, (bad,)),
            )
    assert list(deployed.http.get(f"{CATALOG}/dataSets").json()) == [dataset]
    (batch,) = deployed.http.get(f"{CATALOG}/batches").json().values()
    assert (batch["status"], batch["relatedObjects"][0]["id"]) == ("failed", dataset)


def test_batches_without_further_uploads_are_abandoned(deployed: Deployment, dataset: str) -> None:
    old = sent(deployed, dataset, 0, complete=False)
    deployed.clock.advance(days=6)
    deployed.sign_in()
    young = sent(deployed, dataset, 0, complete=False)
    deployed.clock.advance(days=1, seconds=1)
    deployed.sign_in()
    sweep(deployed)
    assert [state(deployed, batch)["status"] for batch in (old, young)] == ["abandoned", "loading"]
    assert [path.name for path in uploads(deployed)] == [young]


def test_orphaned_uploads_and_tables_are_removed(deployed: Deployment, dataset: str) -> None:
    sent(deployed, dataset, 0)
    deployed.ingest_due()
    kept = sent(deployed, dataset, 3, complete=False)
    for left in ("unknown-to-the-database", sent_and_over(deployed, dataset)):
        (deployed.backend.settings.uploads_root / left).mkdir(parents=True, exist_ok=True)
    lake = deployed.backend.lake
    space = f"sandbox_{deployed.caller.sandbox_id.replace('-', '')}"
    folder = deployed.backend.settings.data_dir / "lake" / "warehouse"
    (folder / space / "dataset_gone" / "data").mkdir(parents=True)
    (folder / "anothers_namespace" / "dataset_x").mkdir(parents=True)
    sweep(deployed)
    assert [path.name for path in uploads(deployed)] == [kept]
    assert lake.tables_in(space) == [f"{space}.dataset_{dataset}"]
    assert (folder / "anothers_namespace" / "dataset_x").is_dir()
    assert ids(deployed, dataset) == [0, 1, 2]


def sent_and_over(deployed: Deployment, dataset: str) -> str:
    batch = sent(deployed, dataset, 6, complete=False)
    assert deployed.http.post(f"{IMPORT}/batches/{batch}?action=ABORT").status_code == 200
    return batch


def test_an_impossible_revert_is_reported_and_the_rows_stay(deployed: Deployment, dataset: str) -> None:
    batch = sent(deployed, dataset, 0)
    deployed.ingest_due()
    with deployed.backend.database.writing() as session:
        session.get_one(Batch, batch).rows = 99
    assert deployed.http.post(f"{IMPORT}/batches/{batch}?action=REVERT").json()["status"] == "staged"
    deployed.ingest_due()
    stays = state(deployed, batch)
    assert (stays["status"], stays["errors"][0]["code"]) == ("success", "INGEST-1420-400")
    assert ids(deployed, dataset) == [0, 1, 2]
