"""The sink of a sandbox's landing zone, wherever the deployment keeps it."""

from offtake.destinations import azure_zone, s3_zone
from offtake.destinations.contract import Site
from offtake.destinations.landing_zones import AzureZones, LocalZones, ZoneType
from offtake.destinations.local_folder import LocalFolderSink
from offtake.destinations.object_store import ObjectStoreSink

ZoneSink = LocalFolderSink | ObjectStoreSink


def open_zone(site: Site, kind: ZoneType) -> ZoneSink:
    """The zone as it is; raises `DeliveryError`. One that nothing was written to yet need not be there."""
    zones, owner, sandbox = site.zones, site.organisation, site.sandbox_name
    if isinstance(zones, LocalZones):
        return LocalFolderSink(zones.folder(sandbox, kind))
    if isinstance(zones, AzureZones):
        return azure_zone.open_container(zones, zones.container(owner, sandbox, kind))
    return s3_zone.open_folder(zones, zones.folder(owner, sandbox, kind))


def open_zone_to_write(site: Site, kind: ZoneType) -> ZoneSink:
    """The zone, made when it is not there; raises `DeliveryError`."""
    if isinstance(site.zones, AzureZones):
        azure_zone.make_container(site.zones, site.zones.container(site.organisation, site.sandbox_name, kind))
    return open_zone(site, kind)
