"""One part: read, encode, compress, encrypt, hash and stream one file to the destination. Runs in a worker process."""

import hashlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from offtake.errors import CancelledError
from offtake.exporting.place import Place
from offtake.exporting.retrying import Cancelled, Patience, persevere
from offtake.failpoints import failpoint
from offtake.formats import pgp
from offtake.formats.registry import format_for
from offtake.lake import reading


@dataclass(frozen=True)
class Written:
    """One finished file: rows and bytes in it, and the SHA-256 of its bytes in hexadecimal."""

    number: int
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class PartTask:
    """What a worker process needs to do one part."""

    number: int
    key: str
    slices: tuple[dict[str, Any], ...]
    schema: dict[str, Any]
    place: Place
    patience: Patience


def export_part(task: PartTask, cancelled: Cancelled) -> Written:
    """Write the part's file, whole or not at all, trying again after transient failures.

    Raises `DeliveryError` when it cannot be written, `CancelledError` when asked to stop.
    """
    return persevere(lambda: _write(task, cancelled), task.patience, cancelled)


def _write(task: PartTask, cancelled: Cancelled) -> Written:
    failpoint("part_started")
    schema = reading.TableSchema.from_json(task.schema)
    target = format_for(task.place.params.dataset_file_type, task.place.params.compression)
    count = _Count()
    slices = [reading.FileSlice.from_json(one) for one in task.slices]
    batches = count.rows_of(reading.read(slices, schema), cancelled)
    sink = task.place.open()
    try:
        # Closed here, not when the last traceback lets go of it: a child process may be behind it.
        with closing(_sealed(target.encode(reading.arrow_schema(schema), batches), task.place.encrypt_to)) as chunks:
            written = sink.put(task.key, count.hash_of(chunks))
    finally:
        sink.close()
    failpoint("part_uploaded")
    return Written(task.number, count.rows, written, count.sha256.hexdigest())


def _sealed(chunks: Iterator[bytes], key: bytes | None) -> Generator[bytes, None, None]:
    yield from chunks if key is None else pgp.encrypted(chunks, key)


class _Count:
    """Counts what passes by: rows on their way in, the hash of the bytes on their way out."""

    def __init__(self) -> None:
        self.rows = 0
        self.sha256 = hashlib.sha256()

    def rows_of(self, batches: Iterable[pa.RecordBatch], cancelled: Cancelled) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if cancelled():
                raise CancelledError("The run was asked to stop.")
            self.rows += batch.num_rows
            yield batch

    def hash_of(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.sha256.update(chunk)
            yield chunk
