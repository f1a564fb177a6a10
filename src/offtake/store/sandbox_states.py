"""The states of a sandbox."""

from typing import Final

ACTIVE: Final = "active"
RESETTING: Final = "resetting"
DELETING: Final = "deleting"
DELETED: Final = "deleted"
