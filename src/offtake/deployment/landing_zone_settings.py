"""Creates the landing zones from the settings; errors name the environment variable."""

import re
from importlib.util import find_spec
from typing import Final
from urllib.parse import urlsplit

from offtake.destinations.base import LandingZones
from offtake.destinations.landing_zone.azure import AzureZones
from offtake.destinations.landing_zone.folder import FolderZones
from offtake.destinations.landing_zone.s3 import S3Zones
from offtake.errors import OfftakeError
from offtake.landing_zone.credentials import AzureSignatures, CredentialIssuer, FolderSignatures, S3Sessions
from offtake.network.egress import Network
from offtake.settings import Settings
from offtake.store.database import Database
from offtake.store.vault import Vault

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
# Excludes characters that keys should not have, and wildcards and variables of policies. A session policy is limited to
# 2048 characters, and contains the folder twice.
_PREFIX: Final = re.compile(r"(?:[A-Za-z0-9!_.()'=@+-]+/)*[A-Za-z0-9!_.()'=@+-]+")
_MOST_PREFIX: Final = 200
_CONTAINERS: Final = re.compile(r"[a-z0-9](?:-?[a-z0-9]){0,9}")
_MOST_CONTAINERS: Final = 10
_REGION: Final = re.compile(r"[a-z0-9-]{1,50}")
_ROLE: Final = re.compile(r"arn:[a-z0-9-]*:iam::[A-Za-z0-9-]*:role/[\x21-\x7e]{1,512}")
_OF: Final = {
    "landing_zone_connection_string": "azure://",
    "landing_zone_endpoint": "s3://",
    "landing_zone_region": "s3://",
    "landing_zone_role": "s3://",
}


def zones_of(settings: Settings, network: Network) -> LandingZones:
    """The deployment's landing zones; raises `OfftakeError` for invalid settings.

    `network`: its authorities and read timeout apply to the zones too. Their hosts may be private addresses, but not
    metadata services.
    """
    location = settings.landing_zone or ""
    scheme, separator, rest = location.partition("://")
    for name, needed in _OF.items():
        if getattr(settings, name) is not None and not location.startswith(needed):
            raise OfftakeError(f"OFFTAKE_{name.upper()} is set, but OFFTAKE_LANDING_ZONE does not start with {needed}.")
    trusted = network.for_operator()
    if not separator:
        return FolderZones(settings.landing_zone_root)
    if scheme == "azure":
        return _azure(settings, rest.strip("/"), trusted)
    if scheme == "s3":
        return _s3(settings, rest.strip("/"), trusted)
    raise OfftakeError("OFFTAKE_LANDING_ZONE must be a folder, or start with azure:// or s3://.")


def credential_issuer(settings: Settings, zones: LandingZones, database: Database, vault: Vault) -> CredentialIssuer:
    """The issuer of credentials for these zones."""
    lifetime_ms = settings.landing_zone_credential_seconds * 1000
    match zones:
        case AzureZones():
            return AzureSignatures(database, vault, zones, lifetime_ms)
        case S3Zones():
            return S3Sessions(database, zones, lifetime_ms)
        case _:
            return FolderSignatures(database, vault, lifetime_ms)


def _azure(settings: Settings, prefix: str, network: Network) -> AzureZones:
    _need("azure", "azure.storage.blob")
    if prefix and not (_CONTAINERS.fullmatch(prefix) and len(prefix) <= _MOST_CONTAINERS):
        raise OfftakeError(
            f"OFFTAKE_LANDING_ZONE: the prefix after azure:// must be at most {_MOST_CONTAINERS} lower-case letters, "
            "digits and single hyphens."
        )
    if settings.landing_zone_connection_string is None:
        raise OfftakeError(
            "OFFTAKE_LANDING_ZONE_CONNECTION_STRING is not set: azure:// requires an account with its key."
        )
    zones = AzureZones(settings.landing_zone_connection_string, prefix, network)
    try:
        endpoint = zones.account.endpoint
    except ValueError as error:
        raise OfftakeError(f"OFFTAKE_LANDING_ZONE_CONNECTION_STRING {error}.") from None
    _judge(endpoint, "OFFTAKE_LANDING_ZONE_CONNECTION_STRING", network)
    return zones


def _s3(settings: Settings, place: str, network: Network) -> S3Zones:
    _need("aws", "botocore")
    bucket, _, prefix = place.partition("/")
    if not _BUCKET.fullmatch(bucket) or (prefix and not (_PREFIX.fullmatch(prefix) and len(prefix) <= _MOST_PREFIX)):
        raise OfftakeError(
            "OFFTAKE_LANDING_ZONE must have the form s3://bucket/prefix; the prefix may have letters, digits and "
            f"! _ . ' ( ) = @ + - /, at most {_MOST_PREFIX} characters."
        )
    if settings.landing_zone_role is None:
        raise OfftakeError("OFFTAKE_LANDING_ZONE_ROLE is not set: consumers get temporary sessions of that role.")
    if not _ROLE.fullmatch(settings.landing_zone_role):
        raise OfftakeError("OFFTAKE_LANDING_ZONE_ROLE must be the ARN of a role: arn:aws:iam::123456789012:role/name.")
    region = settings.landing_zone_region or "us-east-1"
    if not _REGION.fullmatch(region):
        raise OfftakeError("OFFTAKE_LANDING_ZONE_REGION must be a region such as eu-central-1.")
    endpoint = settings.landing_zone_endpoint.rstrip("/") if settings.landing_zone_endpoint else None
    if endpoint is not None and not _is_endpoint(endpoint):
        raise OfftakeError("OFFTAKE_LANDING_ZONE_ENDPOINT must be a URL such as https://minio.example.org:9000.")
    if endpoint is not None:
        _judge(endpoint, "OFFTAKE_LANDING_ZONE_ENDPOINT", network)
    return S3Zones(bucket, prefix, settings.landing_zone_role, region, endpoint, network)


def _judge(endpoint: str, setting: str, network: Network) -> None:
    if network.is_host_denied(urlsplit(endpoint).hostname or ""):
        raise OfftakeError(
            f"{setting} names a metadata or link-local address. Name another host, or allow it in OFFTAKE_EGRESS_ALLOW."
        )


def _is_endpoint(text: str) -> bool:
    try:
        url = urlsplit(text)
        named = url.hostname is not None and url.port != 0
    except ValueError:
        return False
    return named and url.scheme in ("http", "https") and not (url.username or url.password or url.query or url.path)


def _need(extra: str, module: str) -> None:
    try:
        found = find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise OfftakeError(f"OFFTAKE_LANDING_ZONE needs the extra offtake[{extra}], which is not installed.")
