"""The formats there are, by the words of the contract (section 13.3)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from offtake.formats import ndjson, parquet


@dataclass(frozen=True)
class Format:
    """A file format: what its files' names end in, and how batches become their bytes.

    `encode` streams: taking chunks takes batches, memory stays bounded, and the same batches give the same bytes.
    """

    extension: str
    encode: Callable[[pa.Schema, Iterable[pa.RecordBatch]], Iterator[bytes]]


_NDJSON: Final = Format(".json.gz", ndjson.encode)
_FORMATS: Final = {
    ("JSON", "GZIP"): _NDJSON,
    # JSON is only exported compressed, yet the contract's own requests ask for NONE.
    ("JSON", "NONE"): _NDJSON,
    ("PARQUET", "GZIP"): Format(".gz.parquet", parquet.encoder("GZIP")),
    ("PARQUET", "NONE"): Format(".parquet", parquet.encoder("NONE")),
}


def format_for(file_type: str, compression: str) -> Format:
    """The format of `datasetFileType` and `compression`, both canonical."""
    return _FORMATS[file_type, compression]
