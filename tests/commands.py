"""The `offtake` command in processes of their own, forked from one that has imported everything.

They are what `python -m offtake` is, but start in a tenth of its time. Tests of the start itself use the real command.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from offtake import failpoints

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    ["tests.destinations.writers", "tests.worker_processes", "tests.commands", "offtake.cli.serve"]
)


class Forked:
    """A process that calls a function; its methods are those of `subprocess.Popen`."""

    def __init__(self, target: Callable[..., object], *arguments: Any) -> None:
        self._process = context.Process(target=target, args=arguments)
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

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


class Command(Forked):
    """A running command."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        environment: Mapping[str, str] | None = None,
        output: Path | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        """`environment`: of the process, else this one's. `output`: the file for all that it prints, else none.

        `prepare`: what the process calls first.
        """
        file = os.devnull if output is None else str(output)
        super().__init__(_run, *_given(arguments, environment), file, file, prepare)


def run(
    arguments: Sequence[str | Path],
    environment: Mapping[str, str] | None = None,
    seconds: float = 120,
    prepare: Callable[[], object] | None = None,
) -> "subprocess.CompletedProcess[str]":
    """The command, once it has ended, with what it printed."""
    words, variables = _given(arguments, environment)
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = Forked(_run, words, variables, str(out), str(err), prepare)
        try:
            code = process.wait(seconds)
        finally:
            process.kill()
        return subprocess.CompletedProcess(words, code, out.read_text("utf-8"), err.read_text("utf-8"))


def _given(arguments: Sequence[str | Path], environment: Mapping[str, str] | None) -> tuple[list[str], dict[str, str]]:
    return [str(word) for word in arguments], dict(os.environ if environment is None else environment)


def _run(
    arguments: list[str], environment: dict[str, str], out: str, err: str, prepare: Callable[[], object] | None
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for path, descriptor in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    sys.argv = ["offtake", *arguments]
    failpoints.arm(environment.get(failpoints.ENV, ""))
    if prepare is not None:
        prepare()
    from offtake.__main__ import run as command  # noqa: PLC0415 - it changes what can be imported

    command()
