"""S3-compatible stores with addresses of their own: with a path, or with the bucket in the host's name."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4
from wsgiref.types import StartResponse, WSGIEnvironment

import boto3
import httpx2
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from offtake.destinations import amazon_s3, schema
from offtake.destinations.base import SandboxLocation
from offtake.destinations.landing_zone.folder import FolderZones
from offtake.destinations.parameters import Params
from offtake.destinations.probe import probe
from offtake.errors import InvalidInputError
from offtake.network.egress import Network

PREFIX = "/storage/v1/s3"
KEY, SECRET = "AKEY", "a secret"


class Gateway:
    """Passes on what is below the prefix and signed as such, to moto, which then knows nothing of both."""

    def __init__(self) -> None:
        self._store = DomainDispatcherApplication(create_backend_app)
        self.passed = 0

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Any:
        path = environ["PATH_INFO"]
        if not path.startswith(f"{PREFIX}/") or not is_signed(environ):
            start("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"not signed for this address"]
        self.passed += 1
        inner = {**environ, "PATH_INFO": path.removeprefix(PREFIX), "SCRIPT_NAME": ""}
        raw = inner.pop("RAW_URI", None) or inner.pop("REQUEST_URI", "")
        inner["RAW_URI"] = inner["REQUEST_URI"] = raw.replace(PREFIX, "", 1)
        return self._store(inner, start)


def is_signed(environ: WSGIEnvironment) -> bool:
    """Whether the signature is of this very address (AWS Signature Version 4)."""
    given = dict(
        part.split("=", 1) for part in environ["HTTP_AUTHORIZATION"].partition(" ")[2].replace(" ", "").split(",")
    )
    headers = {
        name: environ.get(f"HTTP_{name.upper().replace('-', '_')}") or environ.get(name.upper().replace("-", "_"), "")
        for name in given["SignedHeaders"].split(";")
    }
    url = f"http://{environ['HTTP_HOST']}{environ['RAW_URI']}"
    request = AWSRequest(environ["REQUEST_METHOD"], url, headers)
    request.context["timestamp"] = headers["x-amz-date"]
    auth = S3SigV4Auth(Credentials(KEY, SECRET), "s3", "us-east-1")
    made = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    return bool(made == given["Signature"])


class VirtualOnly:
    """Takes `BUCKET.store.test` only, as Alibaba's and Tencent's stores do, and passes on to moto."""

    def __init__(self) -> None:
        self._store = DomainDispatcherApplication(create_backend_app)
        self.hosts: set[str] = set()

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Any:
        host = environ["HTTP_HOST"].partition(":")[0]
        self.hosts.add(host)
        bucket = host.removesuffix(".store.test")
        if bucket == host:
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SecondLevelDomainForbidden</Code><Message>use the bucket's host</Message></Error>"]
        raw = str(environ["RAW_URI"])
        raw = raw[raw.find("/", raw.find("://") + 3) :] if "://" in raw else raw  # by way of a proxy
        inner = {**environ, "PATH_INFO": f"/{bucket}{environ['PATH_INFO']}", "HTTP_HOST": "s3.amazonaws.com"}
        inner["RAW_URI"] = inner["REQUEST_URI"] = f"/{bucket}{raw}"
        return self._store(inner, start)


@contextmanager
def serving(application: Any) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def gateway() -> Iterator[tuple[Gateway, str]]:
    found = Gateway()
    with serving(found) as port:
        yield found, f"http://127.0.0.1:{port}{PREFIX}"


@pytest.mark.parametrize("end", ["", "/"])
def test_a_store_below_a_path_is_delivered_to(gateway: tuple[Gateway, str], tmp_path: Path, end: str) -> None:
    server, endpoint = gateway
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    bucket = f"b{uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    auth = {"s3AccessKey": KEY, "s3SecretKey": SECRET, "endpointUrl": f"{endpoint}{end}"}
    credentials = schema.parse_credentials(amazon_s3.DESTINATION, "Access Key", auth)
    location = {"bucketName": bucket, "path": "daily", "datasetFileType": "JSON", "compression": "GZIP"}
    params = schema.parse_target_params(amazon_s3.DESTINATION, location)
    sink = amazon_s3.open_sink(credentials, params, SandboxLocation("prod", FolderZones(tmp_path)))
    try:
        assert probe(sink, "daily") == []
        large = [b"x" * 1024 * 1024] * 12
        assert sink.put("daily/large.json.gz", large) == 12 * 1024 * 1024
        assert sink.clear(["daily/large.json.gz"]) == 0
        assert client.head_object(Bucket=bucket, Key="daily/large.json.gz")["ContentLength"] == 12 * 1024 * 1024
    finally:
        sink.close()
        client.close()
    assert server.passed > 10
    assert credentials.address == urlsplit(endpoint).netloc


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts below store.test are this machine; drivers reach them through the deployment's own proxy."""
    real = socket.getaddrinfo

    def resolve(host: str, *args: Any, **more: Any) -> Any:
        return real("127.0.0.1" if host.endswith("store.test") else host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


LOOPBACK: Final = Network(multi_user=True, allow=(ip_network("127.0.0.0/8"),))


def learned(auth: dict[str, object], bucket: str, sandbox_location: SandboxLocation) -> Params:
    location = {"bucketName": bucket, "path": "daily", "datasetFileType": "JSON", "compression": "GZIP"}
    params = schema.parse_target_params(amazon_s3.DESTINATION, location)
    credentials = schema.parse_credentials(amazon_s3.DESTINATION, "Access Key", auth)
    assert credentials.needs_pinning
    found = amazon_s3.pin(credentials, params, sandbox_location)
    sink = amazon_s3.open_sink(found, params, sandbox_location)
    try:
        assert probe(sink, "daily") == []
        assert sink.put("daily/large.json.gz", [b"x" * 1024 * 1024] * 12) == 12 * 1024 * 1024
        assert sink.clear(["daily/large.json.gz"]) == 0
    finally:
        sink.close()
    return found


@pytest.mark.usefixtures("names")
def test_a_store_that_takes_the_bucket_in_the_hosts_name_is_found_out(tmp_path: Path) -> None:
    server, bucket = VirtualOnly(), f"b{uuid4().hex}"
    with serving(server) as port:
        httpx2.put(f"http://127.0.0.1:{port}/", headers={"Host": f"{bucket}.store.test:{port}"}).raise_for_status()
        auth: dict[str, object] = {
            "s3AccessKey": KEY,
            "s3SecretKey": SECRET,
            "endpointUrl": f"http://store.test:{port}",
        }
        found = learned(auth, bucket, SandboxLocation("prod", FolderZones(tmp_path), network=LOOPBACK))
    assert schema.redact(found)["addressingStyle"] == "VIRTUAL"
    assert server.hosts == {"store.test", f"{bucket}.store.test"}


@pytest.mark.usefixtures("names")
def test_the_path_style_is_kept_where_it_works(gateway: tuple[Gateway, str], tmp_path: Path) -> None:
    _, endpoint = gateway
    bucket = f"b{uuid4().hex}"
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    client.create_bucket(Bucket=bucket)
    client.close()
    auth: dict[str, object] = {"s3AccessKey": KEY, "s3SecretKey": SECRET, "endpointUrl": endpoint}
    found = learned(auth, bucket, SandboxLocation("prod", FolderZones(tmp_path)))
    assert schema.redact(found)["addressingStyle"] == "PATH"
    wrong = schema.parse_credentials(amazon_s3.DESTINATION, "Access Key", auth | {"s3SecretKey": "wrong"})
    location = {"bucketName": bucket, "path": "daily", "datasetFileType": "JSON", "compression": "GZIP"}
    params = schema.parse_target_params(amazon_s3.DESTINATION, location)
    assert amazon_s3.pin(wrong, params, SandboxLocation("prod", FolderZones(tmp_path))) == wrong


def test_amazon_has_nothing_to_be_found_out() -> None:
    auth = {"s3AccessKey": KEY, "s3SecretKey": SECRET}
    assert not schema.parse_credentials(amazon_s3.DESTINATION, "Access Key", auth).needs_pinning


@pytest.mark.parametrize(
    "endpoint",
    ["https://a.example//s3", "https://a.example/../s3", "https://a.example/s3?x=1", "https://u@a.example/s3"],
)
def test_an_invalid_address_is_refused(endpoint: str) -> None:
    auth = {"s3AccessKey": KEY, "s3SecretKey": SECRET, "endpointUrl": endpoint}
    with pytest.raises(InvalidInputError, match="endpointUrl"):
        schema.parse_credentials(amazon_s3.DESTINATION, "Access Key", auth)
