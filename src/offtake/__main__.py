"""`python -m offtake` is the `offtake` command."""

import os
import sys

# Read by Arrow when it is first imported, here and in the worker processes: its default pool is no faster here, and
# keeps 80 MB more a process from one batch to the next.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


class _Absent:
    """Arrow imports these where it finds them, to know their types from others: 45 MB a process, and 0.3 s of CPU.

    Nothing here uses them, and an installation of Offtake alone does not have them.
    """

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> None:
        """Raises `ModuleNotFoundError` for what is to be absent; all else is left to the other finders."""
        if fullname in ("numpy", "pandas"):
            raise ModuleNotFoundError(f"Offtake does without {fullname}", name=fullname)


sys.meta_path.insert(0, _Absent())


def run() -> None:
    """The entry point of the command; worker processes import this module too, and need none of the rest."""
    from offtake.cli.main import main  # noqa: PLC0415 - keeps worker processes small

    # What a deployment makes is nobody else's; see `scheduling.file_modes`.
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
