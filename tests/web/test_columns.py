"""Columns of a dataset are chosen and shown on the pages, without scripts."""

from typing import Any
from urllib.parse import urlencode

from offtake.store.tables import Flow
from tests.deployment import Deployment
from tests.web.browsing import signed_in, words
from tests.web.test_export import flows, shown, steps
from tests.web.test_flows import settings_of

ROWS = [{"id": 1, "address": {"city": "Bern", "street": "Weg"}, "secret": "s"}]


def source_of(deployed: Deployment, flow: str) -> dict[str, Any]:
    source = deployed.get(f"/flows/{flow}")["items"][0]["sourceConnectionIds"][0]
    found: dict[str, Any] = deployed.get(f"/sourceConnections/{source}")["items"][0]
    return found


def test_an_export_of_chosen_columns_is_created_and_shown_wherever_the_dataflow_is(deployed: Deployment) -> None:
    dataset, person = deployed.import_rows("orders", ROWS), signed_in(deployed)
    chosen = {f"c-{dataset}": " id\r\n\r\naddress.city "}
    files = person.get(f"/ui/prod/export?{urlencode(steps(dataset, step='3') | chosen, doseq=True)}")
    assert f'name="c-{dataset}"' in files
    assert "Columns of orders" in words(files)
    assert "Columns of orders id, address.city" in shown(person, steps(dataset) | chosen)
    at_once = {"every": "hours", "hours": "3", "start_date": "2026-03-01", "start_time": "00:00"}
    person.post("/ui/prod/export", steps(dataset) | chosen | at_once)
    (flow,) = flows(deployed)
    source = source_of(deployed, str(flow["id"]))
    assert source["params"]["columns"] == {dataset: ["id", "address.city"]}
    assert "only id, address.city" in words(person.get(f"/ui/prod/flows/{flow['id']}"))
    assert "only id, address.city" in words(person.get(f"/ui/prod/datasets/{dataset}/exports"))
    run = person.post(f"/ui/prod/flows/{flow['id']}/run").headers["location"]
    deployed.run_due()
    assert "only id, address.city" in words(person.get(run))


def test_unknown_columns_are_refused_at_their_field_and_nothing_is_created(deployed: Deployment) -> None:
    dataset, person = deployed.import_rows("orders", ROWS), signed_in(deployed)
    fields = steps(dataset, **{f"c-{dataset}": "id\nadress.city"})
    answer = person.post("/ui/prod/export", fields, status=422).text
    assert "Columns of orders" in words(answer)
    assert "the table has no column adress.city; do you mean address.city" in words(answer)
    assert flows(deployed) == []


def test_the_settings_change_the_columns_and_keep_the_others(deployed: Deployment) -> None:
    dataset = deployed.import_rows("orders", ROWS)
    flow, person = deployed.flow(dataset), signed_in(deployed)
    url = f"/ui/prod/flows/{flow}/settings"
    assert settings_of(person, flow)[f"c-{dataset}"] == ""
    wrong = person.post(url, settings_of(person, flow) | {f"c-{dataset}": "x"}, status=422).text
    assert "the table has no column x" in words(wrong)
    person.post(url, settings_of(person, flow) | {f"c-{dataset}": "id"})
    first = source_of(deployed, flow)
    assert first["params"]["columns"] == {dataset: ["id"]}
    assert settings_of(person, flow)[f"c-{dataset}"] == "id"
    person.post(url, settings_of(person, flow) | {"name": "Other"})
    assert source_of(deployed, flow)["id"] == first["id"], "nothing of the source was changed"
    customers = deployed.import_rows("customers", [{"id": 1}])
    person.post(url, settings_of(person, flow) | {"dataset": [dataset, customers]})
    assert source_of(deployed, flow)["params"]["columns"] == {dataset: ["id"]}
    person.post(url, settings_of(person, flow) | {f"c-{dataset}": ""})
    assert "columns" not in source_of(deployed, flow)["params"]
    with deployed.backend.database.reading() as session:
        assert session.get_one(Flow, flow).name == "Other"
