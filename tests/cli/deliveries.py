"""What the tests of proofs and backfills ask of a deployment."""

from collections.abc import Callable
from typing import Any

from offtake.lake.snapshot_history import ancestry
from offtake.lake.table_names import TableName
from offtake.store.tables import Dataset, Run
from tests.deployment import Deployment, rows, table_of

Offtake = Callable[..., tuple[int, str, str]]
Json = dict[str, Any]


def add(deployed: Deployment, first: int, count: int, *, deliver: bool = True) -> None:
    deployed.import_rows("events", rows(first, count))
    if deliver:
        deployed.clock.advance(hours=3)
        deployed.run_due()


def snapshots(deployed: Deployment, dataset: str) -> list[int]:
    with deployed.backend.database.reading() as session:
        table = TableName(session.get_one(Dataset, dataset).table_name)
    steps = ancestry(deployed.backend.lake, table)
    assert steps is not None
    return [step.snapshot_id for step in steps]


def run_ids(deployed: Deployment, flow: str) -> list[str]:
    """The flow's runs, oldest first."""
    with deployed.backend.database.reading() as session:
        found = session.query(Run).filter_by(flow_id=flow).order_by(Run.scheduled_at).all()
    return [run.id for run in found]


def ids(deployed: Deployment, manifest: Json) -> list[int]:
    found: list[int] = table_of(deployed.delivered(manifest))["id"].to_pylist()
    return found


def manifest_of(deployed: Deployment, run_id: str) -> Json:
    (found,) = [one for one in deployed.manifests() if one["flowRunId"] == run_id]
    return found
