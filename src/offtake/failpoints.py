"""Named points where a test can kill the process; no-ops in production.

`OFFTAKE_FAILPOINTS="part_recorded:2"` kills the process with SIGKILL the second time it reaches
`part_recorded`; several are separated by commas, the count may be left out.
"""

import os
import signal
from threading import Lock
from typing import Final

ENV: Final = "OFFTAKE_FAILPOINTS"

_lock = Lock()
_left: dict[str, int] = {}


def _parse(text: str) -> dict[str, int]:
    points = (point.partition(":") for point in text.split(",") if point)
    return {name: int(count or 1) for name, _, count in points}


_left.update(_parse(os.environ.get(ENV, "")))


def failpoint(name: str) -> None:
    """Die here, as if the power went, when the environment asks for it."""
    if not _left:
        return
    with _lock:
        if name not in _left:
            return
        _left[name] -= 1
        if _left[name] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
