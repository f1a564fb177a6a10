"""Questions before a command removes something."""

import sys
from typing import Annotated

import typer

from offtake.cli import output
from offtake.errors import WrongUsageError

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


def confirm(stops: list[str], question: str, *, yes: bool) -> None:
    """Print what stops, on standard error, and ask. Raises `typer.Abort` unless the answer is yes.

    Raises `WrongUsageError` when standard input is not a terminal and `yes` is false.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise WrongUsageError(f"{question} Confirm it with --yes.")
    for line in stops:
        output.note(line)
    typer.confirm(question, abort=True, err=True)
