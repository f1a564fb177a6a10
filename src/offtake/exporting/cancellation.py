"""How long whoever writes may go on: until it is asked to stop, or its lease could have passed to another."""

import time
from typing import Final, Protocol

from offtake.errors import CancelledError

_PAUSE_SECONDS: Final = 0.05


class CancellationToken(Protocol):
    """What a holder of a run knows of its right to write. It is asked often, and answers at once."""

    def cancelled(self) -> bool:
        """Whether the work is to stop: somebody asked for it, the process ends, or the lease is lost."""
        ...

    def lease_expires_at(self) -> float:
        """Until when nobody else can have the run: seconds of `time.monotonic`, which a machine's processes share."""
        ...


def raise_if_cancelled(cancellation: CancellationToken) -> None:
    """Raise `CancelledError` when the work is to stop."""
    if cancellation.cancelled():
        raise CancelledError("The run was asked to stop.")


def wait_until_lease_is_valid(cancellation: CancellationToken) -> None:
    """Return when the run is surely still ours; raise `CancelledError` when the work is to stop.

    Asked before anything becomes visible at a destination: a process that was paused finds here that it may no longer
    be the holder, and waits until it hears that it is, or is not.
    """
    while True:
        raise_if_cancelled(cancellation)
        if time.monotonic() < cancellation.lease_expires_at():
            return
        time.sleep(_PAUSE_SECONDS)


def sleep(seconds: float, cancellation: CancellationToken) -> None:
    """Wait; raises `CancelledError` soon after the work is to stop."""
    until = time.monotonic() + seconds
    while True:
        raise_if_cancelled(cancellation)
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(0.2, left))
