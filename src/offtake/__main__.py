"""`python -m offtake` is the `offtake` command."""

import os
import sys

# Arrow reads this at its first import, also in worker processes. Its default memory pool is not faster here, and keeps
# 80 MB more per process between batches.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


class _Absent:
    """An import hook that hides numpy and pandas: Arrow imports them if installed (45 MB per process, 0.3 s of CPU).

    Offtake does not use them, and does not install them.
    """

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> None:
        """Raises `ModuleNotFoundError` for the hidden modules; leaves all others to the next finder."""
        if fullname in ("numpy", "pandas"):
            raise ModuleNotFoundError(f"Offtake does not use {fullname}", name=fullname)


sys.meta_path.insert(0, _Absent())


def run() -> None:
    """The entry point of the command; worker processes import this module without calling it."""
    from offtake.cli.main import main  # noqa: PLC0415 - keeps worker processes small

    # Files of a deployment are private to its user; see `deployment.file_modes`.
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
