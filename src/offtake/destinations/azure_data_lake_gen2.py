"""Azure Data Lake Storage Gen2."""

from typing import Annotated, Final

from pydantic import Field

from offtake.destinations import patterns
from offtake.destinations.base import AuthMethod, Destination, SandboxLocation, SetupGuide, Sink
from offtake.destinations.drivers.azure_account import (
    MOST_BLOCKS,
    ROLE_RIGHTS,
    UNCOMMITTED,
    answer_of,
    azure_sink,
    container_url_of,
    url_problem,
)
from offtake.destinations.drivers.azure_principal import PrincipalParams
from offtake.destinations.drivers.object_store import LOST_ANSWER, PART_BYTES, RETRY_AFTER
from offtake.destinations.parameters import Params, TargetParams, address_of, as_folder

# Identity

NAME: Final = "Azure Data Lake Gen2"

# Credentials


class ServicePrincipal(PrincipalParams):
    """A service principal and the container that it writes to."""

    url: Annotated[str, patterns.matches(url_problem)] = Field(
        min_length=1,
        title="Container URL",
        description="The container (file system) and its account, with a folder if all files go below it: "
        "abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/FOLDER. In the Azure portal: the storage account, Settings, "
        "Endpoints, Data Lake Storage.",
        examples=["abfss://exports@account.dfs.core.windows.net"],
    )

    def endpoint_hosts(self) -> dict[str, str]:
        """The hosts of the account and of the authority, unless they are Microsoft's."""
        return self.endpoint_hosts_with(container_url_of(self.url).account)

    @property
    def address(self) -> str | None:
        """The account's endpoint."""
        return address_of(container_url_of(self.url).account.endpoint)


# Parameters


class DataLakeParams(TargetParams):
    """A folder of the container that the credentials name."""

    path: Annotated[str, patterns.matches(patterns.folder_problem)] = Field(
        title="Folder path",
        description="Folder in the container. It is created with the first file.",
        examples=["exports/crm"],
    )

    def folder(self) -> str:
        """The folder in the container."""
        return as_folder(self.path)


# Opening


def open_sink(credentials: Params | None, _params: TargetParams, sandbox_location: SandboxLocation) -> Sink:
    """A sink for the container. Sends no request to the store or the authority."""
    assert isinstance(credentials, ServicePrincipal)  # noqa: S101 - parsed with this destination's own model
    place = container_url_of(credentials.url)
    principal = credentials.principal()
    return azure_sink(
        place.account, place.container, ROLE_RIGHTS, sandbox_location.network, prefix=place.folder, principal=principal
    )


def answer(credentials: Params | None, sandbox_location: SandboxLocation) -> bool:
    """Whether the account's endpoint answers."""
    assert isinstance(credentials, ServicePrincipal)  # noqa: S101 - parsed with this destination's own model
    return answer_of(container_url_of(credentials.url).account, sandbox_location)


# Documentation

GUIDE: Final = SetupGuide(
    summary="Containers of an Azure storage account with a hierarchical namespace.",
    needs="A container, and a service principal that may write to it.",
    about="The service principal signs in at Microsoft Entra ID; files are written to the container (file system) "
    "in `url`, below the optional folder in `url`, through the account's Blob endpoint. "
    f"{UNCOMMITTED}",
    rights="The role *Storage Blob Data Contributor* on the container only:\n\n```sh\n"
    "az role assignment create --assignee SERVICE-PRINCIPAL-ID --role 'Storage Blob Data Contributor' \\\n"
    "  --scope /subscriptions/S/resourceGroups/G/providers/Microsoft.Storage/storageAccounts/A"
    "/blobServices/default/containers/C\n```",
    limits=(
        f"A file has at most {MOST_BLOCKS * PART_BYTES // 1024**3} GiB.",
        "With a hierarchical namespace, folders remain when their files are removed, also that of a connection test.",
        "Access control lists of folders are not read or written; the role on the container decides.",
        LOST_ANSWER,
        RETRY_AFTER,
        "Tested with Azurite, OAuth and a test token endpoint, not with Azure itself.",
    ),
)

DESTINATION: Final = Destination(
    name=NAME,
    connection_spec_id="be2c3209-53bc-47e7-ab25-145db8b873e1",
    flow_spec_id="17be2013-2549-41ce-96e7-a70363bec293",
    flow_spec_name="DatasetsToAzureDataLakeGen2",
    auth_methods=(
        AuthMethod(
            "Azure Service Principal Auth",
            "AzureServicePrincipal",
            "defines auth params required for connecting to adlsgen2 using service principal",
            ServicePrincipal,
            title="Service principal",
            about="An app registration in Microsoft Entra ID with a client secret.",
        ),
    ),
    parameters=DataLakeParams,
    longest_key=1024,
    guide=GUIDE,
    encryption=True,
    open=open_sink,
    answers=answer,
)
