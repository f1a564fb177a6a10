"""Cancellation: a worker stops when it is asked to, or when its lease may have expired."""

import time
from typing import Final, Protocol

from offtake.errors import CancelledError

_PAUSE_SECONDS: Final = 0.05


class CancellationToken(Protocol):
    """Whether the holder of a run may still write. Called often, so both methods return at once."""

    def cancelled(self) -> bool:
        """Whether to stop: the run was cancelled, the process is shutting down, or the lease is lost."""
        ...

    def lease_expires_at(self) -> float:
        """When another worker may hold the run at the earliest, in seconds of `time.monotonic`."""
        ...


def raise_if_cancelled(cancellation: CancellationToken) -> None:
    """Raise `CancelledError` when the work must stop."""
    if cancellation.cancelled():
        raise CancelledError("The run was cancelled or its worker is shutting down.")


def wait_until_lease_is_valid(cancellation: CancellationToken) -> None:
    """Return when this worker certainly holds the lease; raise `CancelledError` when the work must stop.

    Called before anything becomes visible at a destination. A process that was suspended may have lost its lease: it
    waits here until the heartbeat renews the lease or reports it as lost.
    """
    while True:
        raise_if_cancelled(cancellation)
        if time.monotonic() < cancellation.lease_expires_at():
            return
        time.sleep(_PAUSE_SECONDS)


def sleep(seconds: float, cancellation: CancellationToken) -> None:
    """Sleep; raises `CancelledError` within 0.2 seconds after a request to stop."""
    until = time.monotonic() + seconds
    while True:
        raise_if_cancelled(cancellation)
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(0.2, left))
