"""What tests of usage and quotas ask a deployment."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from offtake.access import access
from tests.deployment import FLOW_SERVICE, Deployment


@contextmanager
def in_sandbox(deployed: Deployment, name: str) -> Iterator[None]:
    """Work in another sandbox, which is created if it does not exist."""
    path = "/data/foundation/sandbox-management/sandboxes"
    deployed.sign_in()
    if deployed.http.get(f"{path}/{name}").status_code == 404:
        deployed.post(path, {"name": name, "title": name, "type": "development"}, 202)
    before, deployed.caller = deployed.caller, access.operator_caller(deployed.backend.database, name)
    deployed.http.headers["x-sandbox-name"] = name
    try:
        yield
    finally:
        deployed.caller = before
        deployed.sign_in()


def sign_in(deployed: Deployment) -> None:
    """A fresh token, in the same sandbox."""
    deployed.sign_in()
    deployed.http.headers["x-sandbox-name"] = deployed.caller.sandbox_name


def usage(deployed: Deployment, query: str = "") -> Any:
    sign_in(deployed)
    return deployed.get(f"/usage?{query}")


def quota(deployed: Deployment, measure: str, limit: int) -> Any:
    """Set a quota; the answer."""
    sign_in(deployed)
    answer = deployed.http.put(f"{FLOW_SERVICE}/quotas/{measure}", json={"limit": limit})
    assert answer.status_code == 200, answer.text
    return answer.json()


def label(deployed: Deployment, dataset: str, *labels: str) -> None:
    """Set the labels of a dataset."""
    path, body = f"/data/foundation/dataset/datasets/{dataset}/labels", {"labels": list(labels), "optionalLabels": []}
    answer = deployed.http.put(path, json=body, headers={"If-Match": "*"})
    assert answer.status_code == 200, answer.text
