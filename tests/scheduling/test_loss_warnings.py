"""What NDJSON left out of a delivery is in the run's warnings, counted once whatever happened to the run.

And what no format holds is refused when the run is planned.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import BinaryType, LongType, NestedField

from offtake.catalog import file_import
from offtake.exporting import run as exporting_run
from offtake.lake.locations import local_path
from offtake.lake.table_names import TableName
from offtake.store.tables import Dataset, RunPart
from tests.deployment import WITH_MANIFEST, Deployment, rows
from tests.scheduling.delivered_files import Exported

NAN = float("nan")
TAGS = pa.map_(pa.string(), pa.float64())
CODE = "EXPORT-1200-200"
LOSSY: dict[str, list[Any]] = {
    "price": [NAN, 1.0, None],
    "tags": [[("a", 1.0), ("a", 2.0)], [("a", None), ("b", NAN)], []],
}
"""Of NaN two (one within tags), of null entries one, of repeated keys one."""


def import_table(deployed: Deployment, name: str, values: dict[str, list[Any]]) -> str:
    """One Parquet file as one batch of a dataset; its id."""
    table = pa.table({"price": pa.array(values["price"], pa.float64()), "tags": pa.array(values["tags"], TAGS)})
    file = deployed.backend.settings.data_dir / "import.parquet"
    pq.write_table(table, file)
    done = file_import.import_files(
        deployed.backend.database,
        deployed.backend.lake,
        deployed.backend.parsers,
        deployed.caller,
        deployed.clock,
        file_import.ImportRequest(name, (file,), again=True),
    )
    return done.dataset.id


def warnings_of(deployed: Deployment, flow: str) -> list[dict[str, Any]]:
    """The warnings that the API shows of the flow's last run."""
    deployed.sign_in()
    run = deployed.runs(flow)[0]
    assert run["metrics"]["statusSummary"]["status"] == "success"
    found: list[dict[str, Any]] = run["metrics"]["recordSummary"].get("warningInfo", [])
    return found


@pytest.fixture
def exported(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> Exported:
    """A flow of a dataset of three files, one part each, every one with the same losses."""
    small = deployed.backend.settings.model_copy(update={"part_bytes": 1})
    object.__setattr__(deployed.backend, "settings", small)
    for _ in range(3):
        dataset = import_table(deployed, "events", LOSSY)
    flow = deployed.flow(dataset, params={"datasetFileType": "JSON", **WITH_MANIFEST})
    return Exported(deployed, dataset, flow, deployed.clock.now_seconds(), monkeypatch)


def expected(dataset: str, name: str = "events", times: int = 3) -> list[dict[str, Any]]:
    keep = "Export the dataset as PARQUET to keep them."
    no_such = "NaN or infinite values were written as null, because JSON has no such numbers"
    null = "map entries with a null value were left out, as all nulls in NDJSON"
    again = "map entries were left out, because a later entry of the same map has their key"
    return [
        {"code": CODE, "message": f"{name}: column {column}: {times} {what}. {keep}", "type": "Warning"}
        | {"dataSetId": dataset}
        for column, what in (("price", no_such), ("tags", no_such), ("tags", null), ("tags", again))
    ]


def test_losses_of_all_parts_are_warnings_of_the_run_by_dataset_and_column(exported: Exported) -> None:
    exported.serve()
    assert warnings_of(exported.deployed, exported.flow) == expected(exported.dataset)


@pytest.mark.parametrize(
    "points", [["part_recorded"], ["part_recorded", "part_recorded"], ["before_manifest"]], ids=str
)
def test_a_run_that_is_taken_over_counts_each_part_once(exported: Exported, points: list[str]) -> None:
    exported.begin("planned")
    for point in points:
        exported.go_on(until=point)
    exported.serve()
    assert len(exported.runs()) == 1
    assert warnings_of(exported.deployed, exported.flow) == expected(exported.dataset)


def test_a_part_that_is_collected_at_once_is_counted_once(exported: Exported) -> None:
    zone = exported.deployed.zone
    collected: list[Path] = []

    def collect_one(point: str) -> None:
        if point == "part_recorded" and not collected:
            collected.append(next(iter(zone.rglob("part-*"))))
            collected[0].unlink()

    with exported.monkeypatch.context() as patched:
        patched.setattr(exporting_run, "failpoint", collect_one)
        exported.serve()
    assert not collected[0].exists(), "a file that was collected is not written again"
    assert warnings_of(exported.deployed, exported.flow) == expected(exported.dataset)


def test_datasets_are_counted_apart_and_deliveries_without_losses_warn_of_nothing(deployed: Deployment) -> None:
    whole: dict[str, list[Any]] = {"price": [1.0, None], "tags": [[("a", 1.0)], None]}
    names = {name: import_table(deployed, name, LOSSY) for name in ("one", "two")}
    lossless = import_table(deployed, "whole", whole)
    both = deployed.flow(*names.values(), lossless, params={"datasetFileType": "JSON"})
    parquet = deployed.flow(*names.values(), params={"datasetFileType": "PARQUET"})
    deployed.run_due()
    found = [one for name, dataset in names.items() for one in expected(dataset, name, 1)]
    assert sorted(map(repr, warnings_of(deployed, both))) == sorted(map(repr, found))
    assert warnings_of(deployed, parquet) == []
    with deployed.backend.database.reading() as session:
        stored = [(part.dataset_id, part.losses) for part in session.query(RunPart)]
    assert sum(losses is not None for _, losses in stored) == 2


def test_a_geometry_is_refused_by_its_column_and_not_delivered_as_bytes(deployed: Deployment) -> None:
    kept, odd = deployed.import_rows("kept", rows(0, 4)), deployed.import_rows("odd", rows(0, 4))
    flow = deployed.flow(kept, odd)
    with deployed.backend.database.reading() as session:
        table = TableName(session.get_one(Dataset, odd).table_name)
    catalog, location = deployed.backend.lake.catalog, deployed.backend.lake.location(table)
    catalog.drop_table(table)
    schema = Schema(NestedField(1, "id", LongType()), NestedField(2, "at", BinaryType()))
    made = catalog.create_table(table, schema, location=f"{location}-3")
    made.append(pa.table({"id": pa.array([1]), "at": pa.array([b"wkb"], pa.large_binary())}))
    # PyIceberg reads the third version, and writes none.
    metadata = local_path(made.metadata_location)
    document = json.loads(metadata.read_text().replace('"binary"', '"geometry"'))
    metadata.write_text(json.dumps(document | {"format-version": 3, "next-row-id": 0}))
    deployed.run_due()
    metrics = deployed.runs(flow)[0]["metrics"]
    (error,) = metrics["statusSummary"]["errors"]
    assert error["dataSetId"] == odd
    assert error["message"].startswith("Column at has the type geometry")
    assert [one["dataSetId"] for one in deployed.manifests()[0]["exportResults"]] == [kept]
