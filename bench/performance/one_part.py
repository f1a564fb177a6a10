"""What a worker process does of one part, without a server around it: `python -m bench.performance.one_part CASE FILE`.

For profilers. Rows are read, encoded, compressed and hashed, or pages compressed anew and hashed; nothing is kept.
"""

import hashlib
import sys
from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from offtake.formats.registry import format_for

CASES: Final = {"json-gzip": ("JSON", "GZIP"), "parquet-gzip": ("PARQUET", "GZIP")}


def main(case: str, path: str) -> None:
    """Do it once."""
    made = hashlib.sha256()
    for chunk in _chunks(case, path):
        made.update(chunk)
    print(made.hexdigest())


def _chunks(case: str, path: str) -> Iterator[bytes]:
    target = format_for(*CASES[case])
    file = pq.ParquetFile(path, pre_buffer=False, buffer_size=1024 * 1024)
    if target.from_pages is None:
        return target.encode(file.schema_arrow, file.iter_batches(8192), target.level)
    return target.from_pages(file.schema_arrow, [(pa.OSFile(path), 0, None)], target.level)[1]


if __name__ == "__main__":
    main(*sys.argv[1:])
