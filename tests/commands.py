"""The `offtake` command in processes of their own, forked from one that has imported everything.

They are what `python -m offtake` is, but start in a tenth of its time. Tests of the start itself use the real command.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from offtake import failpoints

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    ["tests.destinations.writers", "tests.worker_processes", "tests.commands", "offtake.cli.serve"]
)


class Command:
    """A running command; its methods are those of `subprocess.Popen`."""

    def __init__(
        self, arguments: Sequence[str | Path], environment: Mapping[str, str] | None = None, output: Path | None = None
    ) -> None:
        """`environment`: of the process, else this one's. `output`: the file for all that it prints, else none."""
        given = dict(os.environ if environment is None else environment)
        words = [str(word) for word in arguments]
        file = os.devnull if output is None else str(output)
        self._process = context.Process(target=_run, args=(words, given, file, file))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("offtake", timeout or 0)
        return self._process.exitcode

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


def run(
    arguments: Sequence[str | Path], environment: Mapping[str, str] | None = None, seconds: float = 120
) -> "subprocess.CompletedProcess[str]":
    """The command, once it has ended, with what it printed."""
    words = [str(word) for word in arguments]
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        given = dict(os.environ if environment is None else environment)
        process = context.Process(target=_run, args=(words, given, str(out), str(err)))
        process.start()
        process.join(seconds)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(words, seconds)
        return subprocess.CompletedProcess(words, process.exitcode, out.read_text("utf-8"), err.read_text("utf-8"))


def _run(arguments: list[str], environment: dict[str, str], out: str, err: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for path, descriptor in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    sys.argv = ["offtake", *arguments]
    failpoints.arm(environment.get(failpoints.ENV, ""))
    from offtake.__main__ import run as command  # noqa: PLC0415 - it changes what can be imported

    command()
