"""How many sign-ins with a wrong secret there may be: by client id and address, and by address."""

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
    """What one key may still do: grows evenly up to a minute's worth."""

    left: float
    at: float


@dataclass
class SignInLimits:
    """Counts attempts before their secret is looked at, and takes back those that turn out to be right.

    So a client's own sign-ins are never counted against it, and what others fail at other addresses never is either.
    `now`: seconds of a clock that nobody sets.
    """

    per_minute: int
    now: Callable[[], float]
    _buckets: OrderedDict[Key, _Bucket] = field(default_factory=OrderedDict)

    def take(self, client_id: str, address: str) -> float:
        """Count an attempt; 0, or the seconds until there may be one, when there were too many: it is not counted."""
        now = self.now()
        wanted = [(self._bucket(key, most, now), most) for key, most in self._keys(client_id, address)]
        wait = max((1 - bucket.left) * _MINUTE / most for bucket, most in wanted)
        if wait > 0:
            return wait
        for bucket, _ in wanted:
            bucket.left -= 1
        return 0.0

    def give_back(self, client_id: str, address: str) -> None:
        """Take an attempt back: its secret was right, or was not looked at."""
        now = self.now()
        for key, most in self._keys(client_id, address):
            bucket = self._bucket(key, most, now)
            bucket.left = min(most, bucket.left + 1)

    def _keys(self, client_id: str, address: str) -> tuple[tuple[Key, int], ...]:
        return ((client_id, address), self.per_minute), ((address,), self.per_minute * _IDS_AT_ONE_ADDRESS)

    def _bucket(self, key: Key, most: int, now: float) -> _Bucket:
        found = self._buckets.setdefault(key, _Bucket(most, now))
        self._buckets.move_to_end(key)
        if len(self._buckets) > _MAX_KEYS:
            self._buckets.popitem(last=False)
        found.left = min(most, found.left + (now - found.at) * most / _MINUTE)
        found.at = now
        return found
