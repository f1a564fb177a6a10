"""One part: read, encode, compress, encrypt, hash and stream one file to the destination. Runs in a worker process."""

import hashlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from offtake.exporting.leash import Leash, await_right, go_on
from offtake.exporting.place import Place
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
    """What a worker process needs to do one part. `again`: an earlier try may have left something behind."""

    number: int
    key: str
    slices: tuple[dict[str, Any], ...]
    schema: dict[str, Any]
    place: Place
    again: bool


def export_part(task: PartTask, leash: Leash) -> Written:
    """Write the part's file, whole or not at all.

    Raises `DeliveryError` when it cannot be written, `CancelledError` when asked to stop.
    """
    await_right(leash)
    failpoint("part_started")
    schema = reading.TableSchema.from_json(task.schema)
    target = format_for(task.place.params.dataset_file_type, task.place.params.compression)
    count = _Count()
    slices = [reading.FileSlice.from_json(one) for one in task.slices]
    batches = count.rows_of(reading.read(slices, schema), leash)
    sink = task.place.open()
    try:
        if task.again:
            # Also those who were only slow: what they have not completed by now, they cannot complete.
            sink.clear([task.key])
        # Closed here, not when the last traceback lets go of it: a child process may be behind it.
        with closing(_sealed(target.encode(reading.arrow_schema(schema), batches), task.place.encrypt_to)) as chunks:
            written = sink.put(task.key, count.hash_of(chunks, leash))
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

    def rows_of(self, batches: Iterable[pa.RecordBatch], leash: Leash) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            go_on(leash)
            self.rows += batch.num_rows
            yield batch

    def hash_of(self, chunks: Iterable[bytes], leash: Leash) -> Iterator[bytes]:
        for chunk in chunks:
            self.sha256.update(chunk)
            yield chunk
        # The end of the chunks makes the file visible.
        failpoint("part_written")
        await_right(leash)
        failpoint("part_allowed")
