"""The same rows are the same file: however they are cut, in any process and thread, on any processor."""

import hashlib
import os
import random
import subprocess
import sys

from offtake.formats.gzipping import packed


def hash_pages() -> str:
    """Of many pages at level 1 whose first bytes come again, by which ISA-L's first matches are found."""
    rest = random.Random(1).randbytes(4096) * 2
    made = hashlib.sha256()
    for number in range(10_000):
        beginning = number.to_bytes(4, "big") * 2
        made.update(packed(beginning + rest + beginning, 1))
    return made.hexdigest()


def test_pages_at_the_fastest_level_are_the_same_in_every_process() -> None:
    command = [sys.executable, "-c", f"from {__name__} import hash_pages; print(hash_pages())"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    found = [subprocess.run(command, env=environment, capture_output=True, check=True).stdout for _ in range(2)]
    assert len(set(found)) == 1
