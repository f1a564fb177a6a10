"""All destinations, in the contract's order. A new one is one file and one line here."""

from typing import Final

from offtake.destinations import (
    amazon_s3,
    azure_blob_storage,
    azure_data_lake_gen2,
    data_landing_zone,
    google_cloud_storage,
    sftp,
)
from offtake.destinations.base import Destination

DESTINATIONS: Final[tuple[Destination, ...]] = (
    amazon_s3.DESTINATION,
    azure_blob_storage.DESTINATION,
    azure_data_lake_gen2.DESTINATION,
    data_landing_zone.DESTINATION,
    google_cloud_storage.DESTINATION,
    sftp.DESTINATION,
)


def by_connection_spec_id(spec_id: str) -> Destination | None:
    """The destination with that connection spec id; None when there is none."""
    return next((one for one in DESTINATIONS if one.connection_spec_id == spec_id), None)
