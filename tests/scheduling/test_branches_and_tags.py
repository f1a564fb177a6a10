"""Flows that export a branch or tag of a table instead of its main branch."""

from typing import Any

import pytest
from pyiceberg.table import Table

from offtake.documents import Json
from offtake.flows import flow_verification
from offtake.flows.flow_views import exported_datasets
from offtake.flows.pending_rows import count_pending
from offtake.lake.table_names import TableName
from offtake.store.tables import Dataset, Flow
from tests.deployment import ZONE as SPEC
from tests.deployment import Deployment, flow_body, rows, source_body, table_of, target_body


class Branched:
    """A table with rows 0 and 1 on main, the branch `audit` from there, and a flow of a branch or tag."""

    def __init__(self, deployed: Deployment) -> None:
        self.deployed = deployed
        self.dataset = deployed.import_rows("orders", rows(0, 2))
        table = self.table
        snapshot = table.current_snapshot()
        assert snapshot is not None
        table.manage_snapshots().create_branch(snapshot.snapshot_id, "audit").commit()
        table.manage_snapshots().create_tag(snapshot.snapshot_id, "v1").commit()

    @property
    def table(self) -> Table:
        with self.deployed.backend.database.reading() as session:
            name = session.get_one(Dataset, self.dataset).table_name
        return self.deployed.backend.lake.load(TableName(name))

    def write(self, first: int, branch: str = "audit") -> None:
        table = self.table
        added = table.scan().to_arrow().slice(0, 1)
        numbered = added.set_column(added.schema.get_field_index("id"), added.schema.field("id"), [[first]])
        table.append(numbered, branch=branch)

    def source(self, ref: str, status: int = 201) -> Any:
        body = source_body(self.dataset)
        body["params"]["datasets"][0]["ref"] = ref
        return self.deployed.post("/sourceConnections", body, status)

    def flow(self, ref: str) -> str:
        deployed = self.deployed
        base = deployed.post("/connections", {"name": "zone", "connectionSpec": {"id": SPEC, "version": "1.0"}})["id"]
        target = deployed.post("/targetConnections", target_body(base))["id"]
        body = flow_body(self.source(ref)["id"], target, deployed.clock)
        return str(deployed.post("/flows", body)["id"])

    def run(self) -> None:
        self.deployed.run_due()
        self.deployed.clock.advance(hours=3)

    def delivered(self) -> list[list[int]]:
        """The ids that each run delivered."""
        found = [self.deployed.delivered(one) for one in self.deployed.manifests()]
        return [table_of(files).column("id").to_pylist() for files in found]

    def states(self, flow: str) -> list[str]:
        found: list[Json] = self.deployed.runs(flow)
        return [one["metrics"]["statusSummary"]["status"] for one in found]


@pytest.fixture
def branched(deployed: Deployment) -> Branched:
    return Branched(deployed)


def test_a_flow_of_a_branch_delivers_its_rows_and_then_what_was_added(branched: Branched) -> None:
    branched.flow("audit")
    branched.write(10)
    branched.write(99, "main")
    branched.run()
    branched.write(11)
    branched.run()
    branched.run()
    assert branched.delivered() == [[0, 1, 10], [11]]


def test_a_tag_is_exported_once_and_follows_the_tag_if_it_is_moved(branched: Branched) -> None:
    branched.flow("v1")
    branched.write(99, "main")
    branched.run()
    branched.run()
    assert branched.delivered() == [[0, 1]]
    table = branched.table
    snapshot = table.current_snapshot()
    assert snapshot is not None
    table.manage_snapshots().remove_tag("v1").commit()
    branched.table.manage_snapshots().create_tag(snapshot.snapshot_id, "v1").commit()
    branched.run()
    assert branched.delivered() == [[0, 1], [99]]


def test_a_branch_that_was_removed_fails_the_run_with_the_reason(branched: Branched) -> None:
    flow = branched.flow("audit")
    branched.run()
    branched.table.manage_snapshots().remove_branch("audit").commit()
    branched.run()
    assert branched.delivered() == [[0, 1]]
    newest = branched.deployed.runs(flow)[0]
    assert "has no branch or tag audit; it has main, v1" in str(newest)


def test_an_unknown_branch_is_refused_with_the_known_ones(branched: Branched) -> None:
    refused = branched.source("audti", 400)
    assert "/params/datasets/0/ref" in str(refused)
    assert "do you mean audit?" in str(refused)
    assert "it has audit, main, v1" in str(branched.source("release", 400))
    assert "must not be empty" in str(branched.source("", 400))


def test_source_connections_show_the_branch_and_leave_out_main(branched: Branched) -> None:
    found = branched.deployed.get(f"/sourceConnections/{branched.source('audit')['id']}")["items"][0]
    entry = {"dataSetId": branched.dataset, "name": "orders"}
    assert found["params"]["datasets"] == [{**entry, "ref": "audit"}]
    found = branched.deployed.get(f"/sourceConnections/{branched.source('main')['id']}")["items"][0]
    assert found["params"]["datasets"] == [entry]


def test_pending_rows_and_verification_are_those_of_the_branch(branched: Branched) -> None:
    flow_id = branched.flow("audit")
    branched.run()
    branched.write(10)
    branched.write(98, "main")
    branched.write(99, "main")
    backend = branched.deployed.backend
    with backend.database.reading() as session:
        flow = session.get_one(Flow, flow_id)
        (exported,) = exported_datasets(session, branched.deployed.caller, flow)
    assert exported.ref == "audit"
    caller = branched.deployed.caller
    pending = count_pending(backend.database, backend.lake, caller, [exported])
    assert pending[branched.dataset].rows == 1
    (verified,) = flow_verification.verify_flow(backend.database, backend.lake, caller, flow)
    assert verified.continuity is not None
    assert (verified.continuity.pending, verified.continuity.pending_rows) == (1, 1)
