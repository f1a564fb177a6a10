"""Test helpers: encoding batches to files' bytes and decoding them."""

import gzip
import io
import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from offtake.formats.registry import format_for


def batch_of(array: pa.Array, name: str = "x") -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([array], names=[name])


def encoded(batches: Iterable[pa.RecordBatch], schema: pa.Schema, file_type: str, compression: str = "GZIP") -> bytes:
    target = format_for(file_type, compression)
    return b"".join(target.encode(schema, batches, target.level))


def lines(*batches: pa.RecordBatch) -> list[str]:
    """The lines of the batches' NDJSON file; asserts valid gzip, UTF-8 and a final line end."""
    text = gzip.decompress(encoded(batches, batches[0].schema, "JSON")).decode("utf-8")
    assert text == "" or text.endswith("\n")
    return text.split("\n")[:-1]


def parsed(line: str) -> Any:
    """The line parsed strictly by RFC 8259, with unique keys."""
    return json.loads(line, parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_once)


def table(data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data))


def counted(batches: Iterable[pa.RecordBatch], taken: list[int]) -> Iterator[pa.RecordBatch]:
    """The batches; appends each consumed one to `taken`."""
    for number, batch in enumerate(batches):
        taken.append(number)
        yield batch


def _refuse(word: str) -> NoReturn:
    raise AssertionError(f"{word} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({key for key, _ in pairs}) == len(pairs), "duplicate key"
    return dict(pairs)
