"""The one way from files and options to a schema and rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import pyarrow as pa

from offtake.lake.parsing import json_text
from offtake.lake.parsing.columns import Changes, Resolver, check_names, check_reserved_names, null_columns_as_text
from offtake.lake.parsing.conform import cast_to_schema
from offtake.lake.parsing.csv_columns import CsvProfile
from offtake.lake.parsing.csv_text import CsvFile, open_csv
from offtake.lake.parsing.errors import ImportRefusedError, SchemaMismatchError
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.json_text import JsonProfile
from offtake.lake.parsing.kinds import MOST_FIELDS, KindConflictError, Path, count_fields, map_leaves
from offtake.lake.parsing.numbers import NumberStats
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.parsing.parquet_files import ParquetSource
from offtake.lake.parsing.rows import Rows

_UNREADABLE: Final = (pa.ArrowException, OSError, UnicodeDecodeError, EOFError)


@dataclass(frozen=True)
class Parsed:
    """`schema`: the dataset's columns with these files, of null type where nothing is known yet.

    `rows` gives the rows once, under `null_columns_as_text(schema)`, in batches of bounded size; it raises
    `ImportRefusedError` naming file, row and column. `notes` are sentences for the user.
    """

    schema: pa.Schema
    notes: tuple[str, ...]
    rows: Callable[[], Iterator[pa.RecordBatch]]


def parse(
    files: Sequence[InputFile],
    known: pa.Schema | None,
    options: ParseOptions,
    changes: Changes | None = None,
    raise_if_stopped: Callable[[], None] = lambda: None,
    *,
    refuse_empty: bool = False,
) -> Parsed | None:
    """Find what the files hold, all of them read, and how the dataset's `known` columns take it.

    None without rows. Raises `ImportRefusedError` naming file, row and column, for a file without rows too where that
    is asked for, and what `raise_if_stopped` raises, which is called between files and batches.
    """
    parser = _Parser(known, options, changes or Changes(), raise_if_stopped)
    filled = []
    for file in files:
        raise_if_stopped()
        with translating_errors(file):
            if not file.is_empty and parser.observe(file):
                filled.append(file)
            elif refuse_empty:
                raise ImportRefusedError(f"{file.name} holds no rows.")
    if not filled:
        return None
    schema = parser.schema()
    return Parsed(schema, tuple(parser.notes), lambda: parser.rows(filled, schema))


class _Parser:
    """The files of one import: each is observed first, then the schema is chosen, then rows are read."""

    def __init__(
        self,
        known: pa.Schema | None,
        options: ParseOptions,
        changes: Changes,
        raise_if_stopped: Callable[[], None],
    ) -> None:
        self.notes: list[str] = []
        self._options = options
        self._changes = changes
        self._raise_if_stopped = raise_if_stopped
        self._given = known
        self._known = _with_types(known, options.types)
        self._json = JsonProfile(self._judge, _floats(self._known))
        self._csv = CsvProfile(self._known, changes, options.nanoseconds == "truncate")
        self._csv_files: dict[str, CsvFile] = {}
        self._parquet: dict[str, ParquetSource] = {}
        self._coming: dict[str, None] = {}

    def observe(self, file: InputFile) -> bool:
        """Read a file for what it holds; whether it has rows."""
        if file.kind == "parquet":
            source = ParquetSource(file, self._options.nanoseconds)
            self._parquet[str(file.path)] = source
            return source.rows > 0
        if file.kind == "csv":
            return self._observe_csv(file)
        before = self._json.rows
        self._json.observe(file)
        return self._json.rows > before

    def schema(self) -> pa.Schema:
        """The dataset's columns with what was observed."""
        schema = self._known
        try:
            if self._json.rows:
                schema = self._merge(schema, self._json.kinds, self._resolver(self._json.numbers.get, infer=True))
            if self._csv.rows:
                schema = self._merge_csv(schema)
        except (SchemaMismatchError, KindConflictError) as error:
            raise ImportRefusedError(f"{error}.") from None
        for source in self._parquet.values():
            if source.rows:
                schema = self._merge_parquet(schema, source)
        try:
            check_names(schema)
            check_reserved_names(schema)
        except SchemaMismatchError as error:
            raise ImportRefusedError(f"{error}.") from None
        if _fields_in(schema) > max(MOST_FIELDS, _fields_in(self._known)):
            raise ImportRefusedError(f"The dataset would have more than {MOST_FIELDS} fields, nested ones counted.")
        self._check_types()
        return self._in_order(schema)

    def rows(self, files: Sequence[InputFile], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Every row under the schema as a table has it."""
        wanted = null_columns_as_text(schema)
        for file in files:
            with translating_errors(file):
                for found in self._rows_of(file, schema):
                    self._raise_if_stopped()
                    yield self._fit(file, found, wanted)

    def _observe_csv(self, file: InputFile) -> bool:
        before = self._csv.rows
        opened = open_csv(file, self._options.csv)
        self.notes += opened.notes
        self._csv_files[str(file.path)] = opened
        self._csv.observe(opened)
        return self._csv.rows > before

    def _merge(self, schema: pa.Schema, coming: pa.Schema, resolver: Resolver) -> pa.Schema:
        self._coming |= dict.fromkeys(coming.names)
        return resolver.schema(schema, coming)

    def _merge_csv(self, schema: pa.Schema) -> pa.Schema:
        coming = self._csv.schema()
        types = {field.name: field.type for field in coming}
        for field in schema:
            others = types.get(field.name, pa.null())
            is_new = field.name not in self._known.names or pa.types.is_null(self._known.field(field.name).type)
            is_open = pa.types.is_null(others) or pa.types.is_null(field.type)
            if is_new and field.type != others and not is_open:
                raise KindConflictError(f"column {field.name} is {field.type} in one file and {others} in another")
        merged = self._merge(schema, pa.schema([one.with_type(pa.null()) for one in coming]), self._resolver())
        found = ((one, types.get(one.name, pa.null())) for one in merged)
        return pa.schema([one if pa.types.is_null(kind) else one.with_type(kind) for one, kind in found])

    def _merge_parquet(self, schema: pa.Schema, source: ParquetSource) -> pa.Schema:
        try:
            merged = self._merge(schema, source.schema(), self._resolver(source.numbers))
        except (SchemaMismatchError, KindConflictError) as error:
            raise ImportRefusedError(f"{source.file.name}: {error}.") from None
        self.notes += source.notes
        return merged

    def _resolver(
        self, numbers: Callable[[Path], NumberStats | None] = lambda _path: None, *, infer: bool = False
    ) -> Resolver:
        return Resolver(numbers, self._changes, infer=infer, first=self._given is None)

    def _judge(self, kinds: pa.Schema) -> None:
        Resolver(whole=False).schema(self._known, kinds)

    def _check_types(self) -> None:
        for name in self._options.types:
            if name not in self._coming and (self._given is None or name not in self._given.names):
                raise ImportRefusedError(f"A type is given for column {name}, which is in none of the files.")

    def _in_order(self, schema: pa.Schema) -> pa.Schema:
        """The dataset's columns first, then new ones in the order of the files."""
        if self._given is None or not len(self._given):
            places = {name: place for place, name in enumerate(self._coming)}
            return pa.schema(sorted(schema, key=lambda field: places[field.name]))
        return schema

    def _rows_of(self, file: InputFile, schema: pa.Schema) -> Iterator[Rows]:
        if file.kind == "parquet":
            return self._parquet[str(file.path)].batches()
        if file.kind == "csv":
            return _csv_rows(self._csv_files[str(file.path)], self._csv.proven(schema))
        return json_text.rows_of(file, schema, self._json)

    def _fit(self, file: InputFile, found: Rows, wanted: pa.Schema) -> pa.RecordBatch:
        try:
            return cast_to_schema(found.batch, wanted, self._options.nanoseconds)
        except SchemaMismatchError as error:
            word, number = found.place(self._first_unfit(found.batch, wanted))
            raise ImportRefusedError(f"{file.name}, {word} {number}: {error}.", row=number) from None

    def _first_unfit(self, batch: pa.RecordBatch, wanted: pa.Schema) -> int:
        """The index of the first row that does not fit."""
        good, bad = 0, batch.num_rows - 1
        while good < bad:
            middle = (good + bad) // 2
            try:
                cast_to_schema(batch.slice(good, middle + 1 - good), wanted, self._options.nanoseconds)
                good = middle + 1
            except SchemaMismatchError:
                bad = middle
        return good


def _fields_in(schema: pa.Schema) -> int:
    return count_fields(pa.struct(list(schema)))


def _csv_rows(file: CsvFile, types: Mapping[str, pa.DataType]) -> Iterator[Rows]:
    done = 0
    for batch in file.batches(types):
        yield Rows(batch, partial(_place, file, done))
        done += batch.num_rows


def _place(file: CsvFile, done: int, index: int) -> tuple[str, int]:
    return "line", file.line_of(done + index)


def _with_types(known: pa.Schema | None, types: Mapping[str, pa.DataType]) -> pa.Schema:
    """The dataset's columns, and those whose types the user gives; raises `ImportRefusedError` where both differ."""
    fields = {} if known is None else {field.name: field for field in known}
    for name, kind in types.items():
        if name in fields and not pa.types.is_null(fields[name].type) and fields[name].type != kind:
            raise ImportRefusedError(f"Column {name} is {fields[name].type} in the dataset, not {kind}.")
        fields[name] = fields[name].with_type(kind) if name in fields else pa.field(name, kind)
    return pa.schema(list(fields.values()))


def _floats(schema: pa.Schema) -> frozenset[Path]:
    found: set[Path] = set()

    def look(kind: pa.DataType, path: Path) -> pa.DataType:
        if pa.types.is_float32(kind):
            found.add(path)
        return kind

    for field in schema:
        map_leaves(field.type, look, (field.name,))
    return frozenset(found)


@contextmanager
def translating_errors(file: InputFile) -> Iterator[None]:
    """Translates what reading the file raises into `ImportRefusedError`."""
    try:
        yield
    except _UNREADABLE as error:
        # Where the file is on this machine is not for the API's users.
        reason = str(error).split("\n")[0].replace(str(file.path), file.name).rstrip(".")
        raise ImportRefusedError(f"{file.name} cannot be read: {reason}.") from None
