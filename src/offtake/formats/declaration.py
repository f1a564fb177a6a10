"""How a file format declares itself. Each format is one module with a `FORMAT`, and one line in `registry`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import pyarrow as pa

from offtake.formats.gzip_stream import GzipOptions, Members
from offtake.formats.losses import LossCounter

if TYPE_CHECKING:
    # Worker processes do without.
    from offtake.settings import Settings

StoredGroups = tuple[pa.NativeFile, int, int | None]
"""An open Parquet file, and its row groups `[first, last)`; `last` None means all from `first`."""


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


@dataclass(frozen=True)
class WriteOptions:
    """Options of a target connection and of the deployment; each format uses those that it declares.

    `uuid_as_text`, `plain_encoding`: Parquet, for readers with limited support. `members`: JSON, see `gzip_stream`.
    """

    uuid_as_text: bool = False
    plain_encoding: bool = False
    members: Members = "single"


DEFAULT_OPTIONS: Final = WriteOptions()


@dataclass(frozen=True)
class FileFormat:
    """A file format, declared once.

    `name`: the contract's `datasetFileType`. `media_types`: by suffix, the most specific first. `gzip`: the
    deployment's settings for it. `writer`: how files are written, by the contract's `compression` and options.
    `check`: raises `DeliveryError` for a schema that this format cannot hold, when a run is planned and before any file
    is written; the types that no format supports are refused for all of them (`types.check_supported`).
    """

    name: str
    media_types: Mapping[str, str]
    gzip: "Callable[[Settings], GzipOptions]"
    writer: Callable[[str, WriteOptions], Format]
    check: Callable[[pa.Schema], None] = lambda _schema: None
