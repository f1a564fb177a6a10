"""Lent credentials, renewed before they expire. Runs in worker processes: PyIceberg is not imported."""

import time
from typing import Final

from offtake.lake.storage.access import FileAccess

_LEFT_MS: Final = 300_000
_MOST_LENT: Final = 256

_lent: dict[FileAccess, FileAccess] = {}
"""The newest credentials of this process, by the access that they replace."""


def current(access: FileAccess) -> FileAccess:
    """The access with credentials that last for at least five minutes, if the catalog lends them.

    Raises `DeliveryError` when the catalog does not answer.
    """
    if access.renewal is None or access.expires_ms is None:
        return access
    newest = _lent.get(access, access)
    if (newest.expires_ms or 0) - time.time() * 1000 > _LEFT_MS:
        return newest
    if len(_lent) > _MOST_LENT:
        _lent.clear()
    _lent[access] = access.renewal()
    return _lent[access]
