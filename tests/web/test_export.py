from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.deployment import FLOW_SERVICE, ZONE, Deployment
from tests.web.browsing import Visitor, signed_in, words

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
        (steps(dataset, **{"t-path": ""}), "Folder template", "is required"),
        (steps(dataset, template="%NOTHING%"), "Folder template", "unknown macro"),
        (steps(dataset, name=""), "Name of the dataflow", "is required"),
        (steps(dataset, hours="7"), "Name of the dataflow", "interval"),
        (steps(dataset, end_date=""), "Name of the dataflow", "nothing would run"),
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
        assert "unknown macro" in words(bad.text)
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
