"""Files that come in: Parquet, NDJSON, CSV. Each is read in batches, twice: once for its types, once for its rows.

Text says less of its types than a table needs. Columns that the table has are read as the table has them. Of the
others, NDJSON's strings stay strings, whatever they look like, so that what goes out is what came in; CSV's types are
told from the values, and widened where a later value needs it.
"""

import codecs
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.json as pajson
import pyarrow.parquet as pq

from offtake.lake import json_documents
from offtake.lake.parsing.errors import ImportRefusedError as ImportRefusedError  # noqa: PLC0414 - exported

Kind = Literal["parquet", "ndjson", "json", "csv"]
"""`ndjson` is an object a line, `json` a whole document."""
_Piece = tuple[str, int, list[bytes]]

_BLOCK: Final = 8 * 1024 * 1024
_OBJECT: Final = "object"
_LONGEST_LINE: Final = 64 * 1024 * 1024
_ROWS: Final = 8192
_UNPARSED: Final = (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError)
_PARQUET: Final = (".parquet", ".pq")
_NDJSON: Final = (".json", ".jsonl", ".ndjson")
_CSV: Final = (".csv",)
_ALLOWED: Final = ".parquet, .json, .jsonl, .ndjson or .csv, the last four also with .gz"


@dataclass(frozen=True)
class CsvShape:
    """How a CSV file is written; `null` is the text that stands for no value, beside none at all."""

    delimiter: str = ","
    quote: str = '"'
    escape: str | None = None
    null: str | None = None
    header: bool = True
    charset: str = "UTF-8"


@dataclass(frozen=True)
class Source:
    """One file, what it is, and the name that people know it by."""

    path: Path
    kind: Kind
    name: str
    csv: CsvShape = CsvShape()

    def schema(self, known: pa.Schema | None) -> pa.Schema | None:
        """The file's schema, as all of its rows need it, None when it has none; `known`: the table's.

        Raises `ImportRefusedError`.
        """
        if self._is_empty():
            return None
        with self._told():
            if self.kind == "parquet":
                return pq.read_schema(self.path)
            if self.kind == "csv":
                return self._csv_schema(known)
            schemas = [_strings(batch.schema) for batch in self._json(None)]
            return pa.unify_schemas(schemas, promote_options="permissive") if schemas else None

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows in batches of bounded size, text read as `schema` says. Raises `ImportRefusedError`."""
        with self._told():
            for batch in self._batches(schema):
                batch.validate(full=True)
                yield batch

    def head(self, rows: int) -> pa.Table:
        """The first rows, at most so many; reads no more than a block. Raises `ImportRefusedError`."""
        if self._is_empty():
            return pa.table({})
        with self._told():
            first = next(self._batches(pa.schema([])), None)
        return pa.table({}) if first is None else pa.Table.from_batches([first.slice(0, rows)])

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        if self.kind == "parquet":
            with pq.ParquetFile(self.path, pre_buffer=False) as file:
                yield from file.iter_batches(_ROWS)
        elif self.kind == "csv":
            with self._csv({field.name: field.type for field in schema}) as reader:
                yield from reader
        else:
            yield from self._json(_parsed(schema))

    def _json(self, schema: pa.Schema | None) -> Iterator[pa.RecordBatch]:
        with self._opened() as stream:
            pieces = self._documents(stream) if self._is_document() else self._lines(stream)
            for word, first, block in pieces:
                try:
                    table = _parse(block, schema, spread=word == _OBJECT)
                except _UNPARSED as error:
                    lines = block if word == _OBJECT else block[0].splitlines(keepends=True)
                    index, reason = _first_bad(lines, schema, spread=word == _OBJECT) or (0, _reason(error))
                    raise ImportRefusedError(
                        f"{self.name}, {word} {first + index}: {reason}", row=first + index
                    ) from None
                yield from table.combine_chunks().to_batches()

    def _is_document(self) -> bool:
        """An array is no object a line, whatever the file was said to be."""
        if self.kind == "json":
            return True
        with self._opened() as stream:
            return bool(stream.read(1024).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["))

    def _documents(self, stream: Any) -> Iterator[_Piece]:  # noqa: ANN401 - pyarrow has no stubs
        try:
            for block in json_documents.blocks(stream):
                yield _OBJECT, block.first, block.objects
        except json_documents.DocumentError as error:
            raise ImportRefusedError(f"{self.name} {error}.") from None

    def _lines(self, stream: Any) -> Iterator[_Piece]:  # noqa: ANN401 - as above
        """The text in blocks of whole lines that are not all blank, with the number of the first."""
        number = 1
        rest = b""
        while block := stream.read(_BLOCK):
            if number == 1 and not rest:
                block = block.removeprefix(codecs.BOM_UTF8)
            head, newline, tail = (rest + block).rpartition(b"\n")
            rest = tail if newline else rest + block
            if len(rest) > _LONGEST_LINE:
                raise ImportRefusedError(
                    f"{self.name} has a line of more than {_LONGEST_LINE} bytes; is it one JSON document?"
                )
            if head.strip():
                yield "line", number, [head + newline]
            number += head.count(b"\n") + len(newline)
        if rest.strip():
            yield "line", number, [rest]

    def _csv(self, types: dict[str, pa.DataType]) -> pacsv.CSVStreamingReader:
        nulls = {} if self.csv.null is None else {"null_values": ["", self.csv.null]}
        return pacsv.open_csv(
            self._opened(),
            pacsv.ReadOptions(
                use_threads=False,
                block_size=_BLOCK,
                autogenerate_column_names=not self.csv.header,
                encoding=self.csv.charset,
            ),
            pacsv.ParseOptions(
                delimiter=self.csv.delimiter, quote_char=self.csv.quote, escape_char=self.csv.escape or False
            ),
            pacsv.ConvertOptions(
                column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False, **nulls
            ),
        )

    def _csv_schema(self, known: pa.Schema | None) -> pa.Schema | None:
        """The table's types, and of other columns the narrowest that hold every value; the reader tells from a part."""
        given = {} if known is None else {field.name: field.type for field in known}
        types = dict(given)
        while True:
            names: list[str] = []
            try:
                with self._csv(types) as reader:
                    names = reader.schema.names
                    found = dict(zip(names, reader.schema.types, strict=True))
                    rows = sum(batch.num_rows for batch in reader)
            except pa.ArrowInvalid as error:
                name = _misfit(str(error), names)
                if name is None or name in given or types.get(name) == pa.string():
                    raise
                types[name] = pa.float64() if found[name] == pa.int64() else pa.string()
                continue
            if not rows:
                return None
            for name, kind in found.items():
                if pa.types.is_binary(kind) and name not in given:
                    raise ImportRefusedError(f"{self.name}: column {name} is not text in UTF-8.")
            return reader.schema

    def _is_empty(self) -> bool:
        with self._told():
            return not self.path.stat().st_size

    def _opened(self) -> Any:  # noqa: ANN401 - pyarrow has no stubs
        return pa.input_stream(self.path, compression="gzip" if self.name.lower().endswith(".gz") else None)

    def _told(self) -> "_Told":
        return _Told(self.path, self.name)


def source_of(path: Path) -> Source:
    """The file as a source, by its name; raises `ImportRefusedError` when it is not there or of no known kind."""
    if not path.is_file():
        raise ImportRefusedError(f"{path} is not a file.")
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(_PARQUET) and name == path.name.lower():
        return Source(path, "parquet", path.name)
    if name.endswith(_NDJSON):
        return Source(path, "ndjson", path.name)
    if name.endswith(_CSV):
        return Source(path, "csv", path.name)
    raise ImportRefusedError(f"{path.name} is of no known kind; its name must end in {_ALLOWED}.")


def _parse(texts: list[bytes], schema: pa.Schema | None, *, spread: bool) -> pa.Table:
    """The texts' rows; `spread`: an object may take several lines."""
    block = b"".join(texts)
    block.decode()
    read = pajson.ReadOptions(use_threads=False, block_size=len(block) + 1)
    options = pajson.ParseOptions(
        explicit_schema=schema,
        unexpected_field_behavior="infer",
        newlines_in_values=spread,
    )
    return pajson.read_json(io.BytesIO(block), read, options)


def _first_bad(lines: list[bytes], schema: pa.Schema | None, *, spread: bool) -> tuple[int, str] | None:
    """Which line is the first that cannot be read after those before it, and why."""
    good, bad = 0, len(lines)
    reason = None
    while good < bad:
        middle = (good + bad) // 2
        try:
            if any(line.strip() for line in lines[: middle + 1]):
                _parse(lines[: middle + 1], schema, spread=spread)
            good = middle + 1
        except _UNPARSED as error:
            bad, reason = middle, _reason(error)
    return None if reason is None else (bad, reason)


class _Told:
    """Tells the readers' errors as ours, with the file's name."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (pa.ArrowException, OSError, UnicodeDecodeError, EOFError)):
            # Where the file is on this machine is nobody's business.
            reason = _reason(error).replace(str(self._path), self._name)
            raise ImportRefusedError(f"{self._name} cannot be read: {reason}") from None


def _misfit(message: str, names: list[str]) -> str | None:
    """The column that a reader's message says it could not convert."""
    found = re.match(r"In CSV column #(\d+): (?:Row #\d+: )?CSV conversion error", message)
    return names[int(found[1])] if found and int(found[1]) < len(names) else None


def _strings(schema: pa.Schema) -> pa.Schema:
    """The schema with the strings that the reader took for timestamps as strings."""
    return pa.schema([field.with_type(_with_leaves(field.type, _untimed)) for field in schema])


def _untimed(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_timestamp(kind) else kind


def _parsed(schema: pa.Schema) -> pa.Schema:
    """What the JSON reader is told: it makes no dates, times or bytes of text, and tells the fields of maps itself."""
    told = (field.with_type(_with_leaves(field.type, _readable)) for field in schema)
    return pa.schema([field for field in told if not _has_map(field.type)])


def _readable(kind: pa.DataType) -> pa.DataType:
    is_text = pa.types.is_date(kind) or pa.types.is_time(kind) or pa.types.is_fixed_size_binary(kind)
    return pa.string() if is_text or isinstance(kind, pa.UuidType) else kind


def _has_map(kind: pa.DataType) -> bool:
    return pa.types.is_map(kind) or any(_has_map(kind.field(index).type) for index in range(kind.num_fields))


def _with_leaves(kind: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    if pa.types.is_struct(kind):
        inner = (kind.field(index) for index in range(kind.num_fields))
        return pa.struct([field.with_type(_with_leaves(field.type, change)) for field in inner])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_with_leaves(kind.value_type, change)))
    return change(kind)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
