"""What a process and its children use: processor seconds and peak memory, from Linux's /proc."""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_PAUSE_SECONDS: Final = 0.05
_SHARES_EVERY: Final = 10
"""Looks for one at PSS, which the kernel must count page by page: more often, and it takes a tenth of a core."""
_FIRST_SHARE: Final = 2


@dataclass
class Peak:
    """The highest sums over a process and its children, in bytes.

    `rss` counts a page for each process that has it; `pss` shares it between them, and is asked for less often.
    """

    rss: int = 0
    pss: int = 0
    cpu: dict[int, float] = field(default_factory=dict)
    """By process, the processor seconds when it was last seen."""


@dataclass(frozen=True)
class Used:
    """What a whole process took: seconds of wall and of processors, and peak bytes with its children's."""

    wall: float
    cpu: float
    rss: int
    pss: int


class ProcessFailedError(Exception):
    """A process ended with an error; the message holds the end of what it said."""


def family(pid: int) -> list[int]:
    """The process and all below it."""
    found, unseen = [], [pid]
    while unseen:
        one = unseen.pop()
        found.append(one)
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                with contextlib.suppress(OSError):
                    unseen += [int(child) for child in (task / "children").read_text(encoding="ascii").split()]
    return found


def cpu_seconds(pid: int) -> float:
    """Processor seconds of a process and all below it so far, those included that have ended and were waited for."""
    return sum(_cpu(one, with_ended=True) for one in family(pid))


def _cpu(pid: int, *, with_ended: bool) -> float:
    with contextlib.suppress(OSError, IndexError):
        # What stands before the last bracket is the name, which may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return sum(int(ticks) for ticks in fields[11 : 15 if with_ended else 13]) / _TICK
    return 0.0


def _rss(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    return 0


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        return int(rollup.split("\nPss:")[1].split()[0]) * 1024
    return 0


def memory(pid: int) -> tuple[int, int]:
    """Resident and proportional bytes of a process and all below it, now."""
    found = family(pid)
    return sum(_rss(one) for one in found), sum(_pss(one) for one in found)


@contextmanager
def watched(pid: int) -> Iterator[Peak]:
    """The peaks of a process and all below it while the block runs; looked at twenty times a second, PSS twice."""
    peak, over = Peak(), threading.Event()

    def watch() -> None:
        for number in range(2**63):
            found = family(pid)
            peak.rss = max(peak.rss, sum(_rss(one) for one in found))
            if number % _SHARES_EVERY == _FIRST_SHARE:
                peak.pss = max(peak.pss, sum(_pss(one) for one in found))
            for one in found:
                peak.cpu[one] = max(peak.cpu.get(one, 0.0), _cpu(one, with_ended=False))
            if over.wait(_PAUSE_SECONDS):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Used:
    """Run a command to its end; raises `ProcessFailedError`.

    Processor seconds are what the kernel says of the process and of the children it waited for, or what was seen of
    all of them, if that is more: some leave children behind.
    """
    started = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as process:
        said: list[bytes] = []
        reader = threading.Thread(target=lambda: said.append(process.stderr.read() if process.stderr else b""))
        reader.start()
        with watched(process.pid) as peak:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        reader.join()
    if process.returncode:
        raise ProcessFailedError(b"".join(said)[-2000:].decode(errors="replace"))
    cpu = max(usage.ru_utime + usage.ru_stime, sum(peak.cpu.values()))
    return Used(wall, cpu, peak.rss, peak.pss)
