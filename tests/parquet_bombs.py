"""Parquet files of a few kilobytes that no machine can import within limits."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_ROWS = 10_000_000


def write_endless(path: Path) -> None:
    """400 million rows, so large in pages that their headers are small: time is granted by the bytes of a file.

    To read them takes three times as long as the files that come of them grant.
    """
    nothing = pa.chunked_array([pa.nulls(_ROWS, pa.string())] * 40)
    pages = {"write_batch_size": 2**20, "data_page_size": 2**30, "max_rows_per_page": 2**30}
    pq.write_table(pa.table({"v": nothing}), path, row_group_size=2**31 - 1, **pages)


def write_growing(path: Path) -> None:
    """Fifty gigabytes of text."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), pa.array(["x" * 1_000_000]))
    pq.write_table(pa.table({"v": text}), path, compression="gzip")
