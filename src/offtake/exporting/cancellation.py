"""How long whoever writes may go on: until it is asked to stop, or its lease could have passed to another."""

import time
from typing import Final, Protocol

from offtake.errors import CancelledError

_PAUSE_SECONDS: Final = 0.05


class Leash(Protocol):
    """What a holder of a run knows of its right to write. It is asked often, and answers at once."""

    def cancelled(self) -> bool:
        """Whether the work is to stop: somebody asked for it, the process ends, or the lease is lost."""
        ...

    def valid_until(self) -> float:
        """Until when nobody else can have the run: seconds of `time.monotonic`, which a machine's processes share."""
        ...


def go_on(leash: Leash) -> None:
    """Raise `CancelledError` when the work is to stop."""
    if leash.cancelled():
        raise CancelledError("The run was asked to stop.")


def await_right(leash: Leash) -> None:
    """Return when the run is surely still ours; raise `CancelledError` when the work is to stop.

    Asked before anything becomes visible at a destination: a process that was paused finds here that it may no longer
    be the holder, and waits until it hears that it is, or is not.
    """
    while True:
        go_on(leash)
        if time.monotonic() < leash.valid_until():
            return
        time.sleep(_PAUSE_SECONDS)


def pause(seconds: float, leash: Leash) -> None:
    """Wait; raises `CancelledError` soon after the work is to stop."""
    until = time.monotonic() + seconds
    while True:
        go_on(leash)
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(0.2, left))
