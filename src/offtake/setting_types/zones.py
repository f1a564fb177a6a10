"""The Data Landing Zone: its place, and the lifetimes of its files and credentials."""

from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr

from offtake.setting_types.reading import text_of

LandingZone = Annotated[
    str | None,
    BeforeValidator(text_of),
    Field(
        description="Place of the Data Landing Zone: a folder, `azure://` with an optional prefix of its containers' "
        "names, or `s3://bucket/prefix`. Default: a folder of the data directory."
    ),
]
LandingZoneConnectionString = Annotated[
    SecretStr | None, Field(description="Connection string, with account key, of the storage account for `azure://`.")
]
LandingZoneEndpoint = Annotated[
    str | None, Field(description="URL of the S3-compatible store of `s3://`; default: Amazon S3.")
]
LandingZoneRegion = Annotated[str | None, Field(description="Region of the bucket of `s3://`; default: us-east-1.")]
LandingZoneRole = Annotated[
    str | None,
    Field(
        description="ARN of a role, for `s3://`. Consumers get temporary sessions of it that can only read one zone."
    ),
]
LandingZoneRetentionDays = Annotated[
    int, Field(ge=0, le=36_500, description="Days after which a file of the Data Landing Zone is deleted; 0: never.")
]
LandingZoneCredentialSeconds = Annotated[
    int,
    Field(
        ge=600,
        le=36_500 * 86_400,
        description="Lifetime of credentials of the Data Landing Zone, in seconds; at most 3600 for `azure://`, 900 to "
        "3600 for `s3://`.",
    ),
]
