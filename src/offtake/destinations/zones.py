"""The types of landing zones and the names of their containers."""

from collections.abc import Mapping
from typing import Final, Literal, get_args

ZoneType = Literal["dlz_destination", "user_drop_zone"]
TYPES: Final[tuple[ZoneType, ...]] = get_args(ZoneType)
CONTAINERS: Final[Mapping[ZoneType, str]] = {
    "dlz_destination": "dlz-destination",
    "user_drop_zone": "dlz-user-container",
}
SETTINGS: Final = "the server's settings OFFTAKE_LANDING_ZONE…"
"""Where to correct the credentials of a zone, for error messages."""
