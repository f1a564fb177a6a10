"""A dataset's schema is a promise: what of that Catalog and ingestion show, take and refuse."""

from typing import Any

import pytest

from tests.api.test_ingestion import CATALOG, act, batch_of, bring_in, call, held, ndjson, send, state
from tests.deployment import Deployment

COLUMNS = [{"name": "id", "type": "long", "required": True}, {"name": "city", "type": "string"}]


def promise(**said: Any) -> Any:
    return {"extensions": {"offtake": said}}


def make(deployed: Deployment, **more: Any) -> str:
    (path,) = call(deployed, "POST", f"{CATALOG}/dataSets", 201, json={"name": "events", **more})
    return str(path.rpartition("/")[2])


def shown(deployed: Deployment, dataset: str, properties: str = "") -> Any:
    return call(deployed, "GET", f"{CATALOG}/dataSets/{dataset}{properties}")[dataset]


def evolves(deployed: Deployment, dataset: str) -> bool:
    found: bool = shown(deployed, dataset)["extensions"]["offtake"]["evolves"]
    return found


def test_a_dataset_does_not_evolve_until_that_is_said(deployed: Deployment) -> None:
    dataset = make(deployed)
    assert not evolves(deployed, dataset)
    assert "adobe_lakeHouse" in shown(deployed, dataset)["extensions"]
    path = f"{CATALOG}/dataSets/{dataset}"
    for method, body, after in (
        ("PATCH", promise(evolves=True), True),
        ("PATCH", {"description": "x"}, True),
        ("PUT", {"name": "events"}, True),
        ("PUT", {"name": "events", "extensions": {"offtake": {}}}, True),
        ("PATCH", {"extensions": None}, True),
        ("PUT", {"name": "events", **promise(evolves=False)}, False),
        ("PATCH", [{"op": "replace", "path": "/extensions/offtake/evolves", "value": True}], True),
    ):
        call(deployed, method, path, json=body)
        assert evolves(deployed, dataset) is after, body
    call(deployed, "PUT", path, json=shown(deployed, dataset))
    assert evolves(deployed, dataset)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"evolves": "yes"}, "/extensions/offtake/evolves"),
        ({"columns": []}, "1 to 10000 columns"),
        ({"columns": [{"name": "a", "type": "text"}]}, "Column a: 'text' is not a type"),
        ({"columns": [{"name": "a"}]}, "Column a: type must be"),
        ({"columns": 5}, "/extensions/offtake/columns"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_refused(deployed: Deployment, said: Any, why: str) -> None:
    problem = call(deployed, "POST", f"{CATALOG}/dataSets", 400, json={"name": "events", **promise(**said)})
    assert why in str(problem)
    assert call(deployed, "GET", f"{CATALOG}/dataSets") == {}


def test_declared_columns_make_the_table_at_once(deployed: Deployment) -> None:
    dataset = make(deployed, **promise(columns=COLUMNS))
    schema = shown(deployed, dataset, "?properties=observableSchema")["observableSchema"]
    assert list(schema["properties"]) == ["id", "city"]
    done = bring_in(deployed, dataset, ndjson({"id": 1, "city": "Bern"}))
    assert (done["status"], held(deployed, dataset)) == ("success", [{"id": 1, "city": "Bern"}])
    assert bring_in(deployed, dataset, ndjson({"id": 2, "river": "Aare"}))["status"] == "failed"


def test_declared_columns_stay_as_they_were_declared(deployed: Deployment) -> None:
    dataset = make(deployed, **promise(columns=COLUMNS))
    path = f"{CATALOG}/dataSets/{dataset}"
    call(deployed, "PUT", path, json={"name": "events", **promise(columns=COLUMNS)})
    for method in ("PUT", "PATCH"):
        body = {"name": "events", **promise(columns=COLUMNS[:1])}
        assert "/extensions/offtake/columns" in str(call(deployed, method, path, 400, json=body))


def test_a_dataset_whose_table_was_not_made_in_time_has_it_before_its_rows(deployed: Deployment) -> None:
    """The server ended between a dataset's row and its table."""
    dataset = make(deployed, **promise(columns=COLUMNS))
    table = shown(deployed, dataset)["basePath"].replace("/", ".")
    deployed.backend.lake.purge(table)
    assert bring_in(deployed, dataset, ndjson({"id": 1, "river": "Aare"}))["status"] == "failed"
    assert bring_in(deployed, dataset, ndjson({"id": 1}))["status"] == "success"
    assert held(deployed, dataset) == [{"id": 1}]


def test_one_batch_may_add_columns(deployed: Deployment) -> None:
    dataset = make(deployed)
    assert bring_in(deployed, dataset, ndjson({"id": 1}))["status"] == "success"
    refused = bring_in(deployed, dataset, ndjson({"id": 2, "city": "Graz"}))
    assert (refused["status"], "city" in refused["errors"][0]["description"]) == ("failed", True)
    done = bring_in(deployed, dataset, ndjson({"id": 2, "city": "Graz"}), evolve=True)
    assert (done["status"], done["evolve"]) == ("success", True)
    assert bring_in(deployed, dataset, ndjson({"id": 3, "river": "Aare"}))["status"] == "failed"
    body = {"datasetId": dataset, "inputFormat": {"format": "json"}, "evolve": "maybe"}
    call(deployed, "POST", "/batches", 400, json=body)


def test_content_that_came_in_before_is_taken_in_and_the_batch_says_so(deployed: Deployment) -> None:
    dataset = make(deployed)
    first = bring_in(deployed, dataset, ndjson({"id": 1}))
    assert first["notes"] == []
    (old,) = call(deployed, "GET", f"{CATALOG}/batches")
    deployed.clock.advance(seconds=1)
    again = bring_in(deployed, dataset, ndjson({"id": 1}))
    assert (again["status"], len(held(deployed, dataset))) == ("success", 2)
    (note,) = again["notes"]
    assert f"were imported as batch {old} at " in note
    other = bring_in(deployed, dataset, ndjson({"id": 1}), shape={"nanoseconds": "refuse"})
    assert other["notes"] == []


def test_a_batch_that_takes_the_place_of_the_same_content_has_no_note(deployed: Deployment) -> None:
    dataset = make(deployed)
    bring_in(deployed, dataset, ndjson({"id": 1}))
    (old,) = call(deployed, "GET", f"{CATALOG}/batches")
    deployed.clock.advance(seconds=1)
    replay = {"predecessors": [old], "reason": "replace"}
    assert bring_in(deployed, dataset, ndjson({"id": 1}), replay=replay)["notes"] == []


def test_a_dry_run_says_what_a_batch_would_do(deployed: Deployment) -> None:
    dataset = make(deployed)
    bring_in(deployed, dataset, ndjson({"id": 1}))
    batch = batch_of(deployed, dataset, evolve=True)
    path = f"/batches/{batch}/datasets/{dataset}/dryRun"
    call(deployed, "GET", path, 400)  # nothing was sent yet
    send(deployed, batch, dataset, "a.json", ndjson({"id": 2, "city": "Graz"}))
    found = call(deployed, "GET", path)
    assert (found["rows"], found["columnsAdded"], found["typesChanged"]) == (1, ["city"], [])
    assert found["columns"][0] == {"name": "id", "type": "long", "required": False}
    assert (state(deployed, batch)["status"], held(deployed, dataset)) == ("loading", [{"id": 1}])
    strict = batch_of(deployed, dataset)
    send(deployed, strict, dataset, "a.json", ndjson({"id": 2, "city": "Graz"}))
    refused = call(deployed, "GET", f"/batches/{strict}/datasets/{dataset}/dryRun", 400)
    assert "city" in refused["detail"]
    act(deployed, batch, "COMPLETE")
    deployed.ingest_due()
    call(deployed, "GET", path, 400)  # it is in


@pytest.mark.parametrize("form", ["json", "parquet"])
def test_options_of_csv_are_refused_for_other_files(deployed: Deployment, form: str) -> None:
    dataset = make(deployed)
    body = {"datasetId": dataset, "inputFormat": {"format": form, "delimiter": ";"}}
    assert "/inputFormat/delimiter" in str(call(deployed, "POST", "/batches", 400, json=body))


@pytest.mark.parametrize("error", [ValueError("odd value 4711"), TypeError("x"), KeyError("k")])
def test_what_cannot_succeed_fails_at_once(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    dataset = make(deployed)

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("offtake.lake.ingest.ingest", fail)
    failed = bring_in(deployed, dataset, ndjson({"id": 1}))
    (batch,) = call(deployed, "GET", f"{CATALOG}/batches")
    assert failed["status"] == "failed"
    assert batch in failed["errors"][0]["description"]
    assert "4711" not in str(failed)


def test_a_revert_that_cannot_succeed_ends_at_once(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = make(deployed)
    bring_in(deployed, dataset, ndjson({"id": 1}))
    (batch,) = call(deployed, "GET", f"{CATALOG}/batches")

    def fail(*_: Any) -> None:
        raise ValueError("odd")

    monkeypatch.setattr("offtake.lake.ingest.revert", fail)
    act(deployed, batch, "REVERT")
    deployed.ingest_due()
    stays = state(deployed, batch)
    assert (stays["status"], stays["errors"][0]["code"]) == ("success", "INGEST-1420-400")
