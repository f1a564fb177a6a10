"""The file formats, by the names in the contract (section 13.3)."""

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
    """Encodes batches as a file's bytes; see `Format`."""

    def __call__(
        self, schema: pa.Schema, batches: Iterable[pa.RecordBatch], level: int, losses: LossCounter | None = None, /
    ) -> Iterator[bytes]:
        """The file's bytes, in chunks."""
        ...


@dataclass(frozen=True)
class Format:
    """A file format: the extension of its files, and how batches are encoded.

    `encode` streams with bounded memory, and is deterministic for the same schema and batches. Its third argument is
    gzip's level, from 1 (fastest) to 9 (smallest), with the default `level`; its fourth counts values that the format
    cannot represent and omits. Raises `DeliveryError` for a column or value that the format cannot hold, and what the
    batches raise.

    `from_pages`: encodes the rows of Parquet files whose values need no change, without decoding them; see
    `parquet.gzip_pages`. None if the format does not support it.
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
    """The format for a target's `datasetFileType` and `compression`, both in upper case.

    `options` apply to Parquet files only, `members` to JSON files only. JSON is always compressed, even with `NONE`,
    which the contract's own requests use.
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
