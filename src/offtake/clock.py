"""The clock, passed to all code that needs the time, so that tests can replace it."""

import time
from datetime import UTC, datetime


class Clock:
    """The system's wall clock and monotonic clock."""

    def now_ms(self) -> int:
        """Epoch milliseconds, UTC."""
        return time.time_ns() // 1_000_000

    def elapsed_ms(self) -> int:
        """Milliseconds of the monotonic clock; only differences are meaningful."""
        return time.monotonic_ns() // 1_000_000

    def now_seconds(self) -> int:
        """Epoch seconds, UTC, truncated."""
        return self.now_ms() // 1000

    def now(self) -> datetime:
        """The current time as an aware UTC datetime."""
        return datetime.fromtimestamp(self.now_ms() / 1000, UTC)
