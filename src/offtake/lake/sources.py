"""Files that come in: Parquet, NDJSON, CSV. Each is read in batches, twice: once for its types, once for its rows.

Text says less of its types than a table needs. Columns that the table has are read as the table has them. Of the
others, NDJSON's strings stay strings, whatever they look like, so that what goes out is what came in; CSV's types are
told from the values, and widened where a later value needs it.
"""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.json as pajson
import pyarrow.parquet as pq

from offtake.errors import OfftakeError

_BLOCK: Final = 8 * 1024 * 1024
_ROWS: Final = 8192
_PARQUET: Final = (".parquet", ".pq")
_NDJSON: Final = (".json", ".jsonl", ".ndjson")
_CSV: Final = (".csv",)
_ALLOWED: Final = ".parquet, .json, .jsonl, .ndjson or .csv, the last four also with .gz"


class ImportRefusedError(OfftakeError):
    """The files cannot be imported; nothing of them was."""


@dataclass(frozen=True)
class Source:
    """One file, and the kind its name says it is."""

    path: Path
    kind: str

    def schema(self, known: pa.Schema | None) -> pa.Schema:
        """The file's schema, as all of its rows need it; `known`: the table's. Raises `ImportRefusedError`."""
        with self._told():
            if self.kind == "parquet":
                return pq.read_schema(self.path)
            if self.kind == "csv":
                return self._csv_schema(known)
            schemas = [_strings(batch.schema) for batch in self._json(None)]
            if not schemas:
                raise ImportRefusedError(f"{self.path.name} holds no rows.")
            return pa.unify_schemas(schemas, promote_options="permissive")

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows in batches of bounded size, text read as `schema` says. Raises `ImportRefusedError`."""
        with self._told():
            for batch in self._batches(schema):
                batch.validate(full=True)
                yield batch

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
        first_line = 1
        for block in self._lines():
            options = pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer")
            lines = block.count(b"\n") or 1
            try:
                block.decode()
                read = pajson.ReadOptions(use_threads=False, block_size=len(block) + 1)
                table = pajson.read_json(io.BytesIO(block), read, options)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
                where = f"lines {first_line} to {first_line + lines - 1}" if lines > 1 else f"line {first_line}"
                raise ImportRefusedError(f"{self.path.name}, {where}: {_reason(error)}") from None
            first_line += lines
            yield from table.combine_chunks().to_batches()

    def _lines(self) -> Iterator[bytes]:
        """The text in blocks of whole lines that are not blank."""
        with pa.input_stream(self.path, compression="detect") as stream:
            rest = b""
            while block := stream.read(_BLOCK):
                head, newline, tail = (rest + block).rpartition(b"\n")
                if newline and head.strip():
                    yield head + newline
                rest = tail if newline else rest + block
            if rest.strip():
                yield rest

    def _csv(self, types: dict[str, pa.DataType]) -> pacsv.CSVStreamingReader:
        stream = pa.input_stream(self.path, compression="detect")
        convert = pacsv.ConvertOptions(column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False)
        return pacsv.open_csv(stream, pacsv.ReadOptions(use_threads=False, block_size=_BLOCK), convert_options=convert)

    def _csv_schema(self, known: pa.Schema | None) -> pa.Schema:
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
                raise ImportRefusedError(f"{self.path.name} holds no rows.")
            for name, kind in found.items():
                if pa.types.is_binary(kind) and name not in given:
                    raise ImportRefusedError(f"{self.path.name}: column {name} is not text in UTF-8.")
            return reader.schema

    def _told(self) -> "_Told":
        return _Told(self.path.name)


def source_of(path: Path) -> Source:
    """The file as a source; raises `ImportRefusedError` when it is not there or of no known kind."""
    if not path.is_file():
        raise ImportRefusedError(f"{path} is not a file.")
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(_PARQUET) and name == path.name.lower():
        return Source(path, "parquet")
    if name.endswith(_NDJSON):
        return Source(path, "ndjson")
    if name.endswith(_CSV):
        return Source(path, "csv")
    raise ImportRefusedError(f"{path.name} is of no known kind; its name must end in {_ALLOWED}.")


class _Told:
    """Tells the readers' errors as ours, with the file's name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (pa.ArrowException, OSError, UnicodeDecodeError, EOFError)):
            raise ImportRefusedError(f"{self._name} cannot be read: {_reason(error)}") from None


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
