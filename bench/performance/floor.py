"""What must be done in any case to make gzipped NDJSON of Parquet, each step alone: decode, encode, compress.

`python -m bench.performance.floor FOLDER` reads every Parquet file of the folder once, batch by batch, and prints the
processor seconds of each step: pyarrow decodes, arro3 encodes the rows as they are, and the text is compressed as
by default.
"""

import io
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import arro3.io
import pyarrow as pa
import pyarrow.parquet as pq

from offtake.formats.gzip_stream import DEFAULT_GZIP, GzipStream
from offtake.formats.ndjson import LEVEL


def main(folder: str) -> None:
    """Measure and print."""
    spent = {"decode": 0.0, "encode": 0.0, "gzip": 0.0}
    size = 0
    began = time.process_time()
    for file in sorted(Path(folder).glob("*.parquet")):
        stream = GzipStream(LEVEL, DEFAULT_GZIP.members)
        for batch in _batches(file, spent):
            at = time.process_time()
            text = io.BytesIO()
            arro3.io.write_ndjson(batch, text)
            encoded = time.process_time()
            stream.write(text.getvalue())
            size += sum(map(len, stream.take()))
            spent["encode"] += encoded - at
            spent["gzip"] += time.process_time() - encoded
        at = time.process_time()
        stream.finish()
        size += sum(map(len, stream.take()))
        spent["gzip"] += time.process_time() - at
    whole = time.process_time() - began
    assert sum(spent.values()) <= whole
    print(json.dumps(spent | {"bytes": size}))


def _batches(file: Path, spent: dict[str, float]) -> Iterator[pa.RecordBatch]:
    batches = pq.ParquetFile(file, pre_buffer=False).iter_batches(8192)
    while True:
        at = time.process_time()
        batch = next(batches, None)
        spent["decode"] += time.process_time() - at
        if batch is None:
            return
        yield batch


if __name__ == "__main__":
    main(sys.argv[1])
