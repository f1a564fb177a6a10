"""What abort uploads at stores that speak Amazon's protocol, and what they do where they may not or cannot."""

import logging
import sys
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from offtake.destinations.drivers.multipart_cleanup import UnfinishedUploads
from offtake.network.egress import Network
from tests.destinations.cases import S3_RIGHTS, SECRET, Case, amazon_s3, amazon_s3_by_role
from tests.destinations.test_failures import THROTTLED, check_error, error_of
from tests.servers import Amazon, S3Server, free_port

KEY = "out/part-0.json"
LIST, ABORT = "s3:ListBucketMultipartUploads", "s3:AbortMultipartUpload"


@pytest.fixture
def by_role(aws: Amazon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    return amazon_s3_by_role(aws, tmp_path, monkeypatch)


@pytest.fixture
def case_of_keys(s3: S3Server, tmp_path: Path) -> Case:
    return amazon_s3(s3, tmp_path)


def begin(client: Any, bucket: str, *keys: str) -> None:
    for key in keys:
        client.create_multipart_upload(Bucket=bucket, Key=key)


def left(case: Case) -> list[str]:
    return sorted(name.removesuffix(" (dangling)") for name in case.names())


def as_user(aws: Amazon, case: Case, rights: list[str]) -> Case:
    key, secret = aws.user(f"u{uuid4().hex}", rights)
    auth: dict[str, Any] = {"s3AccessKey": key, "s3SecretKey": secret, "endpointUrl": aws.endpoint}
    return replace(case, method="Access Key", auth=auth)


@pytest.mark.parametrize("by_folder", [True, False])
def test_uploads_of_just_these_keys_are_aborted_however_they_are_found(
    aws: Amazon, by_role: Case, by_folder: bool
) -> None:
    client, bucket = aws.client("s3"), by_role.location["bucketName"]
    wanted = ["zone/out/1.json", "zone/out/2.json", "zone/out/deep/er/3.json", "zone/4.json"]
    others = ["out/1.json", "zone/out/1.json.gz", "zone/out/deep/1.json", "zone/out2/1.json"]
    begin(client, bucket, *wanted, *wanted[:1], *others)
    client.put_object(Bucket=bucket, Key="zone/out/1.json", Body=b"x")
    uploads = UnfinishedUploads("s3://b", bucket, "zone", lambda: client, "rights", by_folder=by_folder)
    assert uploads.abort([key.removeprefix("zone/") for key in wanted]) == 5
    assert left(by_role) == sorted([*others, "zone/out/1.json"])
    assert uploads.abort(["out/1.json", "none.json"]) == 0


def test_more_uploads_than_fit_on_a_page_are_found(case_of_keys: Case, s3: S3Server) -> None:
    client, bucket = s3.client(), case_of_keys.location["bucketName"]
    pages: list[str] = []

    def two_at_a_time(params: dict[str, Any], **_: Any) -> dict[str, Any]:
        pages.append(params.get("KeyMarker", ""))
        return params | {"MaxUploads": 2}

    client.meta.events.register("provide-client-params.s3.ListMultipartUploads", two_at_a_time)
    keys = [f"out/{number}.json" for number in range(5)]
    begin(client, bucket, *keys)
    uploads = UnfinishedUploads("s3://b", bucket, "", lambda: client, "rights", by_folder=True)
    assert uploads.abort(keys) == len(keys)
    assert len(pages) == 3
    assert left(case_of_keys) == []


@pytest.mark.parametrize("missing", [LIST, ABORT])
def test_a_missing_permission_is_logged_once_and_is_no_failure(
    aws: Amazon, by_role: Case, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    begin(aws.client("s3"), by_role.location["bucketName"], KEY)
    case = as_user(aws, by_role, [*S3_RIGHTS, *({LIST, ABORT} - {missing})])
    sink = case.open()
    caplog.set_level(logging.INFO)
    assert sink.clear([KEY]) == 0
    sink.delete(KEY)
    (record,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert record.name == "offtake.destinations.drivers.multipart_cleanup"
    assert f"s3://{by_role.location['bucketName']}" in record.message
    assert "AccessDenied" in record.message
    assert f"grant {LIST} and {ABORT}" in record.message
    assert case.auth["s3SecretKey"] not in caplog.text
    assert left(by_role) == [KEY]
    sink.put(KEY, [b"whole"])
    assert b"".join(sink.read(KEY)) == b"whole"


def test_without_the_vendors_client_uploads_stay_and_a_warning_is_logged(
    s3: S3Server, case_of_keys: Case, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begin(s3.client(), case_of_keys.location["bucketName"], KEY)
    monkeypatch.setitem(sys.modules, "botocore", None)
    sink = case_of_keys.open()
    assert sink.clear([KEY]) == 0
    assert sink.clear([KEY]) == 0
    assert caplog.text.count("offtake[aws] is not installed") == 1
    monkeypatch.undo()
    assert sink.clear([KEY]) == 1


def test_refused_credentials_are_logged_and_are_no_failure(
    case_of_keys: Case, caplog: pytest.LogCaptureFixture
) -> None:
    assert case_of_keys.having(auth={"s3SecretKey": SECRET}).open().clear([KEY]) == 0
    assert "SignatureDoesNotMatch" in caplog.text
    assert SECRET not in caplog.text


def test_a_bucket_that_is_missing_has_nothing(by_role: Case, caplog: pytest.LogCaptureFixture) -> None:
    assert by_role.having(**by_role.missing).open().clear([KEY]) == 0
    assert not caplog.text


def test_a_store_that_is_away_or_refuses_for_now_is_transient(case_of_keys: Case) -> None:
    away = case_of_keys.having(auth=case_of_keys.through(free_port()))
    error = check_error(error_of(lambda: away.open().clear([KEY])), away)
    assert (error.code, error.transient, error.retry_after) == ("EXPORT-2003-504", True, None)
    with case_of_keys.behind_a_middlebox() as (through, box):
        for status in (429, 503):
            sink = through.open()
            box.refuse(status, times=3, headers="Retry-After: 77\r\n", body=THROTTLED)
            error = check_error(error_of(lambda sink=sink: sink.clear([KEY])), case_of_keys)  # type: ignore[misc]
            assert (error.code, error.transient, error.retry_after) == ("EXPORT-2003-504", True, 77)
            assert "SlowDown" in error.message
            assert box.refusals == []
        box.refuse(503, times=1, body=THROTTLED)
        assert through.open().clear([KEY]) == 0  # one transient error is not reported


REACHED: list[tuple[str, int]] = []


class Watched(Network):
    """Rules that remember whom they let connections reach."""

    def connect(self, host: str, port: int, timeout: float) -> Any:
        REACHED.append((host, port))
        return super().connect(host, port, timeout)


def test_the_networks_rules_hold_for_the_vendors_client_too(s3: S3Server, case_of_keys: Case) -> None:
    begin(s3.client(), case_of_keys.location["bucketName"], KEY)
    network = Watched(multi_user=True, allow=(ip_network("127.0.0.0/8"),))
    sink = replace(case_of_keys, sandbox_location=replace(case_of_keys.sandbox_location, network=network)).open()
    REACHED.clear()
    assert sink.clear([KEY]) == 1
    assert set(REACHED) == {case_of_keys.server}
