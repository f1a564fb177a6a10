"""Batch ingestion: files come in whole or in parts; a batch is seen as one snapshot, or not at all (section 24)."""

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DATASETS, VIEW_DATASETS
from offtake.engines.local import LocalEngine
from tests.deployment import Deployment, deployment, rows
from tests.fake_clock import FakeClock
from tests.postgres import migrated_database

IMPORT = "/data/foundation/import"
CATALOG = "/data/foundation/catalog"
BYTES = {"content-type": "application/octet-stream"}


def call(deployed: Deployment, method: str, path: str, status: int = 200, **more: Any) -> Any:
    answer = deployed.http.request(method, path if path.startswith("/data") else IMPORT + path, **more)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else answer


@pytest.fixture
def dataset(deployed: Deployment) -> str:
    (path,) = call(deployed, "POST", f"{CATALOG}/dataSets", 201, json={"name": "events"})
    return str(path.rpartition("/")[2])


def batch_of(deployed: Deployment, dataset: str, form: str = "json", **more: Any) -> str:
    body = {"datasetId": dataset, "inputFormat": {"format": form, **more.pop("shape", {})}, **more}
    return str(call(deployed, "POST", "/batches", 201, json=body)["id"])


def send(deployed: Deployment, batch: str, dataset: str, name: str, content: bytes, status: int = 201) -> Any:
    path = f"/batches/{batch}/datasets/{dataset}/files/{name}"
    return call(deployed, "PUT", path, status, content=content, headers=BYTES)


def act(deployed: Deployment, batch: str, action: str, status: int = 200) -> Any:
    return call(deployed, "POST", f"/batches/{batch}?action={action}", status)


def bring_in(deployed: Deployment, dataset: str, content: bytes, form: str = "json", **more: Any) -> Any:
    """One file as one batch, brought in; the batch as Catalog shows it."""
    batch = batch_of(deployed, dataset, form, **more)
    send(deployed, batch, dataset, f"a.{form}", content)
    assert act(deployed, batch, "COMPLETE")["status"] == "staged"
    deployed.ingest_due()
    return state(deployed, batch)


def state(deployed: Deployment, batch: str) -> Any:
    return call(deployed, "GET", f"{CATALOG}/batches/{batch}")[batch]


def held(deployed: Deployment, dataset: str) -> list[Any]:
    found: list[Any] = call(deployed, "GET", f"/data/foundation/export/datasets/{dataset}/preview")["data"]
    return found


def ndjson(*some: Any) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in some)


def parquet(some: list[Any]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(some), file)
    return file.getvalue()


def uploads(deployed: Deployment) -> list[Path]:
    return [path for path in deployed.backend.settings.uploads_root.rglob("*") if path.is_file()]


def code(problem: Any) -> str:
    return str(problem["type"].rpartition("/")[2])


def test_the_worked_example_comes_in(deployed: Deployment, dataset: str) -> None:
    body = {"datasetId": dataset, "inputFormat": {"format": "json"}}
    made = call(deployed, "POST", "/batches", 201, json=body)
    assert (made["status"], made["relatedObjects"]) == ("loading", [{"type": "dataSet", "id": dataset}])
    send(deployed, made["id"], dataset, "a.json", b'{"id":1,"city":"Bern"}\n{"id":2,"city":"Graz"}\n')
    act(deployed, made["id"], "COMPLETE")
    assert held(deployed, dataset) == []
    deployed.ingest_due()
    done = state(deployed, made["id"])
    assert (done["status"], done["metrics"]["outputRecordCount"], done["metrics"]["inputByteSize"]) == (
        "success",
        2,
        46,
    )
    assert held(deployed, dataset) == [{"id": 1, "city": "Bern"}, {"id": 2, "city": "Graz"}]
    assert uploads(deployed) == []
    flow = deployed.flow(dataset)
    deployed.run_due()
    assert deployed.runs(flow)[0]["metrics"]["recordSummary"]["outputRecordCount"] == 2


@pytest.mark.parametrize(
    ("form", "shape", "content"),
    [
        ("json", {}, ndjson(*rows(0, 3))),
        ("JSON", {"isMultiLineJson": True}, json.dumps(rows(0, 3), indent=2).encode()),
        ("json", {"isMultiLineJson": True}, b"\n".join(json.dumps(one, indent=1).encode() for one in rows(0, 3))),
        ("parquet", {}, parquet(rows(0, 3))),
    ],
)
def test_rows_come_in_as_they_were(deployed: Deployment, dataset: str, form: str, shape: Any, content: bytes) -> None:
    assert bring_in(deployed, dataset, content, form, shape=shape)["status"] == "success"
    assert held(deployed, dataset) == rows(0, 3)


def test_csv_comes_in_as_it_is_said_to_be_written(deployed: Deployment, dataset: str) -> None:
    shape = {"delimiter": ";", "quote": "'", "nullMarker": "NULL", "charset": "ISO-8859-1"}
    content = "id;city\n1;'Z\u00fcrich; west'\n2;NULL\n".encode("iso-8859-1")
    assert bring_in(deployed, dataset, content, "csv", shape=shape)["status"] == "success"
    assert held(deployed, dataset) == [{"id": 1, "city": "Z\u00fcrich; west"}, {"id": 2}]


def test_several_files_are_one_snapshot(deployed: Deployment, dataset: str) -> None:
    batch = batch_of(deployed, dataset)
    for first in range(0, 6, 2):
        send(deployed, batch, dataset, f"day={first}/part.json", ndjson(*rows(first, 2)))
    act(deployed, batch, "COMPLETE")
    deployed.ingest_due()
    assert sorted(row["id"] for row in held(deployed, dataset)) == list(range(6))
    files = call(deployed, "GET", f"/data/foundation/export/batches/{batch}/files")["data"]
    assert sum(int(file["records"]) for file in files) == 6


def test_a_file_is_sent_again_in_place_of_itself(deployed: Deployment, dataset: str) -> None:
    batch = batch_of(deployed, dataset)
    send(deployed, batch, dataset, "a.json", ndjson({"id": 1}))
    send(deployed, batch, dataset, "a.json", ndjson({"id": 2}), 200)
    for _ in range(2):
        act(deployed, batch, "COMPLETE")
    deployed.ingest_due()
    assert held(deployed, dataset) == [{"id": 2}]
    assert act(deployed, batch, "COMPLETE")["status"] == "success"
    assert code(send(deployed, batch, dataset, "b.json", b"{}", 400)) == "INGEST-1422-400"


def test_large_files_come_in_parts_in_any_order(deployed: Deployment, dataset: str) -> None:
    content = ndjson(*rows(0, 50))
    batch = batch_of(deployed, dataset)
    path = f"/batches/{batch}/datasets/{dataset}/files/big.json"
    call(deployed, "POST", f"{path}?action=INITIALIZE", 201)
    total = len(content)

    def part(first: int, last: int, status: int = 200) -> Any:
        headers = BYTES | {"content-range": f"bytes {first}-{last}/{total}"}
        return call(deployed, "PATCH", path, status, content=content[first : last + 1], headers=headers)

    assert "range" not in deployed.http.head(IMPORT + path).headers
    part(100, total - 1)
    part(0, 49)
    assert deployed.http.head(IMPORT + path).headers["range"] == f"bytes=0-49,100-{total - 1}"
    missing = call(deployed, "POST", f"{path}?action=COMPLETE", 400)
    assert "bytes 50-99" in missing["detail"]
    assert "big.json" in act(deployed, batch, "COMPLETE", 400)["detail"]
    part(40, 120)
    part(40, 120)
    assert call(deployed, "POST", f"{path}?action=COMPLETE")["sizeInBytes"] == total
    assert call(deployed, "POST", f"{path}?action=COMPLETE")["sizeInBytes"] == total
    assert code(part(0, 49, 400)) == "INGEST-1422-400"
    act(deployed, batch, "COMPLETE")
    deployed.ingest_due()
    assert len(held(deployed, dataset)) == 50


@pytest.mark.parametrize(
    ("content_range", "sent", "status"),
    [
        (None, 10, 400),
        ("", 10, 400),
        ("bytes 0-9", 10, 400),
        ("bytes a-b/10", 10, 400),
        ("bytes 5-2/10", 10, 416),
        ("bytes 0-10/10", 11, 416),
        ("bytes 0-9/10", 9, 400),
        ("bytes 0-9/10", 11, 400),
        ("bytes 0-999999999/9999999999", 10, 413),
        ("bytes 0-9/999999999999", 10, 413),
        ("bytes 0-9/10, 10-19/20", 10, 400),
    ],
)
def test_a_part_that_does_not_fit_is_refused(
    deployed: Deployment, dataset: str, content_range: str | None, sent: int, status: int
) -> None:
    batch = batch_of(deployed, dataset)
    path = f"/batches/{batch}/datasets/{dataset}/files/big.json"
    call(deployed, "POST", f"{path}?action=INITIALIZE", 201)
    headers = BYTES | ({} if content_range is None else {"content-range": content_range})
    call(deployed, "PATCH", path, status, content=b"x" * sent, headers=headers)
    assert "range" not in deployed.http.head(IMPORT + path).headers


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "a/%2e%2e/b",
        "%2e%2e/%2e%2e/x",
        "a//b",
        "a%00b",
        "a%0Ab",
        "a\\b",
        "x" * 1025,
        "%2e/a",
        "a/%2e",
        "%2Fetc%2Fpasswd",
    ],
)
def test_names_that_lead_elsewhere_are_refused(deployed: Deployment, dataset: str, name: str) -> None:
    batch = batch_of(deployed, dataset)
    answer = deployed.http.put(
        f"{IMPORT}/batches/{batch}/datasets/{dataset}/files/{name}", content=b"{}", headers=BYTES
    )
    assert 400 <= answer.status_code < 500, answer.text
    assert uploads(deployed) == []


@pytest.mark.parametrize("name", ["a b.json", "Zürich.json", "a=1/b+c.json", "%F0%9F%98%80.json", "-", "'; DROP--"])
def test_other_names_are_kept(deployed: Deployment, dataset: str, name: str) -> None:
    batch = batch_of(deployed, dataset)
    send(deployed, batch, dataset, name, ndjson({"id": 1}))
    act(deployed, batch, "COMPLETE")
    deployed.ingest_due()
    assert state(deployed, batch)["status"] == "success"


def test_what_is_sent_must_be_plain_bytes_of_bounded_size_at_a_bounded_address(
    deployed: Deployment, dataset: str
) -> None:
    batch = batch_of(deployed, dataset)
    path = f"{IMPORT}/batches/{batch}/datasets/{dataset}/files/"
    typed = deployed.http.put(f"{path}a", content=b"{}", headers={"content-type": "text/html"})
    assert (typed.status_code, code(typed.json())) == (415, "INGEST-3415-415")
    long = deployed.http.put(f"{path}{'a/' * 1000}b", content=b"{}", headers=BYTES)
    assert (long.status_code, code(long.json())) == (414, "INGEST-3414-414")
    heavy = deployed.http.put(f"{path}a", content=b"", headers=BYTES | {"content-length": str(300 * 2**20)})
    assert (heavy.status_code, code(heavy.json())) == (413, "INGEST-3413-413")
    assert uploads(deployed) == []


@pytest.mark.parametrize(
    ("form", "content", "said"),
    [
        ("json", b'{"id": 1}\n{"id": \n', "a.json, line 2"),
        ("json", b'{"id": 1}\n{"id": "x"}\n', "a.json"),
        ("json", b"\xff\xfe", "a.json"),
        ("parquet", b"PAR1 nonsense", "a.parquet"),
        ("csv", b"id,city\n1\n", "a.csv"),
    ],
)
def test_a_file_that_cannot_be_read_fails_the_batch_and_says_where(
    deployed: Deployment, dataset: str, form: str, content: bytes, said: str
) -> None:
    failed = bring_in(deployed, dataset, content, form)
    assert failed["status"] == "failed"
    assert said in failed["errors"][0]["description"]
    assert "new batch" in failed["errors"][0]["description"]
    assert held(deployed, dataset) == []
    assert uploads(deployed) == []
    assert not list(deployed.backend.settings.data_dir.rglob("*.parquet"))


def test_one_bad_file_keeps_all_of_a_batch_out(deployed: Deployment, dataset: str) -> None:
    batch = batch_of(deployed, dataset, partialIngestionPercentage=50, enableErrorDiagnostics=True)
    send(deployed, batch, dataset, "good.json", ndjson({"id": 1}))
    send(deployed, batch, dataset, "bad.json", b"{")
    act(deployed, batch, "COMPLETE")
    deployed.ingest_due()
    assert state(deployed, batch)["status"] == "failed"
    assert held(deployed, dataset) == []


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_no_rows_are_a_success_without_a_snapshot(deployed: Deployment, dataset: str, content: bytes) -> None:
    assert bring_in(deployed, dataset, content)["status"] == "success"
    batch = batch_of(deployed, dataset)
    act(deployed, batch, "COMPLETE")
    deployed.ingest_due()
    assert state(deployed, batch)["status"] == "success"
    assert held(deployed, dataset) == []


@pytest.mark.parametrize(("action", "status"), [("ABORT", "aborted"), ("FAIL", "failed")])
def test_a_batch_that_is_dropped_leaves_nothing(deployed: Deployment, dataset: str, action: str, status: str) -> None:
    batch = batch_of(deployed, dataset)
    send(deployed, batch, dataset, "a.json", ndjson({"id": 1}))
    for _ in range(2):
        assert act(deployed, batch, action)["status"] == status
    assert uploads(deployed) == []
    deployed.ingest_due()
    assert held(deployed, dataset) == []
    for refused in ("COMPLETE", "REVERT"):
        assert code(act(deployed, batch, refused, 400)) == "INGEST-1422-400"


def test_a_batch_is_taken_out_again(deployed: Deployment, dataset: str) -> None:
    first = bring_in(deployed, dataset, ndjson({"id": 1}))
    batch = next(iter(call(deployed, "GET", f"{CATALOG}/batches")))
    deployed.clock.advance(seconds=1)
    bring_in(deployed, dataset, ndjson({"id": 2}))
    act(deployed, batch, "REVERT")
    deployed.ingest_due()
    assert (first["status"], state(deployed, batch)["status"]) == ("success", "inactive")
    assert held(deployed, dataset) == [{"id": 2}]
    assert act(deployed, batch, "REVERT")["status"] == "inactive"


def test_a_batch_takes_the_place_of_others(deployed: Deployment, dataset: str) -> None:
    flow = deployed.flow(dataset)
    bring_in(deployed, dataset, ndjson({"id": 1}, {"id": 2}))
    old = next(iter(call(deployed, "GET", f"{CATALOG}/batches")))
    deployed.run_due()
    deployed.clock.advance(seconds=1)
    replay = {"predecessors": [old], "reason": "replace"}
    done = bring_in(deployed, dataset, ndjson({"id": 1}, {"id": 3}), replay=replay)
    assert (done["status"], state(deployed, old)["status"]) == ("success", "inactive")
    assert held(deployed, dataset) == [{"id": 1}, {"id": 3}]
    deployed.clock.advance(hours=3)
    deployed.run_due()
    counts = [run["metrics"]["recordSummary"]["outputRecordCount"] for run in deployed.runs(flow)]
    assert counts == [2, 2]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"datasetId": "616d53e0a6de2719486fb024", "inputFormat": {"format": "json"}}, 404),
        ({"inputFormat": {"format": "json"}}, 400),
        ({"datasetId": "{dataset}"}, 400),
        ({"datasetId": "{dataset}", "inputFormat": {"format": "xml"}}, 400),
        ({"datasetId": "{dataset}", "inputFormat": {"format": "csv", "delimiter": "ab"}}, 400),
        ({"datasetId": "{dataset}", "inputFormat": {"format": "json"}, "partialIngestionPercentage": 101}, 400),
        ({"datasetId": "{dataset}", "inputFormat": {"format": "json"}, "replay": {"predecessors": ["x"]}}, 400),
        ({"datasetId": "{dataset}", "inputFormat": {"format": "json"}, "replay": {"predecessors": []}}, 400),
    ],
)
def test_a_batch_that_cannot_be_made_says_why(deployed: Deployment, dataset: str, body: Any, status: int) -> None:
    if body.get("datasetId") == "{dataset}":
        body = body | {"datasetId": dataset}
    assert call(deployed, "POST", "/batches", status, json=body)["detail"]
    assert call(deployed, "GET", f"{CATALOG}/batches") == {}


def test_what_is_not_there_is_not_found(deployed: Deployment, dataset: str) -> None:
    batch = batch_of(deployed, dataset)
    other = call(deployed, "POST", f"{CATALOG}/dataSets", 201, json={"name": "o"})[0].rpartition("/")[2]
    send(deployed, "nope", dataset, "a", b"", 404)
    send(deployed, batch, other, "a", b"", 404)
    act(deployed, "nope", "COMPLETE", 404)
    assert deployed.http.head(f"{IMPORT}/batches/{batch}/datasets/{dataset}/files/a").status_code == 404
    call(deployed, "PATCH", f"/batches/{batch}/datasets/{dataset}/files/a", 404, content=b"x" * 10,
         headers=BYTES | {"content-range": "bytes 0-9/10"})  # fmt: skip
    for query in ("", "?action=EXPLODE"):
        call(deployed, "POST", f"/batches/{batch}{query}", 400)
        call(deployed, "POST", f"/batches/{batch}/datasets/{dataset}/files/a{query}", 400)


def test_what_was_sent_is_previewed(deployed: Deployment, dataset: str) -> None:
    batch = batch_of(deployed, dataset, "csv")
    path = f"/batches/{batch}/datasets/{dataset}/preview"
    assert code(call(deployed, "GET", f"{path}?format=csv", 400)) == "INGEST-1422-400"
    send(deployed, batch, dataset, "a.csv", b"id;city\n1;Bern\n2;Graz\n")
    answer = call(deployed, "GET", f"{path}?format=csv&delimiter=%3B&nrow=1")
    assert answer["preview"] == {
        "columns": [{"cid": "0", "name": "id"}, {"cid": "1", "name": "city"}],
        "rows": [{"0": "1", "1": "Bern"}],
    }
    assert answer["formatParams"]["delimiter"] == ";"
    for query in ("format=xml", "nrow=x", "nrow=101", "delimiter=ab"):
        call(deployed, "GET", f"{path}?{query}", 400)


@pytest.mark.parametrize("permission", [VIEW_DATASETS, EXPORT_DATASETS])
def test_sending_needs_the_permission_to_manage(deployed: Deployment, dataset: str, permission: str) -> None:
    batch = batch_of(deployed, dataset)
    with deployed.acting(deployed.new_client(permission)):
        body = {"datasetId": dataset, "inputFormat": {"format": "json"}}
        call(deployed, "POST", "/batches", 403, json=body)
        send(deployed, batch, dataset, "a", b"", 403)
        act(deployed, batch, "COMPLETE", 403)
    with deployed.acting(deployed.new_client(MANAGE_DATASETS)):
        send(deployed, batch, dataset, "a", ndjson({"id": 1}))


def test_gzipped_files_come_in_too(deployed: Deployment, dataset: str) -> None:
    batch = batch_of(deployed, dataset)
    send(deployed, batch, dataset, "a.json.gz", gzip.compress(ndjson({"id": 1})))
    act(deployed, batch, "COMPLETE")
    deployed.ingest_due()
    assert held(deployed, dataset) == [{"id": 1}]


def test_batches_come_in_on_postgresql_too(
    postgres: str, tmp_path: Path, clock: FakeClock, engine: LocalEngine
) -> None:
    with deployment(tmp_path, clock, engine, database_url=migrated_database(postgres)) as deployed:
        (path,) = call(deployed, "POST", f"{CATALOG}/dataSets", 201, json={"name": "events"})
        dataset = path.rpartition("/")[2]
        assert bring_in(deployed, dataset, ndjson(*rows(0, 3)))["status"] == "success"
        assert bring_in(deployed, dataset, b"{")["status"] == "failed"
        assert held(deployed, dataset) == rows(0, 3)
