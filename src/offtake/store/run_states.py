"""The states of a run."""

from typing import Final

WAITING: Final = "waiting"
PROCESSING: Final = "processing"
SUCCESS: Final = "success"
FAILED: Final = "failed"
LIVE: Final = (WAITING, PROCESSING)
SECOND_LOOK_MS: Final = 900_000
"""After so long, no writer that was only slow can still be at it."""
