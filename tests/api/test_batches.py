"""Batches as Catalog makes and changes them, and who may have to do with which (contract, sections 23, 24 and 27)."""

from typing import Any

import pytest

from offtake.access import labels as access_labels
from offtake.contract.caller import MANAGE_DATASETS, VIEW_DATASETS
from tests.api.test_ingestion import (
    BYTES,
    CATALOG,
    IMPORT,
    act,
    batch_of,
    bring_in,
    call,
    code,
    held,
    ndjson,
    send,
    state,
    uploads,
)
from tests.deployment import Deployment

EXPORT = "/data/foundation/export"
SANDBOXES = "/data/foundation/sandbox-management/sandboxes"


@pytest.fixture
def dataset(deployed: Deployment) -> str:
    (path,) = call(deployed, "POST", f"{CATALOG}/dataSets", 201, json={"name": "events"})
    return str(path.rpartition("/")[2])


def body(dataset: str, **more: Any) -> Any:
    related = {"relatedObjects": [{"type": "dataSet", "id": dataset}]}
    return {"status": "loading", **related, "inputFormat": {"format": "json"}, **more}


def last(deployed: Deployment) -> str:
    return str(next(iter(call(deployed, "GET", f"{CATALOG}/batches"))))


def test_a_batch_is_made_through_catalog_and_filled_through_ingestion(deployed: Deployment, dataset: str) -> None:
    answer = deployed.http.post(f"{CATALOG}/batches", json=body(dataset, externalId="e1", tags={"a": "b"}))
    (path,) = answer.json()
    batch = path.removeprefix("@/batches/")
    assert (answer.status_code, answer.headers["location"]) == (201, f"{CATALOG}/batches/{batch}")
    send(deployed, batch, dataset, "a.json", ndjson({"id": 1}))
    act(deployed, batch, "COMPLETE")
    deployed.ingest_due()
    assert held(deployed, dataset) == [{"id": 1}]
    shown = state(deployed, batch)
    assert (shown["status"], shown["externalId"], shown["tags"]) == ("success", "e1", {"a": ["b"]})


@pytest.mark.parametrize(
    "wrong",
    [
        {"relatedObjects": [{"type": "dataSet", "id": "a"}, {"type": "dataSet", "id": "b"}]},
        {"status": "success"},
        {"status": "done"},
        {"status": None},
        {"inputFormat": {"format": "json", "delimiter": ";"}},
        {"tags": {"a": [1]}},
        {"tags": "x"},
        {"externalId": ""},
    ],
)
def test_a_batch_that_cannot_be_made_says_why(deployed: Deployment, dataset: str, wrong: Any) -> None:
    assert call(deployed, "POST", f"{CATALOG}/batches", 400, json=body(dataset) | wrong)["report"]["errors"]
    assert call(deployed, "GET", f"{CATALOG}/batches") == {}
    call(deployed, "POST", f"{CATALOG}/batches", 404, json=body("616d53e0a6de2719486fb024"))


def make(deployed: Deployment, **fields: Any) -> str:
    (path,) = call(deployed, "POST", f"{CATALOG}/batches", 201, json={"status": "processing", **fields})
    return str(path.removeprefix("@/batches/"))


def related(dataset: str) -> list[dict[str, str]]:
    return [{"type": "dataSet", "id": dataset}]


@pytest.mark.parametrize("status", ["loading", "active", "PROCESSING", "queued", "retrying", "stalled", "staging"])
def test_a_batch_is_made_with_a_status_and_its_dataset_alone(deployed: Deployment, dataset: str, status: str) -> None:
    batch = make(deployed, relatedObjects=related(dataset), status=status)
    shown = state(deployed, batch)
    assert (shown["status"], shown["relatedObjects"]) == ("loading", related(dataset))
    send(deployed, batch, dataset, "a.json", ndjson({"id": 1}))
    problem = call(deployed, "PATCH", f"{CATALOG}/batches/{batch}", 400, json={"status": "success"})
    assert (code(problem), problem["report"]["errors"][0]["path"]) == ("CATALOG-1455-400", "/inputFormat")
    call(deployed, "PATCH", f"{CATALOG}/batches/{batch}", json={"inputFormat": {"format": "json"}})
    call(deployed, "PATCH", f"{CATALOG}/batches/{batch}", json={"status": "success"})
    assert state(deployed, batch)["status"] == "staged"
    deployed.ingest_due()
    assert (state(deployed, batch)["status"], held(deployed, dataset)) == ("success", [{"id": 1}])


def test_a_batch_without_a_dataset_is_seen_and_given_one_before_files_are_sent(
    deployed: Deployment, dataset: str
) -> None:
    batch = make(deployed)
    path = f"{CATALOG}/batches/{batch}"
    assert (state(deployed, batch)["relatedObjects"], last(deployed)) == ([], batch)
    file = f"{IMPORT}/batches/{batch}/datasets/{dataset}/files/a.json"
    sent = deployed.http.put(file, content=b"{}", headers=BYTES)
    assert (sent.status_code, code(sent.json())) == (400, "INGEST-1422-400")
    for completed in (
        call(deployed, "PATCH", path, 400, json={"status": "success"}),
        call(deployed, "POST", f"/batches/{batch}?action=COMPLETE", 400),
    ):
        assert completed["report"]["errors"][0]["path"] == "/relatedObjects"
    with deployed.acting(deployed.new_client(MANAGE_DATASETS), "prod"):
        assert state(deployed, batch)["status"] == "loading"
    call(deployed, "PUT", path, 404, json={"status": "loading", "relatedObjects": related("616d53e0a6de2719486fb024")})
    call(deployed, "PUT", path, json={"status": "loading", "relatedObjects": related(dataset)})
    moved = call(deployed, "PATCH", path, 400, json={"relatedObjects": related("616d53e0a6de2719486fb024")})
    assert "cannot be changed" in moved["detail"]
    call(deployed, "PATCH", path, json={"status": "success"})
    deployed.ingest_due()
    assert state(deployed, batch)["status"] == "success"
    assert state(deployed, batch)["metrics"]["outputRecordCount"] == 0


def test_a_batch_without_a_dataset_stays_in_its_sandbox(deployed: Deployment) -> None:
    batch = make(deployed)
    call(deployed, "POST", SANDBOXES, 202, json={"name": "dev", "title": "Dev", "type": "development"})
    deployed.http.headers["x-sandbox-name"] = "dev"
    call(deployed, "GET", f"{CATALOG}/batches/{batch}", 404)
    assert call(deployed, "GET", f"{CATALOG}/batches") == {}


def test_a_batch_is_dropped_and_withdrawn_by_its_status(deployed: Deployment, dataset: str) -> None:
    for status, ended in {
        "aborted": "aborted",
        "abandoned": "aborted",
        "failed": "failed",
        "failure": "failed",
    }.items():
        batch = batch_of(deployed, dataset)
        send(deployed, batch, dataset, "a.json", ndjson({"id": 1}))
        for _ in range(2):
            call(deployed, "PUT", f"{CATALOG}/batches/{batch}", json={"status": status})
        assert state(deployed, batch)["status"] == ended
        wrong = call(deployed, "PATCH", f"{CATALOG}/batches/{batch}", 400, json={"status": "processing"})
        assert code(wrong) == "CATALOG-1422-400"
    assert uploads(deployed) == []
    deployed.clock.advance(seconds=1)
    bring_in(deployed, dataset, ndjson({"id": 2}))
    done = last(deployed)
    call(deployed, "PATCH", f"{CATALOG}/batches/{done}", 400, json={"status": "aborted"})
    call(deployed, "PATCH", f"{CATALOG}/batches/{done}", json={"status": "active"})
    call(deployed, "PATCH", f"{CATALOG}/batches/{done}", json={"status": "inactive"})
    deployed.ingest_due()
    assert (state(deployed, done)["status"], held(deployed, dataset)) == ("inactive", [])


def test_a_batch_is_posted_by_its_own_id_and_by_its_datasets(deployed: Deployment, dataset: str) -> None:
    batch = batch_of(deployed, dataset)
    answer = deployed.http.post(f"{CATALOG}/batches/{batch}", json={"status": "active", "tags": {"a": ["1"]}})
    assert (answer.status_code, answer.json()) == (201, [f"@/batches/{batch}"])
    assert answer.headers["location"] == f"{CATALOG}/batches/{batch}"
    assert (state(deployed, batch)["status"], state(deployed, batch)["tags"]) == ("loading", {"a": ["1"]})
    (path,) = call(deployed, "POST", f"{CATALOG}/batches/{dataset}", 201, json={"status": "processing"})
    assert state(deployed, path.removeprefix("@/batches/"))["relatedObjects"] == related(dataset)


@pytest.mark.parametrize("datasets", [1, 2])
def test_a_batch_is_posted_by_no_name_of_datasets(deployed: Deployment, dataset: str, datasets: int) -> None:
    batch = batch_of(deployed, dataset)
    for name in ("towns", batch):
        for _ in range(datasets):
            call(deployed, "POST", f"{CATALOG}/dataSets", 201, json={"name": name})
    wrong = call(deployed, "POST", f"{CATALOG}/batches/towns", 404, json={"status": "active"})
    assert code(wrong) == "CATALOG-1439-404"
    call(deployed, "POST", f"{CATALOG}/batches/{batch}", 201, json={"tags": {"a": ["1"]}})
    assert state(deployed, batch)["tags"] == {"a": ["1"]}


def test_tags_are_added_and_replaced(deployed: Deployment, dataset: str) -> None:
    batch = batch_of(deployed, dataset, tags={"a": ["1"]})
    path = f"{CATALOG}/batches/{batch}"
    assert call(deployed, "PATCH", path, json={"tags": {"b": ["2"]}}) == [f"@/batches/{batch}"]
    assert state(deployed, batch)["tags"] == {"a": ["1"], "b": ["2"]}
    call(deployed, "PUT", path, json={"status": "loading", "tags": {"c": ["3"]}})
    shown = state(deployed, batch)
    assert (shown["tags"], shown["version"]) == ({"c": ["3"]}, "1.0.2")
    unusable: list[Any] = [{}, [], {"tags": {"a": 1}}, {"tags": {"": ["x"]}}]
    for wrong in unusable:
        call(deployed, "PATCH", path, 400, json=wrong)
    assert list(call(deployed, "GET", f"{CATALOG}/batches?tags=c:3")) == [batch]


def test_a_batch_is_withdrawn_whatever_its_state(deployed: Deployment, dataset: str) -> None:
    loading = batch_of(deployed, dataset)
    send(deployed, loading, dataset, "a.json", ndjson({"id": 1}))
    deployed.clock.advance(seconds=1)
    bring_in(deployed, dataset, ndjson({"id": 2}))
    done = last(deployed)
    for _ in range(2):
        for batch in (loading, done):
            assert call(deployed, "DELETE", f"{CATALOG}/batches/{batch}") == [f"@/batches/{batch}"]
        deployed.ingest_due()
    assert [state(deployed, batch)["status"] for batch in (loading, done)] == ["aborted", "inactive"]
    assert held(deployed, dataset) == []
    assert uploads(deployed) == []
    call(deployed, "DELETE", f"{CATALOG}/batches/nope", 404)


def test_a_client_may_send_replays_as_patches_with_marked_ids(deployed: Deployment, dataset: str) -> None:
    bring_in(deployed, dataset, ndjson({"id": 1}), externalId="first")
    old = last(deployed)
    replay = {"predecessors": [f"${old}"], "reason": "replace"}
    new = {"datasetId": dataset, "inputFormat": {"format": "json"}, "replay": replay}
    batch = call(deployed, "PATCH", "/batches", 201, json=new)["id"]
    act(deployed, batch, "COMPLETE")
    deployed.ingest_due()
    assert held(deployed, dataset) == []
    assert (state(deployed, old)["status"], state(deployed, old)["tags"]) == ("inactive", {"acp_successor": [batch]})


def test_batches_are_replaced_by_their_external_ids(deployed: Deployment, dataset: str) -> None:
    bring_in(deployed, dataset, ndjson({"id": 1}), externalId="first")
    replay = {"predecessorsByExternalId": ["first"]}
    assert bring_in(deployed, dataset, ndjson({"id": 2}), replay=replay)["status"] == "success"
    assert held(deployed, dataset) == [{"id": 2}]
    answer = call(
        deployed, "POST", "/batches", 400,
        json={"datasetId": dataset, "inputFormat": {"format": "json"}, "replay": replay},
    )  # fmt: skip
    assert answer["report"]["errors"][0]["path"] == "/replay/predecessorsByExternalId/0"
    assert "inactive" in answer["detail"]


def test_what_was_sent_is_not_previewed_once_it_is_in(deployed: Deployment, dataset: str) -> None:
    bring_in(deployed, dataset, ndjson({"id": 1}))
    done = last(deployed)
    assert code(call(deployed, "GET", f"/batches/{done}/datasets/{dataset}/preview", 400)) == "INGEST-1422-400"
    deployed.import_rows("events", [{"id": 2}])
    imported = last(deployed)
    call(deployed, "GET", f"/batches/{imported}/datasets/{dataset}/preview", 400)


@pytest.mark.parametrize("count", ["-1", "101", "1e3", "", "9" * 1500, "0" * 1500, "²"])
def test_a_preview_has_so_many_rows_or_says_what_it_may_have(deployed: Deployment, dataset: str, count: str) -> None:
    batch = batch_of(deployed, dataset)
    send(deployed, batch, dataset, "a.json", ndjson(*({"id": n, "deep": {"a": [True]}} for n in range(120))))
    path = f"{IMPORT}/batches/{batch}/datasets/{dataset}/preview?nrow={count}"
    answer = deployed.http.get(path)
    if count:
        assert answer.status_code == 400
        return
    rows = answer.json()["preview"]["rows"]
    assert (len(rows), rows[0]["1"]) == (100, '{"a": [true]}')


def calls(batch: str, dataset: str, file: str) -> list[tuple[str, str, Any]]:
    """Every call about a batch, with what it takes."""
    sent = f"{IMPORT}/batches/{batch}/datasets/{dataset}/files/a.json"
    part = {"content": b"x" * 10, "headers": BYTES | {"content-range": "bytes 0-9/10"}}
    return [
        ("POST", f"{IMPORT}/batches", {"json": {"datasetId": dataset, "inputFormat": {"format": "json"}}}),
        ("POST", f"{IMPORT}/batches/{batch}?action=ABORT", {}),
        ("PUT", sent, {"content": b"{}", "headers": BYTES}),
        ("PATCH", sent, part),
        ("HEAD", sent, {}),
        ("POST", f"{sent}?action=INITIALIZE", {}),
        ("POST", f"{sent}?action=COMPLETE", {}),
        ("GET", f"{IMPORT}/batches/{batch}/datasets/{dataset}/preview", {}),
        ("GET", f"{CATALOG}/batches/{batch}", {}),
        ("POST", f"{CATALOG}/batches", {"json": body(dataset)}),
        ("PATCH", f"{CATALOG}/batches/{batch}", {"json": {"tags": {"a": ["b"]}}}),
        ("PUT", f"{CATALOG}/batches/{batch}", {"json": {"tags": {"a": ["b"]}}}),
        ("DELETE", f"{CATALOG}/batches/{batch}", {}),
        ("GET", f"{EXPORT}/batches/{batch}/files", {}),
        ("GET", f"{EXPORT}/batches/{batch}/meta", {}),
        ("GET", f"{EXPORT}/batches/{batch}/failed", {}),
        ("GET", f"{EXPORT}/files/{file}", {}),
        ("HEAD", f"{EXPORT}/files/{file}", {}),
        ("GET", f"{EXPORT}/datasets/{dataset}/preview", {}),
        ("GET", f"{CATALOG}/dataSets/{dataset}", {}),
        ("DELETE", f"{CATALOG}/dataSets/{dataset}", {}),
    ]


@pytest.mark.parametrize("apart", ["sandbox", "label"])
def test_nothing_of_a_batch_is_there_for_those_in_another_sandbox_or_without_a_label(
    deployed: Deployment, dataset: str, apart: str
) -> None:
    bring_in(deployed, dataset, ndjson({"id": 1}))
    deployed.clock.advance(seconds=1)
    done, open_one = last(deployed), batch_of(deployed, dataset)
    send(deployed, open_one, dataset, "a.json", ndjson({"id": 2}))
    file = call(deployed, "GET", f"{EXPORT}/batches/{done}/files")["data"][0]["dataSetFileId"]
    with deployed.backend.database.writing() as session:
        access_labels.set_labels(session, dataset, ["core/C1"] if apart == "label" else [])
    new = {"name": "dev", "title": "D", "type": "development"}
    call(deployed, "POST", SANDBOXES, 202, json=new)
    client = deployed.new_client(VIEW_DATASETS, MANAGE_DATASETS, labels=("core/C2",))
    with deployed.acting(client, "prod" if apart == "label" else "dev"):
        for batch in (done, open_one):
            for method, path, more in calls(batch, dataset, file):
                answer = deployed.http.request(method, path, **more)
                assert answer.status_code == 404, f"{method} {path}"
        for listing in ("batches", "dataSets", "lastBatches"):
            assert call(deployed, "GET", f"{CATALOG}/{listing}") == {}
    assert [state(deployed, batch)["status"] for batch in (done, open_one)] == ["success", "loading"]
