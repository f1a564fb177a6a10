"""What lies in a sandbox's landing zone: removed when its time is up, or with the sandbox."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from offtake.destinations.base import SandboxLocation
from offtake.destinations.landing_zone import azure, folder, s3
from offtake.destinations.landing_zone.sinks import open_zone
from offtake.destinations.zones import AzureZones, LocalZones, S3Zones, ZoneType
from offtake.errors import DeliveryError

_NOT_THERE: Final = "EXPORT-2002-404"


def zone_url(site: SandboxLocation, kind: ZoneType) -> str:
    """The zone's address, as people write it."""
    zones, owner, sandbox = site.zones, site.organisation, site.sandbox_name
    if isinstance(zones, LocalZones):
        return str(zones.folder(sandbox, kind))
    if isinstance(zones, AzureZones):
        return f"container {zones.container(owner, sandbox, kind)}"
    return f"s3://{zones.bucket}/{zones.folder(owner, sandbox, kind)}"


def expire(site: SandboxLocation, kind: ZoneType, before_ms: int) -> Iterator[int]:
    """Remove files that were last written before the instant; how many went, a step a turn. Raises `DeliveryError`.

    What is being written never goes: in a folder it was written just now, an object is there only once it is whole,
    and one that is replaced while this goes on is left.
    """
    zones = site.zones
    if isinstance(zones, LocalZones):
        yield from folder.expire(zones.folder(site.sandbox_name, kind), before_ms)
        return
    try:
        with _sweeper(site, kind, before_ms) as remove:
            for found in open_zone(site, kind).list(""):
                yield found.modified_ms < before_ms and remove(found.key)
    except DeliveryError as error:
        if not _no_container_yet(site, error):
            raise


def empty(site: SandboxLocation, kind: ZoneType) -> Iterator[None]:
    """Remove everything, a step a turn; signatures that Azure would honour end first. Raises `DeliveryError`.

    The folder or container itself stays: it may be a mount, a link that somebody made, or have rights of its own.
    """
    zones = site.zones
    if isinstance(zones, LocalZones):
        folder = zones.folder(site.sandbox_name, kind)
        for path in folder.iterdir() if folder.is_dir() else ():
            _remove_folder(path)
            yield
        return
    try:
        if isinstance(zones, AzureZones):
            azure.keep_policies(zones, zones.container(site.organisation, site.sandbox_name, kind), dict)
        sink = open_zone(site, kind)
        for found in sink.list(""):
            sink.delete(found.key)
            yield
    except DeliveryError as error:
        if not _no_container_yet(site, error):
            raise


def _no_container_yet(site: SandboxLocation, error: DeliveryError) -> bool:
    """Azure's containers are made when something is written or credentials are asked for; buckets have to be there."""
    return isinstance(site.zones, AzureZones) and error.code == _NOT_THERE


def _sweeper(site: SandboxLocation, kind: ZoneType, before_ms: int) -> AbstractContextManager[Callable[[str], bool]]:
    """Removes an object by its key, unless it was written at the instant or later."""
    zones, owner, sandbox = site.zones, site.organisation, site.sandbox_name
    if isinstance(zones, AzureZones):
        return azure.sweeper(zones, zones.container(owner, sandbox, kind), before_ms)
    assert isinstance(zones, S3Zones)  # noqa: S101 - folders are swept in another way
    folder = zones.folder(owner, sandbox, kind)
    return contextlib.nullcontext(lambda key: s3.remove_unchanged(zones, f"{folder}/{key}", before_ms))


def _remove_folder(path: Path) -> None:
    # Another server may be at the same work.
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
