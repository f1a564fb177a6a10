"""Azure Data Lake Storage Gen2."""

from typing import Annotated, Final

from pydantic import Field, SecretStr

from offtake.destinations import patterns
from offtake.destinations.contract import AuthMethod, Capabilities, Destination
from offtake.destinations.parameters import Params, TargetParams

# Identity

NAME: Final = "Azure Data Lake Gen2"

# Credentials


class ServicePrincipal(Params):
    """A service principal, and the container it writes to."""

    url: str = Field(
        min_length=1,
        description="Endpoint for Azure Data Lake Storage Gen2.",
        examples=["abfss://exports@account.dfs.core.windows.net"],
    )
    service_principal_id: str = Field(
        min_length=1,
        description="Service Principal Id to connect to ADLSGen2.",
        examples=["00000000-0000-0000-0000-000000000000"],
    )
    service_principal_key: SecretStr = Field(
        min_length=1, description="Service Principal Key to connect to ADLSGen2.", examples=["a client secret"]
    )
    tenant: str = Field(
        min_length=1, description="Tenant information(domain name or tenant ID).", examples=["example.onmicrosoft.com"]
    )


# Parameters


class DataLakeParams(TargetParams):
    """A folder of the container that the credentials name."""

    path: Annotated[str, patterns.matches(patterns.folder_problem)] = Field(
        title="Folder path",
        description="Enter the path to your Azure Data Lake Storage folder",
        examples=["exports/crm"],
    )

    def folder(self) -> str:
        """The folder in the container."""
        return self.path.strip("/")


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
        ),
    ),
    parameters=DataLakeParams,
    capabilities=Capabilities(
        half_written_visible=False,
        rename=True,
        conditional_create=True,
        most_parts=50_000,
        largest_object=190 * 1024**4,
        longest_key=1024,
    ),
    encryption=True,
)
