"""A small object written, found, read back and removed: whether a place can be delivered to."""

from typing import Final
from uuid import uuid4

from offtake.destinations.contract import Sink
from offtake.errors import DeliveryError

_CONTENT: Final = b"Offtake was here to see whether it can deliver; this file may be deleted.\n"


def probe(sink: Sink, folder: str) -> DeliveryError | None:
    """The first thing that cannot be done in the folder, None when everything can; nothing stays behind."""
    key = "/".join(part for part in (folder.strip("/"), f"offtake-probe-{uuid4()}.txt") if part)
    try:
        sink.put(key, [_CONTENT])
    except DeliveryError as error:
        return error
    try:
        found = sink.size(key) == len(_CONTENT) and b"".join(sink.read(key)) == _CONTENT
    except DeliveryError as error:
        sink.delete(key)
        return error
    try:
        sink.delete(key)
    except DeliveryError as error:
        return error
    if found:
        return None
    return DeliveryError(
        "EXPORT-2003-504",
        f"{sink.uri(key)} was written, but is not there as it was written.",
        "Check what else writes to this place.",
    )
