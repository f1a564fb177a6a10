"""Azure storage accounts: parses connection strings and URLs, and opens the sink of a container."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

from obstore.store import AzureStore

from offtake.destinations.base import SandboxLocation
from offtake.destinations.drivers.object_store import Bucket, ObjectStoreSink, StoreOverrides
from offtake.destinations.patterns import container_problem, folder_problem
from offtake.network.egress import Network
from offtake.network.http import is_answering, retry_after_of, send
from offtake.network.object_clients import RETRIES, Endpoint, client_options
from offtake.network.object_store_errors import BASE_CONNECTION, RefusalError, RequiredPermissions

if TYPE_CHECKING:
    # The driver states this type in its stubs only.
    from obstore.store import AzureConfig

_AUTHORITIES: Final = {
    "core.windows.net": "https://login.microsoftonline.com",
    "core.usgovcloudapi.net": "https://login.microsoftonline.us",
    "core.chinacloudapi.cn": "https://login.chinacloudapi.cn",
}
"""The sign-in authorities of Microsoft's clouds, by the suffix of their endpoints."""
MOST_BLOCKS: Final = 50_000
UNCOMMITTED: Final = (
    "A file appears when its block list is committed. Azure removes uncommitted blocks after a week, or when "
    "another writer commits the file: then a slow server cannot commit its own blocks."
)
RIGHTS: Final = RequiredPermissions(
    write="write and create on blobs (SAS: cw)",
    read="read on blobs (SAS: r)",
    list="list on the container (SAS: l)",
    delete="delete on blobs (SAS: d)",
)
_ROLE: Final = "the role Storage Blob Data Contributor on the container"
ROLE_RIGHTS: Final = RequiredPermissions(write=_ROLE, read=_ROLE, list=_ROLE, delete=_ROLE)
"""What a service principal needs."""
_VERSION: Final = "2023-11-03"
_ACCOUNT: Final = re.compile(r"[a-z0-9]{1,24}")
_STRING: Final = "AccountName and AccountKey, or BlobEndpoint and SharedAccessSignature"


@dataclass(frozen=True)
class Account:
    """A storage account: its blob endpoint, and its Base64 key or shared access signature, if known."""

    name: str
    endpoint: str
    key: str | None = None
    signature: str | None = None

    @property
    def is_vendor_endpoint(self) -> bool:
        """Whether the endpoint is in one of Microsoft's clouds, and not an address that a user chose."""
        host = urlsplit(self.endpoint).hostname or ""
        return any(host == f"{self.name}.blob.{suffix}" for suffix in _AUTHORITIES)


@dataclass(frozen=True)
class ContainerUrl:
    """A container of an account, and a folder in it (`""` for none)."""

    account: Account
    container: str
    folder: str


@dataclass(frozen=True)
class ServicePrincipalLogin:
    """A service principal. `authority`: None for the authority of the account's cloud."""

    tenant: str
    client_id: str
    secret: str
    authority: str | None


def account_of(text: str) -> Account:
    """Parse a connection string with an account key or a shared access signature.

    Raises `ValueError`, which does not contain the text.
    """
    parts = dict(part.strip().split("=", 1) for part in text.split(";") if "=" in part)
    name, key = parts.get("AccountName", ""), parts.get("AccountKey")
    signature = parts.get("SharedAccessSignature", "").removeprefix("?") or None
    suffix = parts.get("EndpointSuffix", "core.windows.net")
    protocol = parts.get("DefaultEndpointsProtocol", "https")
    endpoint = parts.get("BlobEndpoint", f"{protocol}://{name}.blob.{suffix}").rstrip("/")
    url = _split(endpoint)
    name = name or (url.hostname or "").partition(".")[0]
    if not (key or signature) or not _ACCOUNT.fullmatch(name):
        raise ValueError(f"must name {_STRING}")
    if url.scheme not in ("http", "https") or not url.hostname or url.username or url.query:
        raise ValueError("has an endpoint that is not a URL such as https://account.blob.core.windows.net")
    if key is not None and not _is_base64(key):
        raise ValueError("has an AccountKey that is not Base64")
    return Account(name, endpoint, key, None if key else signature)


def account_of_url(url: str) -> Account:
    """Parse `https://account.blob.core.windows.net`; at other hosts the account is the first segment of the path.

    Raises `ValueError`.
    """
    split = _split(url.strip())
    host, steps = split.hostname or "", [step for step in split.path.split("/") if step]
    name, _, rest = host.partition(".")
    is_azures = rest.startswith("blob.")
    if not is_azures:
        name = steps[0] if steps else ""
    if (
        len(steps) != (0 if is_azures else 1)
        or split.scheme != "https"
        or split.username
        or split.query
        or not _ACCOUNT.fullmatch(name)
    ):
        raise ValueError("must be a URL such as https://account.blob.core.windows.net")
    return Account(name, f"https://{split.netloc}{'' if is_azures else f'/{name}'}")


def container_url_of(url: str) -> ContainerUrl:
    """Parse `abfss://container@account.dfs.core.windows.net/folder`, or the corresponding https URL.

    In an https URL the container is the first segment of the path; at hosts not in Azure's form, the account is the
    first segment and the container the second. Raises `ValueError`.
    """
    split = _split(url.strip())
    host, steps = split.hostname or "", [unquote(step) for step in split.path.split("/") if step]
    account, _, kind_and_suffix = host.partition(".")
    kind, _, suffix = kind_and_suffix.partition(".")
    azures_form = kind in ("dfs", "blob") and suffix != ""
    if split.scheme in ("abfs", "abfss") and split.username and azures_form:
        container, folder = split.username, steps
    elif split.scheme == "https" and azures_form and steps and not split.username:
        container, folder = steps[0], steps[1:]
    elif split.scheme == "https" and host and len(steps) >= 2 and not split.username:  # noqa: PLR2004 - account, container
        account, container, folder = steps[0], steps[1], steps[2:]
    else:
        raise ValueError("must be a URL such as abfss://container@account.dfs.core.windows.net")
    if not _ACCOUNT.fullmatch(account) or container_problem(container) or folder_problem("/".join(folder)):
        raise ValueError("must name an account, a container and at most a folder")
    endpoint = f"https://{account}.blob.{suffix}" if azures_form else f"https://{split.netloc}/{account}"
    return ContainerUrl(Account(account, endpoint), container, "/".join(folder))


def account_url_problem(url: str) -> str | None:
    """Why `account_of_url` refuses a URL; None when it is valid."""
    try:
        account_of_url(url)
    except ValueError as error:
        return str(error)
    return None


def url_problem(url: str) -> str | None:
    """Why `container_url_of` refuses a URL; None when it is valid."""
    try:
        container_url_of(url)
    except ValueError as error:
        return str(error)
    return None


def azure_sink(
    account: Account,
    container: str,
    rights: RequiredPermissions,
    network: Network,
    *,
    prefix: str = "",
    principal: ServicePrincipalLogin | None = None,
    keeper: str = BASE_CONNECTION,
) -> ObjectStoreSink:
    """A sink for the container or a folder in it; raises `DeliveryError` when its host is denied.

    `keeper`: where the credentials are configured, for error messages.
    """
    endpoints = [Endpoint(account.endpoint, chosen=not account.is_vendor_endpoint)]
    config: AzureConfig = {"account_name": account.name, "endpoint": account.endpoint, "skip_signature": False}
    # The credential type is set explicitly: otherwise the driver could prefer a token or workload identity of the
    # server's own environment, and send it to a host that a user chose.
    if principal is not None:
        config |= _signs_in(principal, account)
        endpoints.append(Endpoint(config["authority_host"], chosen=principal.authority is not None))
    elif account.key is not None:
        config |= {"account_key": account.key, "credential_type": "access_key"}
    elif account.signature is not None:
        config |= {"sas_key": account.signature, "credential_type": "sas_token"}
    store = AzureStore(
        container,
        prefix=prefix or None,
        config=config,
        client_options=client_options(network, *endpoints),
        retry_config=RETRIES,
    )
    root = f"{account.endpoint}/{container}{'/' + prefix if prefix else ''}"
    bucket = Bucket(
        root,
        urlsplit(account.endpoint).netloc,
        rights,
        network,
        guarded=not account.is_vendor_endpoint,
        keeper=keeper,
    )
    if principal is not None:
        # A user delegation signature would need a request to the store, which refuses at that moment, and a permission.
        return ObjectStoreSink(store, bucket, StoreOverrides(address=lambda key: f"{root}/{quote(key)}"))
    if account.signature is None:
        return ObjectStoreSink(store, bucket)

    def address(key: str) -> str:
        return f"{root}/{quote(key)}?{account.signature}"

    return ObjectStoreSink(
        store, bucket, StoreOverrides(delete=lambda key: _delete(address(key), bucket), address=address)
    )


def answer_of(account: Account, sandbox_location: SandboxLocation) -> bool:
    """Whether the account's endpoint answers."""
    return is_answering(account.endpoint, sandbox_location.network, guarded=not account.is_vendor_endpoint)


def _delete(url: str, bucket: Bucket) -> None:
    """Remove one blob. The driver would send a batch request, which needs more permissions of a signature."""
    import httpx2  # noqa: PLC0415 - only needed with signatures

    headers = {"x-ms-version": _VERSION}
    try:
        response = send("DELETE", url, bucket.network, guarded=bucket.guarded, timeout=60, headers=headers)
    except httpx2.TransportError as error:
        raise RefusalError(type(error).__name__) from None
    code = response.headers.get("x-ms-error-code", "")
    if not response.is_success and code != "BlobNotFound":
        raise RefusalError(f"status {response.status_code} <Code>{code}</Code>", retry_after_of(response.headers))


def _signs_in(principal: ServicePrincipalLogin, account: Account) -> "AzureConfig":
    host = urlsplit(account.endpoint).hostname or ""
    suffix = next((one for one in _AUTHORITIES if host.endswith(f".{one}")), "core.windows.net")
    return {
        "tenant_id": principal.tenant,
        "client_id": principal.client_id,
        "client_secret": principal.secret,
        "authority_host": principal.authority or _AUTHORITIES[suffix],
        "credential_type": "client_secret",
    }


def _split(url: str) -> SplitResult:
    try:
        split = urlsplit(url)
        split.port  # noqa: B018 - raises for an invalid port
    except ValueError:
        raise ValueError("has an invalid URL") from None
    return split


def _is_base64(text: str) -> bool:
    try:
        # The driver accepts the canonical form only.
        return base64.b64encode(base64.b64decode(text, validate=True)).decode() == text != ""
    except (binascii.Error, ValueError):
        return False
