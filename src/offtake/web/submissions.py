"""Forms that must not be carried out twice: each has a key, and the second submission leads to the first's result."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

_KEPT: Final = 1000


@dataclass
class _Submission:
    lock: threading.Lock = field(default_factory=threading.Lock)
    url: str | None = None


class Submissions:
    """The last submissions of this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Submission] = OrderedDict()

    def carry_out(self, key: str, act: Callable[[], str]) -> str:
        """Call `act` once for each key and return the URL of its result; when it raises, it may be called again."""
        with self._lock:
            one = self._known.setdefault(key, _Submission())
            self._known.move_to_end(key)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        with one.lock:
            if one.url is None:
                one.url = act()
            return one.url


def new_key() -> str:
    """A key for a form that is shown."""
    return secrets.token_urlsafe(12)
