"""The clock that is passed in: nothing else in Offtake asks what time it is."""

import time
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
