"""Azure Blob Storage."""

from typing import Annotated, Final

from pydantic import Field, SecretStr

from offtake.destinations import patterns
from offtake.destinations.contract import AuthMethod, Capabilities, Destination
from offtake.destinations.parameters import Params, TargetParams

# Identity

NAME: Final = "Azure Blob Storage"

# Credentials


class ConnectionString(Params):
    """A connection string with an account key or a shared access signature."""

    connection_string: SecretStr = Field(
        min_length=1,
        description="connection string for login",
        examples=["DefaultEndpointsProtocol=https;AccountName=…;AccountKey=…"],
    )


# Parameters


class BlobParams(TargetParams):
    """A container, and a folder in it."""

    path: Annotated[str, patterns.matches(patterns.blob_path_problem)] = Field(
        title="Folder path",
        description="Output path (relative) indicating where to upload the data",
        examples=["exports/crm"],
        json_schema_extra={"pattern": patterns.PUBLISHED_BLOB_PATH},
    )
    container: Annotated[str, patterns.matches(patterns.container_problem)] = Field(
        title="Container",
        description="Container within the storage where to upload the data",
        examples=["partner-exports"],
        json_schema_extra={"pattern": patterns.PUBLISHED_CONTAINER},
    )

    def folder(self) -> str:
        """The folder in the container."""
        return self.path.strip("/")


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
        ),
    ),
    parameters=BlobParams,
    capabilities=Capabilities(
        half_written_visible=False,
        rename=False,
        conditional_create=True,
        most_parts=50_000,
        largest_object=190 * 1024**4,
        longest_key=1024,
    ),
    encryption=True,
)
