"""Leashes for tests: how long who writes may go on."""

import math
from collections.abc import Callable
from dataclasses import dataclass


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Until:
    """A lease that does not end, until the work is asked to stop."""

    stop: Callable[[], bool] = _never

    def cancelled(self) -> bool:
        return self.stop()

    def lease_expires_at(self) -> float:
        return math.inf


FREE = Until()


def unrecorded(_intent: object) -> None:
    """Record no intent: what the part is written with is not the test's subject."""
