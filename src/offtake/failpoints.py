"""Named points where a test can kill or pause the process; no-ops in production.

`OFFTAKE_FAILPOINTS="part_recorded:2"` kills the process with SIGKILL the second time it reaches `part_recorded`;
`part_recorded:2:stop` pauses it there with SIGSTOP, as a machine that stalls would. Several are separated by commas;
the count may be left out when nothing follows.
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
    """Die or stop at these points from now on, and at no others; or call `reached`, in the thread that comes there."""
    _points.clear()
    for point in filter(None, text.split(",")):
        name, count, action = (*point.split(":"), "", "")[:3]
        told = signal.SIGSTOP if action == "stop" else signal.SIGKILL
        _points[name] = _Point(int(count or 1), reached or functools.partial(_end, told))


def failpoint(name: str) -> None:
    """Die here, as if the power went, when the environment asks for it."""
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
    """Have the parent process, which this one works for, die or stop at the points too, and first."""
    _parents.append(os.getppid())


def _end(told: signal.Signals) -> None:
    for process in (*_parents, os.getpid()):
        os.kill(process, told)


arm(os.environ.get(ENV, ""))
