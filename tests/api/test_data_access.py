"""Data access: the files of a batch, their bytes, and a dataset's first rows (contract, section 25)."""

import io
from typing import Any

import pyarrow.parquet as pq
import pytest

from offtake.contract.caller import EXPORT_DATASETS, VIEW_DATASETS, VIEW_DESTINATIONS
from tests.deployment import Deployment, rows

EXPORT = "/data/foundation/export"
CATALOG = "/data/foundation/catalog"


def get(deployed: Deployment, path: str, status: int = 200, **headers: str) -> Any:
    answer = deployed.http.get(path if path.startswith("http") else EXPORT + path, headers=headers)
    assert answer.status_code == status, answer.text
    return answer


@pytest.fixture
def batch(deployed: Deployment) -> str:
    deployed.import_rows("events", rows(0, 5))
    (found,) = deployed.http.get(f"{CATALOG}/batches").json()
    return str(found)


def test_what_came_in_is_fetched_file_by_file(deployed: Deployment, batch: str) -> None:
    listed = get(deployed, f"/batches/{batch}/files").json()
    (entry,) = listed["data"]
    assert (entry["isValid"], entry["records"], listed["_page"]) == (True, "5", {"limit": 100, "count": 1})
    (file,) = get(deployed, entry["_links"]["self"]["href"]).json()["data"]
    link = file["_links"]["self"]["href"]
    whole = get(deployed, link)
    assert len(whole.content) == int(file["length"]) == int(entry["size"]) == int(whole.headers["content-length"])
    assert pq.read_table(io.BytesIO(whole.content)).to_pylist() == rows(0, 5)
    head = deployed.http.head(link)
    assert head.headers["content-length"] == file["length"]
    assert head.headers["accept-ranges"] == "bytes"
    assert not head.content


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-3", 0, 3), ("bytes=4-", 4, None), ("bytes=-4", -4, None), ("bytes=2-2", 2, 2)],
)
def test_ranges_are_served(deployed: Deployment, batch: str, asked: str, first: int, last: int | None) -> None:
    link = link_of(deployed, batch)
    whole = get(deployed, link).content
    part = get(deployed, link, 206, range=asked)
    begin = first if first >= 0 else len(whole) + first
    end = len(whole) - 1 if last is None else last
    assert part.content == whole[begin : end + 1]
    assert part.headers["content-range"] == f"bytes {begin}-{end}/{len(whole)}"


def link_of(deployed: Deployment, batch: str) -> str:
    listed = get(deployed, f"/batches/{batch}/files").json()["data"]
    link: str = get(deployed, listed[0]["_links"]["self"]["href"]).json()["data"][0]["_links"]["self"]["href"]
    return link


@pytest.mark.parametrize("asked", ["bytes=99999999-", "bytes=5-4", "bytes=-0"])
def test_ranges_that_are_not_there_are_refused(deployed: Deployment, batch: str, asked: str) -> None:
    assert "ACCESS-3416-416" in get(deployed, link_of(deployed, batch), 416, range=asked).json()["type"]


@pytest.mark.parametrize("asked", ["bytes=a-b", "lines=1-2", "bytes=0-1,2-3", ""])
def test_headers_that_are_no_range_of_bytes_mean_nothing(deployed: Deployment, batch: str, asked: str) -> None:
    get(deployed, link_of(deployed, batch), 200, range=asked)


def test_nothing_but_the_batchs_own_files_is_served(deployed: Deployment, batch: str) -> None:
    file_id = f"{batch}-1"
    for path in ("../../vault.key", "%2e%2e%2fvault.key", "/etc/passwd", "x.parquet", ""):
        answer = deployed.http.get(f"{EXPORT}/files/{file_id}?path={path}")
        assert answer.status_code == 404
        assert answer.json()["status"] == 404
    for unknown in (f"{batch}-2", f"{batch}-0", batch, "nonsense", f"{batch}-99999999999"):
        get(deployed, f"/files/{unknown}", 404)
        assert deployed.http.head(f"{EXPORT}/files/{unknown}?path=x").status_code == 404


def test_pages_of_files_are_linked(deployed: Deployment, batch: str) -> None:
    assert get(deployed, f"/batches/{batch}/files?start=1").json()["data"] == []
    assert "next" not in get(deployed, f"/batches/{batch}/files?limit=1").json()["_links"]
    for query in ("limit=0", "limit=101", "start=-1", "start=x"):
        get(deployed, f"/batches/{batch}/files?{query}", 400)


def test_a_batch_that_came_in_has_nothing_to_tell(deployed: Deployment, batch: str) -> None:
    for kind in ("failed", "meta"):
        assert get(deployed, f"/batches/{batch}/{kind}").json()["data"] == []
        get(deployed, f"/batches/nope/{kind}", 404)
        get(deployed, f"/batches/{batch}/{kind}?path=row_errors", 404)
    get(deployed, "/batches/nope/files", 404)


def test_a_batch_that_failed_tells_what_was_sent_and_what_went_wrong(deployed: Deployment, batch: str) -> None:
    catalog = deployed.http.get(f"{CATALOG}/batches/{batch}").json()[batch]
    dataset = catalog["relatedObjects"][0]["id"]
    body = {"datasetId": dataset, "inputFormat": {"format": "json"}}
    failed = deployed.post("/data/foundation/import/batches", body)["id"]
    path = f"/data/foundation/import/batches/{failed}"
    plain = {"content-type": "application/octet-stream"}
    name = 'a"é.json'
    deployed.http.put(f"{path}/datasets/{dataset}/files/{name}", content=b'{"id": 1}\n{"id"', headers=plain)
    deployed.http.post(f"{path}?action=COMPLETE")
    deployed.ingest_due()
    listed = [one["name"] for one in get(deployed, f"/batches/{failed}/meta").json()["data"]]
    assert listed == ["input_files/00000.json", "row_errors/errors.json", "row_errors_sample.json"]
    (folder,) = get(deployed, f"/batches/{failed}/meta?path=row_errors").json()["data"]
    report = get(deployed, folder["_links"]["self"]["href"])
    assert report.json()["rows"] == ["2"]
    assert "line 2" in report.json()["description"]
    assert int(folder["length"]) == len(report.content)
    assert get(deployed, f"/batches/{failed}/meta?path=input_files/00000.json").json()["path"] == name
    (wrong,) = get(deployed, f"/batches/{failed}/failed").json()["data"]
    assert get(deployed, wrong["_links"]["self"]["href"]).content == report.content
    for strange in ("..", "../../offtake.db", "row_errors/..", "%2Fetc%2Fpasswd", "%00"):
        assert deployed.http.get(f"{EXPORT}/batches/{failed}/meta?path={strange}").status_code in (400, 404)


def test_a_preview_is_the_first_hundred_rows(deployed: Deployment) -> None:
    dataset = deployed.import_rows("many", rows(0, 120))
    found = get(deployed, f"/datasets/{dataset}/preview").json()["data"]
    assert found == rows(0, 100)
    get(deployed, "/datasets/nope/preview", 404)
    (path,) = deployed.http.post(f"{CATALOG}/dataSets", json={"name": "empty"}).json()
    assert get(deployed, f"/datasets/{path.rpartition('/')[2]}/preview").json() == {"data": []}


def test_data_is_for_those_who_may_see_datasets(deployed: Deployment, batch: str) -> None:
    dataset = next(iter(deployed.http.get(f"{CATALOG}/dataSets").json()))
    paths = (f"/batches/{batch}/files", f"/files/{batch}-1", f"/datasets/{dataset}/preview", f"/batches/{batch}/failed")
    with deployed.acting(deployed.new_client(VIEW_DESTINATIONS, EXPORT_DATASETS)):
        for path in paths:
            get(deployed, path, 403)
    with deployed.acting(deployed.new_client(VIEW_DATASETS)):
        for path in paths:
            get(deployed, path)
