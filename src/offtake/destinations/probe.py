"""A small object written, read back, listed and removed: whether a place can be delivered to, and what is missing."""

import contextlib
from collections.abc import Callable
from typing import Final
from uuid import uuid4

from offtake.destinations.base import Sink
from offtake.errors import DESTINATION_UNAVAILABLE, DeliveryError

_CONTENT: Final = b"Offtake was here to see whether it can deliver; this file may be deleted.\n"


def probe(sink: Sink, folder: str, *, reads_back: bool = True) -> list[DeliveryError]:
    """What cannot be done in the folder, nothing when everything can. Nothing stays behind, where that may be removed.

    The object is in a folder of its own, so that a list is short whatever else is there. Its name has no extension:
    who waits for data there does not take it. With `reads_back` false, the place is known to be written only: then
    nothing but that is tried, in the folder itself.
    """
    own = "/".join(part for part in (folder.strip("/"), f"offtake-probe-{uuid4()}") if part)
    key = f"{own}/probe" if reads_back else own
    refused = _attempt(lambda: sink.put(key, [_CONTENT]) == len(_CONTENT), sink, key)
    if refused:
        return refused
    if not reads_back:
        with contextlib.suppress(DeliveryError):
            sink.delete(key)
        return []
    return [
        *_attempt(lambda: sink.size(key) == len(_CONTENT) and b"".join(sink.read(key)) == _CONTENT, sink, key),
        *_attempt(lambda: [one.key for one in sink.list(own)] == [key], sink, key),
        *_attempt(lambda: _is_missing(sink, key), sink, key),
    ]


def _is_missing(sink: Sink, key: str) -> bool:
    sink.delete(key)
    return True


def _attempt(act: Callable[[], bool], sink: Sink, key: str) -> list[DeliveryError]:
    try:
        if act():
            return []
    except DeliveryError as error:
        return [error]
    return [
        DeliveryError(
            DESTINATION_UNAVAILABLE,
            f"{sink.uri(key)} was written, but is not there as it was written.",
            "Check what else writes to this place.",
            transient=False,
        )
    ]
