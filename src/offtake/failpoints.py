"""Named points where a test can kill or pause the process; no-ops in production.

`OFFTAKE_FAILPOINTS="part_recorded:2"` kills the process with SIGKILL the second time it reaches `part_recorded`;
`part_recorded:2:stop` pauses it with SIGSTOP, like a stalled machine. Several are separated by commas; the count
defaults to 1.
"""

import functools
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final

ENV: Final = "OFFTAKE_FAILPOINTS"


@dataclass
class _Point:
    left: int
    reached: Callable[[], None]


_lock = Lock()
_parents: list[int] = []
_points: dict[str, _Point] = {}


def arm(text: str, reached: Callable[[], None] | None = None) -> None:
    """Replace the armed failpoints with those in `text`; each kills or stops the process, or calls `reached`."""
    _points.clear()
    for point in filter(None, text.split(",")):
        name, count, action = (*point.split(":"), "", "")[:3]
        sent = signal.SIGSTOP if action == "stop" else signal.SIGKILL
        _points[name] = _Point(int(count or 1), reached or functools.partial(_end, sent))


def failpoint(name: str) -> None:
    """Kill or stop the process here if this failpoint is armed and its count is reached; else do nothing."""
    if not _points:
        return
    with _lock:
        point = _points.get(name)
        if point is None:
            return
        point.left -= 1
        hit = point.left == 0
    if hit:
        point.reached()


def end_parent_too() -> None:
    """Make this process's failpoints kill or stop its parent process too, before itself."""
    _parents.append(os.getppid())


def _end(sent: signal.Signals) -> None:
    for process in (*_parents, os.getpid()):
        os.kill(process, sent)


arm(os.environ.get(ENV, ""))
