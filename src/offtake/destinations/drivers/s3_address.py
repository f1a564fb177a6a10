"""Where an S3-compatible store is: endpoint, region, and how its buckets are addressed."""

from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field

from offtake.destinations.parameters import Params, address_of

AddressingStyle = Literal["PATH", "VIRTUAL"]


class StoreAddress(Params):
    """Where the bucket is."""

    free: ClassVar[frozenset[str]] = frozenset({"region", "addressing_style"})

    endpoint_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#@\s]+(/[0-9A-Za-z_~-][0-9A-Za-z._~-]*)*/?$",
        title="Endpoint",
        description="Address of an S3-compatible store, with the path where it has one (https://HOST/storage/v1/s3); "
        "leave out for Amazon. An extension of this project.",
        examples=["https://minio.example.org:9000"],
    )
    region: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9-]{1,40}$",
        title="Region",
        description="Region of the bucket; us-east-1 when left out. An extension of this project.",
        examples=["eu-central-1"],
    )

    addressing_style: AddressingStyle | None = Field(
        default=None,
        title="Addressing style",
        description="How an S3-compatible store takes the bucket: PATH (https://HOST/BUCKET) or VIRTUAL "
        "(https://BUCKET.HOST). Found and recorded at the first connection when left out. An extension.",
        examples=["PATH"],
    )

    @property
    def needs_pinning(self) -> bool:
        """True until it is known how a compatible store is addressed; Amazon takes both."""
        return self.endpoint_url is not None and self.addressing_style is None

    def endpoint_hosts(self) -> dict[str, str]:
        """The endpoint's."""
        return {"endpointUrl": urlsplit(self.endpoint_url).hostname or ""} if self.endpoint_url else {}

    @property
    def address(self) -> str | None:
        """The endpoint; Amazon has many servers behind one name."""
        return address_of(self.endpoint_url) if self.endpoint_url else None


def bucket_url(url: str, bucket: str) -> str:
    """The address of the bucket in the virtual style."""
    split = urlsplit(url)
    return split._replace(netloc=f"{bucket}.{split.netloc}").geturl()


def amazon_url(region: str) -> str:
    """The address of Amazon S3 in a region."""
    return f"https://s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
