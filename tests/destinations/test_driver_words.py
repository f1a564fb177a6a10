"""The texts of third-party drivers and servers that Offtake parses, because they offer nothing else.

When one of these tests fails after an upgrade, the text has changed: adapt the function that parses it.
"""

import asyncio
import base64
import logging
import re
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.metadata import version
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import ContainerClient
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PrivateFormat,
    ssh,
)
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import AzureStore, S3Store

from offtake.destinations.drivers import asyncssh_logging, sftp_errors, sftp_keys
from offtake.destinations.drivers.sftp_errors import DeniedError, SftpError
from offtake.destinations.drivers.sftp_login import Login
from offtake.destinations.drivers.sftp_session import SftpConnection
from offtake.errors import (
    ACCESS_DENIED,
    CREDENTIALS_REFUSED,
    DESTINATION_UNAVAILABLE,
    PLACE_NOT_FOUND,
    DeliveryCode,
    DeliveryError,
)
from offtake.network.egress import Network
from offtake.network.object_store_errors import RefusalError, RequiredPermissions, explain, status_of
from tests.middlebox import Middlebox, middlebox
from tests.servers import free_port
from tests.ssh_server import SshServer, sshd

if TYPE_CHECKING:
    from obstore.store import RetryConfig

asyncssh = asyncssh_logging.asyncssh
PINNED = Path(__file__).parents[2] / "requirements" / "runtime.txt"
RIGHTS = RequiredPermissions("s3:PutObject", "s3:GetObject", "s3:ListBucket", "s3:DeleteObject")
ONCE: "RetryConfig" = {
    "max_retries": 0,
    "retry_timeout": timedelta(seconds=5),
    "backoff": {"init_backoff": timedelta(0), "max_backoff": timedelta(0), "base": 2},
}


@pytest.mark.parametrize("package", ["asyncssh", "azure-storage-blob", "cryptography", "obstore"])
def test_the_installed_drivers_are_the_pinned_ones(package: str) -> None:
    pinned = re.search(rf"^{package}==(\S+)", PINNED.read_text(), re.MULTILINE)
    assert pinned is not None
    assert version(package) == pinned[1]


# Object stores


@pytest.fixture
def box() -> Iterator[Middlebox]:
    """A store with the answers that a test gives; it closes other connections without an answer."""
    with middlebox("127.0.0.1", 1) as opened:
        yield opened


def bucket(port: int) -> S3Store:
    return S3Store(
        "bucket",
        endpoint=f"http://127.0.0.1:{port}",
        region="us-east-1",
        access_key_id="key",
        secret_access_key="secret",
        client_options={"allow_http": True},
        retry_config=ONCE,
    )


ACTS: dict[str, Callable[[S3Store | AzureStore], object]] = {
    "put": lambda store: obstore.put(store, "file.json", b"x"),
    "list": lambda store: list(obstore.list(store)),
    "head": lambda store: obstore.head(store, "file.json"),
}


def error_of(store: S3Store | AzureStore, act: str) -> Exception:
    with pytest.raises((BaseError, OSError)) as caught:
        ACTS[act](store)
    return caught.value


def words_of(error: Exception) -> str:
    """The driver's text without its dump, which repeats the response."""
    words, dump, _ = str(error).partition("Debug source")
    assert dump
    return words


def explained(error: Exception) -> DeliveryError:
    return explain(error, "s3://bucket/file.json", "the store", "write", RIGHTS)


@pytest.mark.parametrize("act", ["put", "list"])
@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "ExpiredToken", CREDENTIALS_REFUSED),
        (400, "KMS.DisabledException", ACCESS_DENIED),
        (403, "AccessDenied", ACCESS_DENIED),
        (403, "SignatureDoesNotMatch", CREDENTIALS_REFUSED),
        (404, "NoSuchBucket", PLACE_NOT_FOUND),
        (503, "SlowDown", DESTINATION_UNAVAILABLE),
    ],
)
def test_a_refusal_has_the_status_and_the_stores_code(
    box: Middlebox, act: str, status: int, code: str, expected: DeliveryCode
) -> None:
    box.refuse(status, times=1, body=f"<Error><Code>{code}</Code></Error>")
    error = error_of(bucket(box.port), act)
    assert f"status code: {status} " in words_of(error)
    assert f"<Code>{code}</Code>" in words_of(error)
    assert status_of(error) == status
    assert (explained(error).kind, explained(error).unreachable) == (expected, status == 503)


@pytest.mark.parametrize(
    ("address", "code", "message"),
    [
        ("s3://partner/in/orders/part-0.json", "NoSuchBucket", "The bucket partner does not exist."),
        ("https://x.blob.core.windows.net/in/a/b.json", "ContainerNotFound", "The container in does not exist."),
        (
            "http://127.0.0.1:1/x/in/b",
            "ContainerNotFound",
            "The container of http://127.0.0.1:1/x/in/b does not exist.",
        ),
    ],
)
def test_a_missing_bucket_is_named_first_and_without_the_file(address: str, code: str, message: str) -> None:
    error = RefusalError(f"status: 404 <Code>{code}</Code>")
    assert explain(error, address, "the store", "write", RIGHTS).message == message


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (401, UnauthenticatedError, CREDENTIALS_REFUSED),
        (403, PermissionDeniedError, ACCESS_DENIED),
        (404, FileNotFoundError, PLACE_NOT_FOUND),
    ],
)
def test_a_refusal_without_a_body_has_a_status_and_a_type(
    box: Middlebox, status: int, kind: type[Exception], expected: DeliveryCode
) -> None:
    box.refuse(status, times=1)
    error = error_of(bucket(box.port), "head")
    assert type(error) is kind
    assert f"status code: {status} " in words_of(error)
    assert explained(error).kind == expected


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("closed", [False, True])
def test_a_store_that_does_not_answer(box: Middlebox, act: str, closed: bool) -> None:
    error = error_of(bucket(free_port() if closed else box.port), act)
    assert "error sending request" in words_of(error)
    assert (explained(error).kind, explained(error).unreachable) == (DESTINATION_UNAVAILABLE, True)


@pytest.mark.parametrize("act", ACTS)
def test_a_bucket_in_another_region(box: Middlebox, act: str) -> None:
    box.refuse(301, times=1)
    error = error_of(bucket(box.port), act)
    assert "without LOCATION" in words_of(error)
    assert explained(error).kind == PLACE_NOT_FOUND
    assert "region" in explained(error).remedy


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("invalid_client", "Invalid client secret provided."),
        ("unauthorized_client", "The application was not found in the directory."),
        ("invalid_request", "The tenant identifier is neither a valid DNS name, nor a valid external domain."),
        ("another_code", "AADSTS7000215: Invalid client secret provided."),
    ],
)
def test_a_sign_in_at_microsoft_that_is_refused(box: Middlebox, code: str, text: str) -> None:
    body = f'{{"error": "{code}", "error_description": "{text}"}}'
    box.refuse(400, times=1, headers="Content-Type: application/json\r\n", body=body)
    origin = f"http://127.0.0.1:{box.port}"
    store = AzureStore(
        "container",
        config={
            "account_name": "partner",
            "endpoint": f"{origin}/partner",
            "authority_host": origin,
            "tenant_id": "tenant",
            "client_id": "principal",
            "client_secret": "secret",
        },
        client_options={"allow_http": True},
        retry_config=ONCE,
    )
    error = error_of(store, "put")
    assert body in words_of(error)
    assert explained(error).kind == CREDENTIALS_REFUSED


def test_a_wrong_account_key_at_the_vendors_client_for_azure(box: Middlebox) -> None:
    """Its error has the service's text, which a wrong key and a missing permission differ in."""
    phrase = "failed to authenticate the request"
    body = f"<Error><Code>AuthorizationFailure</Code><Message>Server {phrase}.</Message></Error>"
    box.refuse(403, times=1, headers="Content-Type: application/xml\r\n", body=body)
    key = base64.b64encode(b"secret").decode()
    credential = {"account_name": "partner", "account_key": key}
    with (
        ContainerClient(f"http://127.0.0.1:{box.port}/partner", "container", credential=credential) as client,
        pytest.raises(HttpResponseError) as caught,
    ):
        client.create_container(retry_total=0)
    assert phrase in str(caught.value)
    assert explained(RefusalError(f"status 403 {phrase}")).kind == CREDENTIALS_REFUSED
    assert explained(RefusalError("status 403")).kind == ACCESS_DENIED


# SSH and SFTP


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """OpenSSH's server, which allows one attempt to log in."""
    with sshd(tmp_path_factory.mktemp("strict"), "MaxAuthTries 1") as server:
        yield server


def connection(server: SshServer, *, password: str | None = None) -> SftpConnection:
    key = None if password else base64.b64decode(server.key)
    return SftpConnection(Login(server.host, server.port, server.username, None, password, key), Network())


def test_a_login_with_too_many_attempts(strict: SshServer) -> None:
    async def log_in() -> None:
        await asyncssh.connect(
            strict.host, strict.port, config=[], known_hosts=None, username=strict.username, password="wrong",
            client_keys=None, agent_path=None,
        )  # fmt: skip

    with pytest.raises(asyncssh.DisconnectError) as caught:
        asyncio.run(log_in())
    assert not isinstance(caught.value, asyncssh.PermissionDenied)
    assert "authentication failures" in caught.value.reason
    refused = connection(strict, password="wrong")
    with pytest.raises(DeliveryError) as translated:
        refused.client()
    refused.close()
    assert translated.value.kind == CREDENTIALS_REFUSED


@pytest.mark.parametrize(
    ("folder", "kind", "words", "expected"),
    [
        ("/denied", DeniedError, "Permission denied", ACCESS_DENIED),
        # A folder that exists already. A full disk gets the same text.
        ("small", SftpError, "Failure", DESTINATION_UNAVAILABLE),
    ],
)
def test_a_status_text_that_adds_nothing_is_not_shown(
    strict: SshServer, folder: str, kind: type[SftpError], words: str, expected: DeliveryCode
) -> None:
    opened = connection(strict)
    client = opened.client()
    with pytest.raises(SftpError) as caught:
        opened.run(client, client.make_folder(folder))
    opened.close()
    assert (type(caught.value), caught.value.reason) == (kind, words)
    translated = sftp_errors.translate(caught.value, "the folder", "make folders")
    assert translated.kind == expected
    assert ": Permission denied" not in translated.message
    assert ("free space" in translated.remedy) == (words == "Failure")


def test_a_line_that_asyncio_logs_for_each_write_to_a_lost_connection(caplog: pytest.LogCaptureFixture) -> None:
    records: list[logging.LogRecord] = []

    def keep(record: logging.LogRecord) -> bool:
        records.append(record)
        return True

    async def write_in_vain() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.transport.abort()
            for _ in range(10):
                writer.write(b"x")
            await asyncio.sleep(0)

    log = logging.getLogger("asyncio")
    log.filters.insert(0, keep)
    try:
        asyncio.run(write_in_vain())
    finally:
        log.filters.remove(keep)
    assert {record.msg for record in records} == {"socket.send() raised exception."}
    assert caplog.records == []


def test_a_key_whose_encryption_needs_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    encryption = PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(1).build(b"passphrase")
    encrypted = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption)
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    spec = find_spec(ssh.__name__)
    assert spec is not None
    assert spec.loader is not None
    without = module_from_spec(spec)
    spec.loader.exec_module(without)
    with pytest.raises(UnsupportedAlgorithm, match="bcrypt"):
        without.load_ssh_private_key(encrypted, b"passphrase")
    monkeypatch.setattr(sftp_keys, "load_ssh_private_key", without.load_ssh_private_key)
    with pytest.raises(ValueError, match="needs bcrypt here"):
        sftp_keys.private_key(base64.b64encode(encrypted).decode(), "passphrase")
