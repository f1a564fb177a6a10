"""Amazon S3 and S3-compatible stores."""

import re
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal, Self

from obstore.store import S3Store
from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from offtake.destinations import patterns
from offtake.destinations.base import AuthMethod, Destination, Driver, SandboxLocation, SetupGuide, Sink
from offtake.destinations.drivers.assumed_role import AssumedRole, assumed_role
from offtake.destinations.drivers.aws_client import RIGHTS, UPLOADS, fixed, make_client
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
from offtake.destinations.drivers.s3_address import StoreAddress
from offtake.destinations.parameters import EXTENSION, Params, TargetParams, as_folder
from offtake.errors import DeliveryError
from offtake.network.http import is_answering
from offtake.network.object_clients import RETRIES, Endpoint, amazon_url, bucket_url, client_options, signed_at

if TYPE_CHECKING:
    # The driver states these types in its stubs only.
    from obstore.store import S3Config, S3Credential

# Identity

NAME: Final = "Amazon S3"

# Credentials


_ROLE: Final = re.compile(r"arn:aws[a-z-]{0,20}:iam::\d{12}:role/([\x21-\x7e]{1,512}/)?[A-Za-z0-9+=,.@_-]{1,64}")
_ORGANISATION: Final = "@AdobeOrg"


def _role(sent: SecretStr) -> SecretStr:
    if _ROLE.fullmatch(sent.get_secret_value()):
        return sent
    raise ValueError("must be the ARN of a role, such as arn:aws:iam::123456789012:role/exports")


def _external_id(sent: str | None) -> str | None:
    """Refuse ids of organisations, so that no organisation can assume a role that trusts another one's id."""
    if sent is not None and sent.endswith(_ORGANISATION):
        raise ValueError("must not be an organisation's id; without this field, your own organisation's id is sent")
    return sent


class AccessKey(StoreAddress):
    """An access key. The published patterns match Amazon's keys only; keys of compatible stores are accepted too."""

    s3_access_key: str = Field(
        min_length=1,
        title="Access key id",
        description="The id of the access key. In the AWS console: IAM, Users, the user, Security credentials. A "
        "compatible store shows it where access keys are created.",
        examples=["AKIAIOSFODNN7EXAMPLE"],
        json_schema_extra={"pattern": "^[A-Z2-7]{20}$"},
    )
    s3_secret_key: SecretStr = Field(
        min_length=1,
        title="Secret access key",
        description="The secret of the access key. It is shown only when the key is created; if it is lost, create "
        "another key.",
        examples=["40 characters"],
        json_schema_extra={"pattern": r"^[A-Za-z0-9/\+]{40}$"},
    )


class Role(StoreAddress):
    """A role that this deployment's own identity assumes."""

    s3_role: Annotated[SecretStr, AfterValidator(_role)] = Field(
        title="Role ARN",
        description="ARN of the role to assume. In the AWS console: IAM, Roles, the role, Summary.",
        examples=["arn:aws:iam::123456789012:role/exports"],
    )
    external_id: Annotated[str | None, AfterValidator(_external_id)] = Field(
        default=None,
        pattern=r"^[A-Za-z0-9+=,.@:/_-]{2,1224}$",
        title="External id",
        description="The external id that the role's trust policy requires. Default: the organisation's id.",
        examples=["partner-4711"],
        json_schema_extra=EXTENSION,
    )


# Parameters


StorageClass = Literal["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"]
"""Classes whose objects can be read immediately."""


class S3Params(TargetParams):
    """A bucket, and a folder in it."""

    advanced: ClassVar[frozenset[str]] = TargetParams.advanced | {
        "storage_class",
        "server_side_encryption",
        "kms_key_id",
        "bucket_owner_full_control",
    }

    bucket_name: Annotated[str, patterns.matches(patterns.bucket_problem)] = Field(
        title="Bucket name",
        description="The bucket that receives the files. It must exist.",
        examples=["partner-exports"],
        json_schema_extra={
            "pattern": patterns.PUBLISHED_BUCKET,
            "uiAttributes": {"tooltip": {"id": "platform_destinations_connect_s3_bucket"}},
        },
    )
    path: Annotated[str, patterns.matches(patterns.object_path_problem)] = Field(
        title="Folder path",
        description="Folder in the bucket, without the bucket's name. It is created with the first file.",
        examples=["exports/crm"],
        json_schema_extra={
            "pattern": patterns.PUBLISHED_OBJECT_PATH,
            "uiAttributes": {"tooltip": {"id": "platform_destinations_connect_s3_folderpath"}},
        },
    )

    storage_class: StorageClass | None = Field(
        default=None,
        title="Storage class",
        description="Storage class of the files. Default: that of the bucket.",
        examples=["STANDARD_IA"],
        json_schema_extra=EXTENSION,
    )
    server_side_encryption: Literal["SSE-S3", "SSE-KMS"] | None = Field(
        default=None,
        title="Server-side encryption",
        description="How the store encrypts the files at rest. Default: as the bucket is configured.",
        examples=["SSE-KMS"],
        json_schema_extra=EXTENSION,
    )
    kms_key_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9:/_-]{1,2048}$",
        title="KMS key",
        description="Key for SSE-KMS: its id, ARN or alias. Default: the account's AWS managed key.",
        examples=["arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"],
        json_schema_extra=EXTENSION,
    )
    bucket_owner_full_control: bool = Field(
        default=False,
        title="Bucket owner has full control",
        description="Send the ACL bucket-owner-full-control with every file, for buckets of other accounts that "
        "still use ACLs.",
        examples=[True],
        json_schema_extra=EXTENSION,
    )

    def folder(self) -> str:
        """The folder in the bucket."""
        return as_folder(self.path)

    @model_validator(mode="after")
    def _key_needs_kms(self) -> Self:
        if self.kms_key_id is not None and self.server_side_encryption != "SSE-KMS":
            raise PydanticCustomError("kms", "kmsKeyId requires serverSideEncryption SSE-KMS")
        return self


# Opening


def open_sink(credentials: Params | None, params: TargetParams, sandbox_location: SandboxLocation) -> Sink:
    """A sink for the bucket. Sends no request to the store, except to assume a role."""
    assert isinstance(credentials, AccessKey | Role)  # noqa: S101 - parsed with one of this destination's own models
    assert isinstance(params, S3Params)  # noqa: S101 - as above
    region = credentials.region or "us-east-1"
    endpoint = credentials.endpoint_url.rstrip("/") if credentials.endpoint_url else None
    is_virtual = credentials.addressing_style == "VIRTUAL"
    url = endpoint or amazon_url(region)
    store_url = bucket_url(url, params.bucket_name) if is_virtual else url
    options = client_options(sandbox_location.network, Endpoint(store_url, chosen=endpoint is not None))
    if params.bucket_owner_full_control:
        # The driver signs these like its own headers.
        options["default_headers"] = {"x-amz-acl": "bucket-owner-full-control"}
    role = None
    if isinstance(credentials, Role):
        role = _assume(credentials, region, sandbox_location)
    store = S3Store(
        params.bucket_name,
        region=region,
        # Buckets with dots in their names, and most compatible stores, need the path style.
        virtual_hosted_style_request=is_virtual,
        # Deleted one by one, a refusal names its object.
        disable_bulk_delete=True,
        # TLS protects the payload; signing it too would take most of an upload's CPU time.
        unsigned_payload=endpoint is None or endpoint.startswith("https:"),
        client_options=options,
        retry_config=RETRIES,
        credential_provider=role or fixed(_credential(credentials)),
        # For the virtual-hosted style, the driver needs the bucket in the endpoint.
        config=_config(params, store_url),
    )
    bucket = _bucket(params, endpoint, role, sandbox_location)
    uploads = UnfinishedUploads(
        root=bucket.root,
        bucket=params.bucket_name,
        prefix="",
        client=lambda: make_client(
            "s3",
            sandbox_location.network,
            region=region,
            endpoint=url,
            credential=role() if role else _credential(credentials),
            guarded=bucket.guarded,
            is_virtual=is_virtual,
        ),
        rights=UPLOADS,
        by_folder=endpoint is None,
    )
    return ObjectStoreSink(store, bucket, StoreOverrides(clear=uploads.abort))


def _config(params: S3Params, url: str) -> "S3Config":
    config = signed_at(url)
    if params.server_side_encryption is not None:
        config["server_side_encryption"] = _ENCRYPTION[params.server_side_encryption]
    if params.kms_key_id is not None:
        config["sse_kms_key_id"] = params.kms_key_id
    return config


def _bucket(
    params: S3Params, endpoint: str | None, role: AssumedRole | None, sandbox_location: SandboxLocation
) -> Bucket:
    return Bucket(
        root=f"s3://{params.bucket_name}",
        endpoint=endpoint or "Amazon S3",
        rights=RIGHTS,
        network=sandbox_location.network,
        guarded=endpoint is not None,
        attributes={"Storage-Class": params.storage_class} if params.storage_class else {},
        refusal=(lambda: role.refusal) if role else lambda: None,
        forget=role.forget if role else lambda: None,
    )


def pin(credentials: Params, params: TargetParams | None, sandbox_location: SandboxLocation) -> Params:
    """The credentials with the addressing style in which the store lists the folder.

    If neither style works (the permission to list may be missing), the credentials are unchanged: the path style is
    used, and the next connection tries again. Raises `DeliveryError` when the store does not answer.
    """
    assert isinstance(credentials, AccessKey | Role)  # noqa: S101 - parsed with one of this destination's own models
    if params is None:
        return credentials
    for style in ("PATH", "VIRTUAL"):
        tried = credentials.model_copy(update={"addressing_style": style})
        if _lists(tried, params, sandbox_location, is_first=style == "PATH"):
            return tried
    return credentials


def _lists(credentials: Params, params: TargetParams, sandbox_location: SandboxLocation, *, is_first: bool) -> bool:
    try:
        sink = open_sink(credentials, params, sandbox_location)
        try:
            next(iter(sink.list(params.folder())), None)
        finally:
            sink.close()
    except DeliveryError as error:
        # With the virtual-hosted style, the bucket's host name may not exist.
        if is_first and error.unreachable:
            raise
        return False
    return True


def answer(credentials: Params | None, sandbox_location: SandboxLocation) -> bool:
    """Whether the store answers."""
    assert isinstance(credentials, AccessKey | Role)  # noqa: S101 - parsed with one of this destination's own models
    endpoint = credentials.endpoint_url
    return is_answering(
        endpoint or amazon_url(credentials.region or "us-east-1"),
        sandbox_location.network,
        guarded=endpoint is not None,
    )


def _credential(key: AccessKey | Role) -> "S3Credential":
    assert isinstance(key, AccessKey)  # noqa: S101 - a role has temporary credentials
    return {
        "access_key_id": key.s3_access_key,
        "secret_access_key": key.s3_secret_key.get_secret_value(),
        "expires_at": None,
    }


_ENCRYPTION: Final[dict[str, str]] = {"SSE-S3": "AES256", "SSE-KMS": "aws:kms"}


def _assume(credentials: Role, region: str, sandbox_location: SandboxLocation) -> AssumedRole:
    role = assumed_role(
        credentials.s3_role.get_secret_value(),
        credentials.external_id or sandbox_location.organisation,
        region,
        f"offtake-{sandbox_location.sandbox_name}"[:64],
    )
    role()
    return role


# Documentation

_POLICY: Final = """{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": ["s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
      "Resource": "arn:aws:s3:::BUCKET/FOLDER/*"
    },
    {
      "Effect": "Allow",
      "Action": "s3:ListBucket",
      "Resource": "arn:aws:s3:::BUCKET",
      "Condition": {"StringLike": {"s3:prefix": "FOLDER/*"}}
    },
    {
      "Effect": "Allow",
      "Action": "s3:ListBucketMultipartUploads",
      "Resource": "arn:aws:s3:::BUCKET"
    }
  ]
}"""
_TRUST: Final = """{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Principal": {"AWS": "arn:aws:iam::ACCOUNT:role/IDENTITY-OF-THIS-DEPLOYMENT"},
      "Action": "sts:AssumeRole",
      "Condition": {"StringEquals": {"sts:ExternalId": "EXTERNAL-ID"}}
    }
  ]
}"""
GUIDE: Final = SetupGuide(
    summary="Buckets of Amazon S3 and of compatible stores such as MinIO, Ceph and Cloudflare R2.",
    needs="A bucket, and an access key or a role that may write to it.",
    about="Files are uploaded in parts of 8 MiB, four at a time, and appear when they are complete; a failed upload is "
    "aborted. S3-compatible stores (MinIO, Ceph, Cloudflare R2 and others) work with `endpointUrl`.",
    rights=f"For the access key's user, or the role:\n\n```json\n{_POLICY}\n```\n\n"
    f"The trust policy of a role, for the identity that the server runs under. The external id is that of the "
    f"account (`externalId`), or else the id of the organisation, which no other organisation of the same deployment "
    f"can send:\n\n```json\n{_TRUST}\n```\n\n"
    "With SSE-KMS, also `kms:GenerateDataKey` and `kms:Decrypt` on the key; if the bucket owner gets full control, "
    "also `s3:PutObjectAcl`.\n\n`s3:ListBucketMultipartUploads` and `s3:AbortMultipartUpload` are recommended only. "
    f"{AT_ONCE}",
    limits=(
        f"A file has at most {MOST_PARTS * PART_BYTES // 1024**3} GiB.",
        (
            "Amazon is addressed in the path style. For a compatible store, set `addressingStyle`; without it, "
            "Offtake finds the style by listing the folder, first in the path style."
        ),
        "Role credentials are valid for an hour and renewed five minutes before they expire.",
        "Server-side encryption with customer-provided keys (SSE-C) is not supported.",
        "Archive storage classes are not supported: consumers could not read the files immediately.",
        LOST_ANSWER,
        RETRY_AFTER,
        "Tested with rclone's and moto's servers, not with Amazon itself.",
    ),
)

DESTINATION: Final = Destination(
    name=NAME,
    connection_spec_id="4fce964d-3f37-408f-9778-e597338a21ee",
    flow_spec_id="269ba276-16fc-47db-92b0-c1049a3c131f",
    flow_spec_name="DatasetsToAmazonS3",
    auth_methods=(
        AuthMethod(
            "Access Key",
            "KeyBased",
            "Defines auth params required for connecting to amazon-s3",
            AccessKey,
            title="Access key",
            about="The access key of an IAM user, or of a user of an S3-compatible store.",
        ),
        AuthMethod(
            "Assumed Role",
            "S3RoleBased",
            "Defines auth params required for connecting to amazon-s3 with an assumed role",
            Role,
            title="Assumed role",
            about="An IAM role that trusts the identity of this server. No secret is stored here.",
            driver=Driver("botocore", "aws"),
        ),
    ),
    parameters=S3Params,
    longest_key=1024,
    guide=GUIDE,
    encryption=True,
    open=open_sink,
    pin=pin,
    answers=answer,
)
