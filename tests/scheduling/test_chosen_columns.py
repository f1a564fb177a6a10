"""Flows that deliver chosen columns of a dataset: nothing of the others leaves, in any run and format."""

import gzip
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.manifest import FileFormat
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import LongType, MapType, NestedField, StringType, StructType
from sqlalchemy import select

from offtake.cli.main import main
from offtake.documents import Json
from offtake.exporting.job import DatasetExport
from offtake.exporting.kept import Kept
from offtake.flows import backfill, flow_verification
from offtake.flows.backfill import Range
from offtake.flows.flow_views import exported_datasets
from offtake.lake.column_choice import ChosenColumn, ColumnChoice
from offtake.lake.table_names import TableName
from offtake.scheduling.scheduler import enqueue_due_runs
from offtake.store.tables import Dataset, Flow, RunDataset
from tests.deployment import WITH_MANIFEST, Deployment, flow_body, source_body, target_body
from tests.deployment import ZONE as SPEC
from tests.lake.lakes import TABLE, add, lake_in
from tests.lake.other_writers import append_rows

MARK = "hiddenmark"
CHOSEN = ["id", "address.city"]
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("address", pa.struct([("city", pa.string()), (MARK, pa.string())])),
        (f"{MARK}_column", pa.string()),
    ]
)


def people(*numbers: int) -> list[Json]:
    return [
        {"id": n, "address": {"city": f"town {n}", MARK: f"{MARK} {n}"}, f"{MARK}_column": f"{MARK} {n}"}
        for n in numbers
    ]


def expected(*numbers: int) -> list[Json]:
    return [{"id": n, "address": {"city": f"town {n}"}} for n in numbers]


class Partner:
    """A dataset with hidden columns, and flows of chosen columns of it to the landing zone."""

    def __init__(self, deployed: Deployment) -> None:
        self.deployed = deployed

    def import_rows(self, *numbers: int) -> None:
        self.dataset = self.deployed.import_rows("people", people(*numbers))

    @property
    def table(self) -> Table:
        with self.deployed.backend.database.reading() as session:
            name = session.get_one(Dataset, self.dataset).table_name
        return self.deployed.backend.lake.load(TableName(name))

    def source(self, columns: object, status: int = 201, **more: object) -> Any:
        body = source_body(self.dataset)
        body["params"]["columns"] = {self.dataset: columns} | more
        return self.deployed.post("/sourceConnections", body, status)

    def flow(self, source: str, **params: Any) -> str:
        deployed, spec = self.deployed, {"id": SPEC, "version": "1.0"}
        base = deployed.post("/connections", {"name": "zone", "connectionSpec": spec})["id"]
        target = deployed.post("/targetConnections", target_body(base, **WITH_MANIFEST, **params))["id"]
        return str(deployed.post("/flows", flow_body(source, target, deployed.clock))["id"])

    def run(self) -> None:
        self.deployed.run_due()
        self.deployed.clock.advance(hours=3)

    def delivered(self) -> list[list[Json]]:
        """The rows that each run delivered; asserts that nothing in any delivered file is of a hidden column."""
        for path in self.deployed.zone.rglob("*"):
            assert not path.is_file() or MARK.encode() not in _content(path), path
        return [
            [row for file in self.deployed.delivered(one) for row in _rows(file)] for one in self.deployed.manifests()
        ]

    def newest(self, flow: str) -> Json:
        found: Json = self.deployed.runs(flow)[0]
        return found


def _content(file: Path) -> bytes:
    content = file.read_bytes()
    return gzip.decompress(content) if file.suffix == ".gz" else content


def _rows(file: Path) -> list[Json]:
    if ".json" in file.name:
        return [json.loads(line) for line in _content(file).splitlines()]
    table = pq.read_table(file)
    assert table.schema.metadata is None
    rows: list[Json] = table.to_pylist()
    return rows


@pytest.fixture
def partner(deployed: Deployment) -> Partner:
    found = Partner(deployed)
    found.import_rows(0, 1)
    return found


def register(partner: Partner, folder: Path, write: Callable[[], object]) -> None:
    """Let the partner's dataset be a registered table of another lake."""
    write()
    here = ["--data-dir", str(partner.deployed.backend.settings.data_dir)]
    properties = [f"uri=sqlite:///{folder / 'catalog.db'}", "catalog-name=offtake", f"warehouse={folder}"]
    options = [word for one in properties for word in ("--property", one)]
    assert main(["catalog", "add", "theirs", "--type", "sql", *options, *here]) == 0
    assert main(["dataset", "register", "theirs", "--catalog", "theirs", "--table", TABLE, *here]) == 0
    datasets = partner.deployed.http.get("/data/foundation/catalog/dataSets").json()
    (partner.dataset,) = [key for key, one in datasets.items() if one["name"] == "theirs"]


@pytest.mark.parametrize("kind", ["PARQUET", "JSON"])
def test_full_and_incremental_runs_and_backfills_deliver_only_the_chosen_columns(partner: Partner, kind: str) -> None:
    flow_id = partner.flow(partner.source(CHOSEN)["id"], datasetFileType=kind)
    partner.run()
    first = partner.table.current_snapshot()
    partner.import_rows(2)
    partner.run()
    assert partner.delivered() == [expected(0, 1), expected(2)]
    assert first is not None
    deployed = partner.deployed
    backend = deployed.backend
    with backend.database.reading() as session:
        flow = session.get_one(Flow, flow_id)
    tables = backfill.Tables(backend.database, backend.lake, deployed.caller)
    asked = backfill.of_range(tables, flow, Range(None, first.snapshot_id))
    with backend.database.writing() as session:
        backfill.request(session, deployed.caller, flow_id, asked, deployed.clock.now_ms())
    partner.run()
    assert partner.delivered()[-1] == expected(0, 1)


@pytest.mark.parametrize("file_format", [FileFormat.PARQUET, FileFormat.ORC, FileFormat.AVRO])
@pytest.mark.parametrize("kind", ["PARQUET", "JSON"])
def test_registered_tables_deliver_only_the_chosen_columns(
    partner: Partner, tmp_path: Path, file_format: FileFormat, kind: str
) -> None:
    lake = lake_in(tmp_path)
    register(partner, tmp_path, lambda: add(lake, people(0), SCHEMA))
    append_rows(lake.load(TABLE), pa.Table.from_pylist(people(1), SCHEMA), file_format)
    partner.flow(partner.source(CHOSEN)["id"], datasetFileType=kind)
    partner.run()
    append_rows(lake.load(TABLE), pa.Table.from_pylist(people(2), SCHEMA), file_format)
    partner.run()
    assert partner.delivered() == [expected(0, 1), expected(2)]
    lake.close()


def test_columns_that_no_format_supports_do_not_matter_unless_they_are_chosen(partner: Partner, tmp_path: Path) -> None:
    lake = lake_in(tmp_path)
    keyed = MapType(3, StructType(NestedField(5, "x", LongType())), 4, LongType())
    schema = Schema(NestedField(1, "id", LongType()), NestedField(2, "m", keyed))
    lake.catalog.create_namespace_if_not_exists("sales")
    table = lake.catalog.create_table(TABLE, schema)
    register(partner, tmp_path, lambda: append_rows(table, pa.table({"id": [0]}), FileFormat.PARQUET))
    partner.flow(partner.source(["id"])["id"])
    refused = partner.flow(partner.source(["m"])["id"], path="refused")
    partner.run()
    assert partner.delivered() == [[{"id": 0}]]
    assert "Column m is a map with nested keys" in str(partner.newest(refused))
    lake.close()


def test_plans_of_all_columns_are_stored_as_by_earlier_versions(partner: Partner) -> None:
    source = partner.deployed.post("/sourceConnections", source_body(partner.dataset))["id"]
    partner.flow(source)
    database = partner.deployed.backend.database
    enqueue_due_runs(database, partner.deployed.clock)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("offtake.exporting.run.failpoint", _stop_after_plan)
        with pytest.raises(SystemExit):
            partner.deployed.worker.run_next(threading.Event())
    with database.reading() as session:
        (planned,) = session.scalars(select(RunDataset))
        assert planned.schema is not None
        assert set(planned.schema) == {"arrow", "iceberg", "nameMapping", "olderNames"}


def _stop_after_plan(name: str) -> None:
    if name == "plan_stored":
        raise SystemExit


@pytest.mark.parametrize("compression", ["NONE", "GZIP"])
def test_metadata_of_files_that_have_only_the_chosen_columns_is_not_delivered(
    partner: Partner, tmp_path: Path, compression: str
) -> None:
    lake = lake_in(tmp_path)
    schema = pa.schema([("id", pa.int64())])
    register(partner, tmp_path, lambda: add(lake, [{"id": 0}], schema))
    with lake.load(TABLE).update_schema() as change:
        change.add_column(MARK, StringType())
    named = pa.field("id", pa.int64(), metadata={"PARQUET:field_id": "1"})
    rows = pa.Table.from_pylist([{"id": 1}], pa.schema([named], metadata={"iceberg.schema": f"[id, {MARK}]"}))
    append_rows(lake.load(TABLE), rows, FileFormat.PARQUET)
    partner.flow(partner.source(["id"])["id"], compression=compression)
    partner.run()
    assert partner.delivered() == [[{"id": 0}, {"id": 1}]]
    lake.close()


def test_the_columns_are_shown_wherever_the_flow_is(partner: Partner) -> None:
    source = partner.source(CHOSEN)["id"]
    flow_id = partner.flow(source)
    deployed = partner.deployed
    shown = deployed.get(f"/sourceConnections/{source}")["items"][0]
    assert shown["params"]["columns"] == {partner.dataset: CHOSEN}
    partner.run()
    (manifest,) = deployed.manifest_files()
    assert json.loads(manifest.read_text())["datasets"][0]["columns"] == CHOSEN
    target = partner.newest(flow_id)["metrics"]["recordSummary"]["targetSummaries"][0]
    assert target["entitySummaries"][0]["extensions"]["columns"] == CHOSEN
    with deployed.backend.database.reading() as session:
        flow = session.get_one(Flow, flow_id)
        (exported,) = exported_datasets(session, deployed.caller, flow)
        assert list(exported.columns) == CHOSEN
    backend = deployed.backend
    (verified,) = flow_verification.verify_flow(backend.database, backend.lake, deployed.caller, flow)
    assert verified.to_json()["columns"] == CHOSEN
    assert verified.continuity is not None
    assert not verified.continuity.faults
    partner.source(["id"])
    lines = deployed.http.get(f"/data/foundation/export/datasets/{partner.dataset}/rows?sourceConnectionId={source}")
    assert [json.loads(line) for line in lines.text.splitlines()] == expected(0, 1)
    other = deployed.http.get(f"/data/foundation/export/datasets/x/rows?sourceConnectionId={source}")
    assert other.status_code == 400


def test_a_source_connection_without_columns_is_shown_as_before(partner: Partner) -> None:
    body = source_body(partner.dataset)
    body["params"]["columns"] = {}
    source = partner.deployed.post("/sourceConnections", body)["id"]
    assert "columns" not in partner.deployed.get(f"/sourceConnections/{source}")["items"][0]["params"]


@pytest.mark.parametrize(
    ("columns", "field", "text"),
    [
        (["id", "adress.city"], "/1", "the table has no column adress.city; do you mean address.city"),
        (["id", "id"], "/1", "id occurs twice"),
        (["address", "address.city"], "/1", "address.city is inside address, which is chosen too"),
        ([], "", "must"),
        ([""], "/0", "must not be empty"),
        (["x" * 1001], "/0", "1000"),
        (["x"] * 1001, "", "1000"),
        ([7], "/0", "must be"),
        ("id", "", "must be"),
        (None, "", "must be"),
    ],
)
def test_bad_choices_are_refused_with_the_field(partner: Partner, columns: object, field: str, text: str) -> None:
    answer = str(partner.source(columns, 400))
    assert f"/params/columns/{partner.dataset}{field}" in answer
    assert text in answer


def test_columns_of_other_datasets_and_of_datasets_without_rows_are_refused(partner: Partner) -> None:
    answer = str(partner.source(["id"], 400, other=["id"]))
    assert "/params/columns/other" in answer
    assert f"dataset other is not in params.datasets, which has {partner.dataset}" in answer
    empty = partner.deployed.http.post("/data/foundation/catalog/dataSets", json={"name": "empty"})
    (partner.dataset,) = (one.rpartition("/")[2] for one in empty.json())
    assert "has no rows yet, and so no columns to choose from" in str(partner.source(["id"], 400))


def test_a_renamed_column_is_delivered_under_its_new_name(partner: Partner) -> None:
    source = partner.source(["id", "address.city"])["id"]
    partner.flow(source)
    partner.run()
    with partner.table.update_schema() as change:
        change.rename_column("address.city", "town")
    with partner.table.update_schema() as change:
        change.add_column(("address", "city"), StringType())
    partner.table.append(
        pa.Table.from_pylist([{"id": 2, "address": {"town": "town 2", "city": MARK, MARK: MARK}}], _arrow(partner))
    )
    partner.run()
    assert partner.delivered()[1] == [{"id": 2, "address": {"town": "town 2"}}]
    newest = json.loads(partner.deployed.manifest_files()[-1].read_text())
    assert newest["datasets"][0]["columns"] == ["id", "address.town"]
    shown = partner.deployed.get(f"/sourceConnections/{source}")["items"][0]["params"]["columns"]
    assert shown == {partner.dataset: ["id", "address.town"]}, "so a client that sends them again chooses the same"


def _arrow(partner: Partner) -> pa.Schema:
    return partner.table.schema().as_arrow()


def test_a_dropped_column_fails_the_run_until_the_flow_has_another_choice(partner: Partner) -> None:
    source = partner.source(["id", "address.city"])["id"]
    flow = partner.flow(source)
    partner.run()
    with partner.table.update_schema() as change:
        change.delete_column("address.city")
    partner.import_rows(2)
    partner.run()
    newest = partner.newest(flow)
    assert newest["metrics"]["statusSummary"]["status"] == "failed"
    assert "the chosen column address.city was dropped from the table" in str(newest)
    assert "Create a source connection with columns that the table has" in str(newest)
    again = partner.deployed.post("/flows", flow_body(source, _target(partner, flow), partner.deployed.clock), 400)
    assert "/sourceConnectionIds" in str(again)
    assert "address.city was dropped" in str(again)
    other = partner.source(["id"])["id"]
    partner.deployed.patch(f"/flows/{flow}", [{"op": "replace", "path": "/sourceConnectionIds", "value": [other]}])
    refused = [{"op": "replace", "path": "/sourceConnectionIds", "value": [source]}]
    assert "address.city was dropped" in str(partner.deployed.patch(f"/flows/{flow}", refused, 400))
    partner.run()
    assert partner.delivered() == [expected(0, 1), [{"id": 2}]]


def _target(partner: Partner, flow: str) -> str:
    target: str = partner.deployed.get(f"/flows/{flow}")["items"][0]["targetConnectionIds"][0]
    return target


def test_another_choice_keeps_the_position_and_flows_can_share_a_source_connection(partner: Partner) -> None:
    shared = partner.source(CHOSEN)["id"]
    first, second = partner.flow(shared), partner.flow(shared, path="second")
    partner.run()
    other = partner.source(["id"])["id"]
    partner.deployed.patch(f"/flows/{first}", [{"op": "replace", "path": "/sourceConnectionIds", "value": [other]}])
    partner.import_rows(2)
    partner.run()
    found = partner.delivered()
    assert found[:2] == [expected(0, 1), expected(0, 1)]
    assert sorted(found[2:], key=str) == [expected(2), [{"id": 2}]]
    assert first != second


def test_columns_cannot_be_patched(partner: Partner) -> None:
    source = partner.source(CHOSEN)["id"]
    patch = [{"op": "replace", "path": "/params/columns", "value": {}}]
    answer = partner.deployed.patch(f"/sourceConnections/{source}", patch, 400)
    assert "The datasets and columns of a source connection cannot be changed" in str(answer)


def test_kept_files_are_continued_only_with_the_same_columns() -> None:
    def dataset(*ids: int) -> DatasetExport:
        columns = tuple(ChosenColumn(f"c{one}", one, ((f"c{one}", one),)) for one in ids)
        choice = ColumnChoice("table", columns) if ids else None
        return DatasetExport("d", "d", None, "", None, "full", columns=choice)

    def kept(columns: dict[str, int] | None) -> Kept:
        schema: Any = {"arrow": "", "iceberg": "", "nameMapping": None} | ({"columns": columns} if columns else {})
        return Kept("run", RunDataset(schema=schema), ())

    assert kept({"renamed": 1, "c2": 2}).has_columns(dataset(1, 2))
    assert kept(None).has_columns(dataset())
    assert not kept({"c1": 1}).has_columns(dataset(1, 2))
    assert not kept(None).has_columns(dataset(1))
    assert not kept({"c1": 1}).has_columns(dataset())
