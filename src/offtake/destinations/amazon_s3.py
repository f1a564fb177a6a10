"""Amazon S3, and stores that speak its protocol."""

from datetime import timedelta
from typing import Annotated, Final

from obstore.store import S3Store
from pydantic import Field, SecretStr

from offtake.destinations import patterns
from offtake.destinations.contract import AuthMethod, Capabilities, Destination, Sink, Site
from offtake.destinations.object_store import RETRIES, ObjectStoreSink
from offtake.destinations.parameters import Params, TargetParams

# Identity

NAME: Final = "Amazon S3"

# Credentials


class AccessKey(Params):
    """An access key. The published patterns fit Amazon's own keys; compatible stores have others."""

    s3_access_key: str = Field(
        min_length=1,
        description="Access key id",
        examples=["AKIAIOSFODNN7EXAMPLE"],
        json_schema_extra={"pattern": "^[A-Z2-7]{20}$"},
    )
    s3_secret_key: SecretStr = Field(
        min_length=1,
        description="Secret access key for the user account",
        examples=["40 characters"],
        json_schema_extra={"pattern": r"^[A-Za-z0-9/\+]{40}$"},
    )
    endpoint_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#@\s]+/?$",
        title="Endpoint",
        description="Address of an S3-compatible store; leave out for Amazon. An extension of this project.",
        examples=["https://minio.example.org:9000"],
    )
    region: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9-]{1,40}$",
        title="Region",
        description="Region of the bucket; us-east-1 when left out. An extension of this project.",
        examples=["eu-central-1"],
    )


class AssumedRole(Params):
    """A role that Offtake's own identity assumes."""

    s3_role: SecretStr = Field(
        title="Role", description="ARN of the role to assume", examples=["arn:aws:iam::123456789012:role/exports"]
    )


# Parameters


class S3Params(TargetParams):
    """A bucket, and a folder in it."""

    bucket_name: Annotated[str, patterns.matches(patterns.bucket_problem)] = Field(
        title="Bucket name",
        description="Bucket name",
        examples=["partner-exports"],
        json_schema_extra={
            "pattern": patterns.PUBLISHED_BUCKET,
            "uiAttributes": {"tooltip": {"id": "platform_destinations_connect_s3_bucket"}},
        },
    )
    path: Annotated[str, patterns.matches(patterns.object_path_problem)] = Field(
        title="Folder path",
        description="Output path for copying files",
        examples=["exports/crm"],
        json_schema_extra={
            "pattern": patterns.PUBLISHED_OBJECT_PATH,
            "uiAttributes": {"tooltip": {"id": "platform_destinations_connect_s3_folderpath"}},
        },
    )

    def folder(self) -> str:
        """The folder in the bucket."""
        return self.path.strip("/")


# Opening


def open_sink(credentials: Params | None, params: TargetParams, _site: Site) -> Sink:
    """The bucket, ready to write. Nothing is asked of the store yet."""
    assert isinstance(credentials, AccessKey)  # noqa: S101 - the flow's rules let no other kind through
    assert isinstance(params, S3Params)  # noqa: S101 - parsed with this destination's own model
    endpoint = credentials.endpoint_url.rstrip("/") if credentials.endpoint_url else None
    store = S3Store(
        params.bucket_name,
        access_key_id=credentials.s3_access_key,
        secret_access_key=credentials.s3_secret_key.get_secret_value(),
        region=credentials.region or "us-east-1",
        endpoint=endpoint or f"https://s3.{credentials.region or 'us-east-1'}.amazonaws.com",
        # Buckets with dots in their names, and compatible stores, need the path style.
        virtual_hosted_style_request=False,
        client_options={
            "connect_timeout": timedelta(seconds=10),
            # A store that says nothing for so long is asked again; what is being said may take longer.
            "read_timeout": timedelta(seconds=60),
            "timeout": timedelta(seconds=300),
            "allow_http": True,
        },
        retry_config=RETRIES,
    )
    return ObjectStoreSink(store, f"s3://{params.bucket_name}", endpoint or "Amazon S3")


DESTINATION: Final = Destination(
    name=NAME,
    connection_spec_id="4fce964d-3f37-408f-9778-e597338a21ee",
    flow_spec_id="269ba276-16fc-47db-92b0-c1049a3c131f",
    flow_spec_name="DatasetsToAmazonS3",
    auth_methods=(
        AuthMethod("Access Key", "KeyBased", "Defines auth params required for connecting to amazon-s3", AccessKey),
        AuthMethod(
            "Assumed Role",
            "S3RoleBased",
            "Defines auth params required for connecting to amazon-s3 with an assumed role",
            AssumedRole,
            available=False,
        ),
    ),
    parameters=S3Params,
    capabilities=Capabilities(
        half_written_visible=False,
        rename=False,
        conditional_create=True,
        most_parts=10_000,
        largest_object=5 * 1024**4,
        longest_key=1024,
    ),
    encryption=True,
    open=open_sink,
)
