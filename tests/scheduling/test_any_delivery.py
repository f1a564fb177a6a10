"""Whatever is done to tables and runs, in whatever order: the consumer holds what it must, and nothing else lies there.

Plans, parts, landing zone, manifests and store are the real ones; the engine works in this process, and a worker dies
by an exception that nothing of ours handles. The model is in `consumer`.
"""

import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, text

from offtake.contract.entities import ENABLED
from offtake.contract.problems import Problem
from offtake.documents import InfoItem
from offtake.errors import FILES_KEPT, SNAPSHOT_EXPIRED
from offtake.flows import flow_changes, flow_verification
from offtake.flows import runs as flow_runs
from offtake.flows.run_manifests import read_manifest
from offtake.lake.table_names import TableName
from offtake.scheduling import heartbeat
from offtake.scheduling.background import worker_of
from offtake.scheduling.orphan_sweeper import remove_orphans
from offtake.scheduling.run_verification import delivery_of, verify_delivery
from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.store import disposals, run_parts, run_states
from offtake.store import runs as store
from offtake.store.tables import Dataset, Flow, Run, RunDataset, Watermark
from tests.conftest import NOON
from tests.deployment import Deployment, deployment
from tests.fake_clock import FakeClock
from tests.lake.test_any_history import BITS, RARE, History, named
from tests.matrix import examples
from tests.scheduling import flaky_destination
from tests.scheduling.flaky_destination import Crash, FaultyEngine
from tests.scheduling.manifest_consumer import Consumer, Planned, Source

EXAMPLES = int(os.environ.get("OFFTAKE_TEST_HISTORIES", examples(10)))
CHANGES = st.sampled_from(
    [
        *("import", "append") * 6,
        *("compact", "positions") * 6,
        *("delete", "overwrite", "expire", "roll_back") * 3,
        *RARE,
    ]
)
POINTS = st.sampled_from(
    [
        "claimed",
        "planned",
        "plan_stored",
        *(f"part_{at}:{times}" for at in ("started", "written", "allowed", "intended", "uploaded") for times in (1, 2)),
        *(f"part_{at}:{times}" for at in ("before_record", "recorded") for times in (1, 2)),
        "before_manifest",
        "after_manifest",
        "before_commit",
        "after_commit",
    ]
)
FAILING = st.sampled_from(
    ["planned", "part_started:2", "part_written:2", "part_uploaded:2", "part_recorded", "before_manifest"]
    + ["after_manifest"] * 3
)
FAULTS = st.lists(st.sampled_from(["", "away", "unsure", "collected"]), min_size=1, max_size=5)
DELAYS = st.sampled_from([0, 60, 1000, 90_000])


@dataclass
class World:
    """One deployment for all examples; each has a dataset, a flow and a folder of its own in it."""

    deployed: Deployment
    engine: FaultyEngine
    numbers: Iterator[int]


class AnyDelivery(RuleBasedStateMachine):
    """A flow of one dataset, seen by what it has delivered."""

    world: World
    imports = True
    """Whether rows can be imported into the dataset."""

    @initialize(with_manifest=st.booleans())
    def begin(self, with_manifest: bool) -> None:
        self.with_manifest = with_manifest
        event(f"manifest files: {with_manifest}")
        self.deployed, self.engine = self.world.deployed, self.world.engine
        self.engine.cancel, self.engine.zone = self.cancel_live, self.deployed.zone
        self.backend, self.clock = self.deployed.backend, self.deployed.clock
        self.clock.advance(days=1)
        self.deployed.sign_in()
        number = next(self.world.numbers)
        self.name, self.folder = f"events {number}", self.deployed.zone / f"out{number}"
        self.dataset, history = self.make_dataset()
        self.source = Source(history)
        params = {"path": self.folder.name, "includeFileManifest": with_manifest}
        self.flow = self.deployed.flow(self.dataset, params=params)
        self.consumer = Consumer(self.source)
        self.planned: dict[str, Planned] = {}
        self.over: set[str] = set()
        self.doomed: set[str] = set()
        self.delivered: dict[Path, str] = {}

    def make_dataset(self) -> tuple[str, History]:
        """A dataset, and the model of its table."""
        dataset = self.deployed.import_rows(self.name, [{"n": 0, "k": 0, "v": 0}])
        with self.backend.database.reading() as session:
            table = TableName(session.get_one(Dataset, dataset).table_name)
        return dataset, History(self.backend.lake, table)

    # The table

    @rule(change=CHANGES, bits=BITS)
    def table_changes(self, change: str, bits: int) -> None:
        if change != "import" or not self.imports:
            self.source.change(change if change != "import" else "append", bits)
        elif self.source.history.table.spec().is_unpartitioned():
            known, names = set(self.source.history.files), self.source.history.table.schema().column_names
            rows = self.source.history.new_rows(1 + bits % 4)
            self.deployed.import_rows(self.name, [{named(names, key): one[key] for key in one} for one in rows])
            self.source.history.came(due=True)
            self.source.came(known, bears=True)

    # Runs

    @rule(died=st.booleans())
    def slot_comes(self, died: bool) -> None:
        self.clock.advance(hours=3)
        if died:
            with (
                flaky_destination.at("tick", flaky_destination.crash),
                pytest.raises(Crash) if self.is_due() else nullcontext(),
            ):
                enqueue_due_runs(self.backend.database, self.clock)
        expected = self.is_due() and self.live() is None
        made = enqueue_due_runs(self.backend.database, self.clock)
        assert len(made) == expected

    @rule()
    def worked(self) -> None:
        self.work()

    @rule(change=CHANGES, bits=BITS)
    def served(self, change: str, bits: int) -> None:
        self.table_changes(change, bits)
        self.slot_comes(died=False)
        self.work()

    @rule(point=POINTS, change=CHANGES, bits=BITS)
    def worker_dies(self, point: str, change: str, bits: int) -> None:
        self.make_live()
        with flaky_destination.at(point, flaky_destination.crash):
            if self.work() == "died":
                event(f"died at {point}")
        self.table_changes(change, bits)

    @rule(faults=FAULTS)
    def parts_fail(self, faults: list[str]) -> None:
        self.make_live()
        self.engine.faults.extend(faults)
        event(f"parts failed: {self.work()}")
        self.engine.faults.clear()

    @rule(point=FAILING, again=st.booleans(), removable=st.booleans())
    def destination_refuses(self, point: str, again: bool, removable: bool) -> None:
        self.make_live()
        where = point if removable else f"{point},file_removed"
        with flaky_destination.at(
            where, flaky_destination.fail(flaky_destination.away() if again else flaky_destination.refused())
        ):
            event(f"refused at {point}, {'for a while' if again else 'for good'}: {self.work()}")

    @rule(
        point=st.sampled_from(["run_failed", "files_removed"]),
        faults=st.sampled_from([["refused"], ["", "refused"], ["collected", "refused"]]),
    )
    def worker_dies_while_giving_up(self, point: str, faults: list[str]) -> None:
        self.make_live()
        self.engine.faults.extend(faults)
        with flaky_destination.at(point, flaky_destination.crash):
            if self.work() == "died":
                event(f"died at {point}")
                self.doomed |= {run.id for run in self.runs() if run.status in run_states.LIVE}
        self.engine.faults.clear()

    @rule(before=st.lists(st.sampled_from(["", "collected"]), max_size=2))
    def cancelled_in_the_middle(self, before: list[str]) -> None:
        self.make_live()
        self.engine.faults.extend([*before, "cancelled"])
        with pytest.MonkeyPatch.context() as patched:
            # So that the worker hears of it at once.
            patched.setattr(heartbeat, "_LONGEST_SECONDS", 0.01)
            event(f"to be cancelled in the middle: {self.work()}")
        self.engine.faults.clear()

    @precondition(lambda self: self.live() is not None)
    @rule()
    def cancelled(self) -> None:
        live = self.live()
        assert live is not None
        event(f"cancelled while {live.status}")
        self.cancel_live()
        self.look()

    @rule()
    def triggered_again(self) -> None:
        found = self.runs()
        if not found or found[-1].status not in (run_states.SUCCESS, run_states.FAILED):
            return
        with self.backend.database.writing() as session:
            try:
                flow_runs.act(session, self.deployed.caller, found[-1].id, "RE_TRIGGER", None, self.clock.now_ms())
                allowed = True
            except Problem:
                allowed = False
        event(f"triggered again: {allowed}")
        # Nothing can have been delivered since the last run.
        assert allowed == (found[-1].status == run_states.FAILED and self.is_enabled())

    @rule()
    def triggered_again_though_delivered_since(self) -> None:
        """A failed run is repeated only as long as the position is where it was."""
        failed = [run for run in self.runs() if run.status == run_states.FAILED and run.id in self.planned]
        if not failed or self.live() is not None or not self.is_enabled():
            return
        moved = self.consumer.position != self.position_before(failed[0])
        with self.backend.database.writing() as session:
            try:
                flow_runs.act(session, self.deployed.caller, failed[0].id, "RE_TRIGGER", None, self.clock.now_ms())
                allowed = True
            except Problem:
                allowed = False
        event(f"triggered again later: {allowed}")
        assert allowed != moved

    @rule()
    def disabled_for_a_while(self) -> None:
        self.switch("disable")
        runs = len(self.runs())
        self.slot_comes(died=False)
        assert len(self.runs()) == runs
        self.switch("enable")

    # What is left behind

    @rule(seconds=DELAYS, point=st.sampled_from(["", "", "swept", "disposed", "file_recalled", "file_removed"]))
    def swept(self, seconds: int, point: str) -> None:
        self.clock.advance(seconds=seconds)
        act = flaky_destination.crash if point == "swept" else flaky_destination.fail(flaky_destination.away())
        try:
            with flaky_destination.at(point, act):
                list(remove_orphans(self.backend))
        except Crash:
            event("died while sweeping")

    @rule()
    def late_writer_dies(self) -> None:
        """A worker that had lost a run leaves half a file after the run's end; the next sweep comes only then."""
        found = [run for run in self.runs() if run.completed_at is not None and run.fence > 1 and run.sweep_due]
        if not found:
            return
        # Not those that it took over from an earlier run: they were complete.
        own = [key for key in self.parts(found[-1].id) if found[-1].id in key]
        if own:
            event("late half file")
            flaky_destination.leave_half(self.deployed.zone / own[0])

    @rule()
    def swept_a_day_later(self) -> None:
        self.sweep_for_good()

    # What always holds

    @invariant()
    def what_was_delivered_stays(self) -> None:
        for path, digest in self.delivered.items():
            assert hashlib.sha256(self.found(path).read_bytes()).hexdigest() == digest

    @invariant()
    def files_without_a_manifest_are_looked_after(self) -> None:
        for path, run in self.without_manifest():
            assert run.status in run_states.LIVE or run.sweep_due is not None or self.stays(path, run), path
            assert "manifest-" not in path.name or path.name.startswith(".") or run.status in run_states.LIVE, path

    @invariant()
    def the_position_is_the_consumers(self) -> None:
        with self.backend.database.reading() as session:
            known = session.get(Watermark, (self.flow, self.dataset))
        assert (known.snapshot_id if known else None) == self.consumer.position

    @invariant()
    def no_slot_runs_twice_and_one_run_is_live(self) -> None:
        found = self.runs()
        assert len({run.scheduled_at for run in found}) == len(found)
        assert sum(run.status in run_states.LIVE for run in found) <= 1

    def teardown(self) -> None:
        """In the end all is delivered, proven and clean."""
        if not hasattr(self, "flow"):
            return
        try:
            self.work()
            self.slot_comes(died=False)
            assert self.work() == run_states.SUCCESS
            assert self.consumer.position == self.source.current
            assert set(self.consumer.holds) >= set(self.source.states[self.source.current].births)
            assert self.held() == self.consumer.holds
            self.sweep_for_good()
            self.check_proofs()
        finally:
            self.leave()

    # How

    def make_live(self) -> None:
        """There is a run to carry out, in most cases with something to deliver."""
        if self.live() is None:
            self.table_changes("append", 1)
            self.slot_comes(died=False)

    def work(self) -> str | None:
        """A worker carries the live run on, once its holder has been silent for a lease; what became of it."""
        live = self.live()
        if live is None:
            return None
        worker = worker_of(self.backend, self.engine, f"worker {live.fence}")
        try:
            if not worker.run_next(threading.Event()):
                self.clock.advance(seconds=self.backend.settings.lease_seconds)
                assert worker.run_next(threading.Event())
        except Crash:
            status = "died"
        else:
            with self.backend.database.reading() as session:
                status = session.get_one(Run, live.id).status
        self.look()
        return status

    def look(self) -> None:
        """See what runs have planned since, and what they have delivered."""
        for run in self.runs():
            if run.planned_at is not None and run.id not in self.planned:
                self.planned[run.id] = self.plan_of(run)
            if run.completed_at is not None and run.id not in self.over:
                self.over.add(run.id)
                if run.status == run_states.SUCCESS:
                    assert run.id not in self.doomed, "it had been decided that it fails"
                    self.take(run, self.planned[run.id])
                    assert [path for path, other in self.without_manifest() if other.id == run.id] == []

    def plan_of(self, run: Run) -> Planned:
        with self.backend.database.reading() as session:
            (one,) = run_parts.run_datasets(session, run.id)
        assert one.position == self.consumer.position
        pinned = self.pinned(run)
        if one.error is None and (continued := self.continued(run, one)) is not None:
            return continued
        if one.error is not None:
            assert pinned is not None, "only what a run repeats may be gone"
            event("planned: what is repeated is gone")
            return Planned("full", None, None)
        assert one.to_snapshot == (pinned.to if pinned else self.source.current)
        if pinned is not None:
            event("planned: a repetition")
        self.check_kind(run, one)
        event(f"planned: {one.kind}")
        return Planned("full" if one.kind == "full" else "incremental", one.from_snapshot, one.to_snapshot)

    def continued(self, run: Run, one: RunDataset) -> Planned | None:
        """What a run has planned that continues from a failed one; None when it does not."""
        with self.backend.database.reading() as session:
            taken = session.scalars(select(RunDataset).where(RunDataset.taken_over_by == run.id)).all()
        earlier = [self.planned[row.run_id] for row in taken]
        if not earlier or any("are delivered again" in warning["message"] for warning in reasons(run)):
            return None
        (after,) = earlier
        assert (one.kind, one.from_snapshot) == (after.kind, after.start)
        pinned = self.pinned(run)
        repeated = pinned is not None and (pinned.kind, pinned.start, pinned.to) == (after.kind, after.start, after.to)
        assert one.to_snapshot == (after.to if repeated else self.source.current)
        event("planned: continued")
        return Planned(after.kind, after.start, one.to_snapshot, after)

    def pinned(self, run: Run) -> Planned | None:
        """What a repetition must plan: that of the run it repeats, or of the one which that repeats."""
        while run.parent_run_id is not None:
            planned = self.planned.get(run.parent_run_id)
            if planned is not None and planned.to is not None:
                return planned
            run = next(one for one in self.runs() if one.id == run.parent_run_id)
        return None

    def check_kind(self, run: Run, one: RunDataset) -> None:
        """In full only at first, or with a warning, and only when the increment cannot be determined."""
        assert one.to_snapshot is not None
        if one.kind == "incremental":
            assert one.from_snapshot is not None
            assert one.from_snapshot == self.consumer.position
            assert self.source.reaches(one.from_snapshot, one.to_snapshot)
            assert all("are delivered again" in warning["message"] for warning in reasons(run))
        elif self.consumer.position is not None:
            assert {warning["code"] for warning in reasons(run)} == {SNAPSHOT_EXPIRED.code}
            reached = self.source.reaches(self.consumer.position, one.to_snapshot)
            event(f"in full: {'not distinguishable' if reached else 'not reachable'}")
            assert not reached or self.source.compacted(self.consumer.position, one.to_snapshot)

    def take(self, run: Run, planned: Planned) -> None:
        """The consumer reads what a run has delivered, by its manifest: the file, or the document that is kept."""
        with self.backend.database.reading() as session:
            kept = read_manifest(session, self.deployed.caller, run.id)
        assert (run.manifest is not None) == self.with_manifest
        if run.manifest is not None:
            path = self.deployed.zone / run.manifest["key"]
            self.delivered[path] = run.manifest["sha256"]
            assert path.read_bytes() == kept
        manifest = json.loads(kept)
        assert manifest["flowRunId"] == run.id
        (one,) = manifest["datasets"]
        assert (one["exportKind"], one["fromSnapshotId"], one["toSnapshotId"]) == (
            planned.kind,
            planned.start,
            planned.to,
        )
        for result, file in zip(manifest["exportResults"], self.deployed.delivered(manifest), strict=True):
            assert self.found(file).stat().st_size == result["size"]
            assert pq.read_metadata(self.found(file)).num_rows == result["recordCount"]
            assert file not in self.delivered
            self.delivered[file] = result["sha256"]
        self.consumer.deliver(planned, self.rows_of(manifest))

    def rows_of(self, manifest: dict[str, Any]) -> Counter[int]:
        """The rows in the manifest's files, by number; the other columns must fit."""
        found = Counter[int]()
        for file in self.deployed.delivered(manifest):
            for row in pq.read_table(self.found(file)).to_pylist():
                assert row[named(row, "v")] == row["n"] * 10
                assert row[named(row, "k")] == row["n"] % 2
                found[row["n"]] += 1
        return found

    def held(self) -> Counter[int]:
        """What a consumer holds that reads all manifests in the order of the runs: the files, or the kept documents."""
        found = Counter[int]()
        manifests = {path.stem[-36:]: path.read_bytes() for path in self.folder.rglob("manifest-*.json")}
        if not self.with_manifest:
            assert manifests == {}
            ended = [run.id for run in self.runs() if run.status == run_states.SUCCESS]
            with self.backend.database.reading() as session:
                manifests = {one: read_manifest(session, self.deployed.caller, one) for one in ended}
        for run in self.runs():
            if run.id in manifests:
                manifest = json.loads(manifests.pop(run.id))
                rows = self.rows_of(manifest)
                found = rows if manifest["datasets"][0]["exportKind"] == "full" else found + rows
        assert not manifests
        return found

    def without_manifest(self) -> Iterator[tuple[Path, Run]]:
        """The files that no delivered manifest names, each with its run."""
        found = self.runs()
        for path in self.folder.rglob("*"):
            if path.is_file() and path not in self.delivered:
                (run,) = [run for run in found if run.id in path.name]
                yield path, run

    def found(self, path: Path) -> Path:
        """The file where it lies now: the consumer may have taken it away."""
        return path if path.exists() else self.engine.taken / path.relative_to(self.deployed.zone)

    def stays(self, path: Path, run: Run) -> bool:
        """Whether it is a file of a failed run that stays delivered."""
        if run.disposal != disposals.KEPT:
            return False
        with self.backend.database.reading() as session:
            kept = [part.key for part in run_parts.run_parts(session, run.id) if part.finished_at]
        return path.relative_to(self.deployed.zone).as_posix() in kept

    def sweep_for_good(self) -> None:
        self.clock.advance(days=1)
        list(remove_orphans(self.backend))
        over = [(path, run) for path, run in self.without_manifest() if run.status not in run_states.LIVE]
        assert [path for path, run in over if not self.stays(path, run)] == []

    def check_proofs(self) -> None:
        for run in self.runs():
            found = verify_delivery(delivery_of(self.backend, self.deployed.caller, run.id), lambda _: None)
            assert found.findings == ()
        with self.backend.database.reading() as session:
            flow = session.get_one(Flow, self.flow)
        database, lake, caller = self.backend.database, self.backend.lake, self.deployed.caller
        (proof,) = flow_verification.verify_flow(database, lake, caller, flow)
        assert proof.continuity is not None
        assert not proof.continuity.faults, [flaw.message for flaw in proof.continuity.faults]
        assert proof.position == self.consumer.position

    def leave(self) -> None:
        """The next example finds no run that is live."""
        self.engine.faults.clear()
        live = self.live()
        with self.backend.database.writing() as session:
            flow_changes.delete(session, self.deployed.caller, self.flow, self.clock.now_ms())
        if live is not None:
            store.release_all_of(self.backend.database, str(live.lease_owner))
            worker_of(self.backend, self.engine, "last").run_next(threading.Event())

    def cancel_live(self) -> None:
        live = self.live()
        assert live is not None
        with self.backend.database.writing() as session:
            flow_runs.act(session, self.deployed.caller, live.id, "CANCEL", None, self.clock.now_ms())

    def switch(self, op: str) -> None:
        with self.backend.database.writing() as session:
            flow_changes.act(session, self.deployed.caller, self.flow, op, None, None, self.clock.now_ms())

    def is_enabled(self) -> bool:
        return self._flow().state == ENABLED

    def is_due(self) -> bool:
        due = self._flow().next_run_s
        return self.is_enabled() and due is not None and due <= self.clock.now_seconds()

    def live(self) -> Run | None:
        return next((run for run in self.runs() if run.status in run_states.LIVE), None)

    def runs(self) -> list[Run]:
        """The flow's runs, in the order in which they were made."""
        with self.backend.database.reading() as session:
            return list(session.scalars(select(Run).filter_by(flow_id=self.flow).order_by(text("rowid"))))

    def parts(self, run_id: str) -> list[str]:
        with self.backend.database.reading() as session:
            return [part.key for part in run_parts.run_parts(session, run_id)]

    def position_before(self, run: Run) -> int | None:
        with self.backend.database.reading() as session:
            (one,) = run_parts.run_datasets(session, run.id)
            return one.position

    def _flow(self) -> Flow:
        with self.backend.database.reading() as session:
            return session.get_one(Flow, self.flow)


def reasons(run: Run) -> list[InfoItem]:
    """Why a run delivers everything again; that a failed run left files delivered is no reason for anything."""
    return [warning for warning in run.warnings if warning["code"] != FILES_KEPT.code]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    engine = FaultyEngine()
    with (
        TemporaryDirectory() as folder,
        deployment(Path(folder), FakeClock(NOON), engine, part_bytes=1, part_max_attempts=2) as deployed,
    ):
        yield World(deployed, engine, count())


@pytest.mark.search
def test_whatever_happens_the_consumer_holds_what_it_must(world: World) -> None:
    machine = type("AnyDeliveryHere", (AnyDelivery,), {"world": world})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            phases=set(Phase) - {Phase.explain},  # which would take minutes
        ),
    )
