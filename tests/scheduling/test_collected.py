"""A consumer that takes files away as they appear: every row once, whatever becomes of the runs."""

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import delete, func, select

from offtake.destinations.drivers.local_folder import LocalFolderSink
from offtake.errors import FILES_KEPT
from offtake.flows import backfill, flow_verification
from offtake.lake.table_names import TableName
from offtake.scheduling.orphan_sweeper import remove_orphans
from offtake.scheduling.run_verification import delivery_of, verify_delivery
from offtake.store import disposals
from offtake.store.tables import Dataset, Flow, Run, RunDataset, Usage
from tests.deployment import FLOW_SERVICE, WITH_MANIFEST, Deployment, deployment, moving_files, rows, target_body
from tests.fake_clock import FakeClock
from tests.scheduling import flaky_destination
from tests.scheduling.flaky_destination import FaultyEngine

COLLECTED, REFUSED, CANCELLED = "collected", "refused", "cancelled"


@dataclass
class Partner:
    """Who collects: the rows of every file that was taken away, and the manifests that lie in the zone."""

    deployed: Deployment
    engine: FaultyEngine
    flow: str = ""
    datasets: list[str] = field(default_factory=list)

    @property
    def taken(self) -> list[Path]:
        return sorted(self.engine.taken.rglob("*.parquet"))

    def ids(self) -> list[int]:
        """The ids that the partner holds or can fetch."""
        files = [*self.taken, *self.deployed.zone.rglob("*.parquet")]
        return sorted(one for path in files if not path.name.startswith(".") for one in read(path))

    def counted(self) -> tuple[int, int]:
        """Rows and files by the usage of all months."""
        with self.deployed.backend.database.reading() as session:
            rows, files = session.execute(select(func.sum(Usage.rows), func.sum(Usage.files))).one()
        return int(rows), int(files)

    def run(self, *faults: str) -> Run:
        """Carry out what is due, with these faults, part by part; the flow's newest run."""
        self.engine.faults.extend(faults)
        self.deployed.run_due()
        self.engine.faults.clear()
        return self.newest()

    def next(self, *faults: str) -> Run:
        """The same in the flow's next slot."""
        self.deployed.clock.advance(hours=3)
        return self.run(*faults)

    def newest(self) -> Run:
        with self.deployed.backend.database.reading() as session:
            found = session.scalars(select(Run).where(Run.flow_id == self.flow).order_by(Run.created_at, Run.id)).all()
        return max(found, key=lambda run: (run.scheduled_at, run.created_at))

    def act(self, run: str, op: str) -> Any:
        self.deployed.sign_in()
        answer = self.deployed.http.post(f"{FLOW_SERVICE}/runs/{run}/action?op={op}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def cancel_live(self) -> None:
        self.act(self.newest().id, "CANCEL")

    def prove(self) -> list[str]:
        backend = self.deployed.backend
        with backend.database.reading() as session:
            flow = session.get_one(Flow, self.flow)
        proofs = flow_verification.verify_flow(backend.database, backend.lake, self.deployed.caller, flow)
        return [flaw.message for one in proofs if one.continuity for flaw in one.continuity.faults]


def continued(partner: Partner) -> list[str]:
    """The runs that the flow's next run is said to continue from."""
    with partner.deployed.backend.database.reading() as session:
        return [run.id for run, _ in disposals.kept_runs(session, partner.flow, partner.datasets)]


def move(deployed: Deployment, flow: str) -> None:
    """Have the flow deliver to another target connection, in the folder `new`."""
    first = deployed.get(f"/flows/{flow}")["items"][0]["inheritedAttributes"]["targetConnections"][0]
    target = deployed.post("/targetConnections", target_body(first["baseConnection"]["id"], path="new"))["id"]
    deployed.patch(f"/flows/{flow}", [{"op": "replace", "path": "/targetConnectionIds", "value": [target]}])


def read(path: Path) -> list[int]:
    return list(pq.read_table(path)["id"].to_pylist())


@pytest.fixture
def partner(tmp_path: Path, clock: FakeClock) -> Iterator[Partner]:
    """A flow of twenty rows in four files, due now."""
    engine = FaultyEngine()
    with deployment(tmp_path / "data", clock, engine, part_bytes=1) as deployed:
        made = Partner(deployed, engine)
        engine.zone, engine.cancel = deployed.zone, made.cancel_live
        made.datasets = list({deployed.import_rows("events", rows(first, 5)) for first in range(0, 20, 5)})
        made.flow = deployed.flow(*made.datasets, params=WITH_MANIFEST)
        yield made


def test_an_inbox_that_is_emptied_at_once_receives_every_row_once(partner: Partner) -> None:
    run = partner.run(*[COLLECTED] * 4)
    assert (run.status, run.errors, run.warnings) == ("success", [], [])
    partner.deployed.import_rows("events", rows(20, 3))
    assert partner.next(COLLECTED).status == "success"
    assert partner.ids() == list(range(23))
    assert len(partner.taken) == 5


@pytest.mark.parametrize("ending", [REFUSED, CANCELLED])
def test_a_run_that_ends_early_keeps_what_was_collected_and_the_next_one_delivers_the_rest(
    partner: Partner, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr("offtake.scheduling.heartbeat._LONGEST_SECONDS", 0.01)
    failed = partner.run(COLLECTED, "", COLLECTED, ending)
    assert (failed.status, failed.disposal) == ("failed", disposals.KEPT)
    (held,) = failed.warnings
    assert held["code"] == FILES_KEPT.code
    assert "3 file(s) with 15 rows stay delivered" in held["message"]
    assert all(path.name in held["message"] for path in partner.taken)
    shown = partner.deployed.runs(partner.flow)[0]["metrics"]
    assert len(shown["fileSummary"]["manifest"]["fileInfo"]) == 3
    assert shown["recordSummary"]["warningInfo"] == [held]
    partner.deployed.import_rows("events", rows(20, 3))
    run = partner.next()
    assert (run.status, run.errors) == ("success", [])
    assert partner.ids() == list(range(23))
    assert partner.counted() == (23, 5)
    (manifest,) = partner.deployed.manifests()
    assert sum(one["recordCount"] for one in manifest["exportResults"]) == 23
    assert {path.name for path in partner.taken} < {one["name"] for one in manifest["exportResults"]}
    assert partner.prove() == []
    for one in (failed, run):
        found = verify_delivery(delivery_of(partner.deployed.backend, partner.deployed.caller, one.id), lambda _: None)
        assert (found.findings, found.collected) == ((), 2)


def test_a_run_of_which_nothing_was_collected_leaves_nothing(partner: Partner) -> None:
    failed = partner.run("", "", REFUSED)
    assert (failed.disposal, failed.warnings, partner.ids()) == (disposals.REMOVED, [], [])
    assert [path for path in partner.deployed.zone.rglob("*") if path.is_file()] == []
    assert partner.next().status == "success"
    assert partner.ids() == list(range(20))


def test_failures_in_a_row_keep_what_each_of_them_delivered(partner: Partner) -> None:
    partner.run(COLLECTED, REFUSED)
    partner.deployed.import_rows("events", rows(20, 3))
    partner.next(COLLECTED, REFUSED)
    partner.deployed.import_rows("events", rows(23, 3))
    again = partner.next("", REFUSED)
    assert again.disposal == disposals.KEPT
    assert len([one for one in again.warnings if "3 file(s) with 15 rows" in one["message"]]) == 1
    assert partner.next().status == "success"
    assert partner.ids() == list(range(26))
    assert partner.counted() == (26, 6)
    assert partner.prove() == []


def test_a_run_that_had_delivered_all_but_its_manifest_is_continued(partner: Partner) -> None:
    with flaky_destination.at("before_manifest", flaky_destination.fail(flaky_destination.refused())):
        failed = partner.run(*[COLLECTED] * 4)
    assert failed.disposal == disposals.KEPT
    assert partner.next().status == "success"
    assert partner.ids() == list(range(20))
    assert partner.prove() == []


def test_a_repetition_delivers_the_rest_of_the_same_snapshots(partner: Partner) -> None:
    failed = partner.run(COLLECTED, REFUSED)
    partner.deployed.import_rows("events", rows(20, 3))
    partner.act(failed.id, "RE_TRIGGER")
    assert partner.run().status == "success"
    assert partner.ids() == list(range(20))
    assert partner.next().status == "success"
    assert partner.ids() == list(range(23))
    assert partner.prove() == []


def test_a_destination_that_is_away_leaves_the_decision_to_the_next_run(partner: Partner) -> None:
    zone = partner.deployed.zone

    def take_away() -> None:
        zone.rename(zone.with_name("away"))

    with flaky_destination.at("run_failed", take_away):
        failed = partner.run(COLLECTED, "", REFUSED)
    zone.with_name("away").rename(zone)
    assert (failed.disposal, failed.sweep_due is None) == (None, False)
    assert partner.counted() == (0, 0)
    assert partner.next().status == "success"
    assert partner.ids() == list(range(20))
    assert partner.counted() == (20, 4)
    list(remove_orphans(partner.deployed.backend))
    assert partner.ids() == list(range(20))


@pytest.mark.parametrize("point", ["disposed", "file_recalled", "file_recalled:2"])
def test_a_removal_that_is_cut_off_is_not_taken_for_a_collection(partner: Partner, point: str) -> None:
    with flaky_destination.at(point, flaky_destination.fail(flaky_destination.away())):
        failed = partner.run("", "", "", REFUSED)
    assert failed.disposal != disposals.KEPT
    assert partner.next().status == "success"
    list(remove_orphans(partner.deployed.backend))
    assert partner.ids() == list(range(20))
    assert [path for path in partner.deployed.zone.rglob(".*") if path.is_file()] == []


def test_what_is_collected_while_the_rest_is_removed_stays_delivered(partner: Partner) -> None:
    def collect() -> None:
        partner.engine.collect(sorted(partner.deployed.zone.rglob("part-*"))[-1])

    with flaky_destination.at("file_recalled", collect):
        failed = partner.run("", "", "", REFUSED)
    assert (failed.disposal, len(partner.taken)) == (disposals.KEPT, 1)
    assert partner.next().status == "success"
    assert partner.ids() == list(range(20))
    assert partner.counted() == (20, 4)


def test_a_backfill_of_a_run_that_kept_files_delivers_them_again_and_the_next_run_delivers_the_rest(
    partner: Partner,
) -> None:
    failed = partner.run(COLLECTED, COLLECTED, REFUSED)
    assert failed.disposal == disposals.KEPT
    backend = partner.deployed.backend
    with backend.database.reading() as session:
        flow = session.get_one(Flow, partner.flow)
    asked = backfill.of_run(backfill.Tables(backend.database, backend.lake, partner.deployed.caller), flow, failed)
    with backend.database.writing() as session:
        again = backfill.request(session, partner.deployed.caller, partner.flow, asked, partner.deployed.clock.now_ms())
    partner.deployed.run_due()
    copies = sorted(one for path in partner.deployed.zone.rglob(f"{again.folder}/**/*.parquet") for one in read(path))
    assert copies == list(range(20))
    assert partner.next().status == "success"
    files = [*partner.taken, *partner.deployed.zone.rglob("*.parquet")]
    assert sorted(one for path in files if f"{again.folder}" not in path.parts for one in read(path)) == list(range(20))


@pytest.mark.parametrize("where", ["away", "refused"])
def test_a_flow_that_leads_elsewhere_asks_nothing_of_the_place_that_it_left(
    partner: Partner, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    deployed = partner.deployed
    waiting = partner.run("", *["away"] * 20)
    assert (waiting.status, waiting.planned_at is not None) == ("waiting", True)
    move(deployed, partner.flow)
    real = LocalFolderSink.is_gone

    def fail(sink: LocalFolderSink, key: str) -> bool:
        if key.startswith("new/"):
            return real(sink, key)
        raise flaky_destination.away() if where == "away" else flaky_destination.refused()

    monkeypatch.setattr(LocalFolderSink, "is_gone", fail)
    deployed.sign_in()
    partner.act(waiting.id, "CANCEL")
    deployed.run_due()
    assert continued(partner) == []
    assert partner.next().status == "success"
    assert sorted(one for path in (deployed.zone / "new").rglob("*.parquet") for one in read(path)) == list(range(20))


def test_files_at_a_place_that_may_only_be_written_to_stay_delivered(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: Any, **_more: Any) -> None:
        raise flaky_destination.refused()

    for name in ("is_gone", "recall", "delete", "list"):
        monkeypatch.setattr(LocalFolderSink, name, refuse)
    partner.run("", COLLECTED, REFUSED)
    assert partner.next().status == "success"
    assert partner.ids() == list(range(20))


@pytest.mark.parametrize(("change", "says"), [("delete", "The flow was deleted"), ("move", "all of these rows there")])
def test_a_cancelled_run_says_what_its_flow_delivers_of_it(partner: Partner, change: str, says: str) -> None:
    deployed = partner.deployed
    waiting = partner.run(COLLECTED, *["away"] * 20)
    if change == "move":
        move(deployed, partner.flow)
        deployed.sign_in()
        partner.act(waiting.id, "CANCEL")
    else:
        deployed.delete(f"/flows/{partner.flow}")
    deployed.run_due()
    ended = partner.newest()
    assert (ended.status, ended.disposal) == ("failed", disposals.KEPT)
    assert says in ended.warnings[-1]["message"]


def test_a_file_that_cannot_be_removed_stays_delivered(partner: Partner, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_more: Any) -> None:
        raise flaky_destination.refused()

    monkeypatch.setattr(LocalFolderSink, "recall", refuse)
    failed = partner.run("", "", REFUSED)
    assert failed.disposal == disposals.KEPT
    assert len(partner.ids()) == 10
    assert partner.next().status == "success"
    assert partner.ids() == list(range(20))


def test_columns_that_came_in_between_are_in_the_rest(partner: Partner) -> None:
    partner.run(COLLECTED, REFUSED)
    partner.deployed.import_rows("events", [{"id": 20, "city": "x", "tags": [], "new": 1}])
    assert partner.next().status == "success"
    assert partner.ids() == list(range(21))
    columns = [pq.read_schema(path).names for path in partner.deployed.zone.rglob("*.parquet")]
    assert {"new" in names for names in columns} == {True}


def test_a_table_that_was_recreated_goes_out_whole_with_a_warning(partner: Partner) -> None:
    partner.run(COLLECTED, REFUSED)
    with partner.deployed.backend.database.reading() as session:
        (dataset,) = session.scalars(select(Dataset))
        partner.deployed.backend.lake.catalog.drop_table(TableName(dataset.table_name))
    partner.deployed.import_rows("events", rows(50, 3))
    run = partner.next()
    assert run.status == "success"
    assert partner.ids() == [*read(partner.taken[0]), 50, 51, 52]
    assert any("which were kept, are delivered again" in one["message"] for one in run.warnings)
    assert partner.prove() == []


def test_a_dataset_that_left_the_flow_is_not_delivered_and_the_others_are(partner: Partner) -> None:
    other = partner.deployed.import_rows("others", rows(100, 5))
    flow = partner.deployed.flow(*partner.datasets, other)
    partner.deployed.delete(f"/flows/{partner.flow}")
    partner.flow = flow
    partner.run(*[COLLECTED] * 2, REFUSED)
    with partner.deployed.backend.database.writing() as session:
        session.execute(delete(Dataset).where(Dataset.id == other))
    run = partner.next()
    assert [error["code"] for error in run.errors] == ["EXPORT-1404-404"]
    held = Counter(partner.ids())
    assert {one: held[one] for one in range(20)} == dict.fromkeys(range(20), 1)


def test_a_restarted_flow_delivers_everything(partner: Partner) -> None:
    partner.run(COLLECTED, REFUSED)
    partner.deployed.sign_in()
    for mode, unit, interval in (("DAILY_FULL_EXPORT", "day", 0), ("FIRST_FULL_THEN_INCREMENTAL", "hour", 3)):
        changes = {"exportMode": mode, "timeUnit": unit, "interval": interval}
        operations = [
            {"op": "replace", "path": f"/scheduleParams/{key}", "value": value} for key, value in changes.items()
        ]
        partner.deployed.patch(f"/flows/{partner.flow}", operations)
    assert partner.next().status == "success"
    held = Counter(partner.ids())
    assert sorted(held) == list(range(20))
    assert sum(held.values()) == 25


def test_two_runs_do_not_continue_from_the_same_run(partner: Partner) -> None:
    failed = partner.run(COLLECTED, REFUSED)
    database = partner.deployed.backend.database
    with database.writing() as session:
        assert disposals.hand_over(session, failed.id, partner.datasets[0], "one")
    with database.writing() as session:
        assert not disposals.hand_over(session, failed.id, partner.datasets[0], "another")
        assert session.get_one(RunDataset, (failed.id, partner.datasets[0])).taken_over_by == "one"


def test_a_consumer_that_empties_the_folder_in_the_background(partner: Partner) -> None:
    over = threading.Event()

    def collect() -> None:
        while not over.is_set():
            for path in moving_files(partner.deployed.zone, "part-*"):
                partner.engine.collect(path)

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        partner.run("", "", REFUSED)
        partner.deployed.import_rows("events", rows(20, 3))
        partner.next("", "away", "unsure")
        partner.next()
    finally:
        over.set()
        thread.join()
    assert partner.ids() == list(range(23))
