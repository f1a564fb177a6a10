import hashlib
from typing import Any

import pytest

from offtake.flows import deliveries
from offtake.store.tables import Flow
from tests.deployment import Deployment
from tests.web.browsing import Visitor, csrf_of, fields_of, signed_in, visitor, words

EXPORT = "manage-and-activate-dataset-destinations"


def flow_of(deployed: Deployment, *rows: int) -> str:
    return deployed.flow(deployed.import_rows("orders", [{"id": one} for one in rows or (1, 2)]))


def settings_of(person: Visitor, flow: str) -> dict[str, Any]:
    """The fields of the settings as the page shows them."""
    page = person.get(f"/ui/prod/flows/{flow}/settings")
    return fields_of(page.split('class="stack form settings"')[1].split("</form>")[0])


def test_a_dataflow_is_run_from_its_page_and_its_run_is_a_receipt(deployed: Deployment) -> None:
    flow, person = flow_of(deployed), signed_in(deployed)
    run = person.post(f"/ui/prod/flows/{flow}/run").headers["location"]
    assert "Queued" in words(person.get(run))
    deployed.run_due()
    text = words(person.get(run))
    assert "Delivered" in text
    assert "Rows 2" in text
    (file,) = (one for one in deployed.zone.rglob("*") if one.is_file())
    assert hashlib.sha256(file.read_bytes()).hexdigest()[:12] in text
    assert "Rows delivered 2" in words(person.get("/ui/prod"))
    assert "up to date" in words(person.get(f"/ui/prod/flows/{flow}"))


def test_a_failed_run_says_why_and_is_retried(deployed: Deployment) -> None:
    flow, person = flow_of(deployed), signed_in(deployed)
    deployed.zone.parent.mkdir(parents=True, exist_ok=True)
    deployed.zone.write_text("no folder")
    deployed.run_out()
    (run,) = deployed.runs(flow)
    reason = run["metrics"]["statusSummary"]["errors"][0]["message"]
    assert reason in words(person.get("/ui/prod"))
    assert reason in words(person.get(f"/ui/prod/runs/{run['id']}"))
    deployed.zone.unlink()
    again = person.post(f"/ui/prod/runs/{run['id']}/retry").headers["location"]
    deployed.run_due()
    assert "Delivered" in words(person.get(again))


def test_a_finished_dataflow_asks_before_it_delivers_everything_again(deployed: Deployment) -> None:
    start = deployed.clock.now_seconds() - 1
    once = {"timeUnit": "day", "interval": 0, "startTime": start, "exportMode": "DAILY_FULL_EXPORT"}
    dataset = deployed.import_rows("orders", [{"id": 1}])
    flow = deployed.flow(dataset, schedule=once)
    person, url = signed_in(deployed), f"/ui/prod/flows/{flow}"
    assert "Run now" in words(person.get(url))
    deployed.run_due()
    page = person.get(url)
    assert "Run now" not in words(page)
    assert "Disable" not in words(page)
    assert "Everything is delivered again: all rows of its dataset" in words(page)
    (account,) = {one.partition('"')[0] for one in page.split('href="/ui/prod/accounts/')[1:]}
    assert "Finished" in words(person.get(f"/ui/prod/accounts/{account}").partition('id="places"')[2])
    assert "Finished" in words(person.get(f"/ui/prod/datasets/{dataset}/exports"))
    person.post(f"{url}/run")
    deployed.run_due()
    assert [one["metrics"]["recordSummary"]["outputRecordCount"] for one in deployed.runs(flow)] == [1, 1]


def test_a_dataflow_is_disabled_enabled_and_deleted_after_its_name_was_typed(deployed: Deployment) -> None:
    flow, person = flow_of(deployed), signed_in(deployed)
    for op, word in (("disable", "Disabled"), ("disable", "Disabled"), ("enable", "Enabled")):
        person.post(f"/ui/prod/flows/{flow}/state", {"op": op})
        assert word in words(person.get(f"/ui/prod/flows/{flow}"))
    refused = person.post(f"/ui/prod/flows/{flow}/delete", {"typed": "other"}, status=422).text
    assert '<details class="confirm" open>' in refused
    assert "Nothing was changed: type flow to confirm." in words(refused)
    assert 'name="typed" value="other"' in refused
    gone = person.post(f"/ui/prod/flows/{flow}/delete", {"typed": "flow"}).headers["location"]
    assert "The dataflow flow was deleted" in words(person.get(gone))
    assert '<a href="/ui/prod/runs">list of runs</a>' in person.get(gone)
    deployed.get(f"/flows/{flow}", status=404)


def test_all_settings_are_stored_together(deployed: Deployment) -> None:
    flow, person = flow_of(deployed), signed_in(deployed)
    other = deployed.import_rows("customers", [{"id": 1}])
    before = deployed.get(f"/flows/{flow}")["items"][0]
    changes = {
        "name": "New <name>",
        "description": "d",
        "every": "daily",
        "start_date": "2030-05-01",
        "start_time": "06:30",
        "ends": "on",
        "end_date": "2031-01-01",
        "end_time": "",
        "template": "%DATASET_ID%",
        "t-path": "elsewhere",
        "t-datasetFileType": "JSON",
        "dataset": [other],
        "labels": "crm\n\nsecret",
    }
    person.post(f"/ui/prod/flows/{flow}/settings", settings_of(person, flow) | changes)
    assert "Saved." in words(person.get(f"/ui/prod/flows/{flow}/settings?saved=all"))
    after = deployed.get(f"/flows/{flow}")["items"][0]
    assert (after["name"], after["description"], after["labels"]) == ("New <name>", "d", ["crm", "secret"])
    assert after["scheduleParams"] == {
        "exportMode": "FIRST_FULL_THEN_INCREMENTAL",
        "timeUnit": "day",
        "interval": 1,
        "startTime": 1_903_847_400,
        "endTime": 1_924_992_000,
        "foldernameTemplate": "%DATASET_ID%",
    }
    assert after["sourceConnectionIds"] != before["sourceConnectionIds"]
    target = deployed.get(f"/targetConnections/{after['targetConnectionIds'][0]}")["items"][0]
    known = {"mode": "Server-to-server"}
    assert target["params"] == known | {"path": "elsewhere", "datasetFileType": "JSON", "compression": "NONE"}


def test_saving_unchanged_settings_changes_nothing(deployed: Deployment) -> None:
    flow, person = flow_of(deployed), signed_in(deployed)
    before = deployed.get(f"/flows/{flow}")["items"][0]
    target = f"/targetConnections/{before['targetConnectionIds'][0]}"
    place = deployed.get(target)["items"][0]
    deployed.clock.advance(seconds=60)
    person.post(f"/ui/prod/flows/{flow}/settings", settings_of(person, flow))
    after = deployed.get(f"/flows/{flow}")["items"][0]
    assert after == before
    assert deployed.get(target)["items"][0] == place
    assert after["extensions"]["endTimeDefaulted"] is True


def test_the_end_is_removed_and_set_in_the_settings(deployed: Deployment) -> None:
    flow, person = flow_of(deployed), signed_in(deployed)
    for changes, end in (({"ends": "never"}, None), ({"ends": "on", "end_date": "2031-01-01"}, 1_924_992_000)):
        person.post(f"/ui/prod/flows/{flow}/settings", settings_of(person, flow) | {"end_time": ""} | changes)
        assert deployed.get(f"/flows/{flow}")["items"][0]["scheduleParams"].get("endTime") == end


def test_searching_for_datasets_keeps_what_was_typed_elsewhere(deployed: Deployment) -> None:
    flow, person = flow_of(deployed), signed_in(deployed)
    customers = deployed.import_rows("customers", [{"id": 1}])
    changes = {"name": "Typed", "do": "search", "q": "cust", "dataset": [customers], "labels": "crm"}
    answer = person.post(f"/ui/prod/flows/{flow}/settings", settings_of(person, flow) | changes, status=200)
    found = fields_of(answer.text)
    assert (found["name"], found["labels"], found["dataset"]) == ("Typed", "crm", [customers])
    assert deployed.get(f"/flows/{flow}")["items"][0]["name"] == "flow"


@pytest.mark.parametrize("part", ["flow", "target"])
def test_a_stale_form_shows_both_versions_and_stores_nothing(deployed: Deployment, part: str) -> None:
    flow, person = flow_of(deployed), signed_in(deployed)
    stale = settings_of(person, flow)
    target = deployed.get(f"/flows/{flow}")["items"][0]["targetConnectionIds"][0]
    if part == "flow":
        deployed.patch(f"/flows/{flow}", [{"op": "replace", "path": "/name", "value": "Theirs"}])
    else:
        change = [{"op": "replace", "path": "/params", "value": {"path": "Theirs"}}]
        deployed.patch(f"/targetConnections/{target}", change)
    mine = stale | {"name": "Mine", "t-path": "Mine"}
    answer = person.post(f"/ui/prod/flows/{flow}/settings", mine, status=409)
    text = words(answer.text)
    assert "changed this dataflow" in text
    assert "@AdobeID" not in text
    assert "Theirs" in text
    assert answer.text.count('value="Mine"') == 2
    stored = deployed.get(f"/flows/{flow}")["items"][0]["name"]
    folder = deployed.get(f"/targetConnections/{target}")["items"][0]["params"]["path"]
    assert (stored, folder) == (("Theirs", "out") if part == "flow" else ("flow", "Theirs")) or folder != "Mine"
    person.post(f"/ui/prod/flows/{flow}/settings", fields_of(answer.text) | {"name": "Mine", "t-path": "Mine"})
    assert deployed.get(f"/flows/{flow}")["items"][0]["name"] == "Mine"


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        ({"name": ""}, "name"),
        ({"every": "hours", "hours": "7"}, "hours"),
        ({"every": "daily", "start_date": "x"}, "start_date"),
        ({"ends": "on", "end_date": ""}, "end_date"),
        ({"template": "%X%"}, "template"),
        ({"t-path": "a\\b"}, "t-path"),
        ({"labels": "*"}, "labels"),
        ({"fresh_within": "soon"}, "fresh_within"),
        ({"fresh_within": "3661d"}, "fresh_within"),
    ],
)
def test_a_wrong_value_is_named_at_its_field(deployed: Deployment, sent: dict[str, str], problem: str) -> None:
    flow, person = flow_of(deployed), signed_in(deployed)
    form = settings_of(person, flow) | {"description": "typed"} | sent
    answer = person.post(f"/ui/prod/flows/{flow}/settings", form, status=422)
    assert f'id="problem-{problem}">' in answer.text
    assert "Nothing was stored" in words(answer.text)
    assert 'value="typed"' in answer.text
    assert deployed.get(f"/flows/{flow}")["items"][0].get("description") != "typed"


def test_the_settings_show_the_next_runs_and_the_paths_of_what_is_typed(deployed: Deployment) -> None:
    flow, person = flow_of(deployed), signed_in(deployed)
    typed = {"template": "%DATASET_NAME%/x", "start_date": "2030-01-01", "start_time": "05:00", "ends": "never"}
    sent = settings_of(person, flow) | typed
    answer = person.post(f"/ui/prod/flows/{flow}/settings/preview", sent, status=200)
    assert "orders/x/part-" in words(answer.text)
    assert "2030-01-01 05:00:00 UTC" in words(answer.text)


def test_rows_of_a_time_are_delivered_again(deployed: Deployment) -> None:
    flow, person = flow_of(deployed), signed_in(deployed)
    deployed.run_due()
    day = deployed.clock.now().strftime("%Y-%m-%d") if hasattr(deployed.clock, "now") else "2026-01-01"
    form = {"what": "all", "to_date": "2100-01-01", "from_date": day}
    run = person.post(f"/ui/prod/flows/{flow}/backfill", form).headers["location"]
    deployed.run_due()
    assert "Rows 2" in words(person.get(run))
    nothing = {"what": "all", "to_date": "1990-01-01"}
    answer = person.post(f"/ui/prod/flows/{flow}/backfill", nothing, status=422)
    assert words(answer.text).lower().count("nothing was started") == 1
    wrong = {"what": "range", "from_date": "x", "to_date": "2100-01-01"}
    assert "must be a date" in words(person.post(f"/ui/prod/flows/{flow}/backfill", wrong, status=422).text)


def test_the_list_is_searched_filtered_and_sorted_by_its_address(deployed: Deployment) -> None:
    dataset = deployed.import_rows("orders", [{"id": 1}])
    names = ["Alpha 100%", "beta", "Gamma"]
    for name in names:
        flow = deployed.flow(dataset)
        deployed.patch(f"/flows/{flow}", [{"op": "replace", "path": "/name", "value": name}])
    deployed.post(f"/flows/{flow}/action?op=disable", {}, status=200)
    person = signed_in(deployed)

    def listed(query: str) -> list[str]:
        text = person.get(f"/ui/prod/flows?{query}")
        return [name for name in sorted(names, key=lambda one: text.find(f">{one}</a>")) if f">{name}</a>" in text]

    assert listed("sort=name&order=asc") == ["Alpha 100%", "Gamma", "beta"]
    assert listed("sort=name&order=desc") == ["beta", "Gamma", "Alpha 100%"]
    assert listed("q=00%25") == ["Alpha 100%"]
    assert listed("q=BET") == ["beta"]
    assert listed("q=_") == []
    assert listed("state=disabled") == ["Gamma"]
    assert listed(f"dataset={dataset}&state=enabled") == ["Alpha 100%", "beta"] or len(listed("state=enabled")) == 2
    assert listed("dataset=other") == []
    assert len(listed("sort=nothing&state=x&from=-1&destination=none")) == 3


def test_people_see_only_what_their_roles_allow(deployed: Deployment) -> None:
    flow = flow_of(deployed)
    deployed.patch(f"/flows/{flow}", [{"op": "add", "path": "/labels", "value": ["secret"]}])
    deployed.run_due()
    (run,) = deployed.runs(flow)
    viewer = signed_in(deployed, deployed.new_client("view-destinations"))
    assert "No dataflows yet" in words(viewer.get("/ui/prod/flows"))
    assert "Nothing is exported yet" in words(viewer.get("/ui/prod"))
    for path in (f"flows/{flow}", f"flows/{flow}/runs", f"runs/{run['id']}", f"runs/{run['id']}/manifest"):
        viewer.get(f"/ui/prod/{path}", status=404)
    labelled = signed_in(deployed, deployed.new_client("view-destinations", labels=("secret",)))
    page = words(labelled.get(f"/ui/prod/flows/{flow}"))
    assert "Run now" not in page
    labelled.post(f"/ui/prod/flows/{flow}/run", status=403)
    labelled.post(f"/ui/prod/flows/{flow}/state", {"op": "disable"}, status=403)
    labelled.post(f"/ui/prod/flows/{flow}/delete", {"typed": "flow"}, status=403)
    labelled.post(f"/ui/prod/runs/{run['id']}/verify", status=403)
    labelled.get(f"/ui/prod/flows/{flow}/settings", status=403)
    other = signed_in(deployed, deployed.new_client("view-datasets"))
    other.get("/ui/prod/flows", status=403)


def test_a_slot_without_its_delivery_is_late_after_a_tenth_of_the_interval(deployed: Deployment) -> None:
    flow = flow_of(deployed)
    with deployed.backend.database.writing() as session:
        row = session.get_one(Flow, flow)
        slot = (row.next_run_s or 0) * 1000
    found = []
    for minutes in (4, 17, 19):
        with deployed.backend.database.reading() as session:
            found.append(deliveries.troubles(session, deployed.caller, slot + minutes * 60_000, 9))
    assert [len(one) for one in found] == [0, 0, 1]
    assert (found[2][0].kind, found[2][0].run_id) == ("late", None)


def test_a_freshness_target_is_set_and_removed_in_the_settings(deployed: Deployment) -> None:
    flow, person = flow_of(deployed), signed_in(deployed)
    url, settings = f"/ui/prod/flows/{flow}", f"/ui/prod/flows/{flow}/settings"

    def stored() -> Any:
        return deployed.get(f"/flows/{flow}")["items"][0]["extensions"]["freshWithinSeconds"]

    deployed.run_due()
    assert "Late when a slot is not delivered after 18m Alerts" in words(person.get(url))
    assert "at least 5m: 18m for the stored schedule" in words(person.get(settings))
    before = settings_of(person, flow)
    person.post(settings, before | {"fresh_within": " 90M "})
    assert stored() == 5_400
    stale = words(person.post(settings, before | {"fresh_within": "1d"}, 409).text)
    assert "Freshness target 90m" in stale
    assert "Late when its data is older than 90m Alerts" in words(person.get(url))
    deployed.clock.advance(seconds=5_401)
    deployed.sign_in()
    person = signed_in(deployed)
    assert "Late when its data is older than 90m · late since just now" in words(person.get(url))
    # The API also takes seconds, which the form keeps.
    deployed.patch(f"/flows/{flow}", [{"op": "replace", "path": "/extensions/freshWithinSeconds", "value": 5_401}])
    person.post(settings, settings_of(person, flow) | {"name": "renamed"})
    assert stored() == 5_401
    person.post(settings, settings_of(person, flow) | {"fresh_within": ""})
    assert stored() is None
    # Who may not manage destinations sees the target, and does not set it.
    exporter = signed_in(deployed, deployed.new_client("manage-and-activate-dataset-destinations", "view-destinations"))
    form = settings_of(exporter, flow)
    assert "fresh_within" not in form
    exporter.post(settings, form | {"fresh_within": "4h"}, 403)
    assert stored() is None


def test_what_an_open_page_asks_for_again_and_again_does_not_fill_the_log(
    deployed: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    person = signed_in(deployed)
    caplog.set_level("INFO", "offtake.requests")
    for value, lines in (("live", 0), ("search", 0), ("other", 0), ("", 0)):
        caplog.clear()
        person.headers["x-requested-with"] = value
        person.get("/ui/prod/flows")
        assert len(caplog.records) == lines, value
    caplog.clear()
    deployed.http.get("/data/foundation/flowservice/flows", headers={"x-requested-with": "live"})
    assert len(caplog.records) == 1


def with_permissions(deployed: Deployment, *permissions: str) -> Visitor:
    """A person whose first page may be refused."""
    client, person = deployed.new_client(*permissions), visitor(deployed)
    person.post("/ui/sign-in", {"client_id": client.client_id, "client_secret": client.client_secret})
    person.csrf = csrf_of(person)
    return person


def test_running_and_verifying_need_what_the_api_asks_for(deployed: Deployment) -> None:
    dataset = deployed.import_rows("orders", [{"id": 1}])
    flow = deployed.flow(dataset)
    export, see, data = "manage-and-activate-dataset-destinations", "view-destinations", "view-datasets"
    for permissions in ([export], [export, see], [export, data], [see, data]):
        person = with_permissions(deployed, *permissions)
        person.post(f"/ui/prod/flows/{flow}/run", status=403)
    person = with_permissions(deployed, export, see, data)
    run = person.post(f"/ui/prod/flows/{flow}/run").headers["location"].rpartition("/")[2]
    deployed.run_due()
    for permissions, status in (([export], 403), ([see], 403), ([export, see], 303)):
        person = with_permissions(deployed, *permissions)
        person.post(f"/ui/prod/runs/{run}/verify", status=status)


def test_a_second_click_leads_to_the_run_that_is_going_on(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("orders", [{"id": 1}]))
    person = signed_in(deployed)
    first, second = (person.post(f"/ui/prod/flows/{flow}/run").headers["location"] for _ in range(2))
    assert first == second
    assert len(deployed.runs(flow)) == 1
