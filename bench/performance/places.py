"""Where the benchmark keeps what it makes: the folder `.bench`, which git does not see."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[2]
CACHE: Final = REPOSITORY / ".bench"
DATA: Final = CACHE / "data"
PEERS: Final = CACHE / "peers"
RESULTS: Final = CACHE / "results"
SCRIPTS: Final = REPOSITORY / "bench" / "peers"


@contextmanager
def alone() -> Iterator[None]:
    """Lock the data while the block runs: concurrent measurements would distort each other."""
    DATA.mkdir(parents=True, exist_ok=True)
    with (DATA / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another measurement of the same data to end …", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def empty_folder(name: str) -> Iterator[Path]:
    """A folder on the same disk as the data, removed with all that was written into it."""
    folder = CACHE / "out" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def size_of(files: list[Path]) -> int:
    """The bytes of some files."""
    return sum(file.stat().st_size for file in files)
