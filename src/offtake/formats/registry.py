"""The formats there are, by the words of the contract (section 13.3)."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import pyarrow as pa

from offtake.formats import ndjson, parquet
from offtake.formats.gzip_stream import MEMBERS, Members
from offtake.formats.losses import LossCounter
from offtake.formats.parquet import USUAL, ParquetOptions, StoredGroups


class Encode(Protocol):
    """Makes a file's bytes of batches; see `Format`."""

    def __call__(
        self, schema: pa.Schema, batches: Iterable[pa.RecordBatch], level: int, losses: LossCounter | None = None, /
    ) -> Iterator[bytes]:
        """The file's bytes, in chunks."""
        ...


@dataclass(frozen=True)
class Format:
    """A file format: what its files' names end in, and how batches become their bytes.

    `encode` streams: taking chunks takes batches, memory stays bounded, and the same schema and batches give the same
    bytes. It raises `DeliveryError` for a column or a value that the format cannot hold; what the batches raise
    passes through. Its third argument is gzip's level, from 1 (fastest) to 9 (smallest), for which `level` is the
    default; its fourth counts what the format has no form for and leaves out.

    `from_pages`, where there is one, makes the same rows of Parquet files whose values need no change, without decoding
    them; see `parquet.gzip_pages`.
    """

    extension: str
    encode: Encode
    level: int
    from_pages: Callable[[pa.Schema, Sequence[StoredGroups], int], tuple[int, Iterator[bytes]]] | None = None


_NDJSON: Final[dict[Members, Format]] = {
    members: Format(".json.gz", functools.partial(ndjson.encode, members=members), ndjson.LEVEL) for members in MEMBERS
}
_PARQUET: Final = {
    "GZIP": (".gz.parquet", parquet.encode_gzip, parquet.gzip_pages),
    "NONE": (".parquet", parquet.encode_plain, parquet.plain_pages),
}


def format_for(
    file_type: str, compression: str, options: ParquetOptions = USUAL, members: Members = "single"
) -> Format:
    """The format of a target's `datasetFileType` and `compression`, both canonical (upper case).

    `options` change Parquet files only, `members` JSON files only. JSON is compressed also for `NONE`, which the
    contract's own requests ask for.
    """
    if file_type == "JSON":
        return _NDJSON[members]
    extension, encode, from_pages = _PARQUET[compression]
    return Format(
        extension,
        functools.partial(encode, options=options),
        parquet.LEVEL,
        functools.partial(from_pages, options=options),
    )
