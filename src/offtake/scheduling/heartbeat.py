"""A heartbeat: keeps a lease alive in the background while its holder works."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from offtake.errors import LeaseLostError

_log = logging.getLogger(__name__)

_BEATS: Final = 3
_LONGEST_SECONDS: Final = 2.0
"""Between two beats: they also tell that somebody wants the work to be cancelled."""
_SURE: Final = 0.75
"""Of a lease: clocks of two machines run alike to far more than the rest of it."""


@dataclass
class Heartbeat:
    """Renews one lease in the background; tells when the work is to stop, and why.

    `renew` says whether somebody asked for the work to be cancelled, and raises `LeaseLostError`. `begun` is an instant
    of `time.monotonic` before the lease was given.
    """

    what: str
    renew: Callable[[], bool]
    lease_seconds: float
    begun: float
    cancel_requested: bool = False
    lost: bool = False
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def lease_expires_at(self) -> float:
        """Until when nobody else can have taken the lease for dead, in seconds of `time.monotonic`."""
        return self.begun + _SURE * self.lease_seconds

    @contextmanager
    def running(self) -> Iterator[None]:
        """Renew three times a lease, and every other second at least, until the block ends."""
        thread = threading.Thread(target=self._beat, name=f"heartbeat-{self.what}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _beat(self) -> None:
        while not self._over.wait(min(_LONGEST_SECONDS, self.lease_seconds / _BEATS)):
            begun = time.monotonic()
            try:
                asked = self.renew()
            except LeaseLostError:
                self.lost = True
                return
            except Exception:  # noqa: BLE001 - a database that is away for a moment must not end the heartbeat
                _log.warning("%s: the lease could not be renewed, trying again", self.what)
                continue
            self.begun = begun
            self.cancel_requested = self.cancel_requested or asked
