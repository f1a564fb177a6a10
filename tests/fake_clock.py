"""A clock for tests."""

from dataclasses import dataclass

from offtake.clock import Clock


@dataclass
class FakeClock(Clock):
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
        """Set the clock forward, or back, as an administrator might correct it; no time passes."""
        self.ms += round((seconds + hours * 3600 + days * 86_400) * 1000)
