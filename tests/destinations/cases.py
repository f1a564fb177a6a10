"""Every destination of the suite, with what reaches it; and what cannot be staged for one."""

import contextlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import trustme
from pydantic import SecretStr

from offtake.destinations import schema
from offtake.destinations.base import Destination, LandingZones, SandboxLocation, Sink
from offtake.destinations.landing_zone.azure import AzureZones
from offtake.destinations.landing_zone.folder import FolderZones
from offtake.destinations.landing_zone.s3 import S3Zones
from offtake.destinations.parameters import Params, TargetParams
from offtake.destinations.registry import DESTINATIONS
from offtake.network.egress import Network
from tests import azure_servers
from tests.azure_servers import AzureServer, account_sas
from tests.middlebox import Middlebox, middlebox
from tests.servers import Amazon, S3Server
from tests.ssh_server import SshServer, key_pair

SECRET: Final = "MARKEDsecretMARKED"
S3_RIGHTS: Final = ["s3:PutObject", "s3:GetObject", "s3:ListBucket", "s3:DeleteObject"]

_AZURE: Final = (
    "Azure Blob Storage",
    "Azure Blob Storage by signature",
    "Azure Blob Storage by Entra ID",
    "Azure Data Lake Gen2",
)
NOT_STAGED: Final[Mapping[str, Mapping[str, str]]] = {
    "wrong credentials": {
        "Data Landing Zone": "a folder of this machine has no credentials",
        "Amazon S3 by role": "moto gives every role to everybody; test_amazon_s3.py has what it does refuse",
    },
    "missing root": {
        "Data Landing Zone": "the zone's folder is made when it is not there",
        "Data Landing Zone in Azure": "the zone's container is made when it is not there",
        "SFTP": "folders are made; test_sftp.py has those that cannot be",
        "SFTP without rename": "as for SFTP",
    },
    "unseen writing": {"SFTP without rename": "a file is seen under its name while it is being written"},
    "network": {"Data Landing Zone": "a folder of this machine is not reached over a network"},
    "http": {"Data Landing Zone": "no HTTP", "SFTP": "no HTTP", "SFTP without rename": "no HTTP"},
    "unfinished uploads": dict.fromkeys(
        ("Data Landing Zone in Azure", *_AZURE),
        "blocks that were never committed cannot be removed; Azure does it within a week, or when the blob is written",
    ),
    "folders": dict.fromkeys(
        (
            "Data Landing Zone in Azure",
            "Data Landing Zone in S3",
            "Amazon S3",
            "Amazon S3 by role",
            "Google Cloud Storage",
            *_AZURE,
        ),
        "there are keys only",
    ),
    "another organisation": {
        "Data Landing Zone in Azure": "a zone is its own organisation's; test_azure_zone.py has whole runs",
        "Data Landing Zone in S3": "a zone is its own organisation's; test_s3_zone.py has whole runs",
    },
    "a user's host": {
        "Data Landing Zone in Azure": "the operator chooses the account, whatever users may reach",
        "Data Landing Zone in S3": "the operator chooses the endpoint, whatever users may reach",
    },
}
"""What a destination has no equivalent of, and why. The suite's other cases run for every destination."""


@dataclass(frozen=True)
class Case:
    """A destination with the params and credentials that reach it."""

    destination: Destination
    location: dict[str, str]
    sandbox_location: SandboxLocation
    names: Callable[[], list[str]]
    """What lies at the destination, looked at with other eyes; uploads that dangle included."""
    method: str = ""
    auth: dict[str, Any] = field(default_factory=dict)
    wrong: tuple[dict[str, Any], ...] = ()
    """Changes to `auth` that make the credentials wrong."""
    missing: dict[str, dict[str, str]] = field(default_factory=dict)
    """Changes to `location` and `auth` that name a bucket, container or folder that is not there."""
    server: tuple[str, int] = ("", 0)
    authority: trustme.CA | None = None
    through: Callable[[int], dict[str, Any]] = lambda _port: {}
    """The change to `auth` that leads to a port of this machine instead of the server's."""

    zones: Callable[[dict[str, Any], Network], LandingZones] | None = None
    """The landing zones that `auth` reaches, where the server holds the credentials itself."""
    loses_promises: bool = False
    """Whether the server does not allow for all that is promised."""
    opened: list[Sink] = field(default_factory=list)
    """Every sink of the case and of what was made of it; the fixture closes them."""

    @property
    def credentials(self) -> Params | None:
        return schema.parse_credentials(self.destination, self.method, self.auth) if self.method else None

    def having(self, *, auth: Mapping[str, Any] | None = None, location: Mapping[str, str] | None = None) -> "Case":
        """The same with other credentials, or another place."""
        return replace(self, auth=self.auth | dict(auth or {}), location=self.location | dict(location or {}))

    @property
    def target(self) -> TargetParams:
        return schema.parse_target_params(
            self.destination, {"datasetFileType": "JSON", "compression": "GZIP", **self.location}
        )

    @property
    def placed(self) -> SandboxLocation:
        """The sandbox location, with the zones that `auth` reaches."""
        return (
            replace(self.sandbox_location, zones=self.zones(self.auth, self.sandbox_location.network))
            if self.zones
            else self.sandbox_location
        )

    def open(self) -> Sink:
        self.opened.append(self.destination.open(self.credentials, self.target, self.placed))
        return self.opened[-1]

    @contextlib.contextmanager
    def behind_a_middlebox(self) -> Iterator[tuple["Case", Middlebox]]:
        with middlebox(*self.server, self.authority) as box:
            changed = self.through(box.port)
            assert changed, "without a change the connection would not pass through the middlebox"
            yield self.having(auth=changed), box


def by_name(name: str) -> Destination:
    return next(one for one in DESTINATIONS if one.name == name)


# Cases


def landing_zone(tmp_path: Path) -> Case:
    root = tmp_path / "zone"
    return Case(
        by_name("Data Landing Zone"),
        {"path": "out"},
        SandboxLocation("prod", FolderZones(root)),
        lambda: _files(root / "prod"),
    )


def landing_zone_in_azure(azure: AzureServer, tmp_path: Path) -> Case:
    prefix = f"z{uuid4().hex[:9]}"
    container = AzureZones(SecretStr(""), prefix).zone("an-organisation", "prod", "dlz_destination").container
    azure.make_container(container)
    account = azure_blob(azure, tmp_path)
    return Case(
        destination=by_name("Data Landing Zone"),
        location={"path": "out"},
        sandbox_location=SandboxLocation("prod", FolderZones(tmp_path), organisation="an-organisation"),
        names=lambda: azure.names(container),
        auth=account.auth,
        wrong=account.wrong,
        server=account.server,
        through=account.through,
        zones=lambda auth, network: AzureZones(SecretStr(auth["connectionString"]), prefix, _trusted(network)),
    )


def landing_zone_in_s3(aws: Amazon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    bucket = f"b{uuid4().hex}"
    aws.client("s3").create_bucket(Bucket=bucket)

    def zones(auth: dict[str, Any], network: Network) -> LandingZones:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", auth["s3AccessKey"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", auth["s3SecretKey"])
        role, network = "arn:aws:iam::123456789012:role/readers", _trusted(network)
        return S3Zones(auth["url"], "zone", role, endpoint=auth["endpointUrl"], network=network)

    return Case(
        destination=by_name("Data Landing Zone"),
        location={"path": "out"},
        sandbox_location=SandboxLocation("prod", FolderZones(tmp_path), organisation="an-organisation"),
        names=lambda: [
            name.removeprefix("zone/an-organisation/prod/dlz-destination/")
            for name in _bucket(aws.client("s3"), bucket)
        ],
        auth={
            "url": bucket,
            "s3AccessKey": aws.access_key,
            "s3SecretKey": aws.secret_key,
            "endpointUrl": aws.endpoint,
        },
        wrong=({"s3SecretKey": SECRET}, {"s3AccessKey": "unknown", "s3SecretKey": SECRET}),
        missing={"auth": {"url": "not-there"}},
        server=_address(aws.endpoint),
        through=lambda port: {"endpointUrl": f"http://127.0.0.1:{port}"},
        zones=zones,
    )


def amazon_s3(s3: S3Server, tmp_path: Path) -> Case:
    bucket = f"b{uuid4().hex}"
    s3.make_bucket(bucket)
    return Case(
        destination=by_name("Amazon S3"),
        location={"bucketName": bucket, "path": "out"},
        sandbox_location=SandboxLocation("prod", FolderZones(tmp_path)),
        names=lambda: _bucket(s3.client(), bucket),
        method="Access Key",
        auth={"s3AccessKey": s3.access_key, "s3SecretKey": s3.secret_key, "endpointUrl": s3.endpoint},
        wrong=({"s3SecretKey": SECRET}, {"s3AccessKey": "unknown", "s3SecretKey": SECRET}),
        missing={"location": {"bucketName": "not-there"}},
        server=_address(s3.endpoint),
        through=lambda port: {"endpointUrl": f"http://127.0.0.1:{port}"},
    )


def amazon_s3_by_role(aws: Amazon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", aws.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", aws.secret_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", aws.endpoint)
    bucket = f"b{uuid4().hex}"
    aws.client("s3").create_bucket(Bucket=bucket)
    return Case(
        destination=by_name("Amazon S3"),
        location={"bucketName": bucket, "path": "out"},
        sandbox_location=SandboxLocation("prod", FolderZones(tmp_path), organisation="an-organisation"),
        names=lambda: _bucket(aws.client("s3"), bucket),
        method="Assumed Role",
        auth={"s3Role": aws.role(f"r{uuid4().hex}", ["s3:*"]), "endpointUrl": aws.endpoint},
        missing={"location": {"bucketName": "not-there"}},
        server=_address(aws.endpoint),
        through=lambda port: {"endpointUrl": f"http://127.0.0.1:{port}"},
    )


def google_cloud_storage(s3: S3Server, authority: trustme.CA, tmp_path: Path) -> Case:
    return replace(
        amazon_s3(s3, tmp_path),
        sandbox_location=SandboxLocation(
            "prod", FolderZones(tmp_path), network=Network(certificates=authority.cert_pem.bytes())
        ),
        authority=authority,
        through=lambda port: {"endpointUrl": f"https://localhost:{port}"},
        destination=by_name("Google Cloud Storage"),
        method="Google Cloud Storage authentication credentials",
        auth={"accessKeyId": s3.access_key, "secretAccessKey": s3.secret_key, "endpointUrl": s3.endpoint},
        wrong=({"secretAccessKey": SECRET}, {"accessKeyId": "unknown", "secretAccessKey": SECRET}),
    )


def azure_blob(azure: AzureServer, tmp_path: Path) -> Case:
    container = f"c{uuid4().hex}"
    azure.make_container(container)
    other = b64encode(b"another key of the account").decode()

    def through(port: int) -> dict[str, Any]:
        return {"connectionString": azure.connection_string.replace(f":{azure.port}/", f":{port}/")}

    return Case(
        destination=by_name("Azure Blob Storage"),
        location={"container": container, "path": "out"},
        sandbox_location=SandboxLocation("prod", FolderZones(tmp_path)),
        names=lambda: azure.names(container),
        method="ConnectionString",
        auth={"connectionString": azure.connection_string},
        wrong=({"connectionString": azure.connection_string.replace(azure_servers.KEY, other)},),
        missing={"location": {"container": "not-there"}},
        server=("127.0.0.1", azure.port),
        through=through,
    )


def azure_blob_by_signature(azure: AzureServer, tmp_path: Path) -> Case:
    case = azure_blob(azure, tmp_path)

    def string(signature: str, port: int = azure.port) -> dict[str, str]:
        endpoint = azure.endpoint.replace(f":{azure.port}/", f":{port}/")
        named = f"AccountName={azure_servers.ACCOUNT}"
        return {"connectionString": f"BlobEndpoint={endpoint};SharedAccessSignature={signature};{named}"}

    good = account_sas("rwdlc")
    tampered = good.replace("sig=", "sig=A", 1)
    expired = account_sas("rwdlc", hours=-1)
    return replace(
        case,
        auth=string(good),
        wrong=(string(tampered), string(expired)),
        through=lambda port: string(good, port),
    )


def azure_blob_by_principal(server: AzureServer, authority: trustme.CA, tmp_path: Path) -> Case:
    lake = azure_data_lake(server, authority, tmp_path)
    container = f"c{uuid4().hex}"
    server.make_container(container)

    def url(port: int = server.port) -> dict[str, str]:
        return {"url": f"https://localhost:{port}/{azure_servers.ACCOUNT}"}

    return replace(
        lake,
        destination=by_name("Azure Blob Storage"),
        location={"container": container, "path": "out"},
        names=lambda: server.names(container),
        auth=lake.auth | url(),
        missing={"location": {"container": "not-there"}},
        through=url,
    )


def azure_data_lake(server: AzureServer, authority: trustme.CA, tmp_path: Path) -> Case:
    assert server.sign_in is not None
    container = f"c{uuid4().hex}"
    server.make_container(container)

    def url(name: str = container, port: int = server.port) -> dict[str, str]:
        return {"url": f"https://localhost:{port}/{azure_servers.ACCOUNT}/{name}/a folder"}

    return Case(
        destination=by_name("Azure Data Lake Gen2"),
        location={"path": "out"},
        sandbox_location=SandboxLocation(
            "prod", FolderZones(tmp_path), network=Network(certificates=server.certificates)
        ),
        names=lambda: [name.removeprefix("a folder/") for name in server.names(container)],
        method="Azure Service Principal Auth",
        auth={
            **url(),
            "servicePrincipalId": azure_servers.CLIENT_ID,
            "servicePrincipalKey": azure_servers.CLIENT_SECRET,
            "tenant": azure_servers.TENANT,
            "authorityUrl": server.sign_in.authority,
        },
        wrong=({"servicePrincipalKey": SECRET}, {"tenant": "another.example"}, {"servicePrincipalId": str(uuid4())}),
        missing={"auth": url("not-there")},
        server=("localhost", server.port),
        authority=authority,
        through=lambda port: url(port=port),
    )


def sftp(ssh: SshServer, tmp_path: Path, options: str = "", **auth: object) -> Case:
    """`options`: see `SshServer.within`."""
    server = ssh.within(tmp_path.name, options)
    return Case(
        destination=by_name("SFTP"),
        location={"remotePath": "out"},
        sandbox_location=SandboxLocation("prod", FolderZones(tmp_path)),
        names=lambda: _files(server.root),
        method="SFTP with SSH Key",
        auth=server.params() | auth,
        wrong=({"sshKey": key_pair()[0]}, {"username": "unknown-user"}),
        server=(server.host, server.port),
        through=lambda port: {"port": port},
        loses_promises=auth.get("temporaryName") == "NONE",
    )


def _files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def _bucket(client: Any, bucket: str) -> list[str]:
    found = [one["Key"] for one in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
    try:
        uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    except client.exceptions.NoSuchUpload:  # what rclone says of a bucket that has never had one
        uploads = []
    return found + [f"{one['Key']} (dangling)" for one in uploads]


def _trusted(network: Network) -> Network:
    return network.for_operator()


def _address(endpoint: str) -> tuple[str, int]:
    url = urlsplit(endpoint)
    return url.hostname or "", url.port or 0
