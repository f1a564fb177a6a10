"""The labels of datasets over HTTP."""

from typing import Any

import pytest

from offtake.access.clients import NewClient
from offtake.contract.caller import MANAGE_DATASETS, VIEW_DATASETS, VIEW_DESTINATIONS
from tests.deployment import Deployment

BASE = "/data/foundation/dataset/datasets"


@pytest.fixture
def dataset(deployed: Deployment) -> str:
    answer = deployed.http.post("/data/foundation/catalog/dataSets", json={"name": "towns"})
    return str(answer.json()[0].rpartition("/")[2])


def call(deployed: Deployment, method: str, dataset: str, status: int, body: Any = None, etag: str = "") -> Any:
    headers = {"If-Match": etag} if etag else {}
    answer = deployed.http.request(method, f"{BASE}/{dataset}/labels", json=body, headers=headers)
    assert answer.status_code == status, answer.text
    return answer


def holder(deployed: Deployment, *labels: str, permission: str = MANAGE_DATASETS) -> NewClient:
    return deployed.new_client(permission, labels=labels)


def test_labels_are_put_read_and_removed(deployed: Deployment, dataset: str) -> None:
    assert call(deployed, "GET", dataset, 404).json()["type"].endswith("DATASET-1439-404")
    put = call(deployed, "PUT", dataset, 200, {"labels": ["b", "a", "b"], "optionalLabels": []}, "*")
    assert put.json() == {"labels": ["a", "b"], "optionalLabels": []}
    got = call(deployed, "GET", dataset, 200)
    assert (got.json(), got.headers["etag"]) == (put.json(), put.headers["etag"])
    other = call(deployed, "PUT", dataset, 200, {"labels": ["a"]}, got.headers["etag"])
    assert other.headers["etag"] != got.headers["etag"]
    call(deployed, "PUT", dataset, 200, {"labels": []}, "*")
    call(deployed, "GET", dataset, 404)


def test_a_put_needs_the_etag_that_was_read(deployed: Deployment, dataset: str) -> None:
    first = call(deployed, "PUT", dataset, 200, {"labels": ["a"]}, "*").headers["etag"]
    call(deployed, "PUT", dataset, 200, {"labels": ["b"]}, first)
    refused = call(deployed, "PUT", dataset, 412, {"labels": ["c"]}, first)
    assert refused.json()["type"].endswith("DATASET-1404-412")
    assert call(deployed, "PUT", dataset, 400, {"labels": ["c"]}).json()["type"].endswith("DATASET-1403-400")
    assert call(deployed, "GET", dataset, 200).json()["labels"] == ["b"]


def test_a_post_adds_the_first_labels_only(deployed: Deployment, dataset: str) -> None:
    call(deployed, "POST", dataset, 201, {"labels": ["a"]})
    assert call(deployed, "POST", dataset, 403, {"labels": ["b"]}).json()["type"].endswith("DATASET-3403-403")


@pytest.mark.parametrize(
    "body",
    [{"labels": ["*"]}, {"labels": [" a"]}, {"labels": [1]}, {"labels": "a"}, {"optionalLabels": []}, {},
     {"labels": ["a"], "optionalLabels": [{"option": {}, "labels": ["b"]}]}, {"labels": ["a"] * 2 + ["x" * 101]}],
)  # fmt: skip
def test_labels_that_cannot_be_given_are_refused(deployed: Deployment, dataset: str, body: Any) -> None:
    for method in ("PUT", "POST"):
        assert "DATASET-14" in call(deployed, method, dataset, 400, body, "*").json()["type"]
    call(deployed, "GET", dataset, 404)


def test_a_caller_changes_only_labels_that_it_holds(deployed: Deployment, dataset: str) -> None:
    call(deployed, "PUT", dataset, 200, {"labels": ["a"]}, "*")
    with deployed.acting(holder(deployed, "a", "b")):
        call(deployed, "PUT", dataset, 200, {"labels": ["a", "b"]}, "*")
        for lacking in (["a", "c"], ["a", "b", "c"]):
            refused = call(deployed, "PUT", dataset, 403, {"labels": lacking}, "*").json()
            assert "DATASET-2120-403" in refused["type"]
            assert refused["detail"].endswith(": c.")
        call(deployed, "PUT", dataset, 200, {"labels": []}, "*")
        call(deployed, "POST", dataset, 403, {"labels": ["c"]})
    call(deployed, "PUT", dataset, 200, {"labels": ["c"]}, "*")
    with deployed.acting(holder(deployed, "a")):
        call(deployed, "GET", dataset, 404)
        call(deployed, "PUT", dataset, 404, {"labels": []}, "*")


def test_reading_and_changing_labels_need_their_permissions(deployed: Deployment, dataset: str) -> None:
    call(deployed, "PUT", dataset, 200, {"labels": ["a"]}, "*")
    with deployed.acting(holder(deployed, "a", permission=VIEW_DATASETS)):
        assert call(deployed, "GET", dataset, 200).json()["labels"] == ["a"]
        call(deployed, "PUT", dataset, 403, {"labels": []}, "*")
        call(deployed, "POST", dataset, 403, {"labels": []})
    with deployed.acting(holder(deployed, "a", permission=VIEW_DESTINATIONS)):
        call(deployed, "GET", dataset, 403)


def test_a_change_of_labels_is_in_the_audit_log(deployed: Deployment, dataset: str) -> None:
    call(deployed, "PUT", dataset, 200, {"labels": ["a"]}, "*")
    found = deployed.http.get(f"/data/foundation/audit/events?property=assetId=={dataset}&property=action==update")
    (event,) = found.json()["_embedded"]["events"]
    assert (event["before"], event["after"]) == ({"labels": []}, {"labels": ["a"]})
