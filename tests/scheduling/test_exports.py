import gzip
import hashlib
import json
import zlib
from typing import Any

import pytest

from offtake.lake.table_names import TableName
from offtake.store.tables import Dataset
from tests.deployment import Deployment, rows, table_of


def ids(deployed: Deployment, manifest: dict[str, Any]) -> list[int]:
    found: list[int] = table_of(deployed.delivered(manifest))["id"].to_pylist()
    return found


def test_a_flow_delivers_in_full_and_then_what_was_added(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 50))
    flow = deployed.flow(dataset)
    deployed.run_due()
    deployed.import_rows("events", rows(50, 7))
    deployed.import_rows("events", rows(57, 3))
    deployed.clock.advance(hours=3)
    deployed.run_due()
    full, increment = deployed.manifests()
    assert ids(deployed, full) == list(range(50))
    assert ids(deployed, increment) == list(range(50, 60))
    assert [one["datasets"][0]["exportKind"] for one in (full, increment)] == ["full", "incremental"]
    assert increment["datasets"][0]["fromSnapshotId"] == full["datasets"][0]["toSnapshotId"]
    assert [run["metrics"]["recordSummary"]["outputRecordCount"] for run in deployed.runs(flow)] == [10, 50]


def test_nothing_new_is_a_success_that_writes_nothing(deployed: Deployment) -> None:
    flow = deployed.flow(deployed.import_rows("events", rows(0, 5)))
    deployed.run_due()
    before = sorted(deployed.zone.rglob("*"))
    deployed.clock.advance(hours=3)
    deployed.run_due()
    metrics = deployed.runs(flow)[0]["metrics"]
    assert metrics["statusSummary"]["status"] == "success"
    assert metrics["recordSummary"]["outputRecordCount"] == metrics["fileSummary"]["outputFileCount"] == 0
    assert metrics["sizeSummary"]["outputBytes"] == 0
    assert "completedAtUTC" in metrics["durationSummary"]
    assert sorted(deployed.zone.rglob("*")) == before


def test_ndjson_is_delivered_gzipped_also_when_no_compression_is_asked_for(deployed: Deployment) -> None:
    given = rows(0, 20)
    deployed.flow(deployed.import_rows("events", given), params={"datasetFileType": "json", "compression": "none"})
    deployed.run_due()
    (file,) = deployed.delivered(deployed.manifests()[0])
    assert file.name.endswith(".json.gz")
    assert [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()] == given


@pytest.mark.parametrize("members", [None, "many"])
def test_ndjson_is_one_gzip_member_unless_many_are_set(deployed: Deployment, members: str | None) -> None:
    if members:
        changed = deployed.backend.settings.model_copy(update={"json_gzip_members": members})
        object.__setattr__(deployed.backend, "settings", changed)
    given = [{"id": one, "text": f"{one:07d}" * 100} for one in range(6000)]
    deployed.flow(deployed.import_rows("events", given), params={"datasetFileType": "JSON", "compression": "GZIP"})
    deployed.run_due()
    (file,) = deployed.delivered(deployed.manifests()[0])
    data = file.read_bytes()
    assert [json.loads(line) for line in gzip.decompress(data).splitlines()] == given
    assert (zlib.decompress(data, 31) == gzip.decompress(data)) is (members is None)


def test_several_datasets_of_a_flow_go_out_in_one_run(deployed: Deployment) -> None:
    one, two = deployed.import_rows("one", rows(0, 4)), deployed.import_rows("two", rows(100, 6))
    flow = deployed.flow(one, two)
    deployed.run_due()
    (manifest,) = deployed.manifests()
    assert len(deployed.runs(flow)) == 1
    assert {result["dataSetId"]: result["recordCount"] for result in manifest["exportResults"]} == {one: 4, two: 6}
    assert ids(deployed, manifest) == [*range(4), *range(100, 106)]


def test_a_dataset_that_is_gone_fails_alone(deployed: Deployment) -> None:
    kept, gone = deployed.import_rows("kept", rows(0, 4)), deployed.import_rows("gone", rows(0, 4))
    flow = deployed.flow(kept, gone)
    with deployed.backend.database.reading() as session:
        deployed.backend.lake.purge(TableName(session.get_one(Dataset, gone).table_name))
    deployed.run_due()
    metrics = deployed.runs(flow)[0]["metrics"]
    assert metrics["statusSummary"]["status"] == "failed"
    assert metrics["statusSummary"]["errors"][0]["code"] == "EXPORT-1404-404"
    assert [one["dataSetId"] for one in deployed.manifests()[0]["exportResults"]] == [kept]
    deployed.import_rows("kept", rows(4, 2))
    deployed.clock.advance(hours=3)
    deployed.run_due()
    assert ids(deployed, deployed.manifests()[1]) == [4, 5]


def test_a_template_names_the_folders(deployed: Deployment) -> None:
    template = "%SANDBOX_NAME%/%DATASET_NAME%/%DATETIME(YYYYMMdd_HHmmss)%"
    deployed.flow(deployed.import_rows("events", rows(0, 1)), schedule={"foldernameTemplate": template})
    deployed.run_due()
    (file,) = deployed.delivered(deployed.manifests()[0])
    assert file.parent == deployed.zone / "out/prod/events/20260301_120000"


def test_datasets_of_one_name_share_a_folder_and_no_file(deployed: Deployment) -> None:
    first, second = deployed.import_rows("towns", rows(0, 2)), deployed.import_rows("other", rows(2, 3))
    renamed = deployed.http.patch(f"/data/foundation/catalog/dataSets/{second}", json={"name": "towns"})
    assert renamed.status_code == 200
    deployed.flow(first, second, schedule={"foldernameTemplate": "%DATASET_NAME%"})
    deployed.run_due()
    (manifest,) = deployed.manifests()
    files = deployed.delivered(manifest)
    assert {file.parent for file in files} == {deployed.zone / "out/towns"}
    assert len({file.name for file in files}) == len(files) == 2
    assert sorted(ids(deployed, manifest)) == [0, 1, 2, 3, 4]


def test_a_one_time_flow_exports_once(deployed: Deployment) -> None:
    schedule = {"exportMode": "DAILY_FULL_EXPORT", "timeUnit": "day", "interval": 0}
    flow = deployed.flow(deployed.import_rows("events", rows(0, 3)), schedule=schedule)
    for _ in range(3):
        deployed.run_due()
        deployed.clock.advance(days=1)
    assert len(deployed.runs(flow)) == 1


def test_an_adhoc_run_exports_the_pending_increment_and_moves_the_position(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 3))
    parked = {"timeUnit": "day", "interval": 1, "startTime": deployed.clock.now_seconds() + 365 * 86_400}
    flow = deployed.flow(dataset, schedule=parked)
    for expected in ([0, 1, 2], [3]):
        answer = adhoc(deployed, flow, dataset)
        url = answer["destinations"][0]["datasets"][0]["statusURL"]
        run = deployed.http.get(url).json()["items"][0]
        assert run["metrics"]["statusSummary"]["status"] == "waiting"
        deployed.run_due()
        assert ids(deployed, deployed.manifests()[-1]) == expected
        deployed.import_rows("events", rows(3, 1))
        deployed.clock.advance(seconds=1)


def test_a_full_adhoc_run_leaves_the_position(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 3))
    flow = deployed.flow(dataset)
    deployed.run_due()
    deployed.import_rows("events", rows(3, 1))
    deployed.clock.advance(seconds=1)
    adhoc(deployed, flow, dataset, fullExport=True)
    deployed.run_due()
    deployed.clock.advance(hours=3)
    deployed.run_due()
    assert [ids(deployed, one) for one in deployed.manifests()] == [[0, 1, 2], [0, 1, 2, 3], [3]]


def test_an_adhoc_run_is_refused_during_another(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 3))
    flow = deployed.flow(dataset)
    adhoc(deployed, flow, dataset)
    answer = adhoc(deployed, flow, dataset, status=400)
    assert answer["message"].startswith(f"Run already going on for dataset(s) {dataset}")


def test_a_scheduled_slot_is_passed_over_while_a_run_is_live(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 3))
    flow = deployed.flow(dataset)
    adhoc(deployed, flow, dataset)
    deployed.run_due()
    assert len(deployed.runs(flow)) == 1


def test_large_files_go_out_in_parts(deployed: Deployment) -> None:
    dataset = deployed.import_rows("events", rows(0, 10))
    for first in range(10, 60, 10):
        deployed.import_rows("events", rows(first, 10))
    small = deployed.backend.settings.model_copy(update={"part_bytes": 1})
    object.__setattr__(deployed.backend, "settings", small)
    deployed.flow(dataset)
    deployed.run_due()
    (manifest,) = deployed.manifests()
    assert [one["recordCount"] for one in manifest["exportResults"]] == [10] * 6
    assert ids(deployed, manifest) == list(range(60))


@pytest.mark.parametrize("file_type", ["PARQUET", "JSON"])
def test_every_file_has_the_size_and_hash_its_manifest_says(deployed: Deployment, file_type: str) -> None:
    deployed.flow(deployed.import_rows("events", rows(0, 100)), params={"datasetFileType": file_type})
    deployed.run_due()
    (manifest,) = deployed.manifests()
    for result, file in zip(manifest["exportResults"], deployed.delivered(manifest), strict=True):
        assert file.stat().st_size == result["size"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == result["sha256"]


def adhoc(deployed: Deployment, flow: str, dataset: str, status: int = 200, **more: Any) -> Any:
    asked = {"flowId": flow, "datasets": [{"id": dataset}], **more}
    return deployed.post(
        "/data/core/activation/disflowprovider/adhocrun", {"activationInfo": {"destinations": [asked]}}, status
    )
