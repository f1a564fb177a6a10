"""Links that sign the operator in from the terminal: each works once, for ten minutes, from this machine only."""

import hmac
import secrets
import threading
from typing import Final

from offtake.clock import Clock

_VALID_MS: Final = 10 * 60_000


class SignInLinks:
    """The unused links of this process. Thread-safe. They are in memory only, so a restart ends them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._clients: dict[str, tuple[str, int]] = {}

    def create(self, client_id: str) -> str:
        """A new link's secret for that client."""
        secret = secrets.token_urlsafe(24)
        with self._lock:
            self._clients[secret] = (client_id, self._clock.now_ms() + _VALID_MS)
        return secret

    def redeem(self, sent: str) -> str | None:
        """The client of a link that is used now for the first time; None for any other link."""
        with self._lock:
            found = next((one for one in self._clients if hmac.compare_digest(one.encode(), sent.encode())), None)
            client_id, until = self._clients.pop(found) if found is not None else ("", 0)
        return client_id if self._clock.now_ms() < until else None
