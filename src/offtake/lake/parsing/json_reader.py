"""Parsing a block of JSON to Arrow, with all digits of every number.

pyarrow's reader parses numbers as doubles and some text as timestamps, accepts NaN, and crashes the process if the
first value is null or if there are thousands of nesting levels. So it always gets a schema in which numbers are
decimals that hold every digit, and blocks that it refuses or cannot parse safely are parsed in Python (`json_exact`),
which is slow and finds the faulty line. The same holds for numbers with more digits than a decimal: pyarrow parses some
of them to wrong numbers, without an error.
"""

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pajson

from offtake.lake.parsing import json_exact
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.json_blocks import Block
from offtake.lake.parsing.kinds import MAX_FIELDS, KindConflictError, any_leaf, depth_of, fields_of
from offtake.lake.parsing.numbers import EXACT

_NULL_LINE: Final = re.compile(rb"\n[ \t\r]*null")
_NULL_AFTER: Final = r"\}[ \t\r]*null"
_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{\]}]')
_KEY: Final = re.compile(rb'"([^"\\]*)"[ \t\r\n]*:')
_WIDTH_SAMPLE: Final = 1024 * 1024
TOO_WIDE: Final = f"the file has more than {MAX_FIELDS} fields"
_LONG_LINE: Final = 2000
"""Bytes; nesting that crashes pyarrow needs longer lines."""
_UNSAFE_NUMBER: Final = r"[:\[,][ \t\r\n]*-?([0-9.]{39}|[0-9][0-9.]*[eE](\+|[0-9]|-0*[4-9][0-9]|-0*[1-9][0-9][0-9]))"
"""Numbers that Arrow may parse to wrong ones: more than 38 digits, or exponents above 0 or below -39."""
_UNPARSED: Final = (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError)


def read_block(file: InputFile, block: Block, hints: pa.Schema) -> pa.RecordBatch:
    """The block's objects; numbers with the types in `hints`, else as int64 or `numbers.EXACT`; text as string.

    Raises `ImportRefusedError` naming the line.
    """
    if not _is_safe(block):
        return read_exactly(file, block)
    try:
        table = _parse(block, hints)
        if not _follows_hints(table.schema, hints):
            table = _parse(block, exact_hints(table.schema))
    except _UNPARSED:
        # The hints may not match the kinds of values in this block.
        try:
            table = _parse(block, exact_hints(_parse(block, None).schema))
        except _UNPARSED:
            return read_exactly(file, block)
    if not _is_valid(table, block):
        return read_exactly(file, block)
    columns = pa.struct(list(table.schema))
    has_decimals = any_leaf(columns, pa.types.is_decimal)
    if depth_of(columns) > json_exact.MAX_DEPTH or (has_decimals and _matches(block.text, _UNSAFE_NUMBER)):
        return read_exactly(file, block)
    if not table.num_columns:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * table.num_rows, pa.struct([])))
    return table.combine_chunks().to_batches()[0] if table.num_rows else pa.RecordBatch.from_pylist([], table.schema)


def check_width(file: InputFile, block: Block) -> None:
    """Raise `ImportRefusedError` for a block whose first objects have too many fields, before Arrow parses it.

    Arrow would need seconds and gigabytes: each field becomes a column for all rows of the block.
    """
    if len(set(_KEY.findall(block.text[:_WIDTH_SAMPLE]))) <= MAX_FIELDS:
        return
    seen: set[str] = set()
    for index, unit in enumerate(block.units):
        try:
            json.loads(unit, object_pairs_hook=lambda pairs: seen.update(name for name, _ in pairs))
        except (ValueError, RecursionError):
            # The fault is reported when the block is parsed.
            return
        if len(seen) > MAX_FIELDS:
            raise refusal(file, block, index, TOO_WIDE)


def read_exactly(file: InputFile, block: Block) -> pa.RecordBatch:
    """`read_block` in Python; whole numbers beyond 64 bits have the type `numbers.WHOLE`."""
    try:
        return json_exact.read_objects(block.units)
    except json_exact.FaultError as error:
        raise refusal(file, block, error.index, str(error)) from None


def exact_hints(schema: Iterable[pa.Field]) -> pa.Schema:
    """The schema for the reader to parse these columns exactly: numbers with all digits, text as string."""
    hints = (pa.field(field.name, hint) for field in schema if (hint := _exact_hint(field.type)) is not None)
    return pa.schema(list(hints))


def find_row(file: InputFile, block: Block, check: Callable[[pa.RecordBatch], object]) -> int:
    """The index of the first line or object for whose rows `check` raises `ValueError`; 0 if it never does.

    Raises `ImportRefusedError` for a malformed line or object.
    """
    for index, unit in enumerate(block.units):
        try:
            check(json_exact.read_objects([unit]))
        except json_exact.FaultError as error:
            raise refusal(file, block, index, str(error)) from None
        except (KindConflictError, ValueError):
            return index
    return 0


def refusal(file: InputFile, block: Block, index: int, reason: str) -> ImportRefusedError:
    """The error for one of the block's lines or objects, by its index."""
    row = block.first + index
    return ImportRefusedError(f"{file.name}, {block.unit} {row}: {reason}.", row=row)


def has_no_quoted_numbers(block: Block, numbers: pa.Schema) -> bool:
    """Whether none of the columns' numbers is in quotes; for decimal columns the reader accepts both."""
    try:
        _parse(block, numbers, others="ignore")
    except _UNPARSED:
        return False
    return True


def _is_safe(block: Block) -> bool:
    text = block.text
    if text.lstrip()[:1] != b"{" or _NULL_LINE.search(text):
        return False
    lines = block.units if block.is_spread else _long_lines(text)
    return not any(_nesting_depth(line) > json_exact.MAX_DEPTH for line in lines)


def _is_valid(table: pa.Table, block: Block) -> bool:
    """Whether the table is valid (lists with only nulls are not), and all its rows were objects."""
    try:
        table.validate()
    except pa.ArrowInvalid:
        return False
    # A null can follow an object on the same line.
    return not _matches(block.text, _NULL_AFTER)


def _matches(text: bytes, pattern: str) -> bool:
    """Whether the pattern occurs in the text; uses RE2, which is much faster than Python's `re` for long texts."""
    data = pa.py_buffer(text)
    ends = pa.array([0, data.size], pa.int64()).buffers()[1]
    array = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, data])
    return bool(pc.match_substring_regex(array, pattern)[0].as_py())


def _long_lines(text: bytes) -> Iterator[bytes]:
    """The lines of more than 2000 bytes; shorter ones are skipped in steps of 2000 bytes."""
    at = 0
    while at + _LONG_LINE < len(text):
        end = text.rfind(b"\n", at, at + _LONG_LINE)
        if end < 0:
            end = text.find(b"\n", at)
            end = len(text) if end < 0 else end
            yield text[at:end]
        at = end + 1


def _nesting_depth(line: bytes) -> int:
    """The nesting depth of a line; 0 if it has too few brackets to exceed the limit."""
    if line.count(b"{") + line.count(b"[") <= json_exact.MAX_DEPTH:
        return 0
    depth = deepest = 0
    for match in _BRACKETS.finditer(line):
        if match[0] in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in b"}]":
            depth -= 1
    return deepest


def _parse(block: Block, schema: pa.Schema | None, *, others: str = "infer") -> pa.Table:
    text = block.text
    text.decode()
    read = pajson.ReadOptions(use_threads=False, block_size=len(text) + 1)
    options = pajson.ParseOptions(
        explicit_schema=schema, unexpected_field_behavior=others, newlines_in_values=block.is_spread
    )
    return pajson.read_json(io.BytesIO(text), read, options)


def _exact_hint(kind: pa.DataType) -> pa.DataType | None:
    """The type to parse a column of this kind exactly; None to let the reader infer it."""
    if pa.types.is_struct(kind):
        return pa.struct([one.with_type(inner) for one in fields_of(kind) if (inner := _exact_hint(one.type))])
    if pa.types.is_list(kind):
        inner = _exact_hint(kind.value_type)
        return None if inner is None else pa.list_(pa.field("element", inner))
    if pa.types.is_null(kind) or pa.types.is_map(kind):
        return None
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return EXACT
    return pa.string() if pa.types.is_timestamp(kind) else kind


def _follows_hints(schema: Iterable[pa.Field], hints: Iterable[pa.Field]) -> bool:
    """Whether the reader inferred no floating-point and no timestamp type for fields without a hint."""
    hinted = {field.name: field.type for field in hints}
    return all(_follows_hint(field.type, hinted.get(field.name)) for field in schema)


def _follows_hint(kind: pa.DataType, hint: pa.DataType | None) -> bool:
    if pa.types.is_struct(kind) and hint is not None:
        return _follows_hints(fields_of(kind), fields_of(hint))
    if pa.types.is_list(kind):
        return _follows_hint(kind.value_type, None if hint is None else hint.value_type)
    return kind == hint or not any_leaf(kind, lambda one: pa.types.is_floating(one) or pa.types.is_timestamp(one))
