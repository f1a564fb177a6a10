"""What is Azure's own: connection strings, URLs, and tokens that end."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from offtake.destinations import schema
from offtake.destinations.drivers.azure_account import (
    Account,
    ContainerUrl,
    account_of,
    account_of_url,
    account_url_problem,
    container_url_of,
)
from offtake.destinations.drivers.object_store import PART_BYTES
from offtake.errors import DeliveryError, InvalidInputError
from tests.azure_servers import AzureServer
from tests.deployment import Deployment
from tests.destinations.cases import SECRET, azure_blob, azure_data_lake, by_name
from tests.destinations.test_contract import chunks
from tests.destinations.writers import BEFORE, held

KEY = "c2VjcmV0IG9mIGFuIGFjY291bnQ="
BLOB = "blob.core.windows.net"


@pytest.mark.parametrize(
    ("text", "account"),
    [
        (
            f"DefaultEndpointsProtocol=https;AccountName=acme;AccountKey={KEY};EndpointSuffix=core.windows.net",
            Account("acme", f"https://acme.{BLOB}", KEY),
        ),
        (f"AccountName=acme;AccountKey={KEY}", Account("acme", f"https://acme.{BLOB}", KEY)),
        (
            f"AccountName=acme;AccountKey={KEY};EndpointSuffix=core.chinacloudapi.cn;",
            Account("acme", "https://acme.blob.core.chinacloudapi.cn", KEY),
        ),
        (
            f"BlobEndpoint=https://acme.{BLOB}/;SharedAccessSignature=?sv=2022-11-02&sig=a%3D",
            Account("acme", f"https://acme.{BLOB}", None, "sv=2022-11-02&sig=a%3D"),
        ),
        (
            f"AccountName=devstoreaccount1;AccountKey={KEY};BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1",
            Account("devstoreaccount1", "http://127.0.0.1:10000/devstoreaccount1", KEY),
        ),
    ],
)
def test_connection_strings_in_every_form(text: str, account: Account) -> None:
    assert account_of(text) == account


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"AccountName=acme;AccountKey={SECRET}!",
        f"AccountName=ACME;AccountKey={KEY}",
        "AccountName=acme",
        f"AccountKey={KEY}",
        f"AccountName=acme;AccountKey={KEY};BlobEndpoint=ftp://{SECRET}",
        f"AccountName=acme;AccountKey={KEY};BlobEndpoint=https://u:{SECRET}@host",
        f"AccountName=acme;AccountKey={KEY};BlobEndpoint=https://host:{SECRET}",
        "UseDevelopmentStorage=true",
    ],
)
def test_what_is_no_connection_string_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        schema.parse_credentials(by_name("Azure Blob Storage"), "ConnectionString", {"connectionString": text})
    assert [problem.path for problem in caught.value.problems] == ["/auth/params/connectionString"]
    assert SECRET not in str(caught.value)


ACME = Account("acme", f"https://acme.{BLOB}")


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("abfss://exports@acme.dfs.core.windows.net", ContainerUrl(ACME, "exports", "")),
        ("abfss://exports@acme.dfs.core.windows.net/crm/daily/", ContainerUrl(ACME, "exports", "crm/daily")),
        ("abfs://exports@acme.dfs.core.windows.net/", ContainerUrl(ACME, "exports", "")),
        ("https://acme.dfs.core.windows.net/exports/crm", ContainerUrl(ACME, "exports", "crm")),
        (f"https://acme.{BLOB}/exports", ContainerUrl(ACME, "exports", "")),
        (
            "abfss://exports@acme.dfs.core.usgovcloudapi.net",
            ContainerUrl(Account("acme", "https://acme.blob.core.usgovcloudapi.net"), "exports", ""),
        ),
        (
            "https://localhost:10000/devstoreaccount1/exports/a%20b",
            ContainerUrl(Account("devstoreaccount1", "https://localhost:10000/devstoreaccount1"), "exports", "a b"),
        ),
    ],
)
def test_urls_in_every_form(url: str, place: ContainerUrl) -> None:
    assert container_url_of(url) == place


@pytest.mark.parametrize(
    "url",
    [
        "",
        "acme",
        "abfss://acme.dfs.core.windows.net/exports",
        "https://acme.dfs.core.windows.net",
        "http://acme.dfs.core.windows.net/exports",
        "https://localhost:10000/devstoreaccount1",
        "abfss://Exports@acme.dfs.core.windows.net",
        "abfss://exports@acme.dfs.core.windows.net/../other",
        "https://host:port/a/exports",
        f"https://user:{SECRET}@acme.dfs.core.windows.net/exports",
    ],
)
def test_what_names_no_container_is_refused(url: str) -> None:
    params = {"url": url, "servicePrincipalId": "i", "servicePrincipalKey": "k", "tenant": "t"}
    with pytest.raises(InvalidInputError) as caught:
        schema.parse_credentials(by_name("Azure Data Lake Gen2"), "Azure Service Principal Auth", params)
    assert [problem.path for problem in caught.value.problems] == ["/auth/params/url"]
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "account"),
    [
        ("https://a.blob.core.windows.net", Account("a", "https://a.blob.core.windows.net")),
        ("https://a.blob.core.windows.net/", Account("a", "https://a.blob.core.windows.net")),
        ("https://a.blob.core.usgovcloudapi.net", Account("a", "https://a.blob.core.usgovcloudapi.net")),
        ("https://store.example:10000/a/", Account("a", "https://store.example:10000/a")),
    ],
)
def test_urls_of_accounts(url: str, account: Account) -> None:
    assert account_of_url(url) == account


@pytest.mark.parametrize(
    "url",
    [
        "http://a.blob.core.windows.net",
        "https://a.blob.core.windows.net/container",
        "https://store.example",
        "https://u@store.example/a",
        "https://a.blob.core.windows.net?sig=x",
        "a",
        "",
    ],
)
def test_what_names_no_account_is_refused(url: str) -> None:
    assert account_url_problem(url) == "must be a URL such as https://account.blob.core.windows.net"


def test_a_connection_of_a_service_principal_to_blob_storage_is_made(deployed: Deployment) -> None:
    params = {
        "url": "https://a.blob.core.windows.net",
        "servicePrincipalId": "i",
        "servicePrincipalKey": "k",
        "tenant": "t",
    }
    spec = {"id": "6d6b59bf-fb58-4107-9064-4d246c0e5bb2", "version": "1.0"}
    auth = {"specName": "Azure Service Principal Auth", "params": params}
    base = deployed.post("/connections", {"name": "blob entra", "auth": auth, "connectionSpec": spec})["id"]
    shown = deployed.get(f"/connections/{base}")["items"][0]["auth"]
    assert shown["specName"] == "Azure Service Principal Auth"
    assert shown["params"]["servicePrincipalKey"] != "k"


def test_only_microsofts_own_endpoints_are_the_vendors() -> None:
    assert ACME.is_vendor_endpoint
    for endpoint in (f"https://other.{BLOB}", f"https://acme.{BLOB}.example.org", "https://10.0.0.1/acme"):
        assert not Account("acme", endpoint).is_vendor_endpoint


def test_a_token_that_expires_during_an_upload_is_renewed(
    azure_with_sign_in: AzureServer, authority: trustme.CA, tmp_path: Path
) -> None:
    case = azure_data_lake(azure_with_sign_in, authority, tmp_path)
    sign_in: Any = azure_with_sign_in.sign_in
    before, sign_in.lifetime = sign_in.given, 2

    def slowly() -> Iterator[bytes]:
        for _ in range(3):
            yield from chunks(PART_BYTES)
            time.sleep(1)

    try:
        assert case.open().put("out/file.json", slowly()) == 3 * PART_BYTES
    finally:
        sign_in.lifetime = 3599
    assert sign_in.given - before > 1
    assert case.names() == ["out/file.json"]


def test_of_two_concurrent_uploads_the_later_fails_and_can_be_retried(azure: AzureServer, tmp_path: Path) -> None:
    """The first commit makes the service discard the other writer's blocks, whatever their content."""
    case = azure_blob(azure, tmp_path)
    first, second = bytes(BEFORE) + b"first", b"\x01" * (BEFORE + 5)
    blob = azure.client().get_blob_client(case.location["container"], "out/file.json")
    with held(case, "out/file.json", first) as one, held(case, "out/file.json", second) as two, blob:
        until = time.monotonic() + 20
        while len(blob.get_block_list("uncommitted")[1]) < 4:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert one.let_go() is None
        error = two.let_go()
        assert isinstance(error, DeliveryError)
        assert (error.code, error.transient) == ("EXPORT-2003-504", True)
        assert "InvalidBlockList" in error.message
    sink = case.open()
    assert b"".join(sink.read("out/file.json")) == first
    sink.put("out/file.json", [second])
    assert b"".join(sink.read("out/file.json")) == second
