"""Where a deployment keeps its landing zones: folders, containers of an Azure account, or a bucket's prefix."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args

from pydantic import SecretStr

from offtake.destinations.egress import Network

ZoneType = Literal["dlz_destination", "user_drop_zone"]
TYPES: Final[tuple[ZoneType, ...]] = get_args(ZoneType)
CONTAINERS: Final[Mapping[ZoneType, str]] = {
    "dlz_destination": "dlz-destination",
    "user_drop_zone": "dlz-user-container",
}
SETTINGS: Final = "the server's settings OFFTAKE_LANDING_ZONE…"
"""Where whoever reads an error corrects what a zone is opened with."""

_SLUG: Final = 20
_HASH: Final = 12


@dataclass(frozen=True)
class LocalZones:
    """Folders of one organisation: `<sandbox>`, and `user_drop_zone/<sandbox>`, below a root."""

    root: Path

    def folder(self, sandbox: str, kind: ZoneType) -> Path:
        """The folder of one zone. No sandbox is named like the folder that holds the drop zones."""
        return self.root / sandbox if kind == "dlz_destination" else self.root / kind / sandbox


@dataclass(frozen=True)
class AzureZones:
    """Containers of a storage account. `connection_string`: with the account's key, which signs for consumers.

    `prefix`: what the names of the containers begin with. `network`: whose authorities are trusted, and the patience;
    the account is the operator's choice, so that it may be in a private network.
    """

    connection_string: SecretStr
    prefix: str = ""
    network: Network = field(default_factory=Network)

    def container(self, organisation: str, sandbox: str, kind: ZoneType) -> str:
        """The container of one zone, a name that Azure takes: at most 63 letters, digits and single hyphens.

        Sandboxes' names are longer, and those of two organisations may be the same, so that a hash tells them apart.
        """
        slug = re.sub("-+", "-", sandbox)[:_SLUG].strip("-")
        digest = hashlib.sha256(f"{organisation}\n{sandbox}".encode()).hexdigest()[:_HASH]
        return "-".join(part for part in (self.prefix, CONTAINERS[kind], slug, digest) if part)


@dataclass(frozen=True)
class S3Zones:
    """Folders of a bucket: `<prefix>/<organisation>/<sandbox>/<container>`.

    `endpoint`: None for Amazon's own. `role`: the ARN of the role whose sessions, limited to a zone, consumers get.
    The server itself acts with its own identity, which is what Amazon's chain finds. `network`: as for Azure.
    """

    bucket: str
    prefix: str
    role: str
    region: str = "us-east-1"
    endpoint: str | None = None
    network: Network = field(default_factory=Network)

    @property
    def url(self) -> str:
        """Whom requests go to; consumers are told so too."""
        return (
            self.endpoint or f"https://s3.{self.region}.amazonaws.com{'.cn' if self.region.startswith('cn-') else ''}"
        )

    def folder(self, organisation: str, sandbox: str, kind: ZoneType) -> str:
        """The folder of one zone, without a slash at its ends."""
        return "/".join(part for part in (self.prefix, organisation, sandbox, CONTAINERS[kind]) if part)


Zones = LocalZones | AzureZones | S3Zones
