"""Usage: counted once for each run, by month, dataset, destination and flow, for callers who may see it."""

from typing import Any

import pytest
from sqlalchemy import func, select

from offtake.errors import EXPORT_FAILED, DeliveryError
from offtake.scheduling.housekeeping import empty_sandbox
from offtake.store.tables import Label, Usage
from tests.deployment import Deployment, rows
from tests.scheduling import flaky_destination
from tests.usage.asking import in_sandbox, label, usage


def counts(found: Any) -> list[tuple[Any, ...]]:
    return [(one["datasetName"], one["recordCount"], one["fileCount"]) for one in found["items"]]


def test_runs_count_in_the_month_in_which_they_end(deployed: Deployment) -> None:
    events, orders = deployed.import_rows("events", rows(0, 20)), deployed.import_rows("orders", rows(0, 7))
    flow = deployed.flow(events, orders)
    deployed.run_due()
    with in_sandbox(deployed, "dev"):
        theirs = deployed.flow(deployed.import_rows("theirs", rows(0, 3)))
        deployed.run_due()
        assert counts(usage(deployed)) == [("theirs", 3, 1)]
        deployed.delete(f"/flows/{theirs}")
    found = usage(deployed)
    assert (found["month"], sorted(counts(found))) == ("2026-03", [("events", 20, 1), ("orders", 7, 1)])
    assert {one["connectionName"] for one in found["items"]} == {"zone"}
    assert all(one["bytes"] > 0 and one["computeSeconds"] > 0 for one in found["items"])
    total = {key: sum(one[key] for one in found["items"]) for key in ("recordCount", "bytes", "fileCount")}
    assert total == {key: found["total"][key] for key in total}

    # A run that fails counts the CPU time of the files that it wrote, and not the files, which are removed.
    deployed.import_rows("events", rows(20, 5))
    deployed.clock.advance(days=30)
    refused = DeliveryError(EXPORT_FAILED, "refused by the test", "")
    with flaky_destination.at("before_commit", flaky_destination.fail(refused)):
        deployed.run_due()
    assert deployed.runs(flow)[0]["metrics"]["statusSummary"]["status"] == "failed"
    (failed,) = usage(deployed, "month=2026-03&by=flow")["items"]
    assert (failed["recordCount"], failed["fileCount"]) == (27, 2)
    assert failed["computeSeconds"] > found["total"]["computeSeconds"]

    # The month's turn: the run that begins in March and ends in April counts in April.
    deployed.clock.advance(days=0.49)
    with flaky_destination.at("before_commit", lambda: deployed.clock.advance(hours=1)):
        deployed.run_due()
    assert counts(usage(deployed)) == [("events", 5, 1)]
    by_month = usage(deployed, "by=month")
    assert by_month["month"] is None
    assert [(one["month"], one["recordCount"]) for one in by_month["items"]] == [("2026-04", 5), ("2026-03", 27)]
    # A clock that is set back counts what ends then in the month that it shows.
    deployed.clock.set_by(days=-2)
    with in_sandbox(deployed, "dev"):
        deployed.flow(deployed.import_rows("more", rows(0, 4)))
        deployed.run_due()
        assert [one["recordCount"] for one in usage(deployed, "by=month&limit=5")["items"]] == [7]
    page = usage(deployed, "by=month&limit=1")
    assert (len(page["items"]), page["totalCount"]) == (1, 2)
    following = page["_links"]["next"]["href"]
    assert [one["month"] for one in deployed.get(following)["items"]] == ["2026-03"]


def test_what_is_deleted_keeps_its_usage_and_its_labels(deployed: Deployment) -> None:
    events, secret = deployed.import_rows("events", rows(0, 20)), deployed.import_rows("secret", rows(0, 7))
    plain, hidden = deployed.flow(events), deployed.flow(events)
    deployed.patch(f"/flows/{hidden}", [{"op": "add", "path": "/labels", "value": ["core/C1"]}])
    restricted = deployed.new_client("view-destinations")
    deployed.flow(secret)
    label(deployed, secret, "core/C2")
    deployed.run_due()
    labelled = {name: deployed.new_client("view-destinations", labels=(name,)) for name in ("core/C1", "core/C2")}

    def seen() -> dict[str, tuple[int, int]]:
        found = {}
        for name, client in {"": restricted, **labelled}.items():
            with deployed.acting(client):
                shown = deployed.get("/usage")
                found[name] = (sum(one["recordCount"] for one in shown["items"]), shown["total"]["recordCount"])
        return found

    expected = {"": (20, 20), "core/C1": (40, 40), "core/C2": (27, 27)}
    assert seen() == expected
    flows = [one["id"] for one in deployed.get("/flows")["items"]]
    for flow in flows:
        deployed.delete(f"/flows/{flow}")
    for dataset in (events, secret):
        answer = deployed.http.delete(f"/data/foundation/catalog/dataSets/{dataset}")
        assert answer.status_code == 200, answer.text
    assert seen() == expected
    assert {plain, hidden} < {one["flowId"] for one in deployed.get("/usage?by=flow")["items"]}
    assert {one["flowName"] for one in deployed.get("/usage?by=flow")["items"]} == {"flow"}
    assert counts(deployed.get("/usage?by=dataset")) == [("events", 40, 2), ("secret", 7, 1)]


def test_a_reset_keeps_usage_and_a_deletion_removes_it(deployed: Deployment) -> None:
    path = "/data/foundation/sandbox-management/sandboxes/dev"
    with in_sandbox(deployed, "dev"):
        secret = deployed.import_rows("secret", rows(0, 7))
        deployed.flow(secret)
        label(deployed, secret, "core/C2")
        deployed.run_due()
        assert deployed.http.put("/data/foundation/flowservice/quotas/rows", json={"limit": 5}).status_code == 200
        sandbox = deployed.caller.sandbox_id
        deployed.http.put(path, json={"action": "reset"})
        list(empty_sandbox(deployed.backend, sandbox))
        assert counts(usage(deployed)) == [("secret", 7, 1)]
        assert [one["reached"] for one in deployed.get("/quotas")["items"]] == [True]
    deployed.http.delete(path)
    list(empty_sandbox(deployed.backend, sandbox))
    with deployed.backend.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Usage)) == 0
        assert session.scalar(select(func.count()).select_from(Label)) == 0


@pytest.mark.parametrize(
    ("query", "field"), [("month=2026-13", "month"), ("month=26-01", "month"), ("by=size", "by"), ("limit=0", "limit")]
)
def test_a_wrong_parameter_is_named(standing: Deployment, query: str, field: str) -> None:
    found = standing.get(f"/usage?{query}", 400)
    assert found["type"].endswith("FLOW-1452-400")
    assert f"/{field}" in found["detail"]
