"""Gzipped NDJSON: arrow-rs encodes, ISA-L compresses, on two threads of one process."""

import io
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Final

import arro3.io
import pyarrow as pa
from isal import isal_zlib

from offtake.formats.types import for_json

_MOST_ROWS: Final = 8192
_MOST_BYTES: Final = 4 * 1024 * 1024
_CHUNK: Final = 1024 * 1024
_AHEAD: Final = 2
_GZIP: Final = 31  # zlib's window bits for a gzip header; ISA-L writes its time as 0, so that files repeat to the byte
_LEVEL: Final = 1

_Piece = bytes | BaseException | None


def encode(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """The bytes of one gzip stream, a JSON object a line; holds a few small batches at a time.

    The same batches give the same bytes. No batches give an empty stream that is valid gzip.
    """
    del schema  # a JSON object names its own fields
    compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _GZIP)
    pending = bytearray()
    for text in _ahead(batches):
        pending += compressor.compress(text)
        if len(pending) >= _CHUNK:
            yield bytes(pending)
            pending.clear()
    yield bytes(pending + compressor.flush())


def _ahead(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Lines encoded on another thread, a few pieces ahead of the compressor."""
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
            for small in _small(batch):
                pieces.put(_lines(small))
                if stop.is_set():
                    return
        pieces.put(None)
    except BaseException as error:  # noqa: BLE001 - raised again on the thread that asked
        pieces.put(error)


def _drain(pieces: "queue.Queue[_Piece]") -> None:
    while not pieces.empty():
        pieces.get_nowait()


def _small(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch in pieces of bounded rows and bytes."""
    wide = max(1, batch.nbytes // max(1, batch.num_rows))
    rows = max(1, min(_MOST_ROWS, _MOST_BYTES // wide))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def _lines(batch: pa.RecordBatch) -> bytes:
    if batch.num_columns == 0:
        return b"{}\n" * int(batch.num_rows)
    text = io.BytesIO()
    arro3.io.write_ndjson(for_json(batch), text)
    lines: bytes = text.getvalue()
    return lines
