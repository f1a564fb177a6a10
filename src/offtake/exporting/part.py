"""One part: read, encode, compress, encrypt, hash and stream one file to the destination. Runs in a worker process."""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial

import pyarrow as pa

from offtake.destinations.base import Pending, Sink
from offtake.exporting.cancellation import CancellationToken, raise_if_cancelled, wait_until_lease_is_valid
from offtake.exporting.target import DeliveryTarget
from offtake.failpoints import failpoint
from offtake.formats import pgp
from offtake.formats.declaration import Format, WriteOptions
from offtake.formats.gzip_stream import DEFAULT_GZIP, GzipOptions
from offtake.formats.losses import Loss, LossCounter
from offtake.formats.parquet_pages.footer import NotRecompressibleError
from offtake.formats.registry import format_for
from offtake.lake import reading
from offtake.lake.parts import FileSlice, TableSchema
from offtake.lake.storage.access import FileAccess
from offtake.lake.text import InvalidText
from offtake.telemetry import tracing
from offtake.telemetry.tracing import Attributes

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WrittenPart:
    """One finished file: its rows, bytes, SHA-256 (hexadecimal), and the values that were left out.

    `uri`: its address at the destination. `cpu_ms`: CPU milliseconds of this process and its children since the part
    began.
    """

    number: int
    rows: int
    bytes: int
    sha256: str
    losses: tuple[Loss, ...] = ()
    uri: str = ""
    cpu_ms: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Intent:
    """A file before its last step: the finished part as it will be, and the sink's token for completing it."""

    written: WrittenPart
    token: str | None


RecordIntent = Callable[[Intent], None]


@dataclass(frozen=True)
class PartTask:
    """What a worker process needs to write one part.

    `again`: an earlier attempt may have left a temporary file. `writer`: the fencing token of the run's holder.
    `access`: how the files of a registered table are opened. `traceparent`: the run's span; None without tracing.
    """

    number: int
    key: str
    slices: tuple[FileSlice, ...]
    schema: TableSchema
    target: DeliveryTarget
    again: bool
    gzip: GzipOptions = DEFAULT_GZIP
    writer: int = 0
    access: FileAccess | None = None
    traceparent: str | None = None


def export_part(task: PartTask, cancellation: CancellationToken, record_intent: RecordIntent) -> WrittenPart:
    """Write the part's file atomically.

    `record_intent` is called before the last step, which follows only if the call returns; an error after that leaves
    open whether the file is complete. Raises `DeliveryError` when the file cannot be written, `CancelledError` when
    cancelled.
    """
    attributes: Attributes = {"offtake.part": task.number, "offtake.file": task.key}
    with tracing.span("part", attributes, parent=task.traceparent) as span:
        written = _export_part(task, cancellation, record_intent)
        span.set({"offtake.rows": written.rows, "offtake.bytes": written.bytes})
    return written


def _export_part(task: PartTask, cancellation: CancellationToken, record_intent: RecordIntent) -> WrittenPart:
    begun = _cpu_ms()

    def with_cpu_time(written: WrittenPart) -> WrittenPart:
        return replace(written, cpu_ms=round(_cpu_ms() - begun))

    def announce(intent: Intent) -> None:
        record_intent(replace(intent, written=with_cpu_time(intent.written)))

    wait_until_lease_is_valid(cancellation)
    failpoint("part_started")
    sink = task.target.open()
    try:
        if task.again:
            # Also stops slow earlier writers: they cannot complete a file whose temporary file is gone.
            sink.clear([task.key], upto=task.writer)
        written = _from_pages(task, sink, cancellation, announce) or _from_rows(task, sink, cancellation, announce)
    finally:
        sink.close()
    failpoint("part_uploaded")
    return with_cpu_time(written)


def _cpu_ms() -> float:
    """The CPU time of this process and of its child processes that have ended (gpg), in milliseconds."""
    times = os.times()
    return 1000 * (time.process_time() + times.children_user + times.children_system)


def _from_pages(
    task: PartTask, sink: Sink, cancellation: CancellationToken, record_intent: RecordIntent
) -> WrittenPart | None:
    """Write the part from its files' stored Parquet pages; None, with nothing written, when rows must be decoded."""
    file_format = _format(task)
    if file_format.from_pages is None:
        return None
    with reading.unchanged_row_groups(
        task.slices,
        task.schema,
        task.access,
        invalid_text=_invalid_text(task),
        check=partial(raise_if_cancelled, cancellation),
    ) as stored:
        if stored is None:
            return None
        try:
            with reading.translating_errors(task.slices):
                level = task.gzip.level or file_format.level
                rows, chunks = file_format.from_pages(task.schema.arrow_schema, stored, level)
            return _write_to_sink(
                task, sink, _translating_errors(task.slices, chunks), _Count(rows, cancellation), record_intent
            )
        except NotRecompressibleError as error:
            _log.debug("part %s is decoded: %s", task.key, error)
            return None


def _translating_errors(slices: Sequence[FileSlice], chunks: Iterator[bytes]) -> Iterator[bytes]:
    with reading.translating_errors(slices):
        yield from chunks


def _from_rows(task: PartTask, sink: Sink, cancellation: CancellationToken, record_intent: RecordIntent) -> WrittenPart:
    count = _Count(0, cancellation)
    check = partial(raise_if_cancelled, cancellation)
    rows = reading.read(task.slices, task.schema, task.access, invalid_text=_invalid_text(task), check=check)
    batches = count.rows_of(rows)
    file_format = _format(task)
    chunks = file_format.encode(task.schema.arrow_schema, batches, task.gzip.level or file_format.level, count.losses)
    return _write_to_sink(task, sink, chunks, count, record_intent)


def _write_to_sink(
    task: PartTask, sink: Sink, chunks: Iterator[bytes], count: "_Count", record_intent: RecordIntent
) -> WrittenPart:
    uri = sink.uri(task.key)

    def written(size: int) -> WrittenPart:
        return WrittenPart(task.number, count.rows, size, count.sha256.hexdigest(), count.losses.losses(), uri)

    def announce(pending: Pending) -> None:
        record_intent(Intent(written(pending.bytes), pending.token))
        failpoint("part_intended")

    # Closed here, not by the garbage collector: the generator may own a child process (gpg).
    with closing(_encrypt(chunks, task.target.encrypt_to)) as body:
        return written(sink.put(task.key, count.hash_of(body), announce, task.writer))


def _format(task: PartTask) -> Format:
    params = task.target.params
    options = WriteOptions(params.uuid_as_text, params.parquet_encoding == "PLAIN", task.gzip.members)
    return format_for(params.dataset_file_type, params.compression, options)


def _invalid_text(task: PartTask) -> InvalidText:
    """How the reader treats text that is not valid UTF-8."""
    return "replace" if task.target.params.invalid_text == "REPLACE" else "fail"


def _encrypt(chunks: Iterator[bytes], key: bytes | None) -> Generator[bytes, None, None]:
    yield from chunks if key is None else pgp.encrypt(chunks, key)


class _Count:
    """Counts rows and losses on their way in, and hashes the bytes on their way out."""

    def __init__(self, rows: int, cancellation: CancellationToken) -> None:
        self.rows = rows
        self._cancellation = cancellation
        self.losses = LossCounter()
        self.sha256 = hashlib.sha256()

    def rows_of(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            raise_if_cancelled(self._cancellation)
            self.rows += batch.num_rows
            yield batch

    def hash_of(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            raise_if_cancelled(self._cancellation)
            self.sha256.update(chunk)
            yield chunk
        # After the last chunk, the sink makes the file visible.
        failpoint("part_written")
        wait_until_lease_is_valid(self._cancellation)
        failpoint("part_allowed")
