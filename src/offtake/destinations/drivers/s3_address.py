"""The location of an S3-compatible store: endpoint, region, and addressing style."""

from collections.abc import Mapping
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field

from offtake.destinations.parameters import EXTENSION, Params, address_of

AddressingStyle = Literal["PATH", "VIRTUAL"]


class StoreAddress(Params):
    """The location of the bucket."""

    free: ClassVar[frozenset[str]] = frozenset({"region", "addressing_style"})
    advanced: ClassVar[frozenset[str]] = frozenset({"addressing_style"})
    choice_labels: ClassVar[Mapping[str, str]] = {
        "PATH": "In the path: https://HOST/BUCKET",
        "VIRTUAL": "In the host name: https://BUCKET.HOST",
    }
    form_help: ClassVar[Mapping[str, str]] = {
        "addressing_style": "Where the bucket is in the URLs of an S3-compatible store. By default, it is found and "
        "recorded at the first connection.",
    }

    endpoint_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#@\s]+(/[0-9A-Za-z_~-][0-9A-Za-z._~-]*)*/?$",
        title="Endpoint",
        description="URL of an S3-compatible store such as MinIO, Ceph or Cloudflare R2, with its path if it has one "
        "(https://HOST/storage/v1/s3). Default: Amazon.",
        examples=["https://minio.example.org:9000"],
        json_schema_extra=EXTENSION,
    )
    region: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9-]{1,40}$",
        title="Region",
        description="Region of the bucket. In the AWS console: S3, the bucket, Properties. Default: us-east-1.",
        examples=["eu-central-1"],
        json_schema_extra=EXTENSION,
    )

    addressing_style: AddressingStyle | None = Field(
        default=None,
        title="Addressing style",
        description="Position of the bucket in URLs of an S3-compatible store: PATH (https://HOST/BUCKET) or VIRTUAL "
        "(https://BUCKET.HOST). Default: found and recorded at the first connection.",
        examples=["PATH"],
        json_schema_extra=EXTENSION,
    )

    @property
    def needs_pinning(self) -> bool:
        """True until the addressing style of a compatible store is known; Amazon supports both."""
        return self.endpoint_url is not None and self.addressing_style is None

    def endpoint_hosts(self) -> dict[str, str]:
        """The endpoint's host."""
        return {"endpointUrl": urlsplit(self.endpoint_url).hostname or ""} if self.endpoint_url else {}

    @property
    def address(self) -> str | None:
        """The endpoint; Amazon has many servers behind one name."""
        return address_of(self.endpoint_url) if self.endpoint_url else None
