"""The formats there are, by the words of the contract (section 13.3)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from offtake.formats import ndjson, parquet
from offtake.formats.parquet import StoredGroups


@dataclass(frozen=True)
class Format:
    """A file format: what its files' names end in, and how batches become their bytes.

    `encode` streams: taking chunks takes batches, memory stays bounded, and the same schema and batches give the same
    bytes. It raises `DeliveryError` for a column or a value that the format cannot hold; what the batches raise
    passes through. Its last argument is gzip's level, from 1 (fastest) to 9 (smallest); `level` is the one to take when
    nobody chooses.

    `from_pages`, where there is one, makes the same rows of Parquet files whose values need no change, without decoding
    them; see `parquet.gzip_pages`.
    """

    extension: str
    encode: Callable[[pa.Schema, Iterable[pa.RecordBatch], int], Iterator[bytes]]
    level: int
    from_pages: Callable[[pa.Schema, Sequence[StoredGroups], int], tuple[int, Iterator[bytes]]] | None = None


_NDJSON: Final = Format(".json.gz", ndjson.encode, ndjson.LEVEL)
_FORMATS: Final = {
    ("JSON", "GZIP"): _NDJSON,
    # JSON is only exported compressed, yet the contract's own requests ask for NONE.
    ("JSON", "NONE"): _NDJSON,
    ("PARQUET", "GZIP"): Format(".gz.parquet", parquet.encode_gzip, parquet.LEVEL, parquet.gzip_pages),
    ("PARQUET", "NONE"): Format(".parquet", parquet.encode_plain, parquet.LEVEL, parquet.plain_pages),
}


def format_for(file_type: str, compression: str) -> Format:
    """The format of a target's `datasetFileType` and `compression`, both canonical (upper case)."""
    return _FORMATS[file_type, compression]
