"""`python -m offtake` is the `offtake` command."""

from offtake.cli.main import run

run()
