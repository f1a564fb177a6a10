"""Parsing the files of an import: infer their schema, merge it with the dataset's, read the rows."""

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
from offtake.lake.parsing.kinds import MAX_FIELDS, KindConflictError, Path, count_fields, map_leaves
from offtake.lake.parsing.numbers import NumberStats
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.parsing.parquet_files import ParquetSource
from offtake.lake.parsing.rows import Rows
from offtake.lake.type_names import type_name

_UNREADABLE: Final = (pa.ArrowException, OSError, UnicodeDecodeError, EOFError)


@dataclass(frozen=True)
class Parsed:
    """The parsed files. `schema`: the dataset's columns after the import, with null for unknown types.

    `rows`: yields the rows, in `null_columns_as_text(schema)` and batches of bounded size; call it once. Raises
    `ImportRefusedError` naming file, row and column. `notes`: notes for the user.
    """

    schema: pa.Schema
    notes: tuple[str, ...]
    rows: Callable[[], Iterator[pa.RecordBatch]]


def parse(
    files: Sequence[InputFile],
    dataset: pa.Schema | None,
    options: ParseOptions,
    changes: Changes | None = None,
    raise_if_stopped: Callable[[], None] = lambda: None,
    *,
    refuse_empty: bool = False,
) -> Parsed | None:
    """Read all files once to infer their types, and merge these with the dataset's columns (None: no dataset yet).

    Returns None when there are no rows. Raises `ImportRefusedError` naming file, row and column, with `refuse_empty`
    also for a file without rows, and what `raise_if_stopped` raises, which is called between files and batches.
    """
    parser = _Parser(dataset, options, changes or Changes(), raise_if_stopped)
    nonempty = []
    for file in files:
        raise_if_stopped()
        with translating_errors(file):
            if not file.is_empty and parser.observe(file):
                nonempty.append(file)
            elif refuse_empty:
                raise ImportRefusedError(f"{file.name} has no rows.")
    if not nonempty:
        return None
    schema = parser.schema()
    return Parsed(schema, tuple(parser.notes), lambda: parser.rows(nonempty, schema))


class _Parser:
    """The parser of one import: first observe each file, then choose the schema, then read the rows."""

    def __init__(
        self,
        dataset: pa.Schema | None,
        options: ParseOptions,
        changes: Changes,
        raise_if_stopped: Callable[[], None],
    ) -> None:
        self.notes: list[str] = []
        self._options = options
        self._changes = changes
        self._raise_if_stopped = raise_if_stopped
        self._dataset = dataset
        self._declared = _with_declared_types(dataset, options.types)
        self._json = JsonProfile(self._check_kinds, _float_columns(self._declared))
        self._csv = CsvProfile(self._declared, changes, options.nanoseconds == "truncate")
        self._csv_files: dict[str, CsvFile] = {}
        self._parquet: dict[str, ParquetSource] = {}
        self._incoming: dict[str, None] = {}

    def observe(self, file: InputFile) -> bool:
        """Read a file to infer its types. Returns whether it has rows."""
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
        """The dataset's columns merged with those of the observed files."""
        schema = self._declared
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
        if _fields_in(schema) > max(MAX_FIELDS, _fields_in(self._declared)):
            raise ImportRefusedError(
                f"The dataset would have more than {MAX_FIELDS} fields, including nested ones. Remove some."
            )
        self._check_declared_types()
        return self._in_order(schema)

    def rows(self, files: Sequence[InputFile], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows of the files, cast to the table's schema."""
        target = null_columns_as_text(schema)
        for file in files:
            with translating_errors(file):
                for rows in self._rows_of(file, schema):
                    self._raise_if_stopped()
                    yield self._cast(file, rows, target)

    def _observe_csv(self, file: InputFile) -> bool:
        before = self._csv.rows
        opened = open_csv(file, self._options.csv)
        self.notes += opened.notes
        self._csv_files[str(file.path)] = opened
        self._csv.observe(opened)
        return self._csv.rows > before

    def _merge(self, schema: pa.Schema, incoming: pa.Schema, resolver: Resolver) -> pa.Schema:
        self._incoming |= dict.fromkeys(incoming.names)
        return resolver.schema(schema, incoming)

    def _merge_csv(self, schema: pa.Schema) -> pa.Schema:
        incoming = self._csv.schema()
        types = {field.name: field.type for field in incoming}
        for field in schema:
            others = types.get(field.name, pa.null())
            is_new = field.name not in self._declared.names or pa.types.is_null(self._declared.field(field.name).type)
            is_open = pa.types.is_null(others) or pa.types.is_null(field.type)
            if is_new and field.type != others and not is_open:
                raise KindConflictError(
                    f"column {field.name} is {type_name(field.type)} in one file and {type_name(others)} in another"
                )
        merged = self._merge(schema, pa.schema([one.with_type(pa.null()) for one in incoming]), self._resolver())
        pairs = ((one, types.get(one.name, pa.null())) for one in merged)
        return pa.schema([one if pa.types.is_null(kind) else one.with_type(kind) for one, kind in pairs])

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
        return Resolver(numbers, self._changes, infer=infer, first=self._dataset is None)

    def _check_kinds(self, kinds: pa.Schema) -> None:
        Resolver(whole=False).schema(self._declared, kinds)

    def _check_declared_types(self) -> None:
        for name in self._options.types:
            if name not in self._incoming and (self._dataset is None or name not in self._dataset.names):
                raise ImportRefusedError(
                    f"A type is declared for column {name}, but no file has it. Correct the name, or remove the type."
                )

    def _in_order(self, schema: pa.Schema) -> pa.Schema:
        """The dataset's columns first, then new ones in the order of the files."""
        if self._dataset is None or not len(self._dataset):
            order = {name: index for index, name in enumerate(self._incoming)}
            return pa.schema(sorted(schema, key=lambda field: order[field.name]))
        return schema

    def _rows_of(self, file: InputFile, schema: pa.Schema) -> Iterator[Rows]:
        if file.kind == "parquet":
            return self._parquet[str(file.path)].batches()
        if file.kind == "csv":
            return _csv_rows(self._csv_files[str(file.path)], self._csv.verified_types(schema))
        return json_text.rows_of(file, schema, self._json)

    def _cast(self, file: InputFile, rows: Rows, target: pa.Schema) -> pa.RecordBatch:
        try:
            return cast_to_schema(rows.batch, target, self._options.nanoseconds)
        except SchemaMismatchError as error:
            index = self._first_mismatch(rows.batch, target)
            unit, number = rows.position(index)
            found = self._mismatch(rows.batch.slice(index, 1), target) or error
            hint = f" {found.hint}." if found.hint else ""
            raise ImportRefusedError(f"{file.name}, {unit} {number}: {found}.{hint}", row=number) from None

    def _mismatch(self, row: pa.RecordBatch, target: pa.Schema) -> SchemaMismatchError | None:
        """The error of this row alone: another row can have another one, in a column before."""
        try:
            cast_to_schema(row, target, self._options.nanoseconds)
        except SchemaMismatchError as error:
            return error
        return None

    def _first_mismatch(self, batch: pa.RecordBatch, target: pa.Schema) -> int:
        """The index of the first row that cannot be cast, by binary search."""
        good, bad = 0, batch.num_rows - 1
        while good < bad:
            middle = (good + bad) // 2
            try:
                cast_to_schema(batch.slice(good, middle + 1 - good), target, self._options.nanoseconds)
                good = middle + 1
            except SchemaMismatchError:
                bad = middle
        return good


def _fields_in(schema: pa.Schema) -> int:
    return count_fields(pa.struct(list(schema)))


def _csv_rows(file: CsvFile, types: Mapping[str, pa.DataType]) -> Iterator[Rows]:
    done = 0
    for batch in file.batches(types):
        yield Rows(batch, partial(_position, file, done))
        done += batch.num_rows


def _position(file: CsvFile, done: int, index: int) -> tuple[str, int]:
    return "line", file.line_of(done + index)


def _with_declared_types(dataset: pa.Schema | None, types: Mapping[str, pa.DataType]) -> pa.Schema:
    """The dataset's columns with the types that the user declared. Raises `ImportRefusedError` for a conflict."""
    fields = {} if dataset is None else {field.name: field for field in dataset}
    for name, kind in types.items():
        if name in fields and not pa.types.is_null(fields[name].type) and fields[name].type != kind:
            stored = type_name(fields[name].type)
            raise ImportRefusedError(f"Column {name} is declared as {type_name(kind)}, but is {stored} in the dataset.")
        fields[name] = fields[name].with_type(kind) if name in fields else pa.field(name, kind)
    return pa.schema(list(fields.values()))


def _float_columns(schema: pa.Schema) -> frozenset[Path]:
    found: set[Path] = set()

    def collect(kind: pa.DataType, path: Path) -> pa.DataType:
        if pa.types.is_float32(kind):
            found.add(path)
        return kind

    for field in schema:
        map_leaves(field.type, collect, (field.name,))
    return frozenset(found)


@contextmanager
def translating_errors(file: InputFile) -> Iterator[None]:
    """Translates errors of reading the file to `ImportRefusedError`."""
    try:
        yield
    except _UNREADABLE as error:
        # The API's users must not see the file's path on this machine.
        reason = str(error).split("\n")[0].replace(str(file.path), file.name).rstrip(".")
        raise ImportRefusedError(f"{file.name} cannot be read: {reason}.") from None
