"""No HTTP client of this process reaches a metadata service, in a deployment without any setting too.

0.0.0.0 stands for one: it is refused like them, and this machine answers there.
"""

import ast
import contextlib
import gc
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import trustme
from pydantic import SecretStr

import offtake
from offtake.destinations import schema
from offtake.destinations.base import SandboxLocation, Sink
from offtake.destinations.drivers.aws_client import make_client
from offtake.destinations.landing_zone import s3 as s3_zone
from offtake.destinations.landing_zone.azure import AzureZone, AzureZones
from offtake.destinations.landing_zone.folder import FolderZones
from offtake.destinations.landing_zone.s3 import S3Zone, S3Zones
from offtake.errors import DeliveryError
from offtake.network.egress import Network
from offtake.network.http import fetch_document, is_answering, post_form, retry_after_of_error, send
from tests.destinations.cases import by_name
from tests.redirects import REDIRECTS, WebServer, web_server

KEY: Final = b64encode(b"a key").decode()
FILE: Final = {"path": "out", "datasetFileType": "JSON", "compression": "GZIP"}
CLIENTS: Final = {
    "api/serving/listeners.py": {"socket"},  # they listen
    "api/serving/server.py": {"socket"},  # it listens
    "cli/demo.py": {"httpx2", "socket"},  # of the server that it has started itself
    "cli/serve.py": {"socket"},  # the type of listeners
    "client/remote.py": {"httpx2"},  # to the server that a person names
    "cli/demo_client.py": {"httpx2"},
    "destinations/drivers/aws_client.py": {
        "botocore.config",
        "botocore.httpsession",
        "botocore.session",
        "obstore.store",
    },
    "destinations/amazon_s3.py": {"obstore.store"},
    "destinations/drivers/assumed_role.py": {
        "botocore.config",
        "botocore.session",
        "obstore.store",
    },  # Amazon's own service
    "destinations/drivers/azure_account.py": {"httpx2", "obstore.store"},
    "destinations/landing_zone/azure.py": {
        "azure.core.exceptions",
        "azure.core.pipeline.transport",
        "azure.storage.blob",
        "requests",
        "requests.adapters",
    },
    "destinations/google_cloud_storage.py": {"obstore.store"},
    "network/egress.py": {"socket"},
    "destinations/drivers/object_store.py": {"obstore", "obstore.exceptions", "obstore.store"},
    "network/object_store_errors.py": {"obstore.exceptions"},
    "network/http.py": {"httpx2", "socket"},
    "network/smtp.py": {"smtplib", "socket"},  # tests/alerts/test_channels.py
    "network/object_clients.py": {"obstore.store"},  # types alone
    "destinations/landing_zone/s3.py": {"botocore.session", "obstore.store"},
    "destinations/drivers/asyncssh_logging.py": {"asyncssh", "asyncssh.encryption"},
    "destinations/drivers/sftp_login.py": {"socket"},
    "destinations/drivers/sftp_offer.py": {"socket"},
    "network/egress_proxy.py": {"socket", "urllib.request"},
    "destinations/drivers/multipart_cleanup.py": {"botocore"},
    "engines/parser_pool.py": {"socket"},  # a pair within this machine
    "lake/catalogs/glue.py": {"boto3", "botocore.config"},
    "lake/catalogs/rest.py": {"requests", "requests.adapters"},
    "lake/storage/files.py": {"pyarrow.fs"},
    "lake/storage/objects.py": {"obstore", "obstore.exceptions", "obstore.store"},  # stores of `stores.py`
    "lake/storage/range_requests.py": {"obstore", "obstore.exceptions", "obstore.store"},  # the same
    "lake/storage/stores.py": {"obstore.exceptions", "obstore.store"},
    "lake/storage/translation.py": {"obstore.exceptions"},
    "lake/locations.py": {"pyarrow.fs"},  # this machine's files alone
}
"""The modules that import anything that connects, and what; each is held to the rules by a test below."""
CONNECTING: Final = (
    "aiohttp", "asyncssh", "azure", "boto3", "botocore", "ftplib", "google", "http.client", "httpcore2", "httpx",
    "httpx2", "obstore", "paramiko", "pyarrow.fs", "requests", "smtplib", "socket", "urllib.request", "urllib3",
)  # fmt: skip


def test_what_connects_is_known_by_name() -> None:
    """The list of all modules that connect: add a new one here, with a test that it follows the egress rules."""
    root = Path(offtake.__file__).parent
    found: dict[str, set[str]] = {}
    for path in sorted(root.rglob("*.py")):
        names = set(_imports(ast.parse(path.read_text())))
        if connecting := {name for name in names if _connects(name)}:
            found[path.relative_to(root).as_posix()] = connecting
    assert found == CLIENTS


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _connects(name: str) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in CONNECTING)


# The drivers


def opened(name: str, method: str | None, credentials: dict[str, Any], place: dict[str, Any], rules: Network) -> Sink:
    destination = by_name(name)
    params = schema.parse_target_params(destination, FILE | place)
    given = schema.parse_credentials(destination, method, credentials) if method else None
    sink: Sink = destination.open(given, params, SandboxLocation("prod", FolderZones(Path("/nowhere")), network=rules))
    return sink


def s3(origin: str, rules: Network) -> Sink:
    account = {"s3AccessKey": "k", "s3SecretKey": "s", "endpointUrl": origin, "addressingStyle": "PATH"}
    return opened("Amazon S3", "Access Key", account, {"bucketName": "bucket"}, rules)


def google(origin: str, rules: Network) -> Sink:
    account = {"accessKeyId": "k", "secretAccessKey": "s", "endpointUrl": origin}
    method = "Google Cloud Storage authentication credentials"
    return opened("Google Cloud Storage", method, account, {"bucketName": "bucket"}, rules)


def azure_by_key(origin: str, rules: Network) -> Sink:
    account = {"connectionString": f"AccountName=a;AccountKey={KEY};BlobEndpoint={origin}/a"}
    return opened("Azure Blob Storage", "ConnectionString", account, {"container": "container"}, rules)


def azure_by_signature(origin: str, rules: Network) -> Sink:
    account = {"connectionString": f"AccountName=a;SharedAccessSignature=sv=1&sig=x;BlobEndpoint={origin}/a"}
    return opened("Azure Blob Storage", "ConnectionString", account, {"container": "container"}, rules)


def azure_zone_sink(origin: str, rules: Network) -> Sink:
    return AzureZone(azure_zones(origin, rules), "container").open()


def azure_zones(origin: str, rules: Network) -> AzureZones:
    text = f"AccountName=a;AccountKey={KEY};BlobEndpoint={origin}/a"
    return AzureZones(SecretStr(text), network=rules.for_operator())


def s3_zones(origin: str, rules: Network) -> S3Zones:
    role = "arn:aws:iam::123456789012:role/readers"
    return S3Zones("bucket", "", role, endpoint=origin, network=rules.for_operator())


def s3_zone_sink(origin: str, rules: Network) -> Sink:
    return S3Zone(s3_zones(origin, rules), "folder").open()


SINKS: Final = (s3, google, azure_by_key, azure_by_signature, azure_zone_sink, s3_zone_sink)
ACTS: Final[dict[str, Callable[[Sink], object]]] = {
    "size": lambda sink: sink.size("out/a.json.gz"),
    "read": lambda sink: list(sink.read("out/a.json.gz")),
    "list": lambda sink: list(sink.list("out")),
    "put": lambda sink: sink.put("out/a.json.gz", iter([b"text"])),
    "delete": lambda sink: sink.delete("out/a.json.gz"),
    "clear": lambda sink: sink.clear(["out/a.json.gz"]),
}


def vendors_client(service: str) -> Callable[[str, Network], object]:
    def ask(origin: str, rules: Network) -> object:
        key: Any = {"access_key_id": "k", "secret_access_key": "s", "expires_at": None}
        client = make_client(service, rules, region="us-east-1", endpoint=origin, credential=key, guarded=True)
        with contextlib.closing(client):
            return client.list_buckets() if service == "s3" else client.get_caller_identity()

    return ask


REQUESTS: Final[dict[str, Callable[[str, Network], object]]] = {
    "a plain request": lambda origin, rules: send("HEAD", origin, rules, guarded=True, timeout=5),
    "a request for the pause": lambda origin, rules: retry_after_of_error(origin, rules, guarded=True),
    "a request whether it answers": lambda origin, rules: is_answering(origin, rules, guarded=True),
    "a document": lambda origin, rules: fetch_document(origin, rules, largest=1000, seconds=5),
    "a form": lambda origin, rules: post_form(origin, rules, {"a": "b"}, authorization="x", largest=1000, seconds=5),
    "the vendor's client of S3": vendors_client("s3"),
    "the vendor's client of a token service": vendors_client("sts"),
    "the zone's container": lambda origin, rules: AzureZone(azure_zones(origin, rules), "container").create(),
    "the zone's policies": lambda origin, rules: AzureZone(azure_zones(origin, rules), "container").set_policies(dict),
    "the zone's session": lambda origin, rules: S3Zone(s3_zones(origin, rules), "folder").new_session("name", 900),
}


# The vendor's clients leave their sockets to the garbage collector, which is to find them here.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def _identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the server's own")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the server's own")
    yield
    s3_zone._client.cache_clear()  # noqa: SLF001 - it keeps clients for as long as the process lives
    gc.collect()


@pytest.fixture
def inside() -> Iterator[WebServer]:
    """What must not be reached."""
    with web_server() as server:
        yield server
        assert server.asked == []


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("open_sink", SINKS)
@pytest.mark.matrix
def test_no_driver_follows_a_redirect_to_a_metadata_service(
    inside: WebServer, status: int, open_sink: Callable[[str, Network], Sink]
) -> None:
    with web_server(status, f"http://0.0.0.0:{inside.port}/latest/meta-data/") as store:
        for host in ("127.0.0.1", "localhost"):
            for act in ACTS.values():
                before = len(store.asked)
                with contextlib.suppress(DeliveryError):
                    act(open_sink(f"http://{host}:{store.port}", Network(read_timeout=5)))
                assert len(store.asked) > before or act is ACTS["clear"]


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("request_of", REQUESTS)
@pytest.mark.matrix
def test_no_request_follows_a_redirect_to_a_metadata_service(inside: WebServer, status: int, request_of: str) -> None:
    with web_server(status, f"http://0.0.0.0:{inside.port}/latest/meta-data/") as store:
        with contextlib.suppress(Exception):  # each client has its own
            REQUESTS[request_of](f"http://127.0.0.1:{store.port}", Network(read_timeout=5))
        assert store.asked != []


# Names


class Names:
    """A name service whose one name has the addresses that are given, one for each time it is asked; then the last."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.addresses: list[str] = []
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host == "store.example":
            host = self.addresses.pop(0) if len(self.addresses) > 1 else self.addresses[0]
        return self._real(host, port, *args, **options)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


CALLERS_SINKS: Final = (s3, google, azure_by_key, azure_by_signature)


@pytest.mark.parametrize("open_sink", SINKS)
def test_a_name_of_a_metadata_service_is_refused(
    inside: WebServer, names: Names, open_sink: Callable[[str, Network], Sink]
) -> None:
    names.addresses = ["0.0.0.0"]  # noqa: S104 - see the top
    with pytest.raises(DeliveryError) as caught:
        open_sink(f"http://store.example:{inside.port}", Network(read_timeout=5)).size("out/a")
    assert (caught.value.code, caught.value.transient) == ("EXPORT-2001-403", False)


@pytest.mark.parametrize("open_sink", CALLERS_SINKS)
def test_a_name_that_changes_its_address_is_judged_again(
    inside: WebServer, names: Names, open_sink: Callable[[str, Network], Sink]
) -> None:
    names.addresses = ["127.0.0.1", "0.0.0.0"]  # noqa: S104 - see the top
    sink = open_sink(f"http://store.example:{inside.port}", Network(read_timeout=1))
    with pytest.raises(DeliveryError):
        sink.size("out/a.json.gz")


@pytest.mark.parametrize("open_sink", CALLERS_SINKS)
def test_the_address_that_is_judged_is_the_one_that_is_connected_to(
    names: Names, open_sink: Callable[[str, Network], Sink]
) -> None:
    """No name service knows the name: a driver that resolved it by itself would not arrive."""
    names.addresses = ["127.0.0.1"]
    with web_server() as store:
        assert open_sink(f"http://store.example:{store.port}", Network(read_timeout=5)).size("out/a.json.gz") == 0
        (asked,) = store.asked
        assert asked.path.startswith("/")
        assert store.asked[0].path.startswith("/")


@pytest.mark.parametrize("request_of", REQUESTS)
def test_requests_judge_names_too(inside: WebServer, names: Names, request_of: str) -> None:
    names.addresses = ["0.0.0.0"]  # noqa: S104 - see the top
    with contextlib.suppress(Exception):  # each client has its own
        REQUESTS[request_of](f"http://store.example:{inside.port}", Network(read_timeout=2))


# The server's own identity


OWN: Final = {
    "AWS_SESSION_TOKEN": "OWN-SECRET",
    "AWS_REQUESTER_PAYS": "true",
    "AWS_SKIP_SIGNATURE": "true",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
    "AZURE_SKIP_SIGNATURE": "true",
    "AZURE_STORAGE_TOKEN": "OWN-SECRET",
    "AZURE_STORAGE_SAS_KEY": "sig=OWN-SECRET",
    "AZURE_STORAGE_ACCOUNT_KEY": b64encode(b"OWN-SECRET").decode(),
    "AZURE_CLIENT_ID": "own",
    "AZURE_TENANT_ID": "own",
    "AZURE_CLIENT_SECRET": "OWN-SECRET",
}


@pytest.mark.parametrize("open_sink", CALLERS_SINKS)
def test_the_servers_own_identity_is_not_sent_to_a_host_that_a_caller_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, open_sink: Callable[[str, Network], Sink]
) -> None:
    """Drivers read the environment by themselves: of a workload in Kubernetes, it holds a token of the cluster's."""
    (tmp_path / "token").write_text("OWN-SECRET")
    with web_server() as store, web_server() as authority:
        for name, value in OWN.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"http://127.0.0.1:{authority.port}")
        open_sink(f"http://127.0.0.1:{store.port}", Network(read_timeout=5)).size("out/a.json.gz")
        assert authority.asked == []
        (asked,) = store.asked
    assert "OWN-SECRET" not in str(asked)
    assert "x-amz-security-token" not in asked.headers
    assert "x-amz-request-payer" not in asked.headers
    assert "Bearer" not in asked.headers.get("authorization", "")
    # Signed as the caller's account wants it.
    assert "authorization" in asked.headers or "sig=x" in asked.path


def test_a_service_principal_of_a_caller_signs_in_with_its_own_secret_alone(
    monkeypatch: pytest.MonkeyPatch, authority: trustme.CA
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    for name, value in OWN.items():
        monkeypatch.setenv(name, value)
    with web_server(tls=context) as store:
        origin = f"https://localhost:{store.port}"
        principal = {"servicePrincipalId": "i", "servicePrincipalKey": "k", "tenant": "t", "authorityUrl": origin}
        rules = Network(certificates=authority.cert_pem.bytes(), read_timeout=2)
        account = principal | {"url": f"{origin}/a/container"}
        sink = opened("Azure Data Lake Gen2", "Azure Service Principal Auth", account, {}, rules)
        with pytest.raises(DeliveryError):
            sink.size("out/a.json.gz")  # the authority gives no token
        assert {one.path for one in store.asked} == {"/t/oauth2/v2.0/token"}
        assert "OWN-SECRET" not in str(store.asked)


# The operator's proxy


@pytest.mark.parametrize("open_sink", CALLERS_SINKS)
def test_connections_go_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, names: Names, open_sink: Callable[[str, Network], Sink]
) -> None:
    names.addresses = ["127.0.0.1"]
    with web_server() as proxy:
        monkeypatch.setenv("http_proxy", f"http://user:p%40ss@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "elsewhere.example")
        open_sink("http://store.example:9", Network(read_timeout=5)).size("out/a.json.gz")
        (asked,) = proxy.asked
        assert asked.path.startswith("http://store.example:9/")
        assert asked.headers["proxy-authorization"] == f"Basic {b64encode(b'user:p@ss').decode()}"


def test_the_proxy_of_the_environment_is_not_asked_for_a_metadata_service(monkeypatch: pytest.MonkeyPatch) -> None:
    with web_server() as proxy, web_server(307, "http://169.254.169.254/latest/meta-data/") as store:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with pytest.raises(DeliveryError):
            s3(f"http://127.0.0.1:{store.port}", Network(read_timeout=1)).size("out/a.json.gz")
        assert proxy.asked == []
