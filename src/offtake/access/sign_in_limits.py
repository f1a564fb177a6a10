"""Rate limits (token buckets) for failed sign-ins: per client id and address, and per address."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_MAX_KEYS: Final = 10_000
_IDS_AT_ONE_ADDRESS: Final = 6
_MINUTE: Final = 60.0

Key = tuple[str, ...]


@dataclass
class _Bucket:
    """The token bucket of one key; it refills continuously up to one minute's limit."""

    left: float
    at: float


@dataclass
class SignInLimits:
    """Counts attempts before the secret is checked, and gives back successful ones.

    So a client is limited neither by its own successful sign-ins nor by failures from other addresses. `now`: a
    monotonic clock in seconds.
    """

    per_minute: int
    now: Callable[[], float]
    _buckets: OrderedDict[Key, _Bucket] = field(default_factory=OrderedDict)

    def take(self, client_id: str, address: str) -> float:
        """Count an attempt and return 0; when the limit is reached, return the seconds to wait and count nothing."""
        now = self.now()
        buckets = [(self._bucket(key, most, now), most) for key, most in self._keys(client_id, address)]
        wait = max((1 - bucket.left) * _MINUTE / most for bucket, most in buckets)
        if wait > 0:
            return wait
        for bucket, _ in buckets:
            bucket.left -= 1
        return 0.0

    def give_back(self, client_id: str, address: str) -> None:
        """Give an attempt back: the secret was right, or was not checked."""
        now = self.now()
        for key, most in self._keys(client_id, address):
            bucket = self._bucket(key, most, now)
            bucket.left = min(most, bucket.left + 1)

    def _keys(self, client_id: str, address: str) -> tuple[tuple[Key, int], ...]:
        return ((client_id, address), self.per_minute), ((address,), self.per_minute * _IDS_AT_ONE_ADDRESS)

    def _bucket(self, key: Key, most: int, now: float) -> _Bucket:
        bucket = self._buckets.setdefault(key, _Bucket(most, now))
        self._buckets.move_to_end(key)
        if len(self._buckets) > _MAX_KEYS:
            self._buckets.popitem(last=False)
        bucket.left = min(most, bucket.left + (now - bucket.at) * most / _MINUTE)
        bucket.at = now
        return bucket
