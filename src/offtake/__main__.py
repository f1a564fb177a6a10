"""`python -m offtake` is the `offtake` command."""

import os
import sys

# Read by Arrow when it is first imported, here and in the worker processes: its default pool is no faster here, and
# keeps 80 MB more a process from one batch to the next.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


def run() -> None:
    """The entry point of the command; worker processes import this module too, and need none of the rest."""
    from offtake.cli.main import main  # noqa: PLC0415 - keeps worker processes small

    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
