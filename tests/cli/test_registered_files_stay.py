"""Whatever removes files cannot reach a registered table: everything that removes any is tried, and its files stay."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy import update

from offtake.backup.backup import take_backup
from offtake.backup.restore import restore
from offtake.catalog import dataset_tables, datasets
from offtake.contract.problems import Problem
from offtake.errors import OfftakeError
from offtake.lake import ingest
from offtake.lake.ingest import CommittedBatch
from offtake.lake.storage.iceberg_io import ReadOnlyError
from offtake.lake.table_names import TableName
from offtake.scheduling.housekeeping import run_maintenance
from offtake.settings import Settings
from offtake.store.tables import Batch, Dataset
from tests.cli.deliveries import Offtake
from tests.deployment import Deployment

DATASETS = "/data/foundation/catalog/dataSets"
IMPORT = "/data/foundation/import"
SANDBOX = "/data/foundation/sandbox-management/sandboxes/prod"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def foreign(tmp_path: Path) -> SqlCatalog:
    folder = tmp_path / "foreign"
    folder.mkdir()
    found = SqlCatalog("foreign", uri=f"sqlite:///{folder / 'foreign.db'}", warehouse=f"file://{folder}/lake")
    found.create_namespace("sales")
    table = found.create_table(("sales", "orders"), pa.schema([("id", pa.int64())]))
    for first in range(3):
        table.append(pa.table({"id": [first]}))
    table.delete("id = 1")
    found.engine.dispose()
    return found


@pytest.fixture
def dataset(offtake: Offtake, foreign: SqlCatalog, tmp_path: Path) -> str:
    folder = tmp_path / "foreign"
    properties = (f"uri={foreign.properties['uri']}", "catalog-name=foreign", f"warehouse={folder}/lake")
    options = [word for one in properties for word in ("--property", one)]
    assert offtake("catalog", "add", "lakehouse", "--type", "sql", *options)[0] == 0
    arguments = ("orders", "--catalog", "lakehouse", "--table", "sales.orders", "--json")
    code, out, err = offtake("dataset", "register", *arguments)
    assert code == 0, err
    return str(json.loads(out)["id"])


def maintain(deployed: Deployment) -> None:
    """A month later, everything that housekeeping removes."""
    deployed.clock.advance(hours=24 * 40)
    for _ in range(3):
        for _ in run_maintenance(deployed.backend, sweeps=True):
            pass


def delete(deployed: Deployment, dataset: str) -> None:
    deployed.flow(dataset)
    deployed.run_due()
    assert deployed.http.delete(f"{DATASETS}/{dataset}?force=true").status_code == 200


def delete_by_command(_deployed: Deployment, _dataset: str, offtake: Offtake) -> None:
    assert offtake("dataset", "delete", "orders")[0] == 0


def reset(deployed: Deployment, dataset: str) -> None:
    deployed.flow(dataset)
    deployed.run_due()
    assert deployed.http.put(SANDBOX, json={"action": "reset"}).status_code == 202
    maintain(deployed)
    assert deployed.http.get(DATASETS).status_code in (200, 401)


def restore_a_backup(deployed: Deployment, dataset: str) -> None:
    settings = deployed.backend.settings
    archive = settings.data_dir.parent / "one.tar"
    take_backup(deployed.backend, archive, rows=True)
    restore(Settings(data_dir=settings.data_dir.parent / "elsewhere"), deployed.clock, archive)
    assert deployed.http.get(f"{DATASETS}/{dataset}").status_code == 200


def retention(deployed: Deployment, dataset: str) -> None:
    deployed.flow(dataset)
    deployed.run_due()
    assert list(deployed.zone.rglob("*.parquet"))
    deployed.clock.advance(hours=24 * 365 * 10)
    maintain(deployed)
    assert not list(deployed.zone.rglob("*.parquet"))


def batch(deployed: Deployment, dataset: str, status: str) -> str:
    """A batch of the registered dataset, as a forged row: no request can create one."""
    own = deployed.import_rows("own", [{"id": 1}])
    backend = deployed.backend
    with backend.database.reading() as session:
        name = TableName(session.get_one(Dataset, dataset).table_name)
    snapshot = backend.lake.load(name).current_snapshot()
    assert snapshot is not None
    found = next(iter(deployed.http.get(f"/data/foundation/catalog/batches?dataSet={own}").json()))
    with backend.database.writing() as session:
        values = {"dataset_id": dataset, "snapshot_id": snapshot.snapshot_id, "status": status}
        session.execute(update(Batch).where(Batch.id == found).values(values))
    return str(found)


def revert_a_batch(deployed: Deployment, dataset: str) -> None:
    found = batch(deployed, dataset, "success")
    deployed.http.post(f"{IMPORT}/batches/{found}?action=REVERT")
    deployed.http.delete(f"/data/foundation/catalog/batches/{found}")
    deployed.ingest_due()


def revert_by_command(deployed: Deployment, dataset: str, offtake: Offtake) -> None:
    offtake("batch", "revert", batch(deployed, dataset, "success"))


def ingest_a_batch(deployed: Deployment, dataset: str) -> None:
    batch(deployed, dataset, "staged")
    deployed.ingest_due()


def of_the_lake(deployed: Deployment, dataset: str) -> None:
    """The lake's own functions, with the name of the registered table."""
    backend = deployed.backend
    with backend.database.reading() as session:
        row = session.get_one(Dataset, dataset)
    name = TableName(row.table_name)
    backend.lake.purge(name)
    committed = CommittedBatch("x", 1, 1)
    calls: tuple[Callable[[], object], ...] = (
        lambda: ingest.revert(backend.lake, name, committed),
        lambda: ingest.clear(backend.lake, name, "x"),
        lambda: dataset_tables.declare(backend.lake, row),
        lambda: dataset_tables.remove(backend.lake, backend.uploads, datasets.DeletedDataset(row.id, name, ("x",))),
        lambda: backend.lake.load(name).delete("id >= 0"),
        lambda: backend.lake.load(name).append(pa.table({"id": [5]})),
        lambda: backend.lake.load(name).maintenance.expire_snapshots().by_id(1).commit(),
        lambda: backend.lake.load(name).io.delete(f"{backend.lake.load(name).location()}/metadata"),
    )
    for call in calls:
        try:
            call()
        except (OfftakeError, Problem, ReadOnlyError, NotImplementedError, ValueError) as error:
            assert str(error)  # noqa: PT017 - refused, with a reason


WAYS: tuple[Callable[..., None], ...] = (
    delete,
    delete_by_command,
    reset,
    restore_a_backup,
    retention,
    revert_a_batch,
    revert_by_command,
    ingest_a_batch,
    of_the_lake,
)


@pytest.mark.parametrize("way", WAYS)
def test_the_files_stay(
    deployed: Deployment, offtake: Offtake, dataset: str, tmp_path: Path, way: Callable[..., None]
) -> None:
    before = contents(tmp_path / "foreign")
    assert sum(name.endswith(".parquet") for name in before) >= 3
    arguments: tuple[Any, ...] = (deployed, dataset, offtake)
    way(*arguments[: way.__code__.co_argcount])
    assert contents(tmp_path / "foreign") == before
    deployed.clock.advance(hours=1)
    maintain(deployed)
    assert contents(tmp_path / "foreign") == before
