"""Azure Blob Storage."""

from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from offtake.destinations import patterns
from offtake.destinations.base import AuthMethod, Destination, SandboxLocation, SetupGuide, Sink
from offtake.destinations.drivers.azure_account import (
    MOST_BLOCKS,
    RIGHTS,
    ROLE_RIGHTS,
    UNCOMMITTED,
    account_of,
    account_of_url,
    account_url_problem,
    answer_of,
    azure_sink,
)
from offtake.destinations.drivers.azure_principal import PrincipalParams
from offtake.destinations.drivers.object_store import LOST_ANSWER, PART_BYTES, RETRY_AFTER
from offtake.destinations.parameters import Params, TargetParams, address_of, as_folder

# Identity

NAME: Final = "Azure Blob Storage"

# Credentials


def _usable(sent: SecretStr) -> SecretStr:
    account_of(sent.get_secret_value())
    return sent


class ConnectionString(Params):
    """A connection string with an account key or a shared access signature."""

    connection_string: Annotated[SecretStr, AfterValidator(_usable)] = Field(
        min_length=1,
        title="Connection string",
        description="With a shared access signature for the container "
        "(BlobEndpoint=https://ACCOUNT.blob.core.windows.net;SharedAccessSignature=…), or with an account key. In the "
        "Azure portal: the storage account, Security + networking.",
        examples=["DefaultEndpointsProtocol=https;AccountName=…;AccountKey=…"],
    )

    def endpoint_hosts(self) -> dict[str, str]:
        """The endpoint's host, unless it is one of Microsoft's."""
        account = account_of(self.connection_string.get_secret_value())
        return {} if account.is_vendor_endpoint else {"connectionString": urlsplit(account.endpoint).hostname or ""}

    @property
    def address(self) -> str | None:
        """The account's endpoint."""
        return address_of(account_of(self.connection_string.get_secret_value()).endpoint)


class ServicePrincipal(PrincipalParams):
    """A service principal and the account that it writes to."""

    url: Annotated[str, patterns.matches(account_url_problem)] = Field(
        min_length=1,
        title="Blob endpoint",
        description="Endpoint of the storage account for blobs. In the Azure portal: the storage account, Settings, "
        "Endpoints, Blob service.",
        examples=["https://account.blob.core.windows.net"],
    )

    def endpoint_hosts(self) -> dict[str, str]:
        """The hosts of the account and of the authority, unless they are Microsoft's."""
        return self.endpoint_hosts_with(account_of_url(self.url))

    @property
    def address(self) -> str | None:
        """The account's endpoint."""
        return address_of(account_of_url(self.url).endpoint)


# Parameters


class BlobParams(TargetParams):
    """A container, and a folder in it."""

    path: Annotated[str, patterns.matches(patterns.blob_path_problem)] = Field(
        title="Folder path",
        description="Folder in the container. It is created with the first file.",
        examples=["exports/crm"],
        json_schema_extra={"pattern": patterns.PUBLISHED_BLOB_PATH},
    )
    container: Annotated[str, patterns.matches(patterns.container_problem)] = Field(
        title="Container",
        description="The container that receives the files. It must exist.",
        examples=["partner-exports"],
        json_schema_extra={"pattern": patterns.PUBLISHED_CONTAINER},
    )

    def folder(self) -> str:
        """The folder in the container."""
        return as_folder(self.path)


# Opening


def open_sink(credentials: Params | None, params: TargetParams, sandbox_location: SandboxLocation) -> Sink:
    """A sink for the container. Sends no request to the store."""
    assert isinstance(params, BlobParams)  # noqa: S101 - parsed with this destination's own model
    if isinstance(credentials, ServicePrincipal):
        account, principal = account_of_url(credentials.url), credentials.principal()
        return azure_sink(account, params.container, ROLE_RIGHTS, sandbox_location.network, principal=principal)
    assert isinstance(credentials, ConnectionString)  # noqa: S101 - there is no third kind
    account = account_of(credentials.connection_string.get_secret_value())
    return azure_sink(account, params.container, RIGHTS, sandbox_location.network)


def answer(credentials: Params | None, sandbox_location: SandboxLocation) -> bool:
    """Whether the account's endpoint answers."""
    if isinstance(credentials, ServicePrincipal):
        return answer_of(account_of_url(credentials.url), sandbox_location)
    assert isinstance(credentials, ConnectionString)  # noqa: S101 - there is no third kind
    return answer_of(account_of(credentials.connection_string.get_secret_value()), sandbox_location)


# Documentation

GUIDE: Final = SetupGuide(
    summary="Containers of an Azure storage account.",
    needs="A container, and a shared access signature, an account key or a service principal.",
    about=f"Files are uploaded in blocks of 8 MiB, four at a time. {UNCOMMITTED} The connection string contains an "
    "account key or a shared access signature: "
    "`BlobEndpoint=https://ACCOUNT.blob.core.windows.net;SharedAccessSignature=sv=…`. Alternatively, a service "
    "principal signs in at Microsoft Entra ID.",
    rights="A shared access signature for one container, instead of the account key:\n\n```sh\n"
    "az storage container generate-sas --account-name ACCOUNT --name CONTAINER \\\n"
    "  --permissions rwdlc --expiry 2027-01-01T00:00Z --https-only\n```\n\n"
    "Delivering requires `cw`; testing a connection and verifying a delivery require `r` and `l`, and removing the "
    "files of a failed run requires `d`. A service principal needs the role *Storage Blob Data Contributor* on the "
    "container:\n\n"
    "```sh\naz role assignment create --assignee SERVICE-PRINCIPAL-ID --role 'Storage Blob Data Contributor' \\\n"
    "  --scope /subscriptions/S/resourceGroups/G/providers/Microsoft.Storage/storageAccounts/A"
    "/blobServices/default/containers/C\n```",
    limits=(
        f"A file has at most {MOST_BLOCKS * PART_BYTES // 1024**3} GiB.",
        "After a signature has expired, all runs fail until the connection gets a new one: note its expiry date.",
        "`UseDevelopmentStorage=true` is not supported; use `BlobEndpoint` instead.",
        LOST_ANSWER,
        RETRY_AFTER,
        "Tested with Azurite, not with Azure itself.",
    ),
)

DESTINATION: Final = Destination(
    name=NAME,
    connection_spec_id="6d6b59bf-fb58-4107-9064-4d246c0e5bb2",
    flow_spec_id="95bd8965-fc8a-4119-b9c3-944c2c2df6d2",
    flow_spec_name="DatasetsToAzureBlobStorage",
    auth_methods=(
        AuthMethod(
            "ConnectionString",
            "ConnectionString",
            "Connection String for Azure Blob based destinations",
            ConnectionString,
            title="Connection string",
            about="An account key or, better, a shared access signature for one container.",
        ),
        AuthMethod(
            "Azure Service Principal Auth",
            "AzureServicePrincipal",
            "A service principal of Microsoft Entra ID. The vendor offers one since September 2026, but has not "
            "published its name; this one is an extension of this project.",
            ServicePrincipal,
            title="Service principal",
            about="An app registration in Microsoft Entra ID with a client secret.",
        ),
    ),
    parameters=BlobParams,
    longest_key=1024,
    guide=GUIDE,
    encryption=True,
    open=open_sink,
    answers=answer,
)
