"""The clock that is passed in: nothing else in Offtake asks what time it is."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime


class Clock:
    """The machine's own time."""

    def now_ms(self) -> int:
        """Epoch milliseconds, UTC."""
        return time.time_ns() // 1_000_000

    def elapsed_ms(self) -> int:
        """Milliseconds of a clock that nobody sets: only differences mean something."""
        return time.monotonic_ns() // 1_000_000

    def now_seconds(self) -> int:
        """Epoch seconds, UTC, truncated."""
        return self.now_ms() // 1000

    def now(self) -> datetime:
        """The instant as an aware UTC datetime."""
        return datetime.fromtimestamp(self.now_ms() / 1000, UTC)


@dataclass
class MovedClock(Clock):
    """A clock that stands still until a test moves it."""

    ms: int
    elapsed: int = 0

    def now_ms(self) -> int:
        """The instant the clock was last moved to, in epoch milliseconds."""
        return self.ms

    def elapsed_ms(self) -> int:
        """All the time that was let pass, in milliseconds."""
        return self.elapsed

    def advance(self, *, seconds: float = 0, hours: float = 0, days: float = 0) -> None:
        """Let time pass."""
        passed = round((seconds + hours * 3600 + days * 86_400) * 1000)
        self.ms += passed
        self.elapsed += passed

    def set_by(self, *, seconds: float = 0, hours: float = 0, days: float = 0) -> None:
        """Set the clock forward, or back, as somebody might who corrects it; no time passes."""
        self.ms += round((seconds + hours * 3600 + days * 86_400) * 1000)
