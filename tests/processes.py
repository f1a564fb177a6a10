"""Processes by what they run."""

from collections.abc import Iterable

import psutil


def running(word: str, processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those of the processes that have the word in their command line and have not ended."""
    return [one for one in processes if word in " ".join(_words(one))]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []  # it has just ended, or its parent has not noticed yet
