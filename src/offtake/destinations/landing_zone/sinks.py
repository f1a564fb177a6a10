"""The sink of a sandbox's landing zone, wherever the deployment keeps it."""

from offtake.destinations.base import SandboxLocation
from offtake.destinations.drivers.local_folder import LocalFolderSink
from offtake.destinations.drivers.object_store import ObjectStoreSink
from offtake.destinations.landing_zone import azure, s3
from offtake.destinations.zones import AzureZones, LocalZones, ZoneType

ZoneSink = LocalFolderSink | ObjectStoreSink


def open_zone(site: SandboxLocation, kind: ZoneType) -> ZoneSink:
    """The zone as it is; raises `DeliveryError`. One that nothing was written to yet need not be there."""
    zones, owner, sandbox = site.zones, site.organisation, site.sandbox_name
    if isinstance(zones, LocalZones):
        return LocalFolderSink(zones.folder(sandbox, kind))
    if isinstance(zones, AzureZones):
        return azure.open_container(zones, zones.container(owner, sandbox, kind))
    return s3.open_folder(zones, zones.folder(owner, sandbox, kind))


def open_zone_to_write(site: SandboxLocation, kind: ZoneType) -> ZoneSink:
    """The zone, made when it is not there; raises `DeliveryError`."""
    if isinstance(site.zones, AzureZones):
        azure.make_container(site.zones, site.zones.container(site.organisation, site.sandbox_name, kind))
    return open_zone(site, kind)
