"""The page of the files that Offtake still has to remove at destinations."""

import re
from pathlib import Path

import pytest

from offtake.errors import DESTINATION_UNAVAILABLE, DeliveryError
from offtake.scheduling.orphan_sweeper import remove_orphans
from offtake.store.tables import Label, Run
from tests.deployment import WITH_MANIFEST, Deployment, rows
from tests.info_items import failure
from tests.scheduling.test_attempts import RENAMES, partner
from tests.sftp_server import Rules
from tests.web.browsing import signed_in, words

OWED = "/ui/prod/owed"


def sweep(deployed: Deployment) -> None:
    for _ in remove_orphans(deployed.backend):
        pass


def away(*_: object) -> None:
    raise DeliveryError(DESTINATION_UNAVAILABLE, "It does not answer.", "Start it.", transient=True, unreachable=True)


def listed(page: str) -> list[str]:
    return re.findall(r"<li><code dir=\"auto\">([^<]*)</code>", page)


def fail_last_run(deployed: Deployment, flow: str) -> str:
    """Have the flow's last run as one whose failure is recorded and whose files are still to be removed."""
    run_id: str = deployed.runs(flow)[0]["id"]
    with deployed.backend.database.writing() as session:
        run = session.get_one(Run, run_id)
        run.failure, run.sweep_due = failure("EXPORT-1499-400"), deployed.clock.now_ms()
    return run_id


def test_files_at_a_destination_that_does_not_answer_are_listed_until_they_are_removed(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 9)), params=WITH_MANIFEST)
    deployed.run_due()
    person = signed_in(deployed)
    assert "Nothing to remove" in words(person.get(OWED))
    assert "have left no files" in words(person.get("/ui/prod/monitoring"))
    run = fail_last_run(deployed, flow)
    names = {str(path.relative_to(deployed.zone)) for path in deployed.zone.rglob("*") if path.is_file()}
    assert len(names) == 2
    with monkeypatch.context() as patch:
        patch.setattr("offtake.scheduling.orphan_sweeper.dispose", away)
        sweep(deployed)
        deployed.clock.advance(seconds=5)
        page = person.get(OWED)
    assert {name.partition("/prod/")[2] or name for name in listed(page)} == names
    shown = words(page)
    for part in ("1 run, the oldest first", "2 files", "It does not answer. Start it. EXPORT-2003-504", "flow", "zone"):
        assert part in shown, part
    assert "just now in a moment" in shown
    assert f'"/ui/prod/runs/{run}"' in page
    assert "1 run has left files" in words(person.get("/ui/prod/monitoring"))
    # A deleted dataflow keeps its name here; labels hide it, also then.
    deployed.delete(f"/flows/{flow}")
    assert f'"/ui/prod/flows/{flow}"' not in (gone := person.get(OWED))
    assert "flow Run" in words(gone)
    with deployed.backend.database.writing() as session:
        session.add(Label(entity_id=flow, label="C9"))
    other = signed_in(deployed, deployed.new_client("view-destinations"))
    assert "Nothing to remove" in words(other.get(OWED))
    signed_in(deployed, deployed.new_client("view-datasets")).get(OWED, 403)
    deployed.clock.advance(seconds=60)
    sweep(deployed)
    assert "Nothing to remove" in words(person.get(OWED))
    assert [path for path in deployed.zone.rglob("*") if path.is_file()] == []
    with deployed.backend.database.reading() as session:
        assert session.get_one(Run, run).sweep_error is None


def test_a_file_of_a_failed_attempt_that_the_server_does_not_let_go_is_listed_with_the_reason(
    deployed: Deployment, tmp_path: Path
) -> None:
    rules = Rules(refused=RENAMES)
    with partner(deployed, tmp_path / "server", rules) as at:
        assert deployed.get(f"/connections/{at.connection()}/test")["result"] is True
        rules.refused, rules.broken_writes = (*RENAMES, "remove"), 1
        deployed.run_out()
        deployed.sign_in()
        (left,) = at.to_be_removed()
        sweep(deployed)
        person = signed_in(deployed)
        page = person.get(OWED)
        assert listed(page) == [left]
        assert "1 file of failed attempts" in words(page)
        assert "EXPORT-2001-403" in words(page)
        assert f'"{OWED}"' in person.get(f"/ui/prod/runs/{at.run()['id']}")
        rules.refused = RENAMES
        deployed.clock.advance(seconds=60)
        sweep(deployed)
        assert "Nothing to remove" in words(person.get(OWED))
