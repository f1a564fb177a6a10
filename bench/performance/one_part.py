"""What a worker process does of one part, without a server: `python -m bench.performance.one_part CASE FILE …`.

For profilers, and for the cost of a part. Rows are read, encoded, compressed and hashed, or pages recompressed and
hashed; no output is stored. Prints the hash, the bytes, and what it took.
"""

import argparse
import hashlib
import json
import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from offtake.formats.declaration import WriteOptions
from offtake.formats.gzip_stream import DEFAULT_GZIP, MEMBERS, GzipOptions
from offtake.formats.registry import format_for

CASES: Final = {"json-gzip": ("JSON", "GZIP"), "parquet-gzip": ("PARQUET", "GZIP")}


def main() -> None:
    """Do it once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=CASES)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--level", type=int)
    parser.add_argument("--members", choices=MEMBERS, default=DEFAULT_GZIP.members)
    asked = parser.parse_args()
    began = time.process_time()
    made, size = hashlib.sha256(), 0
    for chunk in _chunks(asked.case, asked.files, GzipOptions(asked.level, asked.members)):
        made.update(chunk)
        size += len(chunk)
    cpu = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"sha256": made.hexdigest(), "bytes": size, "cpu": cpu, "peak": peak}))


def _chunks(case: str, paths: Sequence[Path], gzip: GzipOptions) -> Iterator[bytes]:
    target = format_for(*CASES[case], WriteOptions(members=gzip.members))
    level = gzip.level or target.level
    files = [pq.ParquetFile(path, pre_buffer=False, buffer_size=1024 * 1024) for path in paths]
    schema = files[0].schema_arrow
    if target.from_pages is None:
        return target.encode(schema, (batch for file in files for batch in file.iter_batches(8192)), level)
    return target.from_pages(schema, [(pa.OSFile(str(path)), 0, None) for path in paths], level)[1]


if __name__ == "__main__":
    main()
