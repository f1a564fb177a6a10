"""dlt: its filesystem destination, as gzipped JSON lines. Arrow batches, which its documentation names the fast way."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dlt
import pyarrow as pa
import pyarrow.parquet as pq
from dlt.destinations import filesystem


def main(case: str, source: str, target: str) -> None:
    """Write the case's output."""
    form = {"json-gzip": "jsonl", "parquet-gzip": "parquet", "parquet-none": "parquet"}[case]

    def events() -> Iterator[pa.Table]:
        for file in sorted(Path(source).glob("*.parquet")):
            for batch in pq.ParquetFile(file).iter_batches():
                yield pa.Table.from_batches([batch])

    with tempfile.TemporaryDirectory(dir=Path(target).parent) as working:
        pipeline = dlt.pipeline(
            "bench", pipelines_dir=working, destination=filesystem(bucket_url=Path(target).as_uri()), dataset_name="out"
        )
        pipeline.run(dlt.resource(events, name="events"), loader_file_format=form)


if __name__ == "__main__":
    main(*sys.argv[1:])
