"""Files that come in: Parquet, NDJSON, CSV. Each is read in batches, twice: once for its types, once for its rows."""

import io
from collections.abc import Iterator
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

    def schema(self) -> pa.Schema:
        """The file's schema; for text, what all of its rows have in common. Raises `ImportRefusedError`."""
        with self._told():
            if self.kind == "parquet":
                return pq.read_schema(self.path)
            if self.kind == "csv":
                with self._csv(None) as reader:
                    return reader.schema
            schemas = [batch.schema for batch in self._json(None)]
            if not schemas:
                raise ImportRefusedError(f"{self.path.name} holds no rows.")
            return pa.unify_schemas(schemas, promote_options="permissive")

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows in batches of bounded size, text read as `schema` says. Raises `ImportRefusedError`."""
        with self._told():
            if self.kind == "parquet":
                with pq.ParquetFile(self.path, pre_buffer=False) as file:
                    yield from file.iter_batches(_ROWS)
            elif self.kind == "csv":
                with self._csv(schema) as reader:
                    yield from reader
            else:
                yield from self._json(schema)

    def _json(self, schema: pa.Schema | None) -> Iterator[pa.RecordBatch]:
        first_line = 1
        for block in self._lines():
            options = pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer")
            try:
                read = pajson.ReadOptions(use_threads=False, block_size=len(block) + 1)
                table = pajson.read_json(io.BytesIO(block), read, options)
            except pa.ArrowInvalid as error:
                last_line = first_line + block.count(b"\n")
                where = f"lines {first_line} to {last_line}"
                raise ImportRefusedError(f"{self.path.name}, {where}: {_reason(error)}") from None
            first_line += block.count(b"\n")
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

    def _csv(self, schema: pa.Schema | None) -> pacsv.CSVStreamingReader:
        types = None if schema is None else {field.name: field.type for field in schema}
        stream = pa.input_stream(self.path, compression="detect")
        convert = pacsv.ConvertOptions(column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False)
        return pacsv.open_csv(stream, pacsv.ReadOptions(use_threads=False, block_size=_BLOCK), convert_options=convert)

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


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
