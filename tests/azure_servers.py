"""Azure's storage, by Azurite: over HTTP with account keys and signatures, over HTTPS with service principals."""

import json
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import jwt
import trustme
from azure.storage.blob import BlobServiceClient, ResourceTypes, generate_account_sas

from tests.servers import await_port, free_port, on_a_small_disk

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account that every Azurite has, and its published key."""
TENANT = str(uuid4())
CLIENT_ID = str(uuid4())
CLIENT_SECRET = "a~client.secret"

AZURITE = Path(__file__).parent / "npm" / "node_modules" / ".bin" / "azurite-blob"


@dataclass
class SignIn:
    """Who signs in the one service principal there is, over HTTPS: for how many seconds, and how often it did."""

    authority: str = ""
    lifetime: int = 3599
    given: int = 0


@dataclass(frozen=True)
class AzureServer:
    """A blob service, and who signs in to it where that is not done with a key."""

    endpoint: str
    port: int
    sign_in: SignIn | None = None
    certificates: bytes | None = None
    ca_file: str | None = None

    @property
    def connection_string(self) -> str:
        """With the account's key."""
        return f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={self.endpoint}"

    def client(self) -> BlobServiceClient:
        """The vendor's own client of this server, with the account's key."""
        return BlobServiceClient(self.endpoint, credential=KEY, connection_verify=self.ca_file or True)

    def make_container(self, name: str) -> None:
        """Make an empty container."""
        with self.client() as client:
            client.create_container(name)

    def names(self, container: str) -> list[str]:
        """The names of a container's blobs, uncommitted blobs included."""
        with self.client() as client:
            found = client.get_container_client(container).list_blobs(include=["uncommittedblobs"])
            return [blob.name for blob in found]


def account_sas(permission: str, hours: float = 1) -> str:
    """A signature of the account for containers and blobs, such as `rwdlc`, that lives for so many hours."""
    return generate_account_sas(
        ACCOUNT,
        account_key=KEY,
        resource_types=ResourceTypes(container=True, object=True),
        permission=permission,
        start=datetime.now(UTC) - timedelta(days=1),
        expiry=datetime.now(UTC) + timedelta(hours=hours),
    )


@contextmanager
def azurite(*, small: bool = False) -> Iterator[AzureServer]:
    """Azurite over HTTP; `small`: on a disk of 12 MiB."""
    port = free_port()
    with _running(port, [], small=small):
        yield AzureServer(f"http://127.0.0.1:{port}/{ACCOUNT}", port)


@contextmanager
def azurite_with_sign_in(authority: trustme.CA) -> Iterator[AzureServer]:
    """Azurite over HTTPS that takes tokens, and who gives them; both certified by `authority`."""
    port = free_port()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    with (
        tempfile.TemporaryDirectory() as folder,
        _sign_in(authority) as sign_in,
    ):
        pem, key = Path(folder, "cert.pem"), Path(folder, "key.pem")
        pem.write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))
        certificate.private_key_pem.write_to_path(key)
        with _running(port, ["--cert", pem, "--key", key, "--oauth", "basic"]):
            endpoint = f"https://localhost:{port}/{ACCOUNT}"
            ca = Path(folder, "ca.pem")
            ca.write_bytes(authority.cert_pem.bytes())
            yield AzureServer(endpoint, port, sign_in, authority.cert_pem.bytes(), str(ca))


@contextmanager
def _running(port: int, options: list[str | Path], *, small: bool = False) -> Iterator[None]:
    assert AZURITE.exists(), "Azurite is not installed; run: make test"
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        command: list[str | Path] = [AZURITE, "--location", folder, "--blobHost", "127.0.0.1", "--blobPort", str(port)]
        quiet = ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        begin = on_a_small_disk(Path(folder)) if small else []
        process = subprocess.Popen([*begin, *command, *quiet, *options], stdout=log, stderr=log, cwd=folder)
        try:
            await_port(port, process)
            yield
        finally:
            process.kill()  # what is kept alive by idle connections ends too
            process.wait(20)


@contextmanager
def _sign_in(authority: trustme.CA) -> Iterator[SignIn]:
    """A token endpoint like Microsoft's (`/{tenant}/oauth2/v2.0/token`) for the one principal."""
    sign_in = SignIn()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_TokenEndpoint, sign_in))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        sign_in.authority = f"https://localhost:{server.server_port}"
        yield sign_in
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _TokenEndpoint(BaseHTTPRequestHandler):
    def __init__(self, sign_in: SignIn, *arguments: Any) -> None:
        self.sign_in = sign_in
        super().__init__(*arguments)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        form = {key: values[0] for key, values in parse_qs(self.rfile.read(length).decode()).items()}
        known = (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        if self.path != f"/{TENANT}/oauth2/v2.0/token":
            text = "AADSTS90002: Tenant not found. Check to make sure you have the correct tenant ID."
            self._answer(400, {"error": "invalid_request", "error_description": text})
        elif not known or "storage.azure.com" not in form.get("scope", ""):
            text = "AADSTS7000215: Invalid client secret provided."
            self._answer(401, {"error": "invalid_client", "error_description": text})
        else:
            self.sign_in.given += 1
            lifetime = self.sign_in.lifetime
            self._answer(200, {"token_type": "Bearer", "expires_in": lifetime, "access_token": _token(lifetime)})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


def _token(lifetime: int) -> str:
    now = int(time.time())
    claims = {
        "aud": "https://storage.azure.com",
        "iss": f"https://sts.windows.net/{TENANT}/",
        "iat": now,
        "nbf": now - 10,
        "exp": now + lifetime,
    }
    return jwt.encode(claims, "a key that Azurite does not check", algorithm="HS256")
