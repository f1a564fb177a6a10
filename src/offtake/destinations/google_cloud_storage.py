"""Google Cloud Storage, through its S3-compatible interface with HMAC keys."""

from typing import Annotated, Final

from pydantic import Field, SecretStr

from offtake.destinations import patterns
from offtake.destinations.contract import AuthMethod, Capabilities, Destination
from offtake.destinations.parameters import Params, TargetParams

# Identity

NAME: Final = "Google Cloud Storage"

# Credentials


class HmacKey(Params):
    """An HMAC interoperability key."""

    access_key_id: str = Field(
        min_length=1, description="Access Key Id for the user account", examples=["GOOG1EXAMPLE"]
    )
    secret_access_key: SecretStr = Field(
        min_length=1, description="Secret Access Key for the user account", examples=["40 characters"]
    )


# Parameters


class GoogleParams(TargetParams):
    """A bucket, and a folder in it."""

    bucket_name: Annotated[str, patterns.matches(patterns.google_bucket_problem)] = Field(
        title="Bucket name",
        description="Bucket name",
        examples=["partner-exports"],
        json_schema_extra={"pattern": patterns.PUBLISHED_GOOGLE_BUCKET},
    )
    path: Annotated[str, patterns.matches(patterns.object_path_problem)] = Field(
        title="Folder path",
        description="Output path for copying files",
        examples=["exports/crm"],
        json_schema_extra={"pattern": patterns.PUBLISHED_OBJECT_PATH},
    )

    def folder(self) -> str:
        """The folder in the bucket."""
        return self.path.strip("/")


DESTINATION: Final = Destination(
    name=NAME,
    connection_spec_id="c5d93acb-ea8b-4b14-8f53-02138444ae99",
    flow_spec_id="585c15c4-6cbf-4126-8f87-e26bff78b657",
    flow_spec_name="DatasetsToGoogleCloudStorage",
    auth_methods=(
        AuthMethod(
            "Google Cloud Storage authentication credentials",
            "GoogleCloudStorageAuth",
            "defines auth params required for connecting to google cloud storage connector.",
            HmacKey,
        ),
    ),
    parameters=GoogleParams,
    capabilities=Capabilities(
        half_written_visible=False,
        rename=False,
        conditional_create=False,
        most_parts=10_000,
        largest_object=5 * 1024**4,
        longest_key=1024,
    ),
    encryption=True,
)
