"""Azure storage accounts: what connection strings and URLs say of them, and the sink of a container."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

from obstore.store import AzureStore

from offtake.destinations.base import SandboxLocation
from offtake.destinations.drivers.http import is_answering, retry_after_of, send
from offtake.destinations.drivers.object_store import (
    RETRIES,
    Bucket,
    Endpoint,
    ObjectStoreSink,
    StoreOverrides,
    client_options,
)
from offtake.destinations.drivers.object_store_errors import BASE_CONNECTION, RefusalError, RequiredPermissions
from offtake.destinations.egress import Network
from offtake.destinations.patterns import container_problem, folder_problem

if TYPE_CHECKING:
    # The driver states this type in its stubs only.
    from obstore.store import AzureConfig

_AUTHORITIES: Final = {
    "core.windows.net": "https://login.microsoftonline.com",
    "core.usgovcloudapi.net": "https://login.microsoftonline.us",
    "core.chinacloudapi.cn": "https://login.chinacloudapi.cn",
}
"""Microsoft's clouds by the suffix of their endpoints, and who signs in there."""
MOST_BLOCKS: Final = 50_000
UNCOMMITTED: Final = (
    "What is uploaded appears when the list of its blocks is committed. Blocks that never are, Azure removes after a "
    "week, or as soon as the file is written: a server that was only slow cannot commit its own after that."
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
    """A storage account: its blob endpoint, and a Base64 key or a signature where one was given with it."""

    name: str
    endpoint: str
    key: str | None = None
    signature: str | None = None

    @property
    def is_vendor_endpoint(self) -> bool:
        """True when the endpoint is in one of Microsoft's clouds, and no address that a user chose."""
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
    """A service principal; the authority of the account's cloud signs it in where none is named."""

    tenant: str
    client_id: str
    secret: str
    authority: str | None


def account_of(text: str) -> Account:
    """The account of a connection string, in its forms with a key and with a shared access signature.

    Raises `ValueError`, which does not repeat the text.
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
        raise ValueError("has an endpoint that is no URL such as https://account.blob.core.windows.net")
    if key is not None and not _is_base64(key):
        raise ValueError("has an AccountKey that is not Base64")
    return Account(name, endpoint, key, None if key else signature)


def account_of_url(url: str) -> Account:
    """The account that `https://account.blob.core.windows.net` names; elsewhere it is the first step of the path.

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
    """What `abfss://container@account.dfs.core.windows.net/folder` names, or the same as an https URL.

    In an https URL the container is the first step of the path; where the host is none of Azure's form, the account
    is the first and the container the second. Raises `ValueError`.
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
    """What is wrong with a URL for `account_of_url`, None for nothing."""
    try:
        account_of_url(url)
    except ValueError as error:
        return str(error)
    return None


def url_problem(url: str) -> str | None:
    """What is wrong with a URL for `container_url_of`, None for nothing."""
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
    """The container, or a folder of it, ready to write; raises `DeliveryError` when its host may not be reached.

    `keeper`: what holds the credentials, for whoever has to correct them.
    """
    endpoints = [Endpoint(account.endpoint, chosen=not account.is_vendor_endpoint)]
    config: AzureConfig = {"account_name": account.name, "endpoint": account.endpoint, "skip_signature": False}
    # Each is named with its kind: the driver would prefer a token, or the workload's identity, of the server's own
    # environment to some of them, and send that to a host that a caller named.
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
        # A delegated signature would have to be asked of the store that refuses just then, and takes one more right.
        return ObjectStoreSink(store, bucket, StoreOverrides(address=lambda key: f"{root}/{quote(key)}"))
    if account.signature is None:
        return ObjectStoreSink(store, bucket)

    def address(key: str) -> str:
        return f"{root}/{quote(key)}?{account.signature}"

    return ObjectStoreSink(
        store, bucket, StoreOverrides(delete=lambda key: _delete(address(key), bucket), address=address)
    )


def answer_of(account: Account, site: SandboxLocation) -> bool:
    """Whether the account's endpoint answers."""
    return is_answering(account.endpoint, site.network, guarded=not account.is_vendor_endpoint)


def _delete(url: str, bucket: Bucket) -> None:
    """Remove one blob. The driver would send a batch of one, which asks more of a signature."""
    import httpx2  # noqa: PLC0415 - what only signatures need, others shall not have to hold

    headers = {"x-ms-version": _VERSION}
    try:
        response = send("DELETE", url, bucket.network, guarded=bucket.guarded, patience=60, headers=headers)
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
        split.port  # noqa: B018 - raises for what is no port
    except ValueError:
        raise ValueError("has an address that is no URL") from None
    return split


def _is_base64(text: str) -> bool:
    try:
        # The driver takes the one canonical form only.
        return base64.b64encode(base64.b64decode(text, validate=True)).decode() == text != ""
    except (binascii.Error, ValueError):
        return False
