"""Flows that end, change or are disabled while a run is live: what it delivers, and what the next one does."""

import pytest

from offtake.errors import CANCELLED
from offtake.scheduling.scheduler import enqueue_due_runs, repair_future_slots
from tests.deployment import Deployment, rows, source_body, target_body
from tests.scheduling.delivered_files import DAY, HOUR, ONCE, STAGES, Exported, make


@pytest.fixture
def exported(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> Exported:
    """A flow of every three hours that begins now, with small parts; nothing has run yet."""
    return make(deployed, monkeypatch)


# Schedules that end or are changed while a run is live


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_ends_as_it_would_when_the_flow_ends_meanwhile(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    exported = make(deployed, monkeypatch, endTime=deployed.clock.now_seconds() + HOUR)
    exported.begin(stage)
    exported.pass_time(days=1)
    assert (exported.slots(), exported.next()) == ([0], None)
    assert exported.position() is not None
    exported.check_all_once()


def test_the_last_slot_waits_for_a_run_that_is_live(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = make(deployed, monkeypatch, endTime=deployed.clock.now_seconds() + 4 * HOUR)
    exported.begin("planned")
    exported.append()
    database, clock = deployed.backend.database, deployed.clock
    for _ in range(3):
        clock.advance(hours=3)
        assert enqueue_due_runs(database, clock) == []
        repair_future_slots(database, clock)
    assert exported.next() == 3
    exported.serve()  # the run that was live
    exported.serve()
    assert (exported.slots(), exported.next()) == ([0, 3], None)
    exported.check_all_once()


@pytest.mark.parametrize(("planned_before", "slots"), [(True, 2), (False, 1)])
def test_a_one_time_export_is_made_unless_one_that_was_asked_for_stands_for_it(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch, planned_before: bool, slots: int
) -> None:
    exported = make(deployed, monkeypatch, **ONCE, startTime=deployed.clock.now_seconds() + HOUR)
    deployed.post("/runs", {"flowId": exported.flow})
    if planned_before:
        exported.go_on(until=None)
        exported.append()
    deployed.clock.advance(hours=1)
    exported.serve()
    exported.serve()
    assert exported.next() is None
    whole = list(range(exported.count))
    assert exported.delivered() == ([[0, 1, 2, 3], whole] if planned_before else [whole])
    assert len(exported.slots()) == slots


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("change", "following"),
    [
        pytest.param({"interval": 6}, [6, 12], id="less often"),
        pytest.param({"timeUnit": "day", "interval": 1}, [24, 48], id="daily"),
        pytest.param({"startTime": 4 * HOUR}, [4, 7], id="another start, to come"),
        pytest.param({"startTime": -2 * HOUR}, [4, 7], id="another start, in the past"),
        pytest.param({"endTime": 7 * HOUR}, [6, None], id="an end to come"),
        pytest.param({"endTime": 3 * HOUR + 60}, [None], id="an end that has come"),
    ],
)
@pytest.mark.matrix
def test_a_schedule_that_changes_while_a_run_is_live(
    exported: Exported, stage: str, change: dict[str, int], following: list[float | None]
) -> None:
    exported.serve()
    exported.append()
    exported.deployed.clock.advance(hours=3)
    exported.begin(stage)
    exported.append()
    exported.deployed.clock.advance(seconds=120)
    exported.edit(**{key: value + exported.start if "Time" in key else value for key, value in change.items()})
    exported.serve()
    assert exported.slots() == [0, 3]
    assert len(exported.delivered()[1]) == (8 if stage == "waiting" else 4)
    for slot in following:
        assert exported.next() == slot
        if slot is not None:
            now = (exported.deployed.clock.now_seconds() - exported.start) / HOUR
            exported.append()
            exported.pass_time(hours=max(0.0, slot - now))
            assert exported.slots()[-1] == slot
    if following == [None]:
        exported.append()
        exported.pass_time(days=1)
        assert exported.slots() == [0, 3]
        exported.edit(endTime=exported.start + 10 * DAY)
        exported.pass_time(hours=3)
    exported.check_all_once()


@pytest.mark.parametrize("stage", STAGES)
def test_a_template_that_changes_while_a_run_is_live_names_the_folders_of_what_is_planned_later(
    exported: Exported, stage: str
) -> None:
    exported.begin(stage)
    exported.edit(foldernameTemplate="new/%DATASET_NAME%")
    exported.serve()
    exported.append()
    exported.pass_time(hours=3)
    assert ["new/" in one for one in exported.folders()] == [stage == "waiting", True]
    exported.check_all_once()


@pytest.mark.parametrize("stage", STAGES)
def test_a_flow_that_is_pointed_elsewhere_while_a_run_is_live_goes_there_from_the_next_run(
    exported: Exported, stage: str
) -> None:
    deployed = exported.deployed
    exported.begin(stage)
    target = deployed.get(f"/flows/{exported.flow}")["items"][0]["targetConnectionIds"][0]
    base = deployed.get(f"/targetConnections/{target}")["items"][0]["baseConnectionId"]
    other = deployed.post("/targetConnections", target_body(base, path="elsewhere"))["id"]
    exported.patch("/targetConnectionIds", [other])
    exported.serve()
    exported.append()
    exported.pass_time(hours=3)
    assert [one.lstrip("/").split("/")[0] for one in exported.folders()] == ["out", "elsewhere"]
    exported.check_all_once()


@pytest.mark.parametrize("stage", STAGES)
def test_leaving_increments_while_a_run_is_live_and_coming_back_starts_in_full(exported: Exported, stage: str) -> None:
    exported.serve()
    exported.append()
    exported.deployed.clock.advance(hours=3)
    exported.begin(stage)
    exported.edit(**ONCE)
    assert exported.position() is None
    exported.serve()
    assert (exported.next(), exported.position()) == (None, None)
    # What was planned as an increment stays one; what was not is the one full export.
    whole = list(range(exported.count))
    assert exported.delivered()[1:] == [whole if stage == "waiting" else [4, 5, 6, 7]]
    exported.edit(exportMode="FIRST_FULL_THEN_INCREMENTAL", timeUnit="hour", interval=3)
    exported.pass_time(hours=3)
    exported.append()
    exported.pass_time(hours=3)
    assert exported.delivered()[2:] == [whole, [8, 9, 10, 11]]


@pytest.mark.parametrize("stage", STAGES)
def test_a_dataset_that_joins_while_a_run_is_live_goes_out_with_the_next(exported: Exported, stage: str) -> None:
    deployed = exported.deployed
    exported.begin(stage)
    other = deployed.import_rows("others", rows(1000, 3))
    exported.patch(
        "/sourceConnectionIds", [deployed.post("/sourceConnections", source_body(exported.dataset, other))["id"]]
    )
    exported.serve()
    exported.append()
    exported.pass_time(hours=3)
    assert exported.delivered() == [[0, 1, 2, 3], [4, 5, 6, 7, 1000, 1001, 1002]]


@pytest.mark.parametrize("stage", STAGES)
def test_a_dataset_that_leaves_while_a_run_is_live(exported: Exported, stage: str) -> None:
    """It is not delivered by what is planned later; when it comes back, it starts in full."""
    deployed = exported.deployed
    other = deployed.import_rows("others", rows(1000, 2))
    deployed.sign_in()
    together = deployed.post("/sourceConnections", source_body(exported.dataset, other))["id"]
    alone = deployed.post("/sourceConnections", source_body(exported.dataset))["id"]
    exported.patch("/sourceConnectionIds", [together])
    exported.serve()
    exported.append()
    deployed.import_rows("others", rows(1002, 2))
    deployed.clock.advance(hours=3)
    exported.begin(stage)
    exported.patch("/sourceConnectionIds", [alone])
    exported.serve()
    exported.patch("/sourceConnectionIds", [together])
    exported.append()
    exported.pass_time(hours=3)
    live = [4, 5, 6, 7] if stage == "waiting" else [4, 5, 6, 7, 1002, 1003]
    assert exported.delivered()[1:] == [live, [8, 9, 10, 11, 1000, 1001, 1002, 1003]]


def test_a_run_that_waits_for_nothing_but_what_has_left_is_cancelled(exported: Exported) -> None:
    deployed = exported.deployed
    other = deployed.import_rows("others", rows(1000, 2))
    exported.begin("waiting")
    exported.patch("/sourceConnectionIds", [deployed.post("/sourceConnections", source_body(other))["id"]])
    exported.pass_time(hours=3)
    assert [(run.status, [one["code"] for one in run.errors]) for run in exported.runs()] == [
        ("failed", [CANCELLED.code]),
        ("success", []),
    ]
    assert exported.delivered() == [[1000, 1001]]


# Disabled and enabled


def test_a_flow_that_is_enabled_after_long_waits_for_its_next_slot_and_covers_all(exported: Exported) -> None:
    exported.serve()
    position = exported.position()
    exported.act("disable")
    for _ in range(5):
        exported.append()
        exported.pass_time(days=20, hours=1)
    assert (exported.slots(), exported.position()) == ([0], position)
    exported.act("enable")
    exported.serve()
    assert (exported.slots(), exported.next()) == ([0], 2406)
    exported.pass_time(hours=1)
    assert exported.slots() == [0, 2406]
    exported.check_all_once()


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_that_is_live_ends_as_it_would_when_its_flow_is_disabled(exported: Exported, stage: str) -> None:
    exported.begin(stage)
    exported.act("disable")
    exported.pass_time(hours=4)
    exported.act("enable")
    exported.append()
    exported.pass_time(hours=2)
    assert exported.slots() == [0, 6]
    exported.check_all_once()


@pytest.mark.parametrize(("end", "slots"), [(2, [0]), (3, [0]), (5, [0, 3])])
def test_a_waiting_slot_runs_if_it_is_within_the_window_that_was_set_meanwhile(
    exported: Exported, end: int, slots: list[int]
) -> None:
    exported.serve()
    exported.append()
    exported.deployed.clock.advance(hours=7)  # no scheduler runs meanwhile
    exported.edit(endTime=exported.start + end * HOUR)
    exported.serve()
    assert (exported.slots(), exported.next()) == (slots, None)


# Target connections that are changed while a run is live


@pytest.mark.parametrize("change", [{"datasetFileType": "JSON"}, {"compression": "GZIP"}], ids=str)
def test_a_run_taken_up_again_puts_no_files_under_names_of_another_format(
    exported: Exported, change: dict[str, str]
) -> None:
    deployed = exported.deployed
    exported.begin("parts")
    (target,) = deployed.get("/targetConnections")["items"]
    changes = [{"op": "replace", "path": f"/params/{key}", "value": value} for key, value in change.items()]
    deployed.patch(f"/targetConnections/{target['id']}", changes)
    exported.serve()
    (run,) = exported.runs()
    assert [error["code"] for error in run.errors] == ["EXPORT-2004-400"]
    assert [path for path in deployed.zone.rglob("*") if path.is_file()] == []
    exported.pass_time(hours=3)
    assert exported.runs()[-1].status == "success"
    assert exported.position() is not None
