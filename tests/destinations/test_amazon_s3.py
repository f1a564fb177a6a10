"""What is Amazon's own: roles, encryption at rest, storage classes, and rights one by one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from offtake.destinations import schema
from offtake.destinations.drivers.assumed_role import AssumedRole, assumed_role
from offtake.destinations.drivers.object_store import PART_BYTES
from offtake.errors import DeliveryError, InvalidInputError
from tests.destinations.cases import S3_RIGHTS, Case, amazon_s3_by_role, by_name
from tests.destinations.test_contract import chunks
from tests.middlebox import middlebox
from tests.servers import Amazon

ROLE = "arn:aws:iam::123456789012:role/exports"


@pytest.fixture
def by_role(aws: Amazon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    return amazon_s3_by_role(aws, tmp_path, monkeypatch)


@pytest.mark.parametrize("size", [1, PART_BYTES + 1])
def test_files_are_stored_as_the_target_connection_says(aws: Amazon, by_role: Case, size: int) -> None:
    extensions = {
        "storageClass": "STANDARD_IA",
        "serverSideEncryption": "SSE-KMS",
        "kmsKeyId": "alias/exports",
        "bucketOwnerFullControl": "true",
    }
    by_role.having(location=extensions).open().put("out/file.json.gz", chunks(size))
    where = {"Bucket": by_role.location["bucketName"], "Key": "out/file.json.gz"}
    head = aws.client("s3").head_object(**where)
    assert (head["StorageClass"], head["ServerSideEncryption"]) == ("STANDARD_IA", "aws:kms")
    assert head["SSEKMSKeyId"] == "alias/exports"
    assert head["ContentType"] == "application/gzip"
    assert "ContentEncoding" not in head
    grants = aws.client("s3").get_object_acl(**where)["Grants"]
    assert {"FULL_CONTROL"} == {grant["Permission"] for grant in grants}


def test_encryption_with_the_stores_own_key(aws: Amazon, by_role: Case) -> None:
    by_role.having(location={"serverSideEncryption": "SSE-S3"}).open().put("out/file.json.gz", [b"x"])
    head = aws.client("s3").head_object(Bucket=by_role.location["bucketName"], Key="out/file.json.gz")
    assert head["ServerSideEncryption"] == "AES256"


@pytest.mark.parametrize("sent", [{"kmsKeyId": "alias/x"}, {"kmsKeyId": "alias/x", "serverSideEncryption": "SSE-S3"}])
def test_a_key_without_its_encryption_is_refused(sent: dict[str, str]) -> None:
    params = {"bucketName": "bucket", "path": "out", "datasetFileType": "JSON", "compression": "GZIP", **sent}
    with pytest.raises(InvalidInputError, match="kmsKeyId requires serverSideEncryption SSE-KMS"):
        schema.parse_target_params(by_name("Amazon S3"), params)


@pytest.mark.parametrize("role", ["", "exports", "arn:aws:iam::1:role/x", "arn:aws:iam::123456789012:user/x"])
def test_what_is_no_role_is_refused_when_it_is_given(role: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        schema.parse_credentials(by_name("Amazon S3"), "Assumed Role", {"s3Role": role})
    assert [problem.path for problem in caught.value.problems] == ["/auth/params/s3Role"]
    assert not role or role not in str(caught.value).replace("arn:aws:iam::123456789012:role/exports", "")


@pytest.mark.parametrize(("given", "sent"), [({}, "an-organisation"), ({"externalId": "partner-1"}, "partner-1")])
def test_a_role_is_asked_for_with_an_external_id(
    aws: Amazon, by_role: Case, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], sent: str
) -> None:
    url = urlsplit(aws.endpoint)
    with middlebox(url.hostname or "", url.port or 0) as box:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{box.port}")
        by_role.having(auth=given).open().put("out/file.json", [b"x"])
        form = parse_qs(bytes(box.seen).rpartition(b"\r\n\r\n")[2].decode())
    assert form["ExternalId"] == [sent]
    assert form["RoleArn"] == [by_role.auth["s3Role"]]
    assert form["RoleSessionName"] == ["offtake-prod"]


def test_an_organisations_id_cannot_be_claimed() -> None:
    params = {"s3Role": ROLE, "externalId": "907075E95BF479EC0A495C73@AdobeOrg"}
    with pytest.raises(InvalidInputError, match="organisation's id"):
        schema.parse_credentials(by_name("Amazon S3"), "Assumed Role", params)


def test_credentials_are_renewed_before_they_expire(by_role: Case) -> None:
    moved = timedelta()

    def now() -> datetime:
        return datetime.now(UTC) + moved

    role = AssumedRole(by_role.auth["s3Role"], "id", "us-east-1", "offtake-prod", now)
    first = role()
    moved = timedelta(minutes=54)
    assert role() == first
    moved = timedelta(minutes=56)
    assert role()["access_key_id"] != first["access_key_id"]


def test_parts_share_what_a_role_gave(by_role: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    by_role.open().put("out/1.json", [b"x"])
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    by_role.open().put("out/2.json", [b"x"])
    assert by_role.names() == ["out/1.json", "out/2.json"]


def test_credentials_that_a_store_finds_expired_are_not_used_again(by_role: Case) -> None:
    def held() -> str:
        region, name = "us-east-1", "offtake-prod"
        return assumed_role(by_role.auth["s3Role"], "an-organisation", region, name)()["access_key_id"]

    by_role.open().put("out/1.json", [b"x"])
    first = held()
    with by_role.behind_a_middlebox() as (through, box):
        sink = through.open()
        box.refuse(400, times=1, body="<Error><Code>ExpiredToken</Code></Error>")
        with pytest.raises(DeliveryError) as caught:
            sink.put("out/2.json", [b"x"])
        assert caught.value.transient
        assert held() != first
        through.open().put("out/2.json", [b"x"])
    assert by_role.names() == ["out/1.json", "out/2.json"]


def test_an_identity_that_is_refused_is_terminal(by_role: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    error = refused(by_role)
    assert (error.code, error.transient) == ("EXPORT-2001-401", False)
    assert "trust policy" in error.remedy
    assert by_role.auth["s3Role"] not in str(error)


def test_a_deployment_without_an_identity_says_so(
    by_role: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    error = refused(by_role)
    assert (error.code, error.transient) == ("EXPORT-2001-401", False)
    assert "no AWS credentials" in error.message


def test_a_token_service_that_is_away_is_transient(by_role: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")
    error = refused(by_role)
    assert (error.code, error.transient) == ("EXPORT-2003-504", True)


@pytest.mark.parametrize("status", [429, 503])
def test_a_token_service_that_asks_for_a_pause_gets_it(
    by_role: Case, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    with middlebox(*by_role.server) as box:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{box.port}")
        body = "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>"
        box.refuse(status, times=10, headers="Retry-After: 77\r\n", body=body)
        error = refused(by_role)
    assert (error.code, error.transient, error.retry_after) == ("EXPORT-2003-504", True, 77)


def refused(case: Case) -> DeliveryError:
    """Why a role is refused, with an external id that no cache holds."""
    with pytest.raises(DeliveryError) as caught:
        case.having(auth={"externalId": uuid4().hex}).open()
    return caught.value


def user(aws: Amazon, by_role: Case, rights: list[str]) -> Case:
    """The case as a user who has just these rights."""
    key, secret = aws.user(f"u{uuid4().hex}", rights)
    auth: dict[str, Any] = {"s3AccessKey": key, "s3SecretKey": secret, "endpointUrl": aws.endpoint}
    return Case(**(by_role.__dict__ | {"method": "Access Key", "auth": auth}))


@pytest.mark.parametrize("missing", S3_RIGHTS)
def test_a_right_that_is_missing_is_named(aws: Amazon, by_role: Case, missing: str) -> None:
    by_role.open().put("out/there.json", [b"x"])
    sink = user(aws, by_role, [one for one in S3_RIGHTS if one != missing]).open()
    acts: dict[str, Any] = {
        "s3:PutObject": lambda: sink.put("out/file.json", [b"x"]),
        "s3:GetObject": lambda: b"".join(sink.read("out/there.json")),
        "s3:ListBucket": lambda: list(sink.list("out")),
        "s3:DeleteObject": lambda: sink.delete("out/there.json"),
    }
    for right, act in acts.items():
        if right != missing:
            act()
            continue
        with pytest.raises(DeliveryError) as caught:
            act()
        assert (caught.value.code, caught.value.transient) == ("EXPORT-2001-403", False)
        assert missing in caught.value.remedy
