from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import uuid4

import pytest

from offtake.destinations.registry import DESTINATIONS
from tests.deployment import FLOW_SERVICE, ZONE, Deployment
from tests.web.browsing import Visitor, signed_in, words
from tests.web.test_accounts import sftp_account

EXPORT = "manage-and-activate-dataset-destinations"


def steps(chosen: str, **changes: str | list[str]) -> dict[str, Any]:
    """The fields of a complete export to the landing zone."""
    return {
        "destination": ZONE,
        "account": "new",
        "dataset": [chosen],
        "t-path": "exports/crm",
        "t-datasetFileType": "JSON",
        "t-compression": "GZIP",
        "template": "%DATASET_NAME%/%DATETIME(YYYY)%",
        "name": "Orders to partner",
        "every": "hours",
        "hours": "6",
        "start_date": "2030-01-01",
        "start_time": "02:00",
        "end_date": "2031-01-01",
        "step": "5",
    } | changes


def shown(person: Visitor, fields: dict[str, Any], status: int = 200) -> str:
    return words(person.get(f"/ui/prod/export?{urlencode(fields, doseq=True)}", status))


def flows(deployed: Deployment) -> list[dict[str, object]]:
    found: list[dict[str, object]] = deployed.get("/flows")["items"]
    return found


def test_an_export_is_created_with_everything_it_needs_and_only_once(deployed: Deployment) -> None:
    dataset = deployed.import_rows("orders", [{"id": 1}])
    person, fields = signed_in(deployed), steps(dataset)
    page = person.get(f"/ui/prod/export?{urlencode(fields, doseq=True)}")
    assert "exports/crm/orders/2030" in words(page)
    assert "2030-01-01 08:00:00 UTC" in words(page)
    key = page.split('name="key" value="')[1].split('"')[0]
    urls = {person.post("/ui/prod/export", fields | {"key": key}).headers["location"] for _ in range(2)}
    (flow,) = flows(deployed)
    assert urls == {f"/ui/prod/flows/{flow['id']}"}
    schedule = {
        "exportMode": "FIRST_FULL_THEN_INCREMENTAL",
        "timeUnit": "hour",
        "interval": 6,
        "startTime": 1_893_463_200,
        "endTime": 1_924_992_000,
        "foldernameTemplate": "%DATASET_NAME%/%DATETIME(YYYY)%",
    }
    found = flow["scheduleParams"]
    assert isinstance(found, dict)
    assert found | schedule == found
    target = deployed.get(f"/targetConnections/{flow['targetConnectionIds'][0]}")["items"][0]  # type: ignore[index]
    assert target["params"] == {"path": "exports/crm", "datasetFileType": "JSON", "compression": "GZIP"}


def test_a_step_opens_when_those_before_are_complete(deployed: Deployment) -> None:
    dataset = deployed.import_rows("orders", [{"id": 1}])
    person = signed_in(deployed)
    for fields, open_step, complaint in (
        ({"step": "5"}, "Where should the files go?", "Choose where the files go."),
        (steps(dataset, dataset=[]), "Search datasets", "Choose at least one dataset."),
        (steps(dataset, **{"t-path": "a\\b"}), "Folder template", "backslashes"),
        (steps(dataset, template="%DATASET_NAM%"), "Folder template", "Do you mean %DATASET_NAME%?"),
        (steps(dataset, name=""), "Name of the dataflow", "is required"),
        (steps(dataset, hours="7"), "Name of the dataflow", "interval"),
        (steps(dataset, end_date="2029-01-01"), "Name of the dataflow", "must be after the first run"),
        (steps(dataset, ends="on", end_date=""), "Name of the dataflow", "is required; or choose that it never ends"),
        (steps(dataset, start_date=""), "Name of the dataflow", "must be a date"),
        (steps(dataset, start_date="tomorrow"), "Name of the dataflow", "must be a date"),
    ):
        text = shown(person, fields)
        assert open_step in text, fields
        assert complaint in text or complaint == "interval", fields
        assert "Start exporting" not in text
    assert flows(deployed) == []


def test_what_was_entered_is_shown_again_and_never_as_markup(deployed: Deployment) -> None:
    hostile = '<script>alert(1)</script>" onfocus="alert(2)'
    dataset = deployed.import_rows("orders", [{"id": 1}])
    page = signed_in(deployed).get(f"/ui/prod/export?{urlencode(steps(dataset, name=hostile), doseq=True)}")
    assert "<script>alert" not in page
    assert '" onfocus="' not in page
    assert hostile in words(page)


def test_an_incomplete_form_that_is_forced_creates_nothing(deployed: Deployment) -> None:
    dataset = deployed.import_rows("orders", [{"id": 1}])
    person = signed_in(deployed)
    for changes in (
        {"dataset": "0" * 24},
        {"account": "unknown"},
        {"t-path": "a\\b"},
        {"every": "hours", "hours": "0"},
    ):
        answer = person.post("/ui/prod/export", steps(dataset) | changes, status=422)
        assert "need" in words(answer.text)
    assert flows(deployed) == []
    assert deployed.get("/connections?property=name==Data Landing Zone")["items"] == []


def test_without_the_permission_nothing_is_offered_and_force_is_refused(deployed: Deployment) -> None:
    dataset = deployed.import_rows("orders", [{"id": 1}])
    viewer = signed_in(deployed, deployed.new_client("view-destinations", "view-datasets"))
    assert "Export datasets" not in words(viewer.get("/ui/prod"))
    assert "Ask an administrator for the permission" in shown(viewer, {}, status=403)
    viewer.post("/ui/prod/export", steps(dataset), status=403)
    assert flows(deployed) == []


def test_the_destination_is_tested_without_storing_anything(deployed: Deployment) -> None:
    dataset = deployed.import_rows("orders", [{"id": 1}])
    answer = signed_in(deployed).post("/ui/prod/export", steps(dataset) | {"act": "test"}, status=200)
    assert "The destination works." in words(answer.text)
    assert flows(deployed) == []
    assert deployed.get("/targetConnections")["items"] == []


def test_an_expired_session_leads_back_to_the_same_step(deployed: Deployment) -> None:
    dataset = deployed.import_rows("orders", [{"id": 1}])
    person, fields = signed_in(deployed), urlencode(steps(dataset), doseq=True)
    deployed.clock.advance(seconds=3600)
    answer = person.http.get(f"http://localhost/ui/prod/export?{fields}", headers=person.headers)
    back = parse_qs(urlsplit(str(answer.url)).query)["next"][0]
    assert parse_qs(urlsplit(back).query) == parse_qs(fields)
    deployed.sign_in()
    assert deployed.http.get(f"{FLOW_SERVICE}/flows").json()["items"] == []


@pytest.mark.parametrize("path", ["preview", ""])
def test_previews_are_read_only(deployed: Deployment, path: str) -> None:
    dataset = deployed.import_rows("orders", [{"id": 1}])
    person = signed_in(deployed)
    if path:
        answer = person.post("/ui/prod/export/preview", steps(dataset, template="a/%DATASET_ID%"), status=200)
        assert f"exports/crm/a/{dataset}/" in words(answer.text)
        bad = person.post("/ui/prod/export/preview", steps(dataset, template="%X%"), status=200)
        assert words(bad.text).count("%X% is unknown.") == 1
        assert "part-00000" not in words(bad.text)
    assert flows(deployed) == []


def test_no_form_puts_the_sessions_token_into_an_address(deployed: Deployment) -> None:
    dataset = deployed.import_rows("orders", [{"id": 1}])
    person = signed_in(deployed)
    for step in ("1", "2", "3", "4", "5"):
        page = person.get(f"/ui/prod/export?{urlencode(steps(dataset, step=step), doseq=True)}")
        for form in page.split("<form")[1:]:
            head, _, body = form.partition(">")
            assert 'method="post"' in head or 'name="csrf"' not in body.partition("</form>")[0]


def test_an_export_of_many_datasets_survives_an_expired_session(deployed: Deployment) -> None:
    person, many = signed_in(deployed), [f"{number:024x}" for number in range(500)]
    deployed.clock.advance(seconds=3600)
    query = urlencode(steps("0" * 24, dataset=many), doseq=True)
    answer = person.http.get(f"http://localhost/ui/prod/export?{query}", headers=person.headers)
    back = parse_qs(urlsplit(str(answer.url)).query)["next"][0]
    assert parse_qs(urlsplit(back).query)["dataset"] == many


def create(person: Visitor, fields: dict[str, Any]) -> str:
    """Create the export; the id of its dataflow."""
    return person.post("/ui/prod/export", fields | {"key": uuid4().hex}).headers["location"].rpartition("/")[2]


def test_without_other_accounts_the_landing_zone_is_chosen_and_the_datasets_of_the_link_are_kept(
    deployed: Deployment,
) -> None:
    dataset = deployed.import_rows("orders", [{"id": 1}])
    person = signed_in(deployed)
    page = person.get(f"/ui/prod/export?dataset={dataset}")
    assert f'value="{ZONE}" checked' in page
    assert 'name="step" value="3">Continue' in page
    files = {"destination": ZONE, "account": "new", "dataset": dataset, "step": "3"}
    assert "Folder template" in shown(person, files)
    assert 'name="step" value="2">Continue' in person.get("/ui/prod/export")
    sftp_account(deployed)
    assert f'value="{ZONE}" checked' not in person.get("/ui/prod/export")


def test_an_export_once_starts_now_and_is_finished_after_its_run(deployed: Deployment) -> None:
    person = signed_in(deployed)
    fields = steps(deployed.import_rows("orders", [{"id": 1}]), every="once")
    for name in ("start_date", "start_time", "end_date"):
        del fields[name]
    text = shown(person, fields)
    assert "Export now" in text
    assert "Once, now" in text
    assert "After its only run" in text
    sent = fields | {"key": uuid4().hex}
    first, again = (person.post("/ui/prod/export", sent).headers["location"] for _ in range(2))
    assert first == again
    assert "Queued" in words(person.get(first))
    (flow,) = (str(one["id"]) for one in flows(deployed))
    deployed.run_due()
    assert person.post("/ui/prod/export", sent).headers["location"] == first
    deployed.run_due()
    (run,) = deployed.runs(flow)
    assert first == f"/ui/prod/runs/{run['id']}"
    assert run["metrics"]["statusSummary"]["status"] == "success"
    assert "Finished" in words(person.get(f"/ui/prod/flows/{flow}"))
    assert "Finished" in words(person.get("/ui/prod/flows"))


@pytest.mark.parametrize("when", ["while it runs", "after it has run"])
def test_a_run_that_a_person_starts_takes_the_place_of_the_only_scheduled_one(deployed: Deployment, when: str) -> None:
    person = signed_in(deployed)
    fields = steps(deployed.import_rows("orders", [{"id": 1}]), every="once", begin="later", start_date="2030-01-01")
    flow = create(person, fields)
    person.post(f"/ui/prod/flows/{flow}/run")
    if when == "after it has run":
        deployed.run_due()
    for op in ("disable", "enable"):  # these compute the next run again
        person.post(f"/ui/prod/flows/{flow}/state", {"op": op})
    deployed.run_due()
    assert "Finished" in words(person.get(f"/ui/prod/flows/{flow}"))
    deployed.clock.advance(seconds=10 * 365 * 86_400)
    deployed.run_due()
    assert len(deployed.runs(flow)) == 1


def test_a_run_of_the_api_does_not_use_up_the_only_slot(deployed: Deployment) -> None:
    person, dataset = signed_in(deployed), deployed.import_rows("orders", [{"id": 1}])
    flow = create(person, steps(dataset, every="once", begin="later"))
    before = words(person.get(f"/ui/prod/flows/{flow}"))
    order = {"activationInfo": {"destinations": [{"flowId": flow, "datasets": [{"id": dataset}]}]}}
    assert deployed.http.post("/data/core/activation/disflowprovider/adhocrun", json=order).status_code == 200
    deployed.run_due()
    assert "Enabled" in before
    assert "Enabled" in words(person.get(f"/ui/prod/flows/{flow}"))


def test_the_end_is_a_choice_that_the_review_repeats(deployed: Deployment) -> None:
    person, dataset = signed_in(deployed), deployed.import_rows("orders", [{"id": 1}])
    fields = steps(dataset)
    del fields["end_date"], fields["start_date"]
    prefilled = person.get(f"/ui/prod/export?{urlencode(fields | {'step': '4'}, doseq=True)}")
    end = prefilled.split('name="end_date" value="')[1].split('"')[0]
    assert f"Ends {end} 00:00" in shown(person, fields)
    never = fields | {"ends": "never"}
    assert "Ends Never" in shown(person, never)
    flow = create(person, never)
    found = deployed.get(f"/flows/{flow}")["items"][0]
    assert "endTime" not in found["scheduleParams"]
    assert "endTimeDefaulted" not in found.get("extensions", {}) or not found["extensions"]["endTimeDefaulted"]
    assert 'value="never" checked' in person.get(f"/ui/prod/flows/{flow}/settings")


def test_times_are_entered_in_the_zone_of_the_person(deployed: Deployment) -> None:
    person, dataset = signed_in(deployed), deployed.import_rows("orders", [{"id": 1}])
    for zone, date, time, utc in (
        ("Europe/Zurich", "2030-01-01", "06:30", "2030-01-01 05:30"),
        ("Europe/Zurich", "2030-07-01", "06:30", "2030-07-01 04:30"),
        ("Asia/Kolkata", "2030-01-01", "06:30", "2030-01-01 01:00"),
        ("Europe/Zurich", "2030-03-31", "02:30", "2030-03-31 01:30"),  # a time that clocks skip
        ("Nowhere/Else", "2030-01-01", "06:30", "2030-01-01 06:30"),
    ):
        fields = steps(dataset, zone=zone, start_date=date, start_time=time)
        assert f"Next runs {utc}:00 UTC" in shown(person, fields), zone


def test_a_run_in_the_past_is_said_to_start_at_once(deployed: Deployment) -> None:
    person, dataset = signed_in(deployed), deployed.import_rows("orders", [{"id": 1}])
    assert "Next runs At once for 2" in shown(person, steps(dataset, start_date="2020-01-01"))
    assert "Next runs 2030" in shown(person, steps(dataset))


def test_an_empty_folder_is_the_root_and_the_suggested_template_has_the_datasets_name(deployed: Deployment) -> None:
    person, dataset = signed_in(deployed), deployed.import_rows("orders", [{"id": 1}])
    fields = steps(dataset, **{"t-path": ""})
    del fields["template"]
    flow = create(person, fields)
    found = deployed.get(f"/flows/{flow}")["items"][0]
    assert found["scheduleParams"]["foldernameTemplate"] == "%DATASET_NAME%/%EXPORT_TIME%"
    emptied = create(person, steps(dataset, template=""))
    assert "foldernameTemplate" not in deployed.get(f"/flows/{emptied}")["items"][0]["scheduleParams"]


@pytest.mark.parametrize("destination", DESTINATIONS, ids=lambda one: one.name)
def test_without_an_account_the_next_step_is_to_connect_one(deployed: Deployment, destination: Any) -> None:
    person = signed_in(deployed)
    assert "Import a file first" in shown(person, {})
    deployed.import_rows("orders", [{"id": 1}])
    page = person.get(f"/ui/prod/export?destination={destination.connection_spec_id}")
    assert all(one.guide.summary in words(page) for one in DESTINATIONS)
    primary = words(
        page.split('class="button primary"')[1].split(">", 1)[1].partition("</a>")[0].partition("</b")[0]
    ).strip()
    if destination.auth_methods:
        assert primary.startswith("Connect a")
        assert "another" not in primary
    else:
        assert primary == "Continue"
        assert "On this server, nothing needed" in words(page)


def test_more_settings_are_folded_until_one_differs_from_its_default(deployed: Deployment) -> None:
    person, dataset = signed_in(deployed), deployed.import_rows("orders", [{"id": 1}])
    for changes, is_open in (({}, False), ({"t-invalidText": "REPLACE"}, True), ({"t-invalidText": "FAIL"}, False)):
        page = person.get(f"/ui/prod/export?{urlencode(steps(dataset, step='3', **changes), doseq=True)}")
        assert ('class="more advanced" open' in page) is is_open
