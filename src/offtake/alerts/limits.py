"""The bounds and defaults of rules, for the API and for documents in files; and how far clocks may differ."""

from typing import Final

CLOCKS_DIFFER_MS: Final = 60_000
"""A stored time that is further ahead was written before the clock was set back; the clocks of two processes may differ
by less."""
MOST_CHANNELS: Final = 10
"""The channels of one rule."""
GROUP_SECONDS: Final = 30
LONGEST_GROUP_SECONDS: Final = 3600
"""How long events with the same cause are collected before their first message."""
REPEAT_SECONDS: Final = 3600
SHORTEST_REPEAT_SECONDS: Final = 60
LONGEST_REPEAT_SECONDS: Final = 7 * 86_400
"""How long further events with the same cause are collected before the next message."""
