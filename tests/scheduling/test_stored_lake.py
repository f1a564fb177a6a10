"""A deployment whose lake is in an object store."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from offtake.backup.backup import take_backup
from offtake.backup.restore import restore
from offtake.catalog import batch_reverts
from offtake.deployment.backend import open_backend
from offtake.deployment.network_settings import network_of
from offtake.deployment.storage_settings import check_storage
from offtake.engines.local import LocalEngine
from offtake.errors import OfftakeError
from offtake.failpoints import ENV
from offtake.lake import table_description
from offtake.scheduling.background import ingestor_of
from offtake.settings import Settings
from tests import stored_lakes
from tests.commands import Command
from tests.deployment import Deployment, deployment
from tests.fake_clock import FakeClock
from tests.local_parsers import LocalParsers
from tests.servers import S3Server

IMPORT = "/data/foundation/import"


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with stored_lakes.s3_server() as server:
        yield server


@pytest.fixture
def place(s3: S3Server) -> str:
    return stored_lakes.place_in(s3)


@pytest.fixture
def stored(s3: S3Server, place: str, tmp_path: Path, clock: FakeClock, engine: LocalEngine) -> Iterator[Deployment]:
    with deployment(tmp_path / "data", clock, engine, warehouse=place, storage=stored_lakes.setting_of(s3)) as opened:
        yield opened


def numbered(*numbers: int) -> list[dict[str, Any]]:
    return [{"id": n, "city": f"town {n}"} for n in numbers]


def objects(deployed: Deployment) -> set[str]:
    warehouse = deployed.backend.lake.warehouse
    return {one.name for one in warehouse.files_in(warehouse.location)}


def ids(deployed: Deployment, manifest: dict[str, Any]) -> list[int]:
    return sorted(n for file in deployed.delivered(manifest) for n in pq.read_table(file)["id"].to_pylist())


def test_rows_come_in_and_go_out_in_full_and_by_increments(stored: Deployment, tmp_path: Path) -> None:
    dataset = stored.import_rows("events", numbered(1, 2))
    assert any(name.endswith(".parquet") for name in objects(stored))
    assert not list(tmp_path.rglob("*.parquet"))
    stored.flow(dataset)
    stored.run_due()
    stored.import_rows("events", numbered(3))
    stored.clock.advance(hours=3)
    stored.sign_in()
    stored.run_due()
    assert [ids(stored, one) for one in stored.manifests()] == [[1, 2], [3]]
    assert stored.runs(stored.get("/flows")["items"][0]["id"])[0]["metrics"]["statusSummary"]["status"] == "success"


def test_a_batch_is_reverted_and_its_files_can_be_downloaded(stored: Deployment) -> None:
    dataset = stored.import_rows("events", numbered(1, 2))
    (batch,) = stored.http.get(f"/data/foundation/catalog/batches?dataSet={dataset}").json()
    files = stored.http.get(f"/data/foundation/export/batches/{batch}/files").json()["data"]
    link = files[0]["_links"]["self"]["href"]
    name = stored.http.get(link).json()["data"][0]["name"]
    whole = stored.http.get(link, params={"path": name}).content
    part = stored.http.get(link, params={"path": name}, headers={"Range": "bytes=4-19"}).content
    assert (whole[:4], whole[-4:], part) == (b"PAR1", b"PAR1", whole[4:20])
    backend = stored.backend
    batch_reverts.revert(backend.database, backend.lake, stored.caller, batch, backend.clock)
    assert stored.http.get(f"/data/foundation/export/datasets/{dataset}/preview").json()["data"] == []


def test_a_deleted_dataset_leaves_no_object(stored: Deployment) -> None:
    kept = stored.import_rows("kept", numbered(1))
    before = objects(stored)
    dataset = stored.import_rows("events", numbered(1))
    assert objects(stored) > before
    assert stored.http.delete(f"/data/foundation/catalog/dataSets/{dataset}").status_code == 200
    assert objects(stored) == before
    assert stored.http.get(f"/data/foundation/export/datasets/{kept}/preview").json()["data"] == numbered(1)


@pytest.mark.matrix(one_in=3)
@pytest.mark.parametrize("point", ["batch_writing:2", "batch_written", "import_committed"])
def test_an_import_that_is_killed_leaves_no_visible_rows_but_its_own(
    s3: S3Server, place: str, tmp_path: Path, point: str
) -> None:
    environment = {
        **os.environ,
        "OFFTAKE_WAREHOUSE": place,
        "OFFTAKE_STORAGE": stored_lakes.setting_of(s3).get_secret_value(),
        "OFFTAKE_LEASE_SECONDS": "1",
    }
    file = tmp_path / "rows.json"
    data = ["--data-dir", str(tmp_path / "data")]

    def import_rows(number: int, points: str = "") -> int:
        file.write_text(f'{{"id": {number}}}\n')
        killed = Command(["dataset", "import", "events", str(file), *data], {**environment, ENV: points})
        return killed.wait(60)

    assert Command(["init", *data], environment).wait(60) == 0
    assert import_rows(0) == 0
    assert import_rows(1, point.removesuffix(":2")) == -signal.SIGKILL
    assert import_rows(2) == 0
    lake = stored_lakes.open_lake(s3, f"sqlite:///{tmp_path / 'data' / 'lake' / 'catalog.db'}", place)
    (table,) = lake.tables_in(lake.warehouse.folders_in(place)[0])
    rows = table_description.preview(lake, table, 10).to_pylist()
    assert sorted(row["id"] for row in rows) == ([0, 1, 2] if point == "import_committed" else [0, 2])
    lake.close()


REFUSED = [
    ({"warehouse": "ftp://host/x"}, "OFFTAKE_WAREHOUSE must be a path, or start with file:, s3://, abfss:// or gs://"),
    ({"warehouse": "s3:/bucket/x"}, "OFFTAKE_WAREHOUSE must be a path"),
    ({"warehouse": "hdfs://name/x"}, "OFFTAKE_WAREHOUSE must be a path"),
    ({"warehouse": "s3://"}, "OFFTAKE_WAREHOUSE must be a path"),
    ({"warehouse": "s3://bucket/a/../b"}, r"must not have empty, \. or \.\. steps"),
    ({"warehouse": "file://host/x"}, "OFFTAKE_WAREHOUSE: The location file://host/x is not a path on this machine"),
    ({"upload_dir": "http://host/x"}, "OFFTAKE_UPLOAD_DIR must be a path"),
    ({"storage": "s3.acess-key-id=A"}, r"s3\.acess-key-id is unknown; did you mean s3\.access-key-id\?"),
    ({"storage": "s3.endpoint=minio:9000"}, r"OFFTAKE_STORAGE: s3\.endpoint must be a URL"),
    ({"storage": "SECRET"}, "OFFTAKE_STORAGE must be a JSON object, or name=value pairs separated by spaces"),
    ({"storage": "{SECRET"}, "OFFTAKE_STORAGE starts like a JSON object, but is not one"),
    ({"storage": "py-io-impl=os.SECRET"}, "py-io-impl is unknown"),
]


@pytest.mark.parametrize(("given", "reason"), REFUSED)
def test_other_locations_and_properties_are_refused_by_the_settings_name(
    tmp_path: Path, given: dict[str, Any], reason: str
) -> None:
    settings = Settings(data_dir=tmp_path, **given)
    with pytest.raises(OfftakeError, match=reason) as refused:
        check_storage(settings, network_of(settings))
    assert "SECRET" not in str(refused.value)


def test_a_usable_store_passes_the_check_and_keeps_nothing(s3: S3Server, place: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, warehouse=place, upload_dir=place, storage=stored_lakes.setting_of(s3))
    check_storage(settings, network_of(settings))
    bucket = place.split("/")[2]
    assert s3.client().list_objects_v2(Bucket=bucket).get("Contents", []) == []


def test_a_store_that_cannot_be_used_is_named_with_the_remedy(s3: S3Server, place: str, tmp_path: Path) -> None:
    def problem(warehouse: str, storage: str) -> str:
        settings = Settings(data_dir=tmp_path, warehouse=warehouse, storage=SecretStr(storage))
        with pytest.raises(OfftakeError) as refused:
            check_storage(settings, network_of(settings))
        return str(refused.value)

    given = stored_lakes.setting_of(s3).get_secret_value()
    assert (
        "OFFTAKE_WAREHOUSE: s3://missing-bucket/x cannot be used: The bucket missing-bucket does not exist"
        in problem("s3://missing-bucket/x", given)
    )
    wrong = problem(place, given.replace(s3.secret_key, "wrong-secret"))
    assert "refused the credentials" in wrong
    assert "OFFTAKE_STORAGE" in wrong
    assert "wrong-secret" not in wrong


def test_a_store_that_does_not_answer_does_not_hang_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offtake.deployment.storage_settings._CHECK_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        storage = f"gcs.service.host=http://127.0.0.1:{silent.getsockname()[1]} gcs.anonymous=true"
        settings = Settings(data_dir=tmp_path, warehouse="gs://bucket/x", storage=SecretStr(storage))
        begun = time.monotonic()
        with pytest.raises(OfftakeError, match="gs://bucket/x did not answer within 1 second"):
            check_storage(settings, network_of(settings))
        assert time.monotonic() - begun < 10


@pytest.fixture
def sending(s3: S3Server, place: str, tmp_path: Path, clock: FakeClock, engine: LocalEngine) -> Iterator[Deployment]:
    """A deployment whose uploads are in the store as well."""
    settings = {"warehouse": place, "upload_dir": f"{place}-uploads", "storage": stored_lakes.setting_of(s3)}
    with deployment(tmp_path / "data", clock, engine, **settings) as opened:
        yield opened


def test_parts_are_sent_in_any_order_and_a_restart_forgets_those_before(sending: Deployment, s3: S3Server) -> None:
    dataset = sending.import_rows("events", numbered(0))
    body = {"datasetId": dataset, "inputFormat": {"format": "json"}}
    batch = sending.http.post(f"{IMPORT}/batches", json=body).json()["id"]
    path = f"{IMPORT}/batches/{batch}/datasets/{dataset}/files/rows.json"
    content = "".join(json.dumps(row) + "\n" for row in numbered(1, 2, 3)).encode()
    half = len(content) // 2

    def send(first: int, end: int, data: bytes) -> int:
        headers = {
            "content-type": "application/octet-stream",
            "Content-Range": f"bytes {first}-{end - 1}/{len(content)}",
        }
        return sending.http.patch(path, content=data[first:end], headers=headers).status_code

    assert sending.http.post(f"{path}?action=INITIALIZE").status_code == 201
    assert send(half, len(content), b"x" * len(content)) == 200
    assert sending.http.post(f"{path}?action=INITIALIZE").status_code == 201
    assert send(half, len(content), content) == 200
    assert sending.http.post(f"{path}?action=COMPLETE").status_code == 400
    assert send(0, half + 5, content) == 200
    assert sending.http.post(f"{path}?action=COMPLETE").status_code == 200
    shown = sending.http.get(f"{IMPORT}/batches/{batch}/datasets/{dataset}/preview").json()["preview"]["rows"]
    assert [row["0"] for row in shown] == ["1", "2", "3"]
    assert sending.http.post(f"{IMPORT}/batches/{batch}?action=COMPLETE").status_code == 200
    sending.ingest_due()
    rows = sending.http.get(f"/data/foundation/export/datasets/{dataset}/preview").json()["data"]
    assert sorted(row["id"] for row in rows) == [0, 1, 2, 3]
    bucket = sending.backend.settings.uploads_location.split("/")[2]
    listed = s3.client().list_objects_v2(Bucket=bucket, Prefix="own-uploads/")
    assert listed.get("Contents", []) == []


def test_a_backup_holds_locations_and_a_restore_checks_that_their_files_exist(
    sending: Deployment, tmp_path: Path, clock: FakeClock
) -> None:
    dataset = sending.import_rows("events", numbered(1, 2))
    body = {"datasetId": dataset, "inputFormat": {"format": "json"}}
    batch = sending.http.post(f"{IMPORT}/batches", json=body).json()["id"]
    path = f"{IMPORT}/batches/{batch}/datasets/{dataset}/files/rows.json"
    headers = {"content-type": "application/octet-stream"}
    assert sending.http.put(path, content=b'{"id": 3}\n', headers=headers).status_code == 201
    assert sending.http.post(f"{IMPORT}/batches/{batch}?action=COMPLETE").status_code == 200
    file, before = tmp_path / "backup.tar", sending.backend.settings
    header = take_backup(sending.backend, file, rows=True)
    assert (header.rows, header.files, header.warehouse) == (False, 0, before.lake_warehouse)
    sending.import_rows("events", numbered(4))

    def settings(name: str, **changes: Any) -> Settings:
        kept = {"warehouse": before.warehouse, "upload_dir": before.upload_dir, "storage": before.storage}
        return Settings(data_dir=tmp_path / name, **(kept | changes))

    with pytest.raises(OfftakeError, match=r"are still in s3://.*Set OFFTAKE_WAREHOUSE to s3://"):
        restore(settings("folder", warehouse=None), clock, file)
    with pytest.raises(OfftakeError, match=r"uploads are in s3://.*set OFFTAKE_UPLOAD_DIR to it"):
        restore(settings("uploads", upload_dir=None), clock, file)
    restore(settings("again"), clock, file)
    with closing(open_backend(settings("again"), clock, LocalParsers.of)) as backend:
        assert ingestor_of(backend, "test").ingest_next(threading.Event())
        (namespace,) = backend.lake.warehouse.folders_in(before.lake_warehouse)
        (table,) = backend.lake.tables_in(namespace)
        rows = table_description.preview(backend.lake, table, 10).to_pylist()
    assert sorted(row["id"] for row in rows) == [1, 2, 3]
    warehouse = sending.backend.lake.warehouse
    data = next(one for one in warehouse.files_in(warehouse.location) if one.name.endswith(".parquet"))
    gone = [one.location for one in warehouse.files_in(warehouse.location) if one.name.endswith(".parquet")]
    warehouse.remove(gone)
    with pytest.raises(OfftakeError, match=rf"lacks a file that it refers to: s3://.*{data.name[:8]}"):
        restore(settings("late"), clock, file)


def test_a_backup_is_restored_after_upkeep_has_removed_the_metadata_files_that_it_names(
    sending: Deployment, tmp_path: Path, clock: FakeClock
) -> None:
    sending.import_rows("events", numbered(1, 2))
    file, before, lake = tmp_path / "backup.tar", sending.backend.settings, sending.backend.lake
    (namespace,) = lake.warehouse.folders_in(before.lake_warehouse)
    (table,) = lake.tables_in(namespace)
    named = lake.metadata_location(table)
    take_backup(sending.backend, file, rows=True)
    sending.import_rows("events", numbered(3))
    assert named is not None
    lake.warehouse.remove([named])
    kept = {"warehouse": before.warehouse, "upload_dir": before.upload_dir, "storage": before.storage}
    settings = Settings(data_dir=tmp_path / "again", **kept)  # type: ignore[arg-type] # of several types
    restore(settings, clock, file)
    with closing(open_backend(settings, clock, LocalParsers.of)) as backend:
        rows = table_description.preview(backend.lake, table, 10).to_pylist()
    assert sorted(row["id"] for row in rows) == [1, 2]


def test_a_backup_with_rows_is_not_restored_into_a_store(
    s3: S3Server, place: str, tmp_path: Path, clock: FakeClock, engine: LocalEngine
) -> None:
    with deployment(tmp_path / "data", clock, engine) as local:
        local.import_rows("events", numbered(1))
        take_backup(local.backend, tmp_path / "backup.tar", rows=True)
    settings = Settings(data_dir=tmp_path / "new", warehouse=place, storage=stored_lakes.setting_of(s3))
    with pytest.raises(OfftakeError, match="can be restored into a folder only, but the warehouse is s3://"):
        restore(settings, clock, tmp_path / "backup.tar")
