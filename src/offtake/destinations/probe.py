"""Tests a target by writing, reading, listing and removing a small object."""

import contextlib
from collections.abc import Callable
from typing import Final
from uuid import uuid4

from offtake.destinations.base import Sink
from offtake.errors import DESTINATION_UNAVAILABLE, DeliveryError

_CONTENT: Final = b"Offtake wrote this file to test the connection; it may be deleted.\n"


def probe(sink: Sink, folder: str, *, reads_back: bool = True) -> list[DeliveryError]:
    """The operations that fail in the folder, as errors; empty when all succeed. Removes the object if allowed.

    The object is in its own folder, so that the listing is short. Its name has no extension, so that consumers ignore
    it. With `reads_back` false, files can only be written: then only that is tested, in the folder itself.
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
            f"{sink.uri(key)} was written, but is missing or has other content.",
            "Check whether another process changes files in this folder.",
            transient=False,
        )
    ]
