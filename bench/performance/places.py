"""Where the benchmark keeps what it makes: the folder `.bench`, which git does not see."""

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
