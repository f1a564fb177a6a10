"""The states of a run."""

from typing import Final

WAITING: Final = "waiting"
PROCESSING: Final = "processing"
SUCCESS: Final = "success"
FAILED: Final = "failed"
LIVE: Final = (WAITING, PROCESSING)
SECOND_LOOK_MS: Final = 900_000
"""When a sweep looks again: after so long, no slow writer of an expired lease can still be writing."""
