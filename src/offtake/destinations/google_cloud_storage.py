"""Google Cloud Storage, through its S3-compatible interface with HMAC keys."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Final
from urllib.parse import urlsplit

from obstore.store import S3Store
from pydantic import Field, SecretStr

from offtake.destinations import patterns
from offtake.destinations.base import AuthMethod, Destination, SandboxLocation, SetupGuide, Sink
from offtake.destinations.drivers.aws_client import fixed, make_client
from offtake.destinations.drivers.multipart_cleanup import AT_ONCE, UnfinishedUploads
from offtake.destinations.drivers.object_store import (
    LOST_ANSWER,
    MOST_PARTS,
    PART_BYTES,
    RETRY_AFTER,
    Bucket,
    ObjectStoreSink,
    StoreOverrides,
)
from offtake.destinations.parameters import EXTENSION, Params, TargetParams, address_of, as_folder
from offtake.network.http import is_answering
from offtake.network.object_clients import RETRIES, Endpoint, client_options, signed_at
from offtake.network.object_store_errors import RequiredPermissions

if TYPE_CHECKING:
    # The driver states this type in its stubs only.
    from obstore.store import S3Credential

# Identity

NAME: Final = "Google Cloud Storage"

# Credentials


class HmacKey(Params):
    """An HMAC interoperability key."""

    advanced: ClassVar[frozenset[str]] = frozenset({"endpoint_url"})

    access_key_id: str = Field(
        min_length=1,
        title="Access key id",
        description="Id of an HMAC key of a service account. In the Google Cloud console: Cloud Storage, Settings, "
        "Interoperability.",
        examples=["GOOG1EXAMPLE"],
    )
    secret_access_key: SecretStr = Field(
        min_length=1,
        title="Secret",
        description="Secret of the HMAC key. It is shown only when the key is created; if it is lost, create another "
        "key.",
        examples=["40 characters"],
    )
    endpoint_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#@\s]+/?$",
        title="Endpoint",
        description="Another endpoint of the service, such as a private one. Default: Google's.",
        examples=["https://storage.example.org"],
        json_schema_extra=EXTENSION,
    )

    def endpoint_hosts(self) -> dict[str, str]:
        """The endpoint's host."""
        return {"endpointUrl": urlsplit(self.endpoint_url).hostname or ""} if self.endpoint_url else {}

    @property
    def address(self) -> str | None:
        """The endpoint; Google has many servers behind one name."""
        return address_of(self.endpoint_url) if self.endpoint_url else None


# Parameters


class GoogleParams(TargetParams):
    """A bucket, and a folder in it."""

    bucket_name: Annotated[str, patterns.matches(patterns.google_bucket_problem)] = Field(
        title="Bucket name",
        description="The bucket that receives the files. It must exist.",
        examples=["partner-exports"],
        json_schema_extra={"pattern": patterns.PUBLISHED_GOOGLE_BUCKET},
    )
    path: Annotated[str, patterns.matches(patterns.object_path_problem)] = Field(
        title="Folder path",
        description="Folder in the bucket, without the bucket's name. It is created with the first file.",
        examples=["exports/crm"],
        json_schema_extra={"pattern": patterns.PUBLISHED_OBJECT_PATH},
    )

    def folder(self) -> str:
        """The folder in the bucket."""
        return as_folder(self.path)


# Opening

UPLOADS: Final = "storage.multipartUploads.list and storage.multipartUploads.abort"
RIGHTS: Final = RequiredPermissions(
    write="storage.objects.create and storage.multipartUploads.create",
    read="storage.objects.get",
    list="storage.objects.list",
    delete="storage.objects.delete",
)


_GOOGLE: Final = "https://storage.googleapis.com"


def open_sink(credentials: Params | None, params: TargetParams, sandbox_location: SandboxLocation) -> Sink:
    """A sink for the bucket. Sends no request to the store."""
    assert isinstance(credentials, HmacKey)  # noqa: S101 - parsed with this destination's own model
    assert isinstance(params, GoogleParams)  # noqa: S101 - as above
    endpoint = credentials.endpoint_url.rstrip("/") if credentials.endpoint_url else None
    url = endpoint or _GOOGLE
    key: S3Credential = {
        "access_key_id": credentials.access_key_id,
        "secret_access_key": credentials.secret_access_key.get_secret_value(),
        "expires_at": None,
    }
    store = S3Store(
        params.bucket_name,
        credential_provider=fixed(key),
        config=signed_at(url),
        region="auto",
        virtual_hosted_style_request=False,
        # Google's XML API does not support tags, bulk deletes and conditional puts.
        disable_tagging=True,
        disable_bulk_delete=True,
        conditional_put="disabled",
        unsigned_payload=endpoint is None or endpoint.startswith("https:"),
        client_options=client_options(sandbox_location.network, Endpoint(url, chosen=endpoint is not None)),
        retry_config=RETRIES,
    )
    bucket = Bucket(
        f"gs://{params.bucket_name}",
        endpoint or "Google Cloud Storage",
        RIGHTS,
        sandbox_location.network,
        guarded=endpoint is not None,
    )
    uploads = UnfinishedUploads(
        root=bucket.root,
        bucket=params.bucket_name,
        prefix="",
        client=lambda: make_client(
            "s3", sandbox_location.network, region="auto", endpoint=url, credential=key, guarded=bucket.guarded
        ),
        rights=UPLOADS,
        by_folder=endpoint is None,
    )
    return ObjectStoreSink(store, bucket, StoreOverrides(clear=uploads.abort))


def answer(credentials: Params | None, sandbox_location: SandboxLocation) -> bool:
    """Whether the store answers."""
    assert isinstance(credentials, HmacKey)  # noqa: S101 - parsed with this destination's own model
    return is_answering(
        credentials.endpoint_url or _GOOGLE, sandbox_location.network, guarded=credentials.endpoint_url is not None
    )


# Documentation

GUIDE: Final = SetupGuide(
    summary="Buckets of Google Cloud Storage.",
    needs="A bucket, and an HMAC key of a service account that may write to it.",
    about="Files are uploaded through the XML API with an HMAC key of a service account, in parts of 8 MiB, four at a "
    "time, and appear when they are complete; a failed upload is aborted.",
    rights="A role for the service account on the bucket, and an HMAC key:\n\n```sh\n"
    "gcloud iam roles create offtakeExports --project PROJECT --permissions=storage.objects.create,\\\n"
    "storage.objects.get,storage.objects.list,storage.objects.delete,storage.multipartUploads.create,\\\n"
    "storage.multipartUploads.abort,storage.multipartUploads.listParts,storage.multipartUploads.list\n"
    "gcloud storage buckets add-iam-policy-binding gs://BUCKET --role projects/PROJECT/roles/offtakeExports \\\n"
    "  --member serviceAccount:ACCOUNT\n"
    "gcloud storage hmac create ACCOUNT\n```\n\n"
    f"`storage.multipartUploads.list` is recommended only. {AT_ONCE}",
    limits=(
        f"A file has at most {MOST_PARTS * PART_BYTES // 1024**3} GiB.",
        "Tags, conditional writes and bulk deletes are disabled: Google's XML API does not support them.",
        LOST_ANSWER,
        RETRY_AFTER,
        "Tested with rclone's S3 server and the same options, not with Google itself.",
    ),
)

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
            title="HMAC key",
            about="An interoperability key of a service account.",
        ),
    ),
    parameters=GoogleParams,
    longest_key=1024,
    guide=GUIDE,
    encryption=True,
    open=open_sink,
    answers=answer,
)
