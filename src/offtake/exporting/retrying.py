"""Trying again after failures that pass."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from offtake.errors import CancelledError, DeliveryError

Cancelled = Callable[[], bool]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Patience:
    """How often something is tried, and how long is waited: `wait` seconds at first, then twice as long each time."""

    attempts: int
    wait: float


def persevere(act: Callable[[], Result], patience: Patience, cancelled: Cancelled) -> Result:
    """What `act` gives, tried again after transient failures; the other side's own wish how long to wait is granted.

    Raises the last `DeliveryError`, one that is not transient at once, and `CancelledError` when asked to stop.
    """
    for attempt in range(1, patience.attempts):
        try:
            return act()
        except DeliveryError as error:
            if not error.transient:
                raise
            _wait(error.retry_after or patience.wait * 2 ** (attempt - 1), cancelled)
    return act()


def _wait(seconds: float, cancelled: Cancelled) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if cancelled():
            raise CancelledError("The run was asked to stop.")
        time.sleep(min(0.2, max(0.0, until - time.monotonic())))
