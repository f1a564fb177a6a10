"""The sweep removes what dead and failed runs have left, and nothing that belongs to any other run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from offtake.cli.main import main
from offtake.documents import InfoItem
from offtake.engines.local import LocalEngine
from offtake.errors import DESTINATION_UNAVAILABLE, DeliveryError
from offtake.scheduling.orphan_sweeper import remove_orphans
from offtake.store.run_states import SECOND_LOOK_MS
from offtake.store.tables import Dataset, Run, RunPart
from tests.deployment import WITH_MANIFEST, Deployment, deployment, rows
from tests.fake_clock import FakeClock
from tests.info_items import failure


@pytest.fixture
def deployed(tmp_path: Path, clock: FakeClock, engine: LocalEngine) -> Iterator[Deployment]:
    with deployment(tmp_path / "data", clock, engine) as opened:
        yield opened


def due(deployed: Deployment) -> list[int | None]:
    with deployed.backend.database.reading() as session:
        return list(session.scalars(select(Run.sweep_due).order_by(Run.created_at)))


def look(deployed: Deployment, at: int | None = None, verdict: InfoItem | None = None) -> None:
    """Have every run looked after now, as if it had been written down for then; with a verdict, as one that failed."""
    with deployed.backend.database.writing() as session:
        for run in session.scalars(select(Run)):
            run.sweep_due = deployed.clock.now_ms() if at is None else at
            run.failure = verdict
    for _ in remove_orphans(deployed.backend):
        pass


def files(deployed: Deployment) -> set[str]:
    return {path.name for path in deployed.zone.rglob("*") if path.is_file()}


def left_behind(deployed: Deployment) -> None:
    """Create a temporary file next to each part."""
    for part in list(deployed.zone.rglob("part-*")):
        part.with_name(f".{part.name}.0123abcd.tmp").write_bytes(b"half")


def test_of_a_delivered_run_only_what_was_never_completed_goes(deployed: Deployment) -> None:
    deployed.flow(deployed.import_rows("events", rows(0, 9)))
    deployed.run_due()
    delivered = files(deployed)
    (deployed.zone / "out" / "partner.txt").write_text("the partner's own")
    left_behind(deployed)
    look(deployed)
    assert files(deployed) == delivered | {"partner.txt"}


def test_what_a_run_with_a_verdict_wrote_goes_and_what_others_wrote_stays(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 9)), schedule={"foldernameTemplate": "/"})
    deployed.run_due()
    first = files(deployed)
    deployed.import_rows("events", rows(9, 3))
    deployed.clock.advance(hours=3)
    deployed.run_due()
    left_behind(deployed)
    newest, _ = (run["id"] for run in deployed.runs(flow))
    with deployed.backend.database.writing() as session:
        run = session.get_one(Run, newest)
        run.failure, run.sweep_due = failure("EXPORT-1499-400"), deployed.clock.now_ms()
    for _ in remove_orphans(deployed.backend):
        pass
    assert {name for name in files(deployed) if not name.endswith(".tmp")} == first
    assert {name for name in files(deployed) if newest in name} == set()


def test_a_run_that_failed_in_part_keeps_what_it_delivered(deployed: Deployment) -> None:
    kept, gone = deployed.import_rows("kept", rows(0, 9)), deployed.import_rows("gone", rows(0, 9))
    deployed.flow(kept, gone, params=WITH_MANIFEST)
    with deployed.backend.database.writing() as session:
        session.execute(delete(Dataset).where(Dataset.id == gone))
    deployed.run_due()
    delivered = files(deployed)
    assert len(delivered) == 2
    look(deployed)
    assert files(deployed) == delivered


def test_a_second_sweep_comes_after_the_last_possible_write(deployed: Deployment) -> None:
    deployed.flow(deployed.import_rows("events", rows(0, 9)))
    deployed.run_due()
    ended = deployed.clock.now_ms()
    look(deployed, verdict=failure())
    assert (files(deployed), due(deployed)) == (set(), [ended + SECOND_LOOK_MS])
    with deployed.backend.database.reading() as session:
        key = session.scalars(select(RunPart.key)).one()
    (deployed.zone / key).parent.mkdir(parents=True, exist_ok=True)
    (deployed.zone / key).write_bytes(b"a writer that was only slow")
    deployed.clock.advance(seconds=SECOND_LOOK_MS / 1000)
    for _ in remove_orphans(deployed.backend):
        pass
    assert (files(deployed), due(deployed)) == (set(), [None])


def test_a_clock_that_was_set_back_does_not_put_the_sweep_off(deployed: Deployment) -> None:
    deployed.flow(deployed.import_rows("events", rows(0, 9)))
    deployed.run_due()
    look(deployed, deployed.clock.now_ms() + 400 * 86_400_000, verdict=failure())
    assert files(deployed) == set()


def test_a_run_whose_destination_is_gone_is_not_looked_after_for_ever(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 9)))
    deployed.run_due()
    target = deployed.get(f"/flows/{flow}")["items"][0]["targetConnectionIds"][0]
    deployed.delete(f"/flows/{flow}")
    deployed.delete(f"/targetConnections/{target}")
    look(deployed, verdict=failure())
    assert due(deployed) == [None]


def away(*_: object) -> None:
    raise DeliveryError(DESTINATION_UNAVAILABLE, "It does not answer.", "Start it.", transient=True, unreachable=True)


def delete_target(deployed: Deployment, target: str, **parameters: str) -> Any:
    return deployed.http.delete(f"/data/foundation/flowservice/targetConnections/{target}", params=parameters)


def failed_flow(deployed: Deployment) -> tuple[str, str]:
    """The run of a deleted flow that failed when it had written a file, and the target connection."""
    flow = deployed.flow(deployed.import_rows("events", rows(0, 9)))
    deployed.run_due()
    (run,) = deployed.runs(flow)
    target: str = deployed.get(f"/flows/{flow}")["items"][0]["targetConnectionIds"][0]
    deployed.delete(f"/flows/{flow}")
    return run["id"], target


def test_what_a_deleted_flow_has_left_is_removed_when_its_destination_answers_however_late(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, target = failed_flow(deployed)
    with monkeypatch.context() as patch:
        patch.setattr("offtake.scheduling.orphan_sweeper.dispose", away)
        look(deployed, verdict=failure())
        for _ in range(30):
            deployed.clock.advance(days=1)
            for _ in remove_orphans(deployed.backend):
                pass
        assert due(deployed) != [None]
        assert files(deployed)
        deployed.sign_in()
        refused = delete_target(deployed, target)
        assert (refused.status_code, run in refused.text, "force=true" in refused.text) == (400, True, True)
    deployed.clock.advance(days=1)
    for _ in remove_orphans(deployed.backend):
        pass
    assert files(deployed) == set()
    deployed.sign_in()
    assert delete_target(deployed, target).status_code == 202


def test_a_target_connection_is_deleted_by_force_and_its_files_stay(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, target = failed_flow(deployed)
    with monkeypatch.context() as patch:
        patch.setattr("offtake.scheduling.orphan_sweeper.dispose", away)
        look(deployed, verdict=failure())
    assert delete_target(deployed, target).status_code == 400
    assert delete_target(deployed, target, force="true").status_code == 202
    assert due(deployed) == [None]
    assert files(deployed)
    found = deployed.http.get("/data/foundation/audit/events", params={"property": f"assetId=={target}"}).json()
    assert found["_embedded"]["events"][0]["before"]["toBeRemoved"] == [run]


def test_the_list_of_connections_says_where_files_are_still_to_be_removed(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = failed_flow(deployed)
    with monkeypatch.context() as patch:
        patch.setattr("offtake.scheduling.orphan_sweeper.dispose", away)
        look(deployed, verdict=failure())
    command = ["connection", "list", "--data-dir", str(deployed.backend.settings.data_dir)]
    assert main([*command, "--json"]) == 0
    assert [run] in [one["toBeRemoved"] for one in json.loads(capsys.readouterr().out)]
    assert main(command) == 0
    assert run[:8] in capsys.readouterr().out
