from datetime import UTC
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from offtake.flows import deliveries
from offtake.flows.deliveries import RunBar
from offtake.store.tables import Flow, Run
from offtake.web import charts, times
from tests.deployment import WITH_MANIFEST, Deployment
from tests.web.browsing import Visitor, signed_in, words


def flow_of(deployed: Deployment, **others: Any) -> str:
    return deployed.flow(deployed.import_rows("orders", [{"id": 1}, {"id": 2}]), **others)


def only_run(deployed: Deployment, flow: str) -> str:
    (run,) = deployed.runs(flow)
    return str(run["id"])


def change_run(deployed: Deployment, run_id: str, **values: Any) -> None:
    with deployed.backend.database.writing() as session:
        for name, value in values.items():
            setattr(session.get_one(Run, run_id), name, value)


def make_wait(deployed: Deployment, run_id: str, reason: str) -> None:
    now = deployed.clock.now_ms()
    change_run(
        deployed,
        run_id,
        address="10.0.0.1:22",
        waiting_since=now,
        not_before=now + 900_000,
        wait_until=now + 3_600_000,
        held=True,
        wait_reason={"code": "EXPORT-2003-504", "message": reason, "type": "Error"},
    )


def verified(person: Visitor, run: str) -> str:
    person.post(f"/ui/prod/runs/{run}/verify")
    for _ in range(200):
        page = person.get(f"/ui/prod/runs/{run}")
        if "Verified" in page or "could not be verified" in page:
            return page
    raise AssertionError("the verification did not end")


def test_a_verification_is_green_only_when_all_files_were_compared(deployed: Deployment) -> None:
    flow, person = flow_of(deployed, params=WITH_MANIFEST), signed_in(deployed)
    deployed.run_due()
    run = only_run(deployed, flow)
    page = verified(person, run)
    assert 'class="notice ok"' in page
    assert "The delivery is as recorded: 1 file, 2 rows," in words(page)
    assert "Compared and equal 1 file No longer there 0 files Different 0 files Manifest file as delivered" in words(
        page
    )
    files = sorted((one for one in deployed.zone.rglob("*") if one.is_file()), key=lambda one: "manifest" in one.name)
    files[1].unlink()
    page = verified(person, run)
    assert 'class="notice warn"' in page
    assert "The manifest file is no longer there." in words(page)
    files[0].unlink()
    page = verified(person, run)
    assert 'class="notice ok"' not in page
    assert "No file is there any more. Nothing could be compared." in words(page)
    assert "Compared and equal 0 files No longer there 1 file" in words(page)
    assert "Manifest file no longer there" in words(page)
    assert "Deliver these rows again" in page


def test_files_of_which_some_are_gone_are_counted(deployed: Deployment) -> None:
    other = deployed.import_rows("customers", [{"id": 1}])
    flow = deployed.flow(deployed.import_rows("orders", [{"id": 1}]), other)
    person = signed_in(deployed)
    deployed.run_due()
    first, second = sorted(one for one in deployed.zone.rglob("*") if one.is_file())
    first.unlink()
    page = verified(person, only_run(deployed, flow))
    assert 'class="notice warn"' in page
    assert "1 of 2 files is no longer there. The consumer collected it, or it was deleted." in words(page)
    second.write_bytes(b"other")
    page = verified(person, only_run(deployed, flow))
    assert 'class="notice bad"' in page
    assert "1 difference from this receipt." in words(page)
    assert "Compared and equal 0 files No longer there 1 file Different 1 file" in words(page)


def test_a_run_that_waits_needs_attention_and_is_tried_at_once(deployed: Deployment) -> None:
    flow, person = flow_of(deployed), signed_in(deployed)
    assert "Every delivery is in time." in words(person.get("/ui/prod"))
    run = person.post(f"/ui/prod/flows/{flow}/run").headers["location"]
    run_id = run.rpartition("/")[2]
    make_wait(deployed, run_id, "10.0.0.1:22 could not be reached.")
    home = words(person.get("/ui/prod"))
    assert "Every delivery is in time." not in home
    assert "10.0.0.1:22 could not be reached. Open the run Try now Next try in 15 min" in home
    assert "1 waiting" in home
    assert "A run waits: 10.0.0.1:22 could not be reached." in words(person.get(f"/ui/prod/flows/{flow}"))
    page = person.get(run)
    assert "Try now" in page
    assert "/ui/prod/accounts/" in page
    person.post(f"{run}/try-now")
    with deployed.backend.database.reading() as session:
        row = session.get_one(Run, run_id)
        assert (row.not_before, row.held) == (deployed.clock.now_ms(), False)
        assert row.wait_until == deployed.clock.now_ms() + 3_600_000
    deployed.run_due()
    assert "Rows 2" in words(person.get(run))
    person.post(f"{run}/try-now")


def test_a_viewer_may_not_try_a_waiting_run(deployed: Deployment) -> None:
    flow, admin = flow_of(deployed), signed_in(deployed)
    run = admin.post(f"/ui/prod/flows/{flow}/run").headers["location"]
    make_wait(deployed, run.rpartition("/")[2], "10.0.0.1:22 could not be reached.")
    viewer = signed_in(deployed, deployed.new_client("view-destinations"))
    assert "Try now" not in viewer.get(run) + viewer.get("/ui/prod")
    viewer.post(f"{run}/try-now", status=403)


def test_runs_of_deleted_dataflows_keep_their_name_in_all_places(deployed: Deployment) -> None:
    flow, person = flow_of(deployed), signed_in(deployed)
    deployed.run_due()
    run = only_run(deployed, flow)
    person.post(f"/ui/prod/flows/{flow}/delete", {"typed": "flow"})
    home = words(person.get("/ui/prod"))
    assert "Delivered runs 1" in home, home
    assert "flow (deleted)" in home
    assert f"/ui/prod/runs/{run}" in person.get("/ui/prod")
    assert "Run of flow" in person.get(f"/ui/prod/runs/{run}")
    listed = words(person.get("/ui/prod/runs?status=delivered"))
    assert "Delivered" in listed
    assert "flow deleted" in listed
    assert "No run has this state" in words(person.get("/ui/prod/runs?status=failed"))


def test_the_name_of_a_deleted_dataflow_with_labels_is_not_shown_to_others(deployed: Deployment) -> None:
    flow, person = flow_of(deployed), signed_in(deployed)
    change = [{"op": "replace", "path": "/name", "value": "Hidden"}, {"op": "add", "path": "/labels", "value": ["x"]}]
    deployed.patch(f"/flows/{flow}", change)
    deployed.run_due()
    person.post(f"/ui/prod/flows/{flow}/delete", {"typed": "Hidden"})
    viewer = signed_in(deployed, deployed.new_client("view-destinations"))
    for path in ("/ui/prod", "/ui/prod/runs", f"/ui/prod/flows?deleted={flow}"):
        assert "Hidden" not in viewer.get(path)
        assert "Hidden" in person.get(path)


def test_an_empty_server_leads_to_an_import_first(deployed: Deployment) -> None:
    person = signed_in(deployed)
    page = person.get("/ui/prod")
    assert "Import a file. It becomes a dataset" in words(page)
    assert page.count("button primary") == 1
    deployed.import_rows("orders", [{"id": 1}])
    page = person.get("/ui/prod")
    assert "Import a file" not in page
    assert page.count("button primary") == 1


def test_each_dataset_says_what_is_not_delivered_yet(deployed: Deployment) -> None:
    dataset = deployed.import_rows("orders", [{"id": 1}, {"id": 2}])
    flow, person = deployed.flow(dataset), signed_in(deployed)
    assert "2 rows not delivered yet" in words(person.get(f"/ui/prod/flows/{flow}"))
    deployed.run_due()
    run = only_run(deployed, flow)
    assert "up to date" in words(person.get(f"/ui/prod/flows/{flow}"))
    assert "up to date" in words(person.get(f"/ui/prod/runs/{run}"))
    deployed.import_rows("orders", [{"id": 3}])
    assert "1 row not delivered yet , since" in words(person.get(f"/ui/prod/flows/{flow}"))
    assert "1 row not delivered yet , since" in words(person.get(f"/ui/prod/runs/{run}"))


def test_a_one_time_dataflow_is_finished_after_its_run_and_not_stale(deployed: Deployment) -> None:
    start = deployed.clock.now_seconds() - 1
    once = {"timeUnit": "day", "interval": 0, "startTime": start, "exportMode": "DAILY_FULL_EXPORT"}
    flow = flow_of(deployed, schedule=once)
    person = signed_in(deployed)
    deployed.run_due()
    page = words(person.get(f"/ui/prod/flows/{flow}"))
    assert "Finished" in page
    assert "none: it has run" in page
    assert "Finished" in words(person.get("/ui/prod/flows"))
    assert "has delivered anything yet" in words(person.get("/ui/prod/monitoring"))


def fail_next_run(deployed: Deployment) -> None:
    away = deployed.zone.rename(deployed.zone.with_name("away"))
    deployed.zone.write_text("no folder")
    deployed.clock.advance(hours=3)
    deployed.run_out()
    deployed.zone.unlink()
    away.rename(deployed.zone)


def failed_run(deployed: Deployment, flow: str) -> str:
    """The run that failed to deliver two rows, after one that delivered."""
    deployed.run_due()
    deployed.import_rows("orders", [{"id": 1}, {"id": 2}])
    fail_next_run(deployed)
    (run,) = failed_runs(deployed, flow)
    return run


def failed_runs(deployed: Deployment, flow: str) -> list[str]:
    return [one["id"] for one in deployed.runs(flow) if one["metrics"]["statusSummary"]["status"] == "failed"]


def test_a_failed_run_that_was_repeated_leads_to_its_repetition(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("orders", [{"id": 0}]))
    run, person = failed_run(deployed, flow), signed_in(deployed)
    assert f"/runs/{run}/retry" in person.get(f"/ui/prod/runs/{run}")
    repeated = person.post(f"/ui/prod/runs/{run}/retry").headers["location"]
    page = person.get(f"/ui/prod/runs/{run}")
    assert f"/runs/{run}/retry" not in page
    assert "are not delivered yet" not in page
    assert "A run that repeats it is in progress." in page
    deployed.run_due()
    page = person.get(f"/ui/prod/runs/{run}")
    assert f'<a href="{repeated}">' in page
    assert "repeated it and delivered its rows" in page
    assert f"/runs/{run}/retry" not in page
    assert person.post(f"/ui/prod/runs/{run}/retry").headers["location"] == repeated
    person.post(f"/ui/prod/flows/{flow}/delete", {"typed": "flow"})
    page = person.get(f"/ui/prod/runs/{run}")
    assert "not delivered" not in page
    assert f'<a href="{repeated}">' in page


def test_a_failed_run_whose_rows_a_later_run_delivered_is_not_repeated(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("orders", [{"id": 0}]))
    run, person = failed_run(deployed, flow), signed_in(deployed)
    person.post(f"/ui/prod/flows/{flow}/run")
    deployed.run_due()
    page = person.get(f"/ui/prod/runs/{run}")
    assert f"/runs/{run}/retry" not in page
    refused = words(person.post(f"/ui/prod/runs/{run}/retry", status=409).text)
    assert "The run was not repeated. A later run has delivered its rows" in refused
    person.post(f"/ui/prod/flows/{flow}/delete", {"typed": "flow"})
    assert "not delivered" not in words(person.get(f"/ui/prod/runs/{run}"))


def test_undelivered_rows_stay_so_when_the_dataflow_is_deleted(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("orders", [{"id": 0}]))
    run, person = failed_run(deployed, flow), signed_in(deployed)
    person.get("/ui/prod")
    person.post(f"/ui/prod/flows/{flow}/delete", {"typed": "flow"})
    assert "2 rows of orders are not delivered yet. The dataflow was deleted." in words(
        person.get(f"/ui/prod/runs/{run}")
    )


def test_the_rows_of_one_run_are_delivered_again(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("orders", [{"id": 1}, {"id": 2}]))
    person = signed_in(deployed)
    deployed.run_due()
    run = only_run(deployed, flow)
    deployed.import_rows("orders", [{"id": 3}])
    for one in [one for one in deployed.zone.rglob("*") if one.is_file()]:
        one.unlink()
    url = f"/ui/prod/flows/{flow}/backfill"
    assert f'href="{url}?run={run}">Deliver these rows again' in verified(person, run)
    form = person.get(f"{url}?run={run}")
    assert "The 2 rows of this run" in words(form)
    assert 'value="run" checked' in form
    again = person.post(url, {"what": "run", "run": run}).headers["location"]
    deployed.run_due()
    page = words(person.get(again))
    assert "Rows 2" in page
    assert f"Backfill: the rows of run {run[:8]}" in page
    assert "up to date" not in page
    other = deployed.flow(deployed.import_rows("other", [{"id": 1}]))
    person.get(f"/ui/prod/flows/{other}/backfill?run={run}", status=404)
    person.post(f"/ui/prod/flows/{other}/backfill", {"what": "run", "run": run}, 404)


def test_the_receipt_of_a_backfill_names_the_period(deployed: Deployment) -> None:
    flow, person = flow_of(deployed), signed_in(deployed)
    deployed.run_due()
    asked = {"what": "range", "from_date": "2020-01-01", "to_date": "2100-01-01"}
    person.get(f"/ui/prod/flows/{flow}/backfill")
    run = person.post(f"/ui/prod/flows/{flow}/backfill", asked).headers["location"]
    assert "Rows added from 2020-01-01 to 2100-01-01 (UTC)" in words(person.get(run))
    deployed.run_due()
    run = person.post(f"/ui/prod/flows/{flow}/backfill", asked | {"what": "all"}).headers["location"]
    assert "Rows added until the end of 2100-01-01 (UTC)" in words(person.get(run))


def test_a_failed_run_says_what_is_not_delivered_until_it_is(deployed: Deployment) -> None:
    flow = deployed.flow(*(deployed.import_rows(name, [{"id": 0}]) for name in ("orders", "customers")))
    deployed.run_due()
    deployed.import_rows("orders", [{"id": 1}, {"id": 2}])
    fail_next_run(deployed)
    (run,) = failed_runs(deployed, flow)
    person = signed_in(deployed)
    page = words(person.get(f"/ui/prod/runs/{run}"))
    assert "2 rows of orders are not delivered yet. Retry, or the next run delivers them." in page
    assert "of customers" not in page
    viewer = signed_in(deployed, deployed.new_client("view-destinations"))
    assert "not delivered yet. The next run delivers them." in words(viewer.get(f"/ui/prod/runs/{run}"))
    person.post(f"/ui/prod/flows/{flow}/run")
    deployed.run_due()
    assert "not delivered yet" not in words(person.get(f"/ui/prod/runs/{run}"))


def test_the_manifest_file_is_listed_and_counted_apart(deployed: Deployment) -> None:
    flow, person = flow_of(deployed, params=WITH_MANIFEST), signed_in(deployed)
    deployed.run_due()
    run = only_run(deployed, flow)
    page = person.get(f"/ui/prod/runs/{run}")
    assert "Files 1 and the manifest file" in words(page)
    (manifest,) = (one for one in deployed.zone.rglob("manifest-*") if one.is_file())
    assert manifest.name in page.partition("<h2>Files</h2>")[2].partition("</section>")[0]
    assert "Copy the checksum" in page


def test_what_does_not_exist_is_named_in_the_words_of_the_pages(deployed: Deployment) -> None:
    person = signed_in(deployed)
    for path, kind in (
        ("flows/x", "dataflow"),
        ("runs/x", "run"),
        ("accounts/x", "account"),
        ("datasets/x", "dataset"),
    ):
        page = words(person.get(f"/ui/prod/{path}", status=404))
        assert f"This {kind} does not exist." in page
        assert "resource" not in page


def test_the_list_of_dataflows_shows_the_last_number_of_rows(deployed: Deployment) -> None:
    flow_of(deployed)
    deployed.run_due()
    page = rows_cell(signed_in(deployed).get("/ui/prod/flows"))
    assert words(page).strip() == "2"


def rows_cell(page: str) -> str:
    return page.partition('data-label="Rows">')[2].partition("</td>")[0]


def bar(started: int, ended: int | None, status: str = "success") -> RunBar:
    return RunBar("id", status, started, ended, 1, 1)


@pytest.mark.parametrize("count", [2, 30, 300])
def test_runs_on_the_timeline_never_overlap(count: int) -> None:
    scale = charts.TimeScale(0, 86_400_000, [], "UTC")
    ends = [86_000_000 + number * 1000 for number in range(count)]
    found = charts.bars(scale, [bar(one, one + 500, "failed" if one % 3 else "success") for one in ends], 86_400_000)
    assert len(found) == count
    assert all(left.x + left.width <= right.x + 0.11 for left, right in pairwise(found))
    assert found[0].x >= 0
    assert found[-1].x + found[-1].width <= charts.WIDTH + 0.11


def test_a_run_that_waits_has_a_colour_of_its_own() -> None:
    assert charts.look_of(RunBar("id", "waiting", 0, None, None, None, waits=True)) == "warn"
    assert charts.look_of(RunBar("id", "waiting", 0, None, None, None)) == "live"


def test_bars_of_few_runs_stay_narrow_and_failed_runs_and_backfills_are_marked() -> None:
    runs = [bar(1, 2), RunBar("id", "success", 3, 4, 9, 9, "backfill"), bar(5, 6, "failed")]
    columns = charts.run_columns(runs)
    assert [one.look for one, _, _ in columns.bars] == ["accent", "backfill", "bad"]
    assert all(one.width < charts.WIDTH / 30 for one, _, _ in columns.bars)
    assert columns.bars[2][2] < 10
    failed = charts.run_columns([RunBar("id", "success", 3, 4, 900, 9), RunBar("id", "failed", 5, 6, 0, 0)])
    assert failed.bars[1][1:] == (74, 6)


def test_times_are_local_first_with_utc_behind() -> None:
    zurich, at = ZoneInfo("Europe/Zurich"), 1_796_033_400_000
    assert times.exact(at, zurich) == "2026-11-30 11:10:00 CET · 10:10:00 UTC"
    assert times.exact(at, UTC) == "2026-11-30 10:10:00 UTC"
    assert times.in_utc(at - 11 * 3_600_000, zurich) == "2026-11-29 23:10:00 UTC"


@pytest.mark.parametrize(
    ("seconds", "ago", "ahead"),
    [
        (-30, "just now", "in a moment"),
        (0, "just now", "now"),
        (30, "just now", "now"),
        (180, "3 min ago", "now"),
    ],
)
def test_times_near_now_are_past_or_planned_never_both(seconds: int, ago: str, ahead: str) -> None:
    at = 1_796_033_400_000
    assert times.ago(at, at + seconds * 1000) == ago
    assert times.ahead(at, at + seconds * 1000) == ahead
    assert times.ahead(at + 7_200_000, at) == "in 2 h"


def test_a_waiting_run_is_a_trouble_before_its_slot_is_late(deployed: Deployment) -> None:
    flow, person = flow_of(deployed), signed_in(deployed)
    run = person.post(f"/ui/prod/flows/{flow}/run").headers["location"].rpartition("/")[2]
    make_wait(deployed, run, "away")
    with deployed.backend.database.reading() as session:
        (found,) = deliveries.troubles(session, deployed.caller, deployed.clock.now_ms(), 9)
        assert session.get_one(Flow, flow).name == found.flow_name
    assert (found.kind, found.waits, found.since_ms, found.run_id) == ("waiting", True, deployed.clock.now_ms(), run)
