"""Files of the landing zone, collected by clients that others wrote, from a real server."""

import hashlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import BlobClient, BlobPrefix, ContainerClient

from offtake.api.app import create_app
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DATASETS, VIEW_DESTINATIONS
from offtake.scheduling.run_verification import delivery_of, verify_delivery
from tests.deployment import WITH_MANIFEST, Deployment, rows
from tests.servers import serving

ZONE = "/data/foundation/connectors/landingzone"
# No server here speaks TLS, and each call would read the system's authorities again.
_get, _delete, _request = (partial(call, verify=False) for call in (httpx2.get, httpx2.delete, httpx2.request))


@dataclass
class Collector:
    """A client that has only the credentials."""

    deployed: Deployment
    origin: str
    given: dict[str, str]

    @property
    def container(self) -> ContainerClient:
        # Trying again would only slow the tests of refusals.
        return ContainerClient.from_container_url(self.given["SASUri"], retry_total=0)

    def put(self, name: str, content: bytes = b"hello") -> Path:
        path = self.deployed.zone / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def url(self, name: str = "", query: str = "") -> str:
        address, _, token = self.given["SASUri"].partition("?")
        return f"{address}/{name}?{token}{query}" if name else f"{address}?{token}{query}"

    def of_caller(self) -> "Collector":
        """The same with the credentials of the client that acts."""
        asked = dict(self.deployed.http.headers) | {"host": self.origin.removeprefix("http://")}
        given = _get(f"{self.origin}{ZONE}/credentials?type=dlz_destination", headers=asked).json()
        return Collector(self.deployed, self.origin, given)

    def names(self, **parameters: Any) -> list[str]:
        return [one.name for one in self.container.list_blobs(**parameters)]


@pytest.fixture
def collector(deployed: Deployment) -> Iterator[Collector]:
    with serving(create_app(deployed.backend)) as origin:
        asked = dict(deployed.http.headers) | {"host": origin.removeprefix("http://")}
        given = _get(f"{origin}{ZONE}/credentials?type=dlz_destination", headers=asked).json()
        yield Collector(deployed, origin, given)


def test_what_was_delivered_is_collected_byte_for_byte(collector: Collector) -> None:
    deployed = collector.deployed
    deployed.flow(deployed.import_rows("events", rows(0, 100)))
    deployed.run_due()
    (manifest,) = deployed.manifests()
    delivered = deployed.delivered(manifest)
    assert collector.names() == [file.relative_to(deployed.zone).as_posix() for file in delivered]
    for file in delivered:
        name = file.relative_to(deployed.zone).as_posix()
        fetched = collector.container.download_blob(name).readall()
        assert hashlib.sha256(fetched).digest() == hashlib.sha256(file.read_bytes()).digest()


def test_a_large_file_comes_in_ranges(collector: Collector) -> None:
    content = os.urandom(5_000_000)
    collector.put("big.json.gz", content)
    address, _, token = collector.given["SASUri"].partition("?")
    sizes: dict[str, Any] = {"max_single_get_size": 1_000_000, "max_chunk_get_size": 700_000}
    blob = BlobClient.from_blob_url(f"{address}/big.json.gz?{token}", **sizes)
    assert blob.download_blob(max_concurrency=4).readall() == content
    assert blob.download_blob(offset=4_999_990, length=100).readall() == content[-10:]
    properties = blob.get_blob_properties()
    assert (properties.size, properties.content_settings.content_type) == (5_000_000, "application/gzip")
    assert properties.content_settings.content_encoding is None


def test_an_empty_file_is_collected(collector: Collector) -> None:
    collector.put("empty", b"")
    assert collector.container.download_blob("empty").readall() == b""


def test_a_listing_is_in_pages_in_the_order_of_names(collector: Collector) -> None:
    names = ["a-b", "a.txt", "a/b/c", "a/b.txt", "a/z", "a0", "ä/ö", "z z/100% & <x>.json", "z"]
    for name in names:
        collector.put(name)
    assert collector.names() == sorted(names)
    pages = collector.container.list_blobs(results_per_page=2).by_page()
    assert [[one.name for one in page] for page in pages] == [
        sorted(names)[start : start + 2] for start in range(0, 9, 2)
    ]
    assert collector.names(name_starts_with="a/b") == ["a/b.txt", "a/b/c"]
    assert collector.names(name_starts_with="a/b/") == ["a/b/c"]
    assert collector.names(name_starts_with="nothing") == []
    assert collector.container.download_blob("z z/100% & <x>.json").readall() == b"hello"


@pytest.mark.parametrize("per_page", [1, 2, 3, 100])
def test_a_listing_by_folders_shows_each_once(collector: Collector, per_page: int) -> None:
    for name in ("a-b", "a/1", "a/b/2", "a/b/3", "b/4", "c"):
        collector.put(name)
    (collector.deployed.zone / "hollow" / "inner").mkdir(parents=True)

    def walk(start: str) -> list[tuple[str, bool]]:
        found = collector.container.walk_blobs(start, delimiter="/", results_per_page=per_page)
        # Within a page the client puts folders first.
        return sorted((one.name, isinstance(one, BlobPrefix)) for one in found)

    assert walk("") == [("a-b", False), ("a/", True), ("b/", True), ("c", False)]
    assert walk("a") == [("a-b", False), ("a/", True)]
    assert walk("a/") == [("a/1", False), ("a/b/", True)]
    assert walk("a/b/") == [("a/b/2", False), ("a/b/3", False)]


def test_folders_may_lie_deep(collector: Collector) -> None:
    deep = "/".join("d" * 500) + "/file"
    collector.put(deep)
    assert collector.names() == [deep]
    assert [one.name for one in collector.container.walk_blobs(delimiter="/")] == ["d/"]


def test_a_file_that_comes_while_pages_are_read_upsets_nothing(collector: Collector) -> None:
    for number in range(6):
        collector.put(f"f{number}")
    pages = collector.container.list_blobs(results_per_page=3).by_page()
    first = [one.name for one in next(pages)]
    collector.put("f00")
    collector.put("f35")
    assert [*first, *(one.name for one in next(pages))] == ["f0", "f1", "f2", "f3", "f35", "f4"]


@pytest.mark.parametrize("name", ["odd\x01name.json", "of two\nlines", "ends in a line break\n", "a/\t"])
def test_names_that_xml_cannot_hold_are_listed_and_fetched(collector: Collector, name: str) -> None:
    collector.put(name)
    assert collector.names() == [name]
    assert collector.container.download_blob(name).readall() == b"hello"


def test_what_is_not_a_finished_file_of_the_zone_is_not_there(collector: Collector, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    collector.put("inside")
    collector.put(".part-0.json.tmp")
    (collector.deployed.zone / "link").symlink_to(tmp_path / "secret")
    (collector.deployed.zone / "folder").symlink_to(tmp_path)
    assert collector.names() == ["inside"]
    sealed = "vault.key"
    assert (collector.deployed.backend.settings.data_dir / sealed).exists()
    outside = [f"{up}/{up}/{sealed}" for up in ("%2e%2e", "..%2f..")]
    odd = ["%00", "%ff", "x" * 300, "inside/below", "a//inside", "a/%2e%2e/inside"]
    for name in ("nothing", "link", "folder", "folder/secret", ".part-0.json.tmp", *outside, *odd):
        answer = _get(collector.url(name))
        assert (answer.status_code, answer.headers["x-ms-error-code"]) == (404, "BlobNotFound"), name
        assert "<Code>BlobNotFound</Code>" in answer.text


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=0-3", 206, b"0123"),
        ("bytes=4-", 206, b"456789"),
        ("bytes=8-100", 206, b"89"),
        ("bytes=-2", 206, b"89"),
        ("bytes=-100", 206, b"0123456789"),
        ("bytes=10-", 416, None),
        ("bytes=5-4", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=", 200, b"0123456789"),
        ("bytes=-", 200, b"0123456789"),
        ("bytes=0-1,3-4", 200, b"0123456789"),
        ("lines=0-1", 200, b"0123456789"),
    ],
)
@pytest.mark.parametrize("header", ["range", "x-ms-range"])
def test_ranges(collector: Collector, header: str, asked: str, status: int, content: bytes | None) -> None:
    collector.put("digits", b"0123456789")
    answer = _get(collector.url("digits"), headers={header: asked})
    assert answer.status_code == status
    if content is None:
        assert (answer.headers["x-ms-error-code"], answer.headers["content-range"]) == ("InvalidRange", "bytes */10")
        return
    assert answer.content == content
    if status == 206:
        first = b"0123456789".index(content[:1])
        assert answer.headers["content-range"] == f"bytes {first}-{first + len(content) - 1}/10"


def test_conditions_hold_a_download_to_one_state_of_a_file(collector: Collector) -> None:
    path = collector.put("a", b"one")
    blob = collector.container.get_blob_client("a")
    etag = blob.get_blob_properties().etag
    same: dict[str, Any] = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
    assert blob.download_blob(**same).readall() == b"one"
    path.write_bytes(b"other")
    with pytest.raises(HttpResponseError) as refused:
        blob.download_blob(**same)
    assert refused.value.status_code == 412
    newer = _get(collector.url("a")).headers["etag"]
    assert _get(collector.url("a"), headers={"if-none-match": newer}).status_code == 304
    now = datetime.now(UTC)
    with pytest.raises(HttpResponseError):
        blob.get_blob_properties(if_unmodified_since=now - timedelta(days=1))
    with pytest.raises(HttpResponseError):
        blob.get_blob_properties(if_modified_since=now + timedelta(days=1))


def signed(token: str) -> dict[str, str]:
    pairs = (one.partition("=") for one in token.split("&"))
    return {name: value for name, _, value in pairs}


def test_the_signature_alone_decides(collector: Collector) -> None:
    collector.put("a")
    token = collector.given["SASToken"]
    good = signed(token)
    other = collector.deployed.http.get(f"{ZONE}/credentials").json()
    for changed in (
        {"sig": good["sig"][:-1] + ("A" if good["sig"][-1] != "A" else "B")},
        {"sig": ""},
        {"sig": "é"},
        {"se": "2099-01-01T00%3A00%3A00Z"},
        {"sp": "racwdlm"},
        {"si": "dlz-00000000-0000-0000-0000-000000000000"},
        {"si": ""},
        {"si": "%00"},
        {"sr": "b"},
        {"sv": "2020-01-01"},
        signed(other["SASToken"]),
    ):
        query = "&".join(f"{name}={value}" for name, value in {**good, **changed}.items())
        address = collector.given["SASUri"].partition("?")[0]
        answer = _get(f"{address}/a?{query}")
        assert answer.status_code in (401, 403), changed
        assert answer.headers["x-ms-error-code"] in ("AuthenticationFailed", "NoAuthenticationInformation")
    assert _get(f"{collector.origin}/dlz0123/dlz-destination/a?{token}").status_code == 403
    assert _get(f"{collector.origin}/dlz-user-container/a?{token}").status_code == 403
    assert _get(f"{collector.origin}/dlz-destination/a?{token}").status_code == 200
    assert _get(f"{collector.origin}/dlz-destination/a").status_code == 401


def test_a_file_is_deleted_once_it_is_collected(collector: Collector) -> None:
    names = ["a/b c/100% ä", "a/b c/other", "inner/dlz-user-container/x"]
    for name in names:
        collector.put(name)
    assert "sp=rdl&" in collector.given["SASToken"]
    for position, name in enumerate(names, start=1):
        collector.container.delete_blob(name)
        assert collector.names() == sorted(names[position:])
        with pytest.raises(ResourceNotFoundError):
            collector.container.delete_blob(name)
    collector.put("b")
    answer = _delete(collector.url("b"))
    assert (answer.status_code, answer.content) == (202, b"")
    assert answer.headers["x-ms-delete-type-permanent"] == "true"


def test_conditions_hold_a_deletion_to_the_state_that_was_read(collector: Collector) -> None:
    path = collector.put("a", b"one")
    etag = _get(collector.url("a")).headers["etag"]
    path.write_bytes(b"other")
    refusals = [{"if-match": etag}, {"if-none-match": "*"}, {"if-unmodified-since": "Mon, 01 Jan 2024 00:00:00 GMT"}]
    for headers in refusals:
        answer = _delete(collector.url("a"), headers=headers)
        assert (answer.status_code, answer.headers["x-ms-error-code"]) == (412, "ConditionNotMet"), headers
    for query in ("&comp=metadata", "&snapshot=2026-03-01T12:00:00Z", "&versionid=1"):
        assert _delete(collector.url("a", query)).status_code == 403
    assert path.read_bytes() == b"other"
    now = _get(collector.url("a")).headers["etag"]
    assert _delete(collector.url("a"), headers={"if-match": now}).status_code == 202


def test_only_finished_files_of_the_zone_are_deleted(collector: Collector, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    kept = [collector.put("inside/file"), collector.put(".part-0.json.tmp"), tmp_path / "secret"]
    (collector.deployed.zone / "link").symlink_to(tmp_path / "secret")
    (collector.deployed.zone / "folder").symlink_to(tmp_path)
    key = collector.deployed.backend.settings.data_dir / "vault.key"
    for name in (
        "link",
        "folder/secret",
        "inside",
        ".part-0.json.tmp",
        "%2e%2e/%2e%2e/vault.key",
        "..%2f..%2fvault.key",
    ):
        assert _delete(collector.url(name)).status_code == 404, name
    assert all(path.exists() for path in [*kept, key])


def test_a_signature_deletes_only_for_clients_that_may_manage_or_export(collector: Collector) -> None:
    path = collector.put("a")
    views = (VIEW_DESTINATIONS, VIEW_DATASETS)
    with collector.deployed.acting(collector.deployed.new_client(*views)):
        other = collector.of_caller()
    assert "sp=rl&" in other.given["SASToken"]
    assert (other.names(), _get(other.url("a")).status_code) == (["a"], 200)
    answer = _delete(other.url("a"))
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (403, "AuthorizationPermissionMismatch")
    widened = other.url("a").replace("sp=rl", "sp=rdl")
    assert _delete(widened).headers["x-ms-error-code"] == "AuthenticationFailed"
    assert path.exists()
    for more in (MANAGE_DESTINATIONS, EXPORT_DATASETS):
        collector.put("a")
        with collector.deployed.acting(collector.deployed.new_client(*views, more)):
            assert _delete(collector.of_caller().url("a")).status_code == 202


def test_a_deletion_is_in_the_audit_log_with_the_client_that_had_the_signature(collector: Collector) -> None:
    deployed = collector.deployed
    collector.put("a/ä", b"hello")
    client = deployed.new_client(VIEW_DESTINATIONS, VIEW_DATASETS, EXPORT_DATASETS)
    with deployed.acting(client):
        mine = collector.of_caller()
    assert _delete(mine.url("a/%C3%A4"), headers={"if-match": '"0x1"'}).status_code == 412
    assert _delete(mine.url("a/%C3%A4")).status_code == 202
    assert _delete(mine.url("a/%C3%A4")).status_code == 404
    found = deployed.http.get("/data/foundation/audit/events").json()["_embedded"]["events"]
    (event,) = [one for one in found if one["assetType"] == "Landing Zone File"]
    assert (event["action"], event["assetName"], event["clientId"]) == ("Delete", "a/ä", client.client_id)
    assert event["before"] == {"type": "dlz_destination", "size": 5}
    assert event["userIpAddresses"] == ["127.0.0.1"]


def test_what_a_consumer_deletes_counts_as_collected(collector: Collector) -> None:
    deployed = collector.deployed
    flow = deployed.flow(deployed.import_rows("events", rows(0, 10)), params=WITH_MANIFEST)
    deployed.run_due()
    for name in collector.names():
        collector.container.delete_blob(name)
    deployed.import_rows("events", rows(10, 10))
    deployed.clock.advance(hours=3)
    deployed.run_due()
    second, first = deployed.runs(flow)
    assert {one["metrics"]["statusSummary"]["status"] for one in (first, second)} == {"success"}
    assert second["metrics"]["recordSummary"]["outputRecordCount"] == 10
    report = verify_delivery(delivery_of(deployed.backend, deployed.caller, first["id"]))
    assert (report.collected, list(report.findings)) == (2, [])


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_nothing_can_be_written(collector: Collector, method: str) -> None:
    path = collector.put("a")
    blobs = [] if method == "DELETE" else [collector.url("a")]
    for url in (*blobs, collector.url(), collector.url(query="&restype=container")):
        answer = _request(method, url, content=b"x" * (0 if method == "DELETE" else 10))
        assert (answer.status_code, answer.headers["x-ms-error-code"]) == (403, "AuthorizationPermissionMismatch")
    assert path.read_bytes() == b"hello"
    with pytest.raises(HttpResponseError):
        collector.container.upload_blob("b", b"x")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 403, "AuthorizationPermissionMismatch"),
        ("&restype=container", 403, "AuthorizationPermissionMismatch"),
        ("&restype=container&comp=list&maxresults=0", 400, "OutOfRangeQueryParameterValue"),
        ("&restype=container&comp=list&maxresults=many", 400, "OutOfRangeQueryParameterValue"),
        ("&restype=container&comp=list&marker=!!", 400, "InvalidQueryParameterValue"),
        ("&restype=container&comp=list&delimiter=-", 400, "InvalidQueryParameterValue"),
    ],
)
def test_invalid_listings_are_refused_with_a_code(collector: Collector, query: str, status: int, code: str) -> None:
    answer = _get(collector.url(query=query))
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (status, code)


def test_a_missing_file_is_an_error_the_client_knows(collector: Collector) -> None:
    with pytest.raises(ResourceNotFoundError):
        collector.container.download_blob("nothing")
    with pytest.raises(ResourceNotFoundError):
        collector.container.get_blob_client("nothing").get_blob_properties()


def test_a_zone_without_any_file_is_an_empty_listing(collector: Collector) -> None:
    assert collector.names() == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_another_client_copies_the_container(collector: Collector, tmp_path: Path, host: str) -> None:
    for number in range(5):
        collector.put(f"run/part-{number}.json.gz", os.urandom(1000 + number))
    headers = dict(collector.deployed.http.headers) | {
        "host": collector.origin.removeprefix("http://").replace("127.0.0.1", host)
    }
    given = _get(f"{collector.origin}{ZONE}/credentials?type=dlz_destination", headers=headers).json()
    assert host in given["SASUri"]
    program = Path(sys.executable).with_name("rclone")
    environment = {**os.environ, "RCLONE_CONFIG": "/dev/null", "RCLONE_AZUREBLOB_SAS_URL": given["SASUri"]}
    command: list[str | Path] = [
        program,
        "copy",
        f":azureblob:{given['containerName']}",
        tmp_path / "out",
        "--retries",
        "1",
    ]
    subprocess.run(command, env=environment, check=True, timeout=60)
    for number in range(5):
        name = f"run/part-{number}.json.gz"
        assert (tmp_path / "out" / name).read_bytes() == (collector.deployed.zone / name).read_bytes()


def test_no_signature_is_logged(collector: Collector, caplog: pytest.LogCaptureFixture) -> None:
    signature = collector.given["SASToken"].rpartition("sig=")[2]
    collector.put("a")
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    with caplog.at_level(logging.DEBUG, "offtake"), caplog.at_level(logging.INFO, "uvicorn.error"):
        for name in ("a", "nothing"):
            collector.deployed.http.get(f"/dlz-destination/{name}?{collector.given['SASToken']}")
            collector.deployed.http.get(f"/dlz-destination/{name}?{collector.given['SASToken']}x")
    assert all(signature not in record.getMessage() for record in caplog.records if record.name.startswith("offtake"))
