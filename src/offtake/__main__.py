"""`python -m offtake` is the `offtake` command."""

import sys


def run() -> None:
    """The entry point of the command; worker processes import this module too, and need none of the rest."""
    from offtake.cli.main import main  # noqa: PLC0415 - keeps worker processes small

    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
