"""Gzipped NDJSON: arrow-rs encodes, ISA-L compresses, on two threads of one process."""

import io
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Final

import arro3.io
import pyarrow as pa
from isal import isal_zlib

from offtake.formats.cutting import cut
from offtake.formats.types import check, for_json

_CHUNK: Final = 1024 * 1024
_AHEAD: Final = 2
_GZIP: Final = 31  # zlib's window bits for a gzip header; ISA-L writes its time as 0, so that files repeat to the byte
_LEVEL: Final = 1

_Piece = bytes | BaseException | None


def encode(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """The bytes of one gzip stream, a JSON object a line, in chunks of 1 MiB or more; holds a few small batches.

    The same rows give the same bytes, however they are cut into batches. No rows give an empty stream that is
    valid gzip. `batches` are taken on another thread, which has ended when this generator has. Raises
    `DeliveryError` for a column or value that JSON cannot hold; what `batches` raise passes through.
    """
    check(schema)
    compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
    pending = bytearray()
    for block in _blocks(_ahead(batches)):
        pending += compressor.compress(block)
        if len(pending) >= _CHUNK:
            yield bytes(pending)
            pending.clear()
    yield bytes(pending + compressor.flush())


def _blocks(texts: Iterator[bytes]) -> Iterator[bytes]:
    """The text in blocks of one size: what ISA-L makes of it depends on where its input is cut."""
    held = bytearray()
    for text in texts:
        held += text
        while len(held) >= _CHUNK:
            yield bytes(held[:_CHUNK])
            del held[:_CHUNK]
    yield bytes(held)


def _ahead(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Lines encoded on another thread, a few pieces ahead of the compressor, which lets go of the GIL."""
    pieces: queue.Queue[_Piece] = queue.Queue(_AHEAD)
    stop = threading.Event()
    thread = threading.Thread(target=_encode_all, args=(batches, pieces, stop), name="ndjson", daemon=True)
    thread.start()
    try:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        stop.set()
        while thread.is_alive():
            _drain(pieces)
            thread.join(0.01)


def _encode_all(batches: Iterable[pa.RecordBatch], pieces: "queue.Queue[_Piece]", stop: threading.Event) -> None:
    try:
        for batch in batches:
            for small in cut(batch):
                pieces.put(lines(small))
                if stop.is_set():
                    return
        pieces.put(None)
    except BaseException as error:  # noqa: BLE001 - raised again on the thread that asked
        pieces.put(error)


def _drain(pieces: "queue.Queue[_Piece]") -> None:
    while not pieces.empty():
        pieces.get_nowait()


def lines(batch: pa.RecordBatch) -> bytes:
    """A small batch as text, a JSON object a line; raises `DeliveryError` as `encode` does."""
    if batch.num_columns == 0:
        return b"{}\n" * int(batch.num_rows)
    text = io.BytesIO()
    arro3.io.write_ndjson(for_json(_from_zero(batch)), text)
    return text.getvalue()


def _from_zero(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Nested columns that begin at their first row: the encoder panics at slices of structs in structs."""
    if any(column.offset and pa.types.is_nested(column.type) for column in batch.columns):
        return pa.ipc.read_record_batch(batch.serialize(), batch.schema)
    return batch
