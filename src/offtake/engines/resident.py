"""Resident memory of processes. Limits on address space would also count memory that Arrow only reserves."""

import subprocess
from pathlib import Path
from typing import Final

_PAGE_FIELD: Final = 1
_PS: Final = ("ps", "-o", "rss=", "-p")


def resident_bytes(pid: int) -> int:
    """The resident memory of the process in bytes; 0 when it has ended or is not readable."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except FileNotFoundError:
        return 0 if Path("/proc/self/statm").exists() else _ask_ps(pid)
    except OSError:
        return 0
    return int(fields[_PAGE_FIELD]) * _page_bytes()


def prefer_as_victim() -> None:
    """Make the OOM killer choose this process first, and not the server."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        return


def _page_bytes() -> int:
    import resource  # noqa: PLC0415 - not on every system

    return resource.getpagesize()


def _ask_ps(pid: int) -> int:
    try:
        found = subprocess.run([*_PS, str(pid)], capture_output=True, text=True, check=False)  # noqa: S603 - a number
    except OSError:
        return 0
    text = found.stdout.strip()
    return int(text) * 1024 if text.isdigit() else 0
