"""A landing zone in an S3 bucket: its shape, and a session that the vendor's own client collects with.

moto holds requests against the policies of a session's role, but not against the policy that the session itself was
limited with. So what is sent to the token service is taken down on its way, and given to a role of its own, whose
sessions moto does hold to it. Conditions it does not look at, so that who lists another folder is not shown to be
refused here; the condition is what is asserted.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import boto3
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DATASETS, VIEW_DESTINATIONS
from offtake.engines.local import LocalEngine
from tests.deployment import WITH_MANIFEST, ZONE, Deployment, rows
from tests.landing_zones import ask, s3_zones
from tests.middlebox import middlebox
from tests.servers import Amazon, amazon, free_port

OUT = "?type=dlz_destination"


@pytest.fixture(scope="module")
def aws() -> Iterator[Amazon]:
    with amazon() as server:
        yield server


@pytest.fixture
def deployed(aws: Amazon, tmp_path: Path, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    with s3_zones(aws, tmp_path / "data", engine, monkeypatch) as opened:
        yield opened


def folder_of(deployed: Deployment, name: str = "dlz-destination", sandbox: str = "prod") -> str:
    return f"zones/{deployed.admin.org_id}/{sandbox}/{name}"


def bucket_of(deployed: Deployment) -> str:
    return (deployed.backend.settings.landing_zone or "").split("/")[2]


def collecting(given: Any) -> Any:
    """The vendor's client with nothing but what was given out."""
    secrets = given["credentials"]
    return boto3.client(
        "s3",
        endpoint_url=given["endpointUrl"],
        aws_access_key_id=secrets["awsAccessKeyId"],
        aws_secret_access_key=secrets["awsSecretAccessKey"],
        aws_session_token=secrets["awsSessionToken"],
        region_name="us-east-1",
    )


def keys(aws: Amazon, deployed: Deployment) -> list[str]:
    found = aws.client("s3").list_objects_v2(Bucket=bucket_of(deployed)).get("Contents", [])
    return [one["Key"] for one in found]


@pytest.mark.parametrize(("query", "name"), [(OUT, "dlz-destination"), ("", "dlz-user-container")])
def test_the_shape_is_amazons(deployed: Deployment, aws: Amazon, query: str, name: str) -> None:
    place = {"bucketName": bucket_of(deployed), "dlzFolder": folder_of(deployed, name)}
    shown = ask(deployed, "GET", query)
    days = {"timeUnit": "days", "timeQuantity": 7}
    assert shown == {"dlzPath": place, "dataTTL": days, "dlzProvider": "Amazon S3"}
    given = ask(deployed, "GET", f"/credentials{query}")
    assert set(given) == {"credentials", "dlzPath", "dlzProvider", "expiryTime", "endpointUrl"}
    assert set(given["credentials"]) == {"awsAccessKeyId", "awsSecretAccessKey", "awsSessionToken"}
    assert (given["dlzPath"], given["dlzProvider"], given["endpointUrl"]) == (place, "Amazon S3", aws.endpoint)
    assert 3500 < given["expiryTime"] - deployed.clock.now_seconds() <= 3660


@pytest.mark.parametrize(("asked", "lasts"), [(600, 900), (1800, 1800), (86_400, 3600)])
def test_sessions_last_as_long_as_a_store_allows(
    aws: Amazon, tmp_path: Path, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, asked: int, lasts: int
) -> None:
    with s3_zones(aws, tmp_path, engine, monkeypatch, landing_zone_credential_seconds=asked) as deployed:
        ends = ask(deployed, "GET", f"/credentials{OUT}")["expiryTime"]
        assert lasts - 60 < ends - deployed.clock.now_seconds() <= lasts + 60


def sent_policy(aws: Amazon, deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, str]]:
    """What was given out, and what the token service was asked for."""
    with middlebox("127.0.0.1", int(aws.endpoint.rpartition(":")[2])) as box:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{box.port}")
        given = ask(deployed, "GET", f"/credentials{OUT}")
        form = bytes(box.seen).rpartition(b"\r\n\r\n")[2].decode()
    return given, {name: values[0] for name, values in parse_qs(form).items()}


def test_a_session_is_limited_to_collecting_from_one_folder(
    deployed: Deployment, aws: Amazon, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, asked = sent_policy(aws, deployed, monkeypatch)
    bucket, folder = f"arn:aws:s3:::{bucket_of(deployed)}", folder_of(deployed)
    assert (asked["Action"], asked["RoleArn"]) == ("AssumeRole", deployed.backend.settings.landing_zone_role)
    assert asked["RoleSessionName"] == f"offtake-{deployed.admin.client_id}"[:64]
    within = {"StringLike": {"s3:prefix": [folder, f"{folder}/*"]}}
    assert json.loads(asked["Policy"])["Statement"] == [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:DeleteObject"], "Resource": f"{bucket}/{folder}/*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket, "Condition": within},
    ]


def test_what_a_session_is_limited_to_is_all_it_can_do(
    deployed: Deployment, aws: Amazon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given out twice: the second time by a role that has, for moto, just the policy that the first was sent with."""
    _, asked = sent_policy(aws, deployed, monkeypatch)
    aws.client("iam").put_role_policy(
        RoleName=asked["RoleArn"].rpartition("/")[2], PolicyName="p", PolicyDocument=asked["Policy"]
    )
    monkeypatch.delenv("AWS_ENDPOINT_URL_STS")
    given = ask(deployed, "GET", f"/credentials{OUT}")
    bucket, folder, admin = bucket_of(deployed), folder_of(deployed), aws.client("s3")
    others = [folder_of(deployed, sandbox="dev"), folder_of(deployed, "dlz-user-container"), f"{folder}-2"]
    for one in (folder, *others):
        admin.put_object(Bucket=bucket, Key=f"{one}/a.txt", Body=b"hello")
    client = collecting(given)
    assert client.get_object(Bucket=bucket, Key=f"{folder}/a.txt")["Body"].read() == b"hello"
    listed = client.list_objects_v2(Bucket=bucket, Prefix=f"{folder}/")["Contents"]
    assert [one["Key"] for one in listed] == [f"{folder}/a.txt"]
    denied: list[Callable[[], Any]] = [
        *(partial(client.get_object, Bucket=bucket, Key=f"{one}/a.txt") for one in others),
        partial(client.put_object, Bucket=bucket, Key=f"{folder}/b.txt", Body=b"x"),
        *(partial(client.delete_object, Bucket=bucket, Key=f"{one}/a.txt") for one in others),
        client.list_buckets,
    ]
    for act in denied:
        with pytest.raises(ClientError) as caught:
            act()
        assert caught.value.response["Error"]["Code"] == "AccessDenied"
    assert sorted(keys(aws, deployed)) == sorted(f"{one}/a.txt" for one in (folder, *others))
    client.delete_object(Bucket=bucket, Key=f"{folder}/a.txt")
    assert sorted(keys(aws, deployed)) == sorted(f"{one}/a.txt" for one in others)


@pytest.mark.parametrize("more", [(), (EXPORT_DATASETS,), (MANAGE_DESTINATIONS,)])
def test_a_session_deletes_only_for_clients_that_may_manage_or_export(
    deployed: Deployment, aws: Amazon, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    with deployed.acting(deployed.new_client(VIEW_DESTINATIONS, VIEW_DATASETS, *more)):
        _, asked = sent_policy(aws, deployed, monkeypatch)
    assert ("s3:DeleteObject" in asked["Policy"]) == bool(more)


def test_giving_a_session_is_in_the_audit_log(deployed: Deployment) -> None:
    given = ask(deployed, "GET", f"/credentials{OUT}")
    (event,) = [
        one
        for one in deployed.http.get("/data/foundation/audit/events").json()["_embedded"]["events"]
        if one["assetType"] == "Landing Zone Credentials"
    ]
    assert (event["action"], event["assetId"]) == ("Issue", given["credentials"]["awsAccessKeyId"])
    assert event["after"] == {
        "type": "dlz_destination",
        "expiresAt": given["expiryTime"] * 1000,
        "deletes": True,
    }


def test_refreshing_gives_another_session_and_is_in_the_audit_log(deployed: Deployment) -> None:
    first = ask(deployed, "GET", f"/credentials{OUT}")
    second = ask(deployed, "POST", f"/credentials{OUT}&action=refresh")
    assert set(second) == set(first)
    assert second["credentials"]["awsAccessKeyId"] != first["credentials"]["awsAccessKeyId"]
    events = json.dumps(deployed.http.get("/data/foundation/audit/events").json())
    assert second["credentials"]["awsAccessKeyId"] in events
    assert second["credentials"]["awsSecretAccessKey"] not in events
    assert second["credentials"]["awsSessionToken"] not in events


@pytest.mark.parametrize(
    ("granted", "statuses"),
    [
        ((VIEW_DESTINATIONS,), (200, 403, 403)),
        ((VIEW_DESTINATIONS, VIEW_DATASETS), (200, 200, 403)),
        ((VIEW_DESTINATIONS, VIEW_DATASETS, EXPORT_DATASETS), (200, 200, 200)),
    ],
)
def test_credentials_need_two_permissions_and_refreshing_them_a_third(
    deployed: Deployment, granted: tuple[str, ...], statuses: tuple[int, ...]
) -> None:
    calls = (("GET", ""), ("GET", "/credentials"), ("POST", "/credentials?action=refresh"))
    with deployed.acting(deployed.new_client(*granted)):
        for (method, path), status in zip(calls, statuses, strict=True):
            ask(deployed, method, path, status)


def test_a_role_that_the_server_may_not_assume_is_reported(
    deployed: Deployment, aws: Amazon, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, secret = aws.user(f"u{uuid4().hex}", ["s3:*"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    refusal = ask(deployed, "GET", "/credentials", 502)
    assert refusal["type"].endswith("ZONE-3502-502")
    assert "OFFTAKE_LANDING_ZONE_ROLE" in refusal["detail"]
    assert secret not in json.dumps(refusal)


def test_an_unreachable_token_service_is_reported(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{free_port()}")
    assert "could not be reached" in ask(deployed, "GET", "/credentials", 502)["detail"]


def test_a_server_without_an_identity_says_so(
    deployed: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    assert "AWS credentials of its own" in ask(deployed, "GET", "/credentials", 502)["detail"]
    assert (
        "AWS credentials of its own" in deployed.get(f"/connectionSpecs/{ZONE}/explore?objectType=ROOT", 502)["detail"]
    )


@pytest.fixture
def own_engine(deployed: Deployment) -> Iterator[None]:
    """Processes that have the server's identity: those that all tests share were there before it."""
    deployed.engine = LocalEngine(processes=1)
    yield
    deployed.engine.close()


@pytest.mark.usefixtures("own_engine")
def test_an_export_arrives_and_is_collected(deployed: Deployment, aws: Amazon) -> None:
    dataset = deployed.import_rows("events", rows(0, 30))
    flow = deployed.flow(dataset, params=WITH_MANIFEST)
    deployed.run_due()
    assert deployed.runs(flow)[0]["metrics"]["statusSummary"]["status"] == "success"
    given = ask(deployed, "GET", f"/credentials{OUT}")
    client, path = collecting(given), given["dlzPath"]

    def fetch(key: str) -> bytes:
        content: bytes = client.get_object(Bucket=path["bucketName"], Key=key)["Body"].read()
        return content

    found = keys(aws, deployed)
    (manifest_key,) = [key for key in found if "manifest-" in key]
    manifest = json.loads(fetch(manifest_key))
    results = manifest["exportResults"]
    named = [f"{path['dlzFolder']}/{one['sinkPath'].lstrip('/')}/{one['name']}" for one in results]
    assert sorted([*named, manifest_key]) == sorted(found)
    file = deployed.backend.settings.data_dir / "fetched.parquet"
    file.write_bytes(fetch(named[0]))
    assert pq.read_table(file)["id"].to_pylist() == list(range(30))


def test_the_zone_is_explored_folder_by_folder(deployed: Deployment, aws: Amazon) -> None:
    explore = f"/connectionSpecs/{ZONE}/explore"
    assert deployed.get(f"{explore}?objectType=ROOT") == []
    for key in ("b/c/d.json", "b/e.json", "a.json"):
        aws.client("s3").put_object(Bucket=bucket_of(deployed), Key=f"{folder_of(deployed)}/{key}", Body=b"x")
    assert [(one["type"], one["path"]) for one in deployed.get(f"{explore}?objectType=ROOT")] == [
        ("folder", "/b"),
        ("file", "/a.json"),
    ]
    inside = deployed.get(f"{explore}?objectType=FOLDER&object=/b")
    assert [(one["type"], one["name"], one["path"]) for one in inside] == [
        ("folder", "c", "/b/c"),
        ("file", "e.json", "/b/e.json"),
    ]
    assert "FLOW-1452" in deployed.get(f"{explore}?objectType=FOLDER&object=nowhere", 400)["type"]
